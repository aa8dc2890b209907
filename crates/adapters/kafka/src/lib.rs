//! `EventLog on Apache Kafka`.
