use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;
use vidimus_ports::conformance;
use vidimus_ports::event_log::PAYLOAD_BYTES_MAX;
use vidimus_ports::{LogRecord, SeededRandom};

use super::*;
use crate::simulated::SimulatedDisk;

const SMALL: LogOptions = LogOptions { partitions: 4, segment_bytes: 200, reserve_bytes: 0 };
const ONE: LogOptions = LogOptions { partitions: 1, ..SMALL };

fn open(root: &Path, options: LogOptions) -> FileEventLog {
    FileEventLog::open(Directory::open(root).unwrap(), options, &SeededRandom::new(1)).unwrap()
}

fn open_simulated(disk: &SimulatedDisk, options: LogOptions) -> Result<FileEventLog, OpenError> {
    let directory = Directory::on_disk("/", Arc::new(disk.clone()))?;
    FileEventLog::open(directory, options, &SeededRandom::new(1))
}

fn payload(number: u64) -> Bytes {
    Bytes::from(format!("record-{number}"))
}

async fn append(log: &FileEventLog, count: u64) -> Vec<Position> {
    let mut positions = Vec::new();
    for number in 0..count {
        let key = number.to_le_bytes();
        positions.push(log.append(Topic::Changes, Append::new(&key, payload(number))).await.unwrap());
    }
    positions
}

/// All that a new group is given.
async fn read_all(log: &FileEventLog, group: &str) -> PortResult<Vec<LogRecord>> {
    let mut consumer = log.subscribe(Topic::Changes, group).await?;
    let mut records = Vec::new();
    loop {
        let read = consumer.next(3, Duration::ZERO).await?;
        if read.is_empty() {
            return Ok(records);
        }
        records.extend(read);
    }
}

fn offsets(records: &[LogRecord]) -> Vec<u64> {
    records.iter().map(|record| record.position.offset).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn conforms() {
    for options in [LogOptions::default(), SMALL, ONE] {
        let folder = tempfile::tempdir().unwrap();
        let log = Arc::new(open(folder.path(), options));
        conformance::event_log::conforms(log, &SeededRandom::new(1)).await.unwrap();
    }
}

#[tokio::test]
async fn everything_is_there_after_reopening() {
    let folder = tempfile::tempdir().unwrap();
    let log = open(folder.path(), SMALL);
    let positions = append(&log, 50).await;
    let incarnation = log.incarnation().await.unwrap();
    let before = read_all(&log, "first").await.unwrap();
    assert_eq!(before.len(), 50);
    log.subscribe(Topic::Changes, "first").await.unwrap().commit(positions[20]).await.unwrap();
    log.trim(Topic::Changes, positions[10]).await.unwrap();
    let state = log.state(Topic::Changes).await.unwrap();
    drop(log);

    // The number of partitions is the log's, whatever is asked for.
    let log = open(folder.path(), ONE);
    assert_eq!(log.state(Topic::Changes).await.unwrap(), state);
    assert_eq!(log.incarnation().await.unwrap(), incarnation);
    assert_eq!(log.committed(Topic::Changes, "first").await.unwrap(), [positions[20]]);
    let cut = positions[10];
    let kept = |record: &LogRecord| {
        record.position.partition != cut.partition || record.position.offset >= cut.offset
    };
    let expected: Vec<_> = before.into_iter().filter(kept).collect();
    let mut again = read_all(&log, "second").await.unwrap();
    again.sort_by_key(|record| record.position);
    let mut expected_sorted = expected;
    expected_sorted.sort_by_key(|record| record.position);
    assert_eq!(again, expected_sorted);
}

#[tokio::test]
async fn trimming_removes_whole_segments_and_keeps_the_offset_exactly() {
    let folder = tempfile::tempdir().unwrap();
    let log = open(folder.path(), ONE);
    append(&log, 40).await;
    let partition = folder.path().join("topics/vidimus.changes/00000");
    let segments = || std::fs::read_dir(&partition).unwrap().count();
    let before = segments();
    assert!(before > 5, "{before}");
    for (offset, first) in [(17, 17), (16, 17), (40, 40)] {
        log.trim(Topic::Changes, Position { partition: 0, offset }).await.unwrap();
        assert_eq!(log.state(Topic::Changes).await.unwrap()[0].first_offset, first);
    }
    assert_eq!(segments(), 1, "the last segment stays");
    let past = log.trim(Topic::Changes, Position { partition: 0, offset: 41 }).await.unwrap_err();
    assert_eq!(past.kind(), PortErrorKind::Invalid);
    drop(log);
    let log = open(folder.path(), ONE);
    let state = TopicState { partition: 0, first_offset: 40, next_offset: 40 };
    assert_eq!(log.state(Topic::Changes).await.unwrap(), [state]);
    assert_eq!(read_all(&log, "group").await.unwrap(), []);
    assert_eq!(append(&log, 1).await, [Position { partition: 0, offset: 40 }]);
}

#[tokio::test]
async fn a_torn_tail_is_cut_at_every_byte() {
    let disk = SimulatedDisk::new(1);
    let log = open_simulated(&disk, LogOptions { segment_bytes: 10_000, ..ONE }).unwrap();
    append(&log, 5).await;
    drop(log);
    let path = Path::new("/topics/vidimus.changes/00000/00000000000000000000.log");
    let whole = crate::disk::Disk::read(&disk, path, 0, u64::MAX).unwrap();
    let record_bytes = whole.len() / 5;
    for length in 0..whole.len() {
        disk.tamper(path, |content| *content = whole[..length].to_vec());
        let log = open_simulated(&disk, ONE).unwrap();
        let kept = length / record_bytes;
        assert_eq!(offsets(&read_all(&log, "group").await.unwrap()), (0..kept as u64).collect::<Vec<_>>());
        assert_eq!(append(&log, 1).await[0].offset, kept as u64, "{length} bytes");
        assert_eq!(read_all(&log, "group").await.unwrap().len(), kept + 1);
    }
}

#[tokio::test]
async fn damage_in_the_middle_is_told_with_file_and_place() {
    let disk = SimulatedDisk::new(1);
    let log = open_simulated(&disk, ONE).unwrap();
    append(&log, 20).await;
    drop(log);
    let first = Path::new("/topics/vidimus.changes/00000/00000000000000000000.log");
    disk.tamper(first, |content| content[60] ^= 1);
    let log = open_simulated(&disk, ONE).unwrap();
    let error = read_all(&log, "group").await.unwrap_err();
    assert_eq!(error.kind(), PortErrorKind::Corrupt);
    assert!(error.to_string().contains("00000000000000000000.log: no sound record at byte"), "{error}");
    drop(log);

    disk.tamper(first, |content| content.truncate(70));
    let log = open_simulated(&disk, ONE).unwrap();
    assert_eq!(read_all(&log, "group").await.unwrap_err().kind(), PortErrorKind::Corrupt);
    let last = log.state(Topic::Changes).await.unwrap()[0].next_offset;
    drop(log);

    let wide = LogOptions { segment_bytes: 1 << 20, ..ONE };
    let other = SimulatedDisk::new(1);
    let log = open_simulated(&other, wide).unwrap();
    append(&log, last).await;
    drop(log);
    other.tamper(first, |content| content[60] ^= 1);
    let error = open_simulated(&other, wide).err().unwrap();
    assert!(matches!(&error, OpenError::Damaged { path, position: 46, .. } if path == first), "{error}");
}

#[test]
fn every_log_has_a_salt_of_its_own_and_keeps_it() {
    let salt = |seed| {
        let folder = tempfile::tempdir().unwrap();
        let open = |seed| {
            let directory = Directory::open(folder.path()).unwrap();
            Meta::open(&directory, 4, &SeededRandom::new(seed)).unwrap().salt
        };
        let made = open(seed);
        assert_eq!(open(seed + 100), made);
        made
    };
    assert_ne!(salt(1), salt(2));
}

#[tokio::test]
async fn missing_segments_are_told() {
    let disk = SimulatedDisk::new(1);
    let log = open_simulated(&disk, ONE).unwrap();
    let positions = append(&log, 20).await;
    let mut consumer = log.subscribe(Topic::Changes, "group").await.unwrap();
    consumer.commit(positions[19]).await.unwrap();
    drop((consumer, log));
    let folder = Path::new("/topics/vidimus.changes/00000");
    let segments = crate::disk::Disk::list(&disk, folder).unwrap();
    for segment in segments.iter().rev() {
        crate::disk::Disk::remove_file(&disk, &folder.join(&segment.name)).unwrap();
        let result = open_simulated(&disk, ONE);
        assert!(matches!(result, Err(OpenError::Damaged { .. })), "without {}", segment.name);
    }
}

#[tokio::test]
async fn a_full_disk_refuses_photos_and_lets_changes_go_on() {
    let disk = SimulatedDisk::new(1);
    let log = open_simulated(&disk, LogOptions { reserve_bytes: 1000, ..ONE }).unwrap();
    disk.set_free_bytes(900);
    let refused = log.append(Topic::Photos, Append::new(b"key", payload(1))).await.unwrap_err();
    assert_eq!(refused.kind(), PortErrorKind::Full);
    log.append(Topic::Changes, Append::new(b"key", payload(0))).await.unwrap();
    disk.set_free_bytes(20);
    let refused = log.append(Topic::Changes, Append::new(b"key", payload(9))).await.unwrap_err();
    assert_eq!(refused.kind(), PortErrorKind::Full, "nothing is left at all");
    disk.set_free_bytes(10_000);
    let position = log.append(Topic::Changes, Append::new(b"key", payload(1))).await.unwrap();
    assert_eq!(position.offset, 1, "what was refused left nothing");
    let read = read_all(&log, "group").await.unwrap();
    assert_eq!(
        read.iter().map(|record| record.payload.clone()).collect::<Vec<_>>(),
        [payload(0), payload(1)]
    );
}

#[tokio::test]
async fn payloads_have_a_limit_and_the_longest_is_read() {
    let disk = SimulatedDisk::new(1);
    let log = open_simulated(&disk, ONE).unwrap();
    let longest = Bytes::from(vec![7; PAYLOAD_BYTES_MAX]);
    for _ in 0..2 {
        log.append(Topic::Changes, Append::new(b"key", longest.clone())).await.unwrap();
    }
    let longer = Bytes::from(vec![7; PAYLOAD_BYTES_MAX + 1]);
    let refused = log.append(Topic::Changes, Append::new(b"key", longer)).await.unwrap_err();
    assert_eq!(refused.kind(), PortErrorKind::Invalid);
    let read = read_all(&log, "group").await.unwrap();
    assert!(read.len() == 2 && read.iter().all(|record| record.payload == longest));
}

/// Appends concurrently until the power fails, commits and trims, and returns what was acknowledged.
async fn run(log: &FileEventLog, waves: &[u64]) -> (Vec<(Position, Bytes)>, Option<u64>, u64) {
    let (mut acknowledged, mut committed, mut trimmed, mut number) = (Vec::new(), None, 0, 0);
    for wave in waves {
        let appends = (number..number + wave)
            .map(|number| log.append(Topic::Changes, Append::new(b"key", payload(number))));
        for (number, result) in (number..).zip(futures_join(appends).await) {
            acknowledged.extend(result.ok().map(|position| (position, payload(number))));
        }
        number += wave;
        let Some((last, _)) = acknowledged.last().cloned() else { continue };
        let mut consumer = log.subscribe(Topic::Changes, "group").await.unwrap();
        if consumer.commit(last).await.is_ok() {
            committed = Some(last.offset);
        }
        let half = Position { offset: last.offset / 2, ..last };
        if log.trim(Topic::Changes, half).await.is_ok() {
            trimmed = half.offset;
        }
    }
    (acknowledged, committed, trimmed)
}

/// Polls all futures together.
async fn futures_join<T>(futures: impl Iterator<Item = impl Future<Output = T>>) -> Vec<T> {
    let mut pending: Vec<_> = futures.map(Box::pin).collect();
    let mut done: Vec<Option<T>> = pending.iter().map(|_| None).collect();
    std::future::poll_fn(|context| {
        for (future, done) in pending.iter_mut().zip(&mut done) {
            if done.is_none()
                && let std::task::Poll::Ready(value) = future.as_mut().poll(context)
            {
                *done = Some(value);
            }
        }
        if done.iter().all(Option::is_some) { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
    done.into_iter().flatten().collect()
}

#[tokio::test]
async fn an_interrupted_opening_is_taken_up_again() {
    for calls in 0.. {
        let disk = SimulatedDisk::new(calls);
        disk.fail_after(calls);
        let opened = open_simulated(&disk, ONE).is_ok();
        for after in [disk.after_kill(), disk.after_power_loss()] {
            append(&open_simulated(&after, ONE).unwrap(), 3).await;
        }
        if opened {
            assert!(calls > 20);
            break;
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// After a power loss at any call every acknowledged append, commit and trim is there, in place, and what was not
    /// acknowledged is whole or absent.
    #[test]
    fn power_losses_undo_nothing_that_was_acknowledged(
        waves in prop::collection::vec(1..8_u64, 1..5),
        calls in 0..60_u64,
        seed: u64,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let disk = SimulatedDisk::new(seed);
            let log = open_simulated(&disk, ONE).unwrap();
            disk.fail_after(calls);
            let (acknowledged, committed, trimmed) = run(&log, &waves).await;
            drop(log);

            // Had only the process been killed: what the next one finds stays, though the power goes then.
            let killed = disk.after_kill();
            let found = read_all(&open_simulated(&killed, ONE).unwrap(), "new").await.unwrap();
            let again = open_simulated(&killed.after_power_loss(), ONE).unwrap();
            assert_eq!(read_all(&again, "new").await.unwrap(), found);

            let log = open_simulated(&disk.after_power_loss(), ONE).unwrap();
            let first_offset = log.state(Topic::Changes).await.unwrap()[0].first_offset;
            assert!(first_offset >= trimmed);
            let found = log.committed(Topic::Changes, "group").await.unwrap();
            assert!(found.first().map(|position| position.offset) >= committed);
            let read = read_all(&log, "new").await.unwrap();
            assert!(read.iter().all(|record| record.payload.starts_with(b"record-")));
            for (position, payload) in acknowledged.iter().filter(|(position, _)| position.offset >= first_offset) {
                let index = (position.offset - first_offset) as usize;
                assert_eq!(read.get(index).map(|record| (record.position, &record.payload)), Some((*position, payload)));
            }
        });
    }
}
