//! [`EventLog`](vidimus_ports::EventLog) on Apache Kafka: what the distributed mode stands on.
//!
//! [`KafkaEventLog::open`] makes the topics that are missing and refuses those that are set up in a way that would lose
//! records. Appends are idempotent and acknowledged by all replicas in sync. A consumer is a member of a group with
//! cooperative rebalancing; it commits by hand, only what is its own, and never goes back.
//!
//! The client library blocks in many places: everything of it runs on threads of its own or on the blocking pool.

mod appender;
mod client;
mod config;
mod error;
mod incarnation;
mod log;
mod metrics;
mod queries;
mod subscription;
mod topics;

pub use config::{KafkaConfig, Mechanism, Sasl, Security};
pub use error::OpenError;
pub use log::{KafkaDeps, KafkaEventLog};
pub use metrics::KafkaMetrics;
