//! What all clients of the library have in common: where their log lines go, and where they end.

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, ConsumerContext};
use rdkafka::error::KafkaError;

/// Events that a client without a thread of its own takes care of in one go.
const EVENTS_MAX: usize = 64;

/// Sends the library's log lines to ours.
#[derive(Clone, Debug, Default)]
pub(crate) struct Context;

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log_line(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::warn!(%error, reason, "the Kafka client has trouble");
    }
}

impl ConsumerContext for Context {}

/// One log line of the library.
pub(crate) fn log_line(level: RDKafkaLogLevel, facility: &str, message: &str) {
    match level {
        RDKafkaLogLevel::Emerg
        | RDKafkaLogLevel::Alert
        | RDKafkaLogLevel::Critical
        | RDKafkaLogLevel::Error => tracing::error!(facility, message, "librdkafka"),
        RDKafkaLogLevel::Warning => tracing::warn!(facility, message, "librdkafka"),
        RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info => tracing::info!(facility, message, "librdkafka"),
        RDKafkaLogLevel::Debug => tracing::debug!(facility, message, "librdkafka"),
    }
}

/// Takes care of what a consumer that is not read has to tell, so that it does not pile up.
pub(crate) fn serve(consumer: &BaseConsumer<Context>) {
    for _ in 0..EVENTS_MAX {
        let _ = consumer.poll(Duration::ZERO);
    }
}

/// A client whose end, which blocks, is on a thread of its own.
pub(crate) struct OffThread<T: Send + Sync + 'static>(Arc<T>);

impl<T: Send + Sync + 'static> OffThread<T> {
    pub(crate) fn new(client: T) -> Self {
        Self(Arc::new(client))
    }
}

impl<T: Send + Sync + 'static> Deref for OffThread<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: Send + Sync + 'static> Drop for OffThread<T> {
    fn drop(&mut self) {
        let client = Arc::clone(&self.0);
        let ending = std::thread::Builder::new().name("kafka-end".to_owned()).spawn(move || {
            // Until this one is the last that has it.
            while Arc::strong_count(&client) > 1 {
                std::thread::park_timeout(Duration::from_millis(1));
            }
        });
        if let Err(error) = ending {
            tracing::warn!(%error, "no thread to end a Kafka client on: it is ended here");
        }
    }
}
