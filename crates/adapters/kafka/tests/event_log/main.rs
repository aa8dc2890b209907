//! The log on a real broker that nothing happens to.

#![cfg(test)]

mod groups;
mod lives;
mod secure;
#[path = "../support/mod.rs"]
mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use prometheus_client::registry::Registry;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rustix::process::{Pid, Signal, kill_process};
use support::{Broker, DEADLINE, after, config, read_until};
use vidimus_kafka::{KafkaConfig, KafkaEventLog, KafkaMetrics, OpenError};
use vidimus_ports::{Append, EventLog, Position, SystemRandom, Topic, conformance};

/// What tells the process that another test stops where the log is: URI and topic prefix.
const SLEEPER: &str = "VIDIMUS_KAFKA_SLEEPER";
const GROUP: &str = "indexing";
const WAIT: Duration = Duration::from_millis(200);

fn broker() -> &'static Broker {
    static BROKER: OnceLock<Broker> = OnceLock::new();
    BROKER.get_or_init(Broker::start)
}

/// A client that is not the log's.
fn admin() -> AdminClient<DefaultClientContext> {
    let mut client = ClientConfig::new();
    client.set("bootstrap.servers", broker().uri().replace("kafka://", "")).create().unwrap()
}

async fn append(log: &KafkaEventLog, count: usize) -> Vec<Position> {
    append_to(log, Topic::Changes, count).await
}

async fn append_to(log: &KafkaEventLog, topic: Topic, count: usize) -> Vec<Position> {
    let appends = (0..count).map(|number| {
        log.append(topic, Append::new(format!("key-{number}").as_bytes(), format!("record-{number}")))
    });
    futures::future::try_join_all(appends).await.unwrap()
}

fn partitions(positions: impl IntoIterator<Item = Position>) -> BTreeSet<u32> {
    positions.into_iter().map(|position| position.partition).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn conforms() {
    let log = broker().open(&config()).await.unwrap();
    conformance::event_log::conforms(Arc::new(log), &SystemRandom).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn many_appends_are_in_flight_at_a_time() {
    let log = broker().open(&config()).await.unwrap();
    append(&log, 100).await;
    let started = Instant::now();
    let positions = append(&log, 10_000).await;
    println!("10,000 appends took {:?}", started.elapsed());
    assert_eq!(positions.iter().collect::<BTreeSet<_>>().len(), 10_000);
    let mut offsets: BTreeMap<u32, Vec<u64>> = BTreeMap::new();
    for position in positions {
        offsets.entry(position.partition).or_default().push(position.offset);
    }
    let in_order = |offsets: &Vec<u64>| offsets.is_sorted();
    assert!(
        offsets.len() == 4 && offsets.values().all(in_order),
        "appends keep the order in which they were made"
    );
}

/// What the stopped process of the next test runs: it reads, says so, and on a word commits what it read first.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "the test of a stopped consumer starts it"]
async fn sleeper() {
    let (uri, prefix) =
        std::env::var(SLEEPER).unwrap().split_once(' ').map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
    let deps = vidimus_kafka::KafkaDeps { random: Arc::new(SystemRandom), metrics: KafkaMetrics::default() };
    let config = KafkaConfig { topic_prefix: prefix, ..config() };
    let log = KafkaEventLog::open(&uri, config, deps).await.unwrap();
    let mut consumer = log.subscribe(Topic::Changes, GROUP).await.unwrap();
    let records = read_until(&mut *consumer, |records| records.len() >= 10).await;
    println!("\nread");
    let word = tokio::task::spawn_blocking(|| std::io::stdin().lines().next());
    word.await.unwrap().unwrap().unwrap();
    println!("\ncommitted {:?}", consumer.commit(after(records[4].position)).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_that_was_stopped_cannot_commit_over_its_successor() {
    let config = config();
    let log = broker().open(&config).await.unwrap();
    for number in 0..10 {
        log.append(Topic::Changes, Append::new(b"one", format!("{number}"))).await.unwrap();
    }
    let mut sleeper = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "sleeper", "--ignored", "--nocapture"])
        .env(SLEEPER, format!("{} {}", broker().uri(), config.topic_prefix))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(sleeper.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.any(|line| line == "read"));
    let pid = Pid::from_child(&sleeper);
    kill_process(pid, Signal::STOP).unwrap();

    let mut successor = log.subscribe(Topic::Changes, GROUP).await.unwrap();
    let records = read_until(&mut *successor, |records| records.len() >= 10).await;
    successor.commit(after(records[7].position)).await.unwrap();
    let committed = log.committed(Topic::Changes, GROUP).await.unwrap();
    assert_eq!(committed, [after(records[7].position)]);

    // The word waits for it: committing is the first thing that it does when it goes on.
    writeln!(sleeper.stdin.take().unwrap(), "go").unwrap();
    kill_process(pid, Signal::CONT).unwrap();
    let told = lines.find(|line| line.starts_with("committed")).unwrap();
    println!("the stopped consumer: {told}");
    assert_eq!(
        log.committed(Topic::Changes, GROUP).await.unwrap(),
        committed,
        "the successor's commit stands"
    );
    let ended = sleeper.wait().unwrap();
    assert!(ended.success());
    let standing = log.committed(Topic::Changes, GROUP).await.unwrap();
    assert_eq!(standing, committed, "the successor's commit stands");
}

/// A topic that was made by others.
async fn make_topic(name: &str, partitions: i32, setting: (&str, &str)) {
    let mut topic = NewTopic::new(name, partitions, TopicReplication::Fixed(1));
    let sound = [("retention.ms", "-1"), ("max.message.bytes", "4000000"), ("flush.messages", "1")];
    for (name, value) in sound.into_iter().chain([setting]) {
        topic = topic.set(name, value);
    }
    let options = AdminOptions::new().operation_timeout(Some(DEADLINE));
    admin().create_topics([&topic], &options).await.unwrap().remove(0).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn topics_that_would_lose_records_are_refused() {
    for (partitions, setting, about) in [
        (2, ("retention.bytes", "-1"), "has 2 partitions, and 4 are asked for"),
        (4, ("retention.ms", "600000"), "retention.ms = 600000, and must have -1"),
        (4, ("cleanup.policy", "compact"), "cleanup.policy = compact, and must have delete"),
        (4, ("flush.messages", "1000"), "flush.messages = 1000, and must have 1: a power loss"),
        (4, ("min.insync.replicas", "2"), "min.insync.replicas = 2, and a partition of 1 replicas: nothing"),
        (4, ("max.message.bytes", "1000"), "max.message.bytes = 1000, and must have at least"),
    ] {
        let config = config();
        make_topic(&format!("{}vidimus.changes", config.topic_prefix), partitions, setting).await;
        let refused = broker().open(&config).await.err().unwrap();
        let OpenError::Topics(faults) = &refused else { panic!("{refused}") };
        assert!(faults.len() == 1 && faults[0].contains(about), "{refused}");
    }
    let more = config();
    make_topic(&format!("{}vidimus.changes", more.topic_prefix), 9, ("retention.bytes", "-1")).await;
    let log = broker().open(&more).await.unwrap();
    assert_eq!(log.state(Topic::Changes).await.unwrap().len(), 9, "more partitions are taken as they are");

    let replicas = KafkaConfig { replication_factor: 3, min_insync_replicas: 2, ..more };
    let refused = broker().open(&replicas).await.err().unwrap().to_string();
    assert!(refused.contains("has a partition of 1 replicas, and 3 are asked for"), "{refused}");
    let impossible = KafkaConfig { topic_prefix: config().topic_prefix, ..replicas };
    let refused = broker().open(&impossible).await.err().unwrap().to_string();
    assert!(refused.contains("cannot be made"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_goes_on_behind_a_trim_and_says_so() {
    let mut registry = Registry::default();
    let metrics = KafkaMetrics::new(&mut registry);
    let log = broker().open_counted(&config(), metrics).await.unwrap();
    let mut positions = Vec::new();
    for number in 0..10 {
        positions.push(log.append(Topic::Changes, Append::new(b"one", format!("{number}"))).await.unwrap());
    }
    let mut consumer = log.subscribe(Topic::Changes, GROUP).await.unwrap();
    read_until(&mut *consumer, |records| records.len() >= 10).await;
    consumer.commit(positions[2]).await.unwrap();
    drop(consumer);
    log.trim(Topic::Changes, positions[6]).await.unwrap();
    let mut consumer = log.subscribe(Topic::Changes, GROUP).await.unwrap();
    let records = read_until(&mut *consumer, |records| records.len() >= 4).await;
    let read: Vec<Position> = records.iter().map(|record| record.position).collect();
    assert_eq!(read, positions[6..]);
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
    let told = "vidimus_log_skips_total{topic=\"vidimus.changes\",reason=\"trimmed\"} 1";
    assert!(text.contains(told), "{text}");
    let past = log.trim(Topic::Changes, Position { offset: 11, ..positions[0] }).await.unwrap_err();
    assert_eq!(past.kind(), vidimus_ports::PortErrorKind::Invalid);
    let past = consumer.commit(Position { offset: 11, ..positions[0] }).await.unwrap_err();
    assert_eq!(past.kind(), vidimus_ports::PortErrorKind::Invalid);
}

#[tokio::test(flavor = "multi_thread")]
async fn dropped_waits_lose_no_record() {
    let log = broker().open(&config()).await.unwrap();
    let mut consumer = log.subscribe(Topic::Changes, GROUP).await.unwrap();
    let writer = async {
        let mut appended = BTreeSet::new();
        for _ in 0..20 {
            appended.extend(append(&log, 10).await);
        }
        appended
    };
    let reader = async {
        let (mut read, deadline) = (Vec::new(), Instant::now() + DEADLINE);
        while read.len() < 200 {
            assert!(Instant::now() < deadline, "{} of 200 in time", read.len());
            let given = tokio::time::timeout(Duration::from_micros(300), consumer.next(7, WAIT)).await;
            read.extend(
                given.map(Result::unwrap).unwrap_or_default().into_iter().map(|record| record.position),
            );
        }
        read
    };
    let (appended, read) = tokio::join!(writer, reader);
    assert_eq!(read.len(), 200);
    assert_eq!(read.into_iter().collect::<BTreeSet<_>>(), appended);

    assert!(!log.close(Duration::ZERO).await, "a consumer is still there");
    drop(consumer);
    assert!(log.close(DEADLINE).await, "it has left its group");
}
