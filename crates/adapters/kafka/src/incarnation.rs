//! The log's life, named by the first record of a topic of its own.
//!
//! Whoever finds that topic empty appends a random nonce; the oldest one counts, so all that race for it agree. It is lost
//! with the cluster's data. Where only some topics were lost, whoever makes them anew appends another nonce and trims the
//! older ones, so that offsets of the lost topics are never taken for those of the new ones.

use std::sync::Arc;
use std::time::Duration;

use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::{ClientConfig, Message, Offset, TopicPartitionList};
use vidimus_domain::Nonce;
use vidimus_ports::{Append, PortError, PortErrorKind, PortResult, Position, Random};

use crate::appender::Appender;
use crate::client::Context;
use crate::error::{panicked, port_error};
use crate::queries::{Deadline, Queries};

const CONTEXT: &str = "read the log's incarnation";
/// One wait for the record.
const WAIT: Duration = Duration::from_millis(100);

/// What the incarnation is read and begun with.
#[derive(Clone)]
pub(crate) struct Incarnation {
    /// The topic's name in the cluster.
    pub(crate) topic: String,
    /// A client that reads it: a group's that is never joined.
    pub(crate) client: ClientConfig,
    pub(crate) queries: Arc<Queries>,
    pub(crate) appender: Arc<Appender>,
    pub(crate) random: Arc<dyn Random>,
}

impl Incarnation {
    /// The nonce that counts; a fresh one where there is none.
    pub(crate) async fn read_or_begin(&self) -> PortResult<Nonce> {
        let deadline = self.queries.deadline();
        loop {
            if let Some(nonce) = self.read().await? {
                return Ok(nonce);
            }
            if deadline.has_passed() {
                let reason = "its record cannot be read though it was appended";
                return Err(PortError::new(PortErrorKind::Unavailable, CONTEXT).because(reason));
            }
            self.append().await?;
        }
    }

    /// Appends a nonce.
    pub(crate) async fn append(&self) -> PortResult<Position> {
        self.appender.append(&self.topic, &Append::new(b"", self.random.nonce().to_bytes().to_vec())).await
    }

    /// The nonce that counts; none where there is none.
    pub(crate) async fn read(&self) -> PortResult<Option<Nonce>> {
        let this = self.clone();
        tokio::task::spawn_blocking(move || this.read_blocking()).await.map_err(panicked)?
    }

    fn read_blocking(&self) -> PortResult<Option<Nonce>> {
        let deadline = self.queries.deadline();
        let (first, next) = self.queries.bounds(&self.topic, 0, deadline)?;
        if first == next {
            return Ok(None);
        }
        let payload = self.read_at(first, deadline)?;
        let nonce = Nonce::from_bytes(&payload);
        nonce.map(Some).map_err(|error| PortError::new(PortErrorKind::Corrupt, CONTEXT).because(error))
    }

    /// The payload of the oldest record from `offset` on.
    fn read_at(&self, offset: u64, deadline: Deadline) -> PortResult<Vec<u8>> {
        let failed = port_error(CONTEXT);
        let consumer: BaseConsumer<Context> =
            BaseConsumer::from_config_and_context(&self.client, Context::default()).map_err(&failed)?;
        let mut place = TopicPartitionList::new();
        let start = Offset::Offset(offset.cast_signed());
        place.add_partition_offset(&self.topic, 0, start).map_err(&failed)?;
        consumer.assign(&place).map_err(&failed)?;
        let mut trouble = None;
        while !deadline.has_passed() {
            match consumer.poll(WAIT.min(deadline.left())) {
                Some(Ok(message)) => return Ok(message.payload().unwrap_or_default().to_vec()),
                // It tries again by itself.
                Some(Err(error)) => trouble = Some(error),
                None => {}
            }
        }
        Err(failed(trouble.unwrap_or(KafkaError::NoMessageReceived)))
    }
}
