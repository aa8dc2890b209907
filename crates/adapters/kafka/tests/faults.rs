//! The log on a real broker that is killed, away, and emptied.

#![cfg(test)]

mod support;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use prometheus_client::registry::Registry;
use rustix::process::{Signal, kill_process};
use support::{Broker, DEADLINE, config, is_free, read_until, until_it_ends};
use tokio::task::JoinSet;
use vidimus_kafka::{KafkaConfig, KafkaEventLog, KafkaMetrics};
use vidimus_ports::{Append, EventLog, PortErrorKind, PortResult, Position, Subscription, Topic};

const WRITERS: usize = 32;
const APPENDS: usize = 100;

/// One broker for all of it: each part leaves it running.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_outlives_the_broker() {
    let mut broker = Broker::start();
    a_broker_that_is_away_is_told_in_time(&mut broker).await;
    a_killed_broker_loses_and_doubles_nothing(&mut broker).await;
    damaged_records_end_a_consumer(&mut broker).await;
    data_that_was_deleted_begins_another_life(&mut broker).await;
}

/// Kills the broker (SIGKILL) as it is; its data stays.
fn kill(broker: &mut Broker) {
    end(broker, Signal::KILL);
}

/// Ends the broker with `signal`; its data stays.
fn end(broker: &mut Broker, signal: Signal) {
    let pid = broker.pid().expect("it runs");
    let mut script = broker.script.take().expect("it runs");
    // Its script first, which else would take the data with it.
    script.kill().unwrap();
    script.wait().unwrap();
    kill_process(pid, signal).unwrap();
    let deadline = Instant::now() + DEADLINE;
    // Its own port, and its controller's.
    while !(is_free(broker.port) && is_free(broker.port + 1)) {
        assert!(Instant::now() < deadline, "a broker that was ended is gone in time");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Removes all that a killed broker has stored. Its cluster gets a name that one in 64 has by chance: as an argument of its own
/// Kafka would take it for an option.
fn wipe(broker: &Broker) {
    assert!(broker.script.is_none());
    std::fs::remove_dir_all(broker.folder.join("broker-0")).unwrap();
    std::fs::write(broker.folder.join("cluster"), "-AAAAAAAAAAAAAAAAAAAAA").unwrap();
}

async fn append(log: &KafkaEventLog, text: String) -> PortResult<Position> {
    log.append(Topic::Changes, Append::new(text.as_bytes(), text.clone())).await
}

async fn append_until_taken(log: &KafkaEventLog, text: &str) -> Position {
    let deadline = Instant::now() + DEADLINE;
    loop {
        match append(log, text.to_owned()).await {
            Ok(position) => return position,
            Err(error) => assert!(error.is_retryable() && Instant::now() < deadline, "{error}"),
        }
    }
}

async fn a_broker_that_is_away_is_told_in_time(broker: &mut Broker) {
    let timeout = Duration::from_secs(2);
    let patient = config();
    let hasty = KafkaConfig { append_timeout: timeout, call_timeout: timeout * 5, ..patient.clone() };
    // A broker is slow at what it does for the first time: each call is made once with more time.
    let warm = broker.open(&patient).await.unwrap();
    let mut consumer = warm.subscribe(Topic::Changes, "indexing").await.unwrap();
    append(&warm, "before".to_owned()).await.unwrap();
    let before = read_until(&mut *consumer, |records| !records.is_empty()).await;
    drop(consumer);
    assert!(warm.close(DEADLINE).await);
    let log = broker.open(&hasty).await.unwrap();
    let mut consumer = log.subscribe(Topic::Changes, "indexing").await.unwrap();
    append_until_taken(&log, "warm").await;
    read_until(&mut *consumer, |records| records.contains(&before[0])).await;
    kill(broker);
    let started = Instant::now();
    let error = append(&log, "away".to_owned()).await.unwrap_err();
    println!("away: {error}, after {:?}", started.elapsed());
    assert!(error.kind() == PortErrorKind::Unavailable && error.is_retryable(), "{error}");
    assert!(started.elapsed() < timeout * 3, "{:?}", started.elapsed());
    let commit = consumer.commit(support::after(before[0].position)).await;
    assert_eq!(commit.unwrap_err().kind(), PortErrorKind::Unavailable);
    assert_eq!(log.state(Topic::Changes).await.unwrap_err().kind(), PortErrorKind::Unavailable);

    broker.resume().unwrap();
    let position = append_until_taken(&log, "back").await;
    // It may have lost its partitions meanwhile, and begin again at its commit.
    read_until(&mut *consumer, |records| records.iter().any(|record| record.position == position)).await;
    let next = support::after(position);
    consumer.commit(next).await.unwrap();
    assert!(log.committed(Topic::Changes, "indexing").await.unwrap().contains(&next));
}

async fn a_killed_broker_loses_and_doubles_nothing(broker: &mut Broker) {
    let config = KafkaConfig { append_timeout: DEADLINE, ..config() };
    let log = Arc::new(broker.open(&config).await.unwrap());
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        let log = Arc::clone(&log);
        writers.spawn(async move {
            let mut acknowledged = Vec::new();
            for number in 0..APPENDS {
                let text = format!("{writer} {number}");
                match append(&log, text.clone()).await {
                    Ok(position) => acknowledged.push((position, text)),
                    Err(error) => println!("not acknowledged: {error}"),
                }
            }
            acknowledged
        });
    }
    let some = WRITERS * APPENDS / 4;
    let deadline = Instant::now() + DEADLINE;
    while appended(&log).await < some as u64 {
        assert!(Instant::now() < deadline, "a quarter is appended in time");
    }
    kill(broker);
    broker.resume().unwrap();
    let acknowledged: BTreeMap<Position, String> = writers.join_all().await.into_iter().flatten().collect();
    println!("{} of {} appends were acknowledged", acknowledged.len(), WRITERS * APPENDS);
    assert!(acknowledged.len() > some);
    let all = appended(&log).await as usize;
    let mut consumer = log.subscribe(Topic::Changes, "indexing").await.unwrap();
    let records = read_until(&mut *consumer, |records| records.len() >= all).await;
    let mut found: BTreeMap<String, Position> = BTreeMap::new();
    for record in records {
        let text = String::from_utf8(record.payload.to_vec()).unwrap();
        let twice = found.insert(text.clone(), record.position);
        assert_eq!(twice, None, "{text} is there twice");
    }
    for (position, text) in &acknowledged {
        assert_eq!(found.get(text), Some(position), "{text} is where it was acknowledged");
    }
}

async fn appended(log: &KafkaEventLog) -> u64 {
    log.state(Topic::Changes).await.unwrap().iter().map(|state| state.next_offset).sum()
}

/// Where the batches of a broker's log file begin (Kafka's record batches: offset of 8 bytes, length of 4, and so many bytes).
fn batches(log: &[u8]) -> Vec<usize> {
    let (mut starts, mut at) = (Vec::new(), 0);
    while let Some(length) = log.get(at + 8..at + 12) {
        starts.push(at);
        at += 12 + u32::from_be_bytes(length.try_into().unwrap()) as usize;
    }
    starts
}

async fn damaged_records_end_a_consumer(broker: &mut Broker) {
    let damage_patience = Duration::from_secs(2);
    let config = KafkaConfig { partitions: 1, damage_patience, ..config() };
    let mut registry = Registry::default();
    let log = broker.open_counted(&config, KafkaMetrics::new(&mut registry)).await.unwrap();
    let mut positions = Vec::new();
    for number in 0..4 {
        positions.push(append(&log, format!("record {number}")).await.unwrap());
    }
    // In order: what was killed is read through at the next start, and cut off where it is damaged.
    end(broker, Signal::TERM);
    let folder = format!("{}vidimus.changes-0", config.topic_prefix);
    let file = broker.folder.join("broker-0").join(folder).join("00000000000000000000.log");
    let mut bytes = std::fs::read(&file).unwrap();
    let starts = batches(&bytes);
    assert_eq!(starts.len(), 4);
    bytes[starts[2] - 1] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    broker.resume().unwrap();

    for _ in 0..2 {
        let mut consumer = log.subscribe(Topic::Changes, "indexing").await.unwrap();
        let deadline = Instant::now() + DEADLINE;
        let error = loop {
            assert!(Instant::now() < deadline, "the damage is met in time");
            match consumer.next(100, Duration::from_millis(200)).await {
                Ok(records) => assert!(records.iter().all(|record| record.position == positions[0])),
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind(), PortErrorKind::Corrupt, "{error}");
    }
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
    assert!(text.contains("vidimus_log_damages_total{topic=\"vidimus.changes\"} 2"), "{text}");
    assert!(!text.contains("trimmed"), "{text}");

    // Somebody lets go of it: then it goes on behind.
    log.trim(Topic::Changes, positions[2]).await.unwrap();
    let mut consumer = log.subscribe(Topic::Changes, "indexing").await.unwrap();
    let read = read_until(&mut *consumer, |records| records.len() >= 2).await;
    assert_eq!(read.iter().map(|record| record.position).collect::<Vec<_>>(), positions[2..]);
}

async fn data_that_was_deleted_begins_another_life(broker: &mut Broker) {
    let config = config();
    let old = broker.open(&config).await.unwrap();
    let incarnation = old.incarnation().await.unwrap();
    let mut consumer = consumer_that_has_all(&old, 20).await;
    assert_eq!(consumer.incarnation(), incarnation);
    kill(broker);
    wipe(broker);
    broker.resume().unwrap();
    let fresh = broker.open(&config).await.unwrap();
    assert_ne!(fresh.incarnation().await.unwrap(), incarnation);
    assert_eq!(appended(&fresh).await, 0);
    // Nobody has told it anything that it could know the other life by, and it gives out nothing of that.
    assert_eq!(until_it_ends(&mut *consumer).await, PortErrorKind::Unavailable);
    drop(consumer);
    // A log that was open all the while finds its way, and knows that the life is another.
    append_until_taken(&old, "again").await;
    let another = fresh.incarnation().await.unwrap();
    let mut consumer = old.subscribe(Topic::Changes, "indexing").await.unwrap();
    assert_eq!((old.incarnation().await.unwrap(), consumer.incarnation()), (another, another));
    let read = read_until(&mut *consumer, |records| !records.is_empty()).await;
    assert_eq!(read[0].payload, "again");
}

/// A consumer that was given so many records, which it has committed.
async fn consumer_that_has_all(log: &KafkaEventLog, count: usize) -> Box<dyn Subscription> {
    let mut consumer = log.subscribe(Topic::Changes, "indexing").await.unwrap();
    for number in 0..count {
        append(log, number.to_string()).await.unwrap();
    }
    for record in read_until(&mut *consumer, |records| records.len() == count).await {
        consumer.commit(support::after(record.position)).await.unwrap();
    }
    consumer
}
