//! `kill -9` while it writes: whatever was acknowledged is there afterwards.
//!
//! This program starts itself again as the writer, which works in the directory that it is given, writes what was
//! acknowledged to its standard output, and is killed in the middle.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "all of this is a test")]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use bytes::Bytes;
use vidimus_domain::blob_key::BlobKey;
use vidimus_files::{Directory, FileBlobStore, FileEventLog, LogOptions, OpenError};
use vidimus_ports::{Append, BlobStore, EventLog, Position, PutCondition, SystemRandom, Topic};

const WRITER: &str = "VIDIMUS_FILES_KILL_TEST_DIRECTORY";
const ROUNDS: u64 = 12;
const OPTIONS: LogOptions = LogOptions { partitions: 2, segment_bytes: 4096, reserve_bytes: 0 };

fn main() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    match std::env::var_os(WRITER) {
        Some(root) => runtime.block_on(write_for_ever(Path::new(&root))),
        None => runtime.block_on(kill_and_look()),
    }
}

fn open(root: &Path) -> (Arc<FileBlobStore>, Arc<FileEventLog>) {
    let directory = Directory::open(root).unwrap();
    let log = FileEventLog::open(directory.clone(), OPTIONS, &SystemRandom).unwrap();
    let store = FileBlobStore::open(directory, 0, Arc::new(SystemRandom)).unwrap();
    (Arc::new(store), Arc::new(log))
}

fn key(writer: u64) -> BlobKey {
    BlobKey::listed(&format!("records/{writer:02x}-object")).unwrap()
}

/// What several writers do, each with an object of its own: put a higher number into it, append the number, and say
/// so.
async fn write_for_ever(root: &Path) {
    let (store, log) = open(root);
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..8 {
        let (store, log) = (store.clone(), log.clone());
        writers.spawn(async move {
            loop {
                let (number, condition) = match store.get(&key(writer)).await.unwrap() {
                    Some(blob) => (number_of(&blob.bytes) + 1, PutCondition::IfMatch(blob.etag)),
                    None => (1, PutCondition::IfAbsent),
                };
                store.put(&key(writer), content(number), condition).await.unwrap();
                println!("put {writer} {number}");
                let payload = Bytes::from(format!("{writer} {number}"));
                let position =
                    log.append(Topic::Changes, Append::new(&writer.to_le_bytes(), payload)).await.unwrap();
                println!("append {writer} {number} {} {}", position.partition, position.offset);
            }
        });
    }
    writers.join_all().await;
}

fn content(number: u64) -> Bytes {
    // Of some pages, so that a write in part would show.
    Bytes::from(number.to_le_bytes().repeat(1500))
}

fn number_of(content: &[u8]) -> u64 {
    assert!(content.len() == 12_000 && content.chunks(8).all(|chunk| *chunk == content[..8]));
    u64::from_le_bytes(content[..8].try_into().unwrap())
}

/// What was acknowledged, over all rounds.
#[derive(Default)]
struct Acknowledged {
    puts: BTreeMap<u64, u64>,
    appends: BTreeMap<Position, String>,
}

async fn kill_and_look() {
    let folder = tempfile::tempdir().unwrap();
    let mut acknowledged = Acknowledged::default();
    for round in 0..ROUNDS {
        let mut writer = start(folder.path());
        let mut lines = BufReader::new(writer.stdout.take().unwrap()).lines();
        // The first line says that it has the directory.
        note(&mut acknowledged, &lines.next().unwrap().unwrap());
        let refused = Directory::open(folder.path()).unwrap_err();
        let pid = writer.id().to_string();
        assert!(matches!(&refused, OpenError::InUse { pid: other, .. } if *other == pid), "{refused}");
        for line in lines.by_ref().take(20 + 17 * round as usize) {
            note(&mut acknowledged, &line.unwrap());
        }
        writer.kill().unwrap();
        writer.wait().unwrap();
        // What it had said before it died.
        for line in lines {
            note(&mut acknowledged, &line.unwrap());
        }
        look(folder.path(), &acknowledged).await;
    }
    assert!(acknowledged.appends.len() > 500);
    println!("{ROUNDS} kills, {} appends: all there", acknowledged.appends.len());
}

fn start(root: &Path) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.env(WRITER, root).stdout(Stdio::piped()).spawn().unwrap()
}

fn note(acknowledged: &mut Acknowledged, line: &str) {
    let words: Vec<&str> = line.split(' ').collect();
    let number = |word: &str| word.parse::<u64>().unwrap();
    match words[..] {
        ["put", writer, written] => {
            acknowledged.puts.insert(number(writer), number(written));
        }
        ["append", writer, written, partition, offset] => {
            let position = Position { partition: number(partition) as u32, offset: number(offset) };
            let before = acknowledged.appends.insert(position, format!("{writer} {written}"));
            assert_eq!(before, None, "{position:?} was given twice");
        }
        _ => panic!("{line}"),
    }
}

async fn look(root: &Path, acknowledged: &Acknowledged) {
    let (store, log) = open(root);
    for (writer, number) in &acknowledged.puts {
        let blob = store.get(&key(*writer)).await.unwrap().expect("an acknowledged object is there");
        let found = number_of(&blob.bytes);
        assert!(found == *number || found == number + 1, "writer {writer}: {found}, acknowledged {number}");
    }
    let mut found = BTreeMap::new();
    let mut consumer = log.subscribe(Topic::Changes, "look").await.unwrap();
    loop {
        let records = consumer.next(100, std::time::Duration::ZERO).await.unwrap();
        if records.is_empty() {
            break;
        }
        found.extend(records.into_iter().map(|record| (record.position, record.payload)));
    }
    for (position, text) in &acknowledged.appends {
        assert_eq!(found.get(position).map(|payload| &payload[..]), Some(text.as_bytes()), "{position:?}");
    }
}
