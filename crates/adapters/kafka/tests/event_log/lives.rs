//! What becomes of the log's life where topics are lost.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::admin::AdminOptions;
use rdkafka::producer::{FutureProducer, FutureRecord};
use vidimus_domain::Nonce;
use vidimus_kafka::{KafkaConfig, KafkaEventLog};
use vidimus_ports::{Append, EventLog, PortErrorKind, Topic};

use crate::support::{DEADLINE, config};
use crate::{admin, broker};

async fn life(log: &KafkaEventLog) -> Nonce {
    log.incarnation().await.unwrap()
}

/// Deletes a topic, as somebody does by mistake.
async fn lose(config: &KafkaConfig, topic: Topic) {
    let name = format!("{}{}", config.topic_prefix, topic.name());
    let options = AdminOptions::new().operation_timeout(Some(DEADLINE));
    admin().delete_topics(&[&name], &options).await.unwrap().remove(0).unwrap();
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
    let mut client = ClientConfig::new();
    client.set("bootstrap.servers", broker().uri().replace("kafka://", ""));
    let producer: FutureProducer = client.create().unwrap();
    let topic = format!("{}vidimus.incarnation", config.topic_prefix);
    let ended = first.to_bytes();
    let end = || FutureRecord::to(&topic).key("ended").payload(&ended[..]);
    producer.send(end(), DEADLINE).await.unwrap();
    let second = life(&log).await;
    assert_ne!(second, first);
    assert_eq!(log.state(Topic::Audit).await.unwrap().len(), 4, "what was lost is there");
    // One that was slow to say so ends nothing.
    producer.send(end(), DEADLINE).await.unwrap();
    assert_eq!(life(&log).await, second);
    assert_eq!(next_life(&config).await, second);
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
