//! Appending: one idempotent producer, many appends in flight.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord, Producer};
use vidimus_ports::{Append, PortError, PortErrorKind, PortResult, Position};

use crate::client::{Context, OffThread};
use crate::config::{KafkaConfig, millis};
use crate::error::{code, port_error};
use crate::metrics::KafkaMetrics;

/// Appends that wait for the brokers; more are refused.
const QUEUE_RECORDS_MAX: &str = "20000";
/// Kilobytes that wait for the brokers; more are refused.
const QUEUE_KILOBYTES_MAX: &str = "65536";
/// What an append may take past its timeout before it is given up: the library answers in time, unless it is stuck.
const GRACE: Duration = Duration::from_secs(2);

type Client = OffThread<FutureProducer<Context>>;

/// Appends records.
pub(crate) struct Appender {
    client: ClientConfig,
    timeout: Duration,
    metrics: KafkaMetrics,
    producer: RwLock<Arc<Client>>,
}

impl Appender {
    pub(crate) fn new(
        common: &ClientConfig,
        config: &KafkaConfig,
        metrics: KafkaMetrics,
    ) -> KafkaResult<Self> {
        let mut client = common.clone();
        client
            .set("enable.idempotence", "true")
            .set("acks", "all")
            .set("message.timeout.ms", millis(config.append_timeout))
            .set("request.timeout.ms", millis(config.append_timeout / 2))
            .set("message.max.bytes", config.record_bytes_max().to_string())
            .set("queue.buffering.max.messages", QUEUE_RECORDS_MAX)
            .set("queue.buffering.max.kbytes", QUEUE_KILOBYTES_MAX)
            .set("linger.ms", "1")
            .set("compression.type", "zstd")
            // The hash of Kafka's own clients: a key keeps its partition, whoever appends.
            .set("partitioner", "murmur2");
        let producer = RwLock::new(Arc::new(make(&client)?));
        Ok(Self { client, timeout: config.append_timeout, metrics, producer })
    }

    /// Appends a record to a topic of the cluster.
    pub(crate) async fn append(&self, topic: &str, record: &Append) -> PortResult<Position> {
        record.check()?;
        let producer = Arc::clone(&self.producer.read().unwrap_or_else(PoisonError::into_inner));
        let appended = self.send(&producer, topic, record).await;
        if appended.is_err() && producer.client().fatal_error().is_some() {
            self.replace();
        }
        appended
    }

    async fn send(&self, producer: &Client, topic: &str, record: &Append) -> PortResult<Position> {
        const CONTEXT: &str = "append to log";
        let headers = record.headers.iter().fold(OwnedHeaders::new(), |headers, header| {
            headers.insert(Header { key: &header.name, value: Some(&header.value[..]) })
        });
        let message =
            FutureRecord::to(topic).key(&record.key[..]).payload(&record.payload[..]).headers(headers);
        let sent = producer.send_result(message).map_err(|(error, _)| not_appended(error))?;
        let unanswered = |reason| PortError::new(PortErrorKind::Unavailable, CONTEXT).because(reason);
        let answer = tokio::time::timeout(self.timeout + GRACE, sent).await;
        let answer = answer.map_err(|_| unanswered("no answer in time"))?;
        let delivered = answer.map_err(|_| unanswered("the producer was ended"))?;
        let place = delivered.map_err(|(error, _)| not_appended(error))?;
        appended_at(place.partition, place.offset)
    }

    /// A producer that has failed for good (its sequence was broken, by lost data or a server's fault) says so to every
    /// append from then on. Nothing that it acknowledged is in doubt: another takes its place.
    fn replace(&self) {
        let mut current = self.producer.write().unwrap_or_else(PoisonError::into_inner);
        let Some((code, reason)) = current.client().fatal_error() else { return };
        tracing::error!(%code, reason, "the producer has failed for good; another takes its place");
        match make(&self.client) {
            Ok(fresh) => {
                *current = Arc::new(fresh);
                self.metrics.producer_replaced();
            }
            Err(error) => tracing::error!(%error, "no producer could be made"),
        }
    }
}

fn make(client: &ClientConfig) -> KafkaResult<Client> {
    Ok(OffThread::new(FutureProducer::from_config_and_context(client, Context::default())?))
}

/// Why a record was not appended. The library chose its partition of those that the topic had: one that is not there was lost with it.
fn not_appended(error: KafkaError) -> PortError {
    const CONTEXT: &str = "append to log";
    if code(&error) == Some(RDKafkaErrorCode::UnknownPartition) {
        return PortError::new(PortErrorKind::NotFound, CONTEXT).because(error);
    }
    port_error(CONTEXT)(error)
}

/// Where a record was appended. A leader that took over knows that it has a record that is sent again, and not always where: then
/// the append is as one without an answer, and whoever asks again appends again, which does no harm.
fn appended_at(partition: i32, offset: i64) -> PortResult<Position> {
    if offset < 0 {
        let reason = "an earlier try of it succeeded, and where is not known";
        return Err(PortError::new(PortErrorKind::Unavailable, "append to log").because(reason));
    }
    position(partition, offset)
}

/// A place in a partition, as the library says it.
pub(crate) fn position(partition: i32, offset: i64) -> PortResult<Position> {
    let place = u32::try_from(partition).ok().zip(u64::try_from(offset).ok());
    let (partition, offset) = place.ok_or_else(|| {
        PortError::new(PortErrorKind::Internal, "read position").because("partition or offset is negative")
    })?;
    Ok(Position { partition, offset })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_append_whose_place_is_not_known_is_for_asking_again() {
        assert_eq!(appended_at(1, 7).unwrap(), Position { partition: 1, offset: 7 });
        let lost = not_appended(KafkaError::MessageProduction(RDKafkaErrorCode::UnknownPartition));
        assert_eq!(lost.kind(), PortErrorKind::NotFound, "which the log says to be for asking again");
        // RD_KAFKA_OFFSET_INVALID, which the library says of a record that a leader has already.
        let error = appended_at(1, -1001).unwrap_err();
        assert!(error.is_retryable() && error.kind() == PortErrorKind::Unavailable, "{error}");
    }
}
