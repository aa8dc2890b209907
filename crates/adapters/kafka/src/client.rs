//! What all clients of the library have in common: where their log lines go, and where they end.

use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

/// Events that a client without a thread of its own takes care of in one go.
const EVENTS_MAX: usize = 64;

/// What a client met last while it tried to reach a broker.
#[derive(Clone, Debug)]
pub(crate) struct Trouble {
    /// What happened, as the library says it: to which broker, and often why. It holds no secret.
    pub(crate) said: String,
    /// Whether time alone does not mend it: a password or a certificate is not accepted.
    pub(crate) is_refusal: bool,
}

/// Sends the library's log lines to ours, and keeps the last trouble.
#[derive(Clone, Debug, Default)]
pub(crate) struct Context(Arc<Mutex<Option<Trouble>>>);

impl Context {
    pub(crate) fn trouble(&self) -> Option<Trouble> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn forget_trouble(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn keep(&self, error: &KafkaError, said: &str) {
        use RDKafkaErrorCode as Code;
        let code = error.rdkafka_error_code();
        // What is said of all brokers together says less than what was said of each.
        if code == Some(Code::AllBrokersDown) {
            return;
        }
        let is_refusal =
            matches!(code, Some(Code::Authentication | Code::SaslAuthenticationFailed | Code::SSL));
        let trouble = Trouble { said: said.to_owned(), is_refusal };
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(trouble);
    }
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log_line(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::warn!(%error, reason, "the Kafka client has trouble");
        self.keep(&error, reason);
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

    /// The client, for a thread where what blocks may run.
    pub(crate) fn shared(&self) -> Arc<T> {
        Arc::clone(&self.0)
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
