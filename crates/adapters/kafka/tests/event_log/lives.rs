//! What becomes of the log's life where topics are lost.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use rdkafka::admin::AdminOptions;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use vidimus_domain::Nonce;
use vidimus_kafka::{KafkaConfig, KafkaEventLog};
use vidimus_ports::{Append, EventLog, PortErrorKind, Position, Topic};

use crate::support::{DEADLINE, after, config, read_until, until_it_ends};
use crate::{GROUP, admin, append, broker};

async fn life(log: &KafkaEventLog) -> Nonce {
    log.incarnation().await.unwrap()
}

/// Deletes a topic, as somebody does by mistake.
async fn lose(config: &KafkaConfig, topic: Topic) {
    let name = format!("{}{}", config.topic_prefix, topic.name());
    let options = AdminOptions::new().operation_timeout(Some(DEADLINE));
    let admin = admin();
    admin.delete_topics(&[&name], &options).await.unwrap().remove(0).unwrap();
    // The broker hears of it in its own time.
    let deadline = Instant::now() + DEADLINE;
    let is_there = || {
        let metadata = admin.inner().fetch_metadata(None, DEADLINE).unwrap();
        metadata.topics().iter().any(|topic| topic.name() == name)
    };
    while is_there() {
        assert!(Instant::now() < deadline, "{name} is gone in time");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The life of the log that whoever opens it next finds.
async fn next_life(config: &KafkaConfig) -> Nonce {
    life(&broker().open(config).await.unwrap()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_has_one_incarnation_until_a_topic_is_lost() {
    let config = config();
    let opened = futures::future::join_all((0..4).map(|_| broker().open(&config))).await;
    let mut lives = BTreeSet::new();
    for log in opened {
        lives.insert(life(&log.unwrap()).await.to_bytes());
    }
    assert_eq!(lives.len(), 1, "whoever races for it agrees");
    lose(&config, Topic::Audit).await;
    for _ in 0..2 {
        lives.insert(next_life(&config).await.to_bytes());
    }
    assert_eq!(lives.len(), 2, "a topic that was made anew begins one other life");
    lose(&config, Topic::Audit).await;
    let opened = futures::future::join_all((0..4).map(|_| broker().open(&config))).await;
    let last = next_life(&config).await;
    assert!(!lives.contains(&last.to_bytes()));
    for log in opened {
        assert_eq!(life(&log.unwrap()).await, last, "whoever races for it agrees");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_life_ends_though_whoever_makes_topics_anew_comes_to_no_end() {
    let config = config();
    let first = next_life(&config).await;
    lose(&config, Topic::Audit).await;
    // It makes the topic, and then finds another that it does not want.
    let more = KafkaConfig { partitions: 5, ..config.clone() };
    let refused = broker().open(&more).await.err().unwrap().to_string();
    assert!(refused.contains("has 4 partitions, and 5 are asked for"), "{refused}");
    let log = broker().open(&config).await.unwrap();
    assert_eq!(log.state(Topic::Audit).await.unwrap().len(), 5, "the one that was refused had made it");
    assert_ne!(life(&log).await, first);
    assert_eq!(next_life(&config).await, life(&log).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_finds_that_a_life_has_ended_goes_on_with_making_topics() {
    let config = config();
    let log = broker().open(&config).await.unwrap();
    let first = life(&log).await;
    lose(&config, Topic::Audit).await;
    say_ended(&config, first).await;
    let second = life(&log).await;
    assert_ne!(second, first);
    assert_eq!(log.state(Topic::Audit).await.unwrap().len(), 4, "what was lost is there");
    // One that was slow to say so ends nothing.
    say_ended(&config, first).await;
    assert_eq!(life(&log).await, second);
    assert_eq!(next_life(&config).await, second);
}

/// What a producer that is none of the service's says of the log's life.
async fn say_ended(config: &KafkaConfig, life: Nonce) {
    let mut client = ClientConfig::new();
    client.set("bootstrap.servers", broker().uri().replace("kafka://", ""));
    let producer: FutureProducer = client.create().unwrap();
    let topic = format!("{}vidimus.incarnation", config.topic_prefix);
    let payload = life.to_bytes();
    producer.send(FutureRecord::to(&topic).key("ended").payload(&payload[..]), DEADLINE).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_that_is_given_partitions_of_another_life_ends() {
    let config = config();
    let log = broker().open(&config).await.unwrap();
    let first = life(&log).await;
    let mut old = log.subscribe(Topic::Changes, GROUP).await.unwrap();
    let positions = append(&log, 200).await;
    let read = read_until(&mut *old, |records| records.len() == 200).await;
    say_ended(&config, first).await;
    let second = life(&log).await;
    assert_ne!(first, second);

    // One that joins in the new life takes partitions, and gives them back.
    let mut new = log.subscribe(Topic::Changes, GROUP).await.unwrap();
    assert_eq!((old.incarnation(), new.incarnation()), (first, second));
    let taken = read_until(&mut *new, |records| !records.is_empty()).await;
    drop(new);
    assert_eq!(until_it_ends(&mut *old).await, PortErrorKind::Unavailable);
    // Nobody takes its places for the new log's.
    drop(old.commit(after(read[0].position)).await);
    assert_eq!(log.committed(Topic::Changes, GROUP).await.unwrap(), []);
    drop(old);
    let mut new = log.subscribe(Topic::Changes, GROUP).await.unwrap();
    let read = read_until(&mut *new, |records| records.len() >= 200).await;
    assert!(read.len() == positions.len() && taken.iter().all(|record| read.contains(record)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_that_has_less_than_was_committed_ends_the_life() {
    let config = config();
    let log = broker().open(&config).await.unwrap();
    let first = life(&log).await;
    let positions = append(&log, 20).await;
    let mut consumer = log.subscribe(Topic::Changes, GROUP).await.unwrap();
    read_until(&mut *consumer, |records| records.len() == 20).await;
    drop(consumer);
    assert!(log.close(DEADLINE).await);
    // As it is where a disk was lost, and what others had of it.
    let [position, ..] = positions[..] else { panic!("{positions:?}") };
    commit_past_the_end(&config, Position { offset: 1000, ..position });
    let mut consumer = log.subscribe(Topic::Changes, GROUP).await.unwrap();
    assert_eq!(until_it_ends(&mut *consumer).await, PortErrorKind::Unavailable);
    drop(consumer);
    let second = life(&log).await;
    assert_ne!(first, second, "offsets of its partitions were given before");
    // The group begins there at the oldest record, and no further life is ended.
    let mut consumer = log.subscribe(Topic::Changes, GROUP).await.unwrap();
    let read = read_until(&mut *consumer, |records| records.len() >= 20).await;
    assert_eq!(read.len(), 20);
    assert_eq!((consumer.incarnation(), next_life(&config).await), (second, second));
}

/// Commits for the group, whatever is there.
fn commit_past_the_end(config: &KafkaConfig, next: Position) {
    let mut client = ClientConfig::new();
    client.set("bootstrap.servers", broker().uri().replace("kafka://", ""));
    client.set("group.id", format!("{}vidimus.{GROUP}", config.topic_prefix));
    let consumer: BaseConsumer = client.create().unwrap();
    let mut places = TopicPartitionList::new();
    let topic = format!("{}vidimus.changes", config.topic_prefix);
    let offset = Offset::Offset(next.offset.cast_signed());
    places.add_partition_offset(&topic, next.partition.cast_signed(), offset).unwrap();
    consumer.commit(&places, CommitMode::Sync).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_topic_is_not_made_by_brokers() {
    let config = KafkaConfig { append_timeout: Duration::from_secs(8), ..config() };
    let log = broker().open(&config).await.unwrap();
    let first = life(&log).await;
    let append = || log.append(Topic::Changes, Append::new(b"key", "record"));
    append().await.unwrap();
    let name = format!("{}vidimus.changes", config.topic_prefix);
    lose(&config, Topic::Changes).await;
    let deadline = Instant::now() + DEADLINE;
    let error = loop {
        assert!(Instant::now() < deadline, "the loss is met in time");
        if let Err(error) = append().await {
            break error;
        }
    };
    assert!(error.kind() == PortErrorKind::Unavailable && error.is_retryable(), "{error}");
    append().await.unwrap_err();
    let metadata = admin().inner().fetch_metadata(None, DEADLINE).unwrap();
    assert!(!metadata.topics().iter().any(|topic| topic.name() == name), "no broker has made it");
    // Whoever opens the log makes it as it must be.
    assert_ne!(next_life(&config).await, first);
    assert_eq!(log.state(Topic::Changes).await.unwrap().len(), 4);
    while let Err(error) = append().await {
        assert!(error.is_retryable() && Instant::now() < deadline, "{error}");
    }
}
