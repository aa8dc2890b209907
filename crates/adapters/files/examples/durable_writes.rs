//! Measures durable puts and appends: `cargo run --release -p vidimus-files --example durable_writes DIRECTORY`.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use vidimus_domain::blob_key::BlobKey;
use vidimus_files::{Directory, FileBlobStore, FileEventLog, LogOptions};
use vidimus_ports::{Append, BlobStore, EventLog, PortResult, PutCondition, Random, SystemRandom, Topic};

const RUNS_FOR: Duration = Duration::from_secs(5);

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let root = PathBuf::from(std::env::args().nth(1).ok_or("which directory?")?);
    let directory = Directory::open(root)?;
    let random = Arc::new(SystemRandom);
    let log = Arc::new(FileEventLog::open(directory.clone(), LogOptions::default(), &*random)?);
    let store = Arc::new(FileBlobStore::open(directory, 0, random)?);
    for writers in [1, 32] {
        for size in [4_000, 300_000] {
            let store = store.clone();
            let put = move || put(store.clone(), size);
            report(&format!("puts of {size} bytes"), writers, put).await?;
        }
        let log = log.clone();
        report("appends of 300 bytes", writers, move || append(log.clone())).await?;
    }
    Ok(())
}

async fn put(store: Arc<FileBlobStore>, size: usize) -> PortResult<()> {
    let name = SystemRandom.nonce();
    let Ok(key) = BlobKey::listed(&format!("measured/records/{name}")) else { return Ok(()) };
    store.put(&key, Bytes::from(vec![7; size]), PutCondition::IfAbsent).await.map(|_| ())
}

async fn append(log: Arc<FileEventLog>) -> PortResult<()> {
    let key = SystemRandom.bytes16();
    log.append(Topic::Changes, Append::new(&key, vec![7; 300])).await.map(|_| ())
}

#[expect(clippy::print_stdout, reason = "the measurement is this program's output")]
async fn report<F>(
    what: &str,
    writers: usize,
    call: impl Fn() -> F + Clone + Send + 'static,
) -> PortResult<()>
where
    F: Future<Output = PortResult<()>> + Send,
{
    let mut running = tokio::task::JoinSet::new();
    for _ in 0..writers {
        let call = call.clone();
        running.spawn(async move {
            let (started, mut took) = (Instant::now(), Vec::new());
            while started.elapsed() < RUNS_FOR {
                let before = Instant::now();
                call().await?;
                took.push(before.elapsed());
            }
            PortResult::Ok(took)
        });
    }
    let mut took = Vec::new();
    for result in running.join_all().await {
        took.extend(result?);
    }
    took.sort_unstable();
    let rate = took.len() as f64 / RUNS_FOR.as_secs_f64();
    let (median, p99) = (took[took.len() / 2], took[took.len() * 99 / 100]);
    println!("{what}, {writers} at once: {rate:.0}/s, p50 {median:.1?}, p99 {p99:.1?}");
    Ok(())
}
