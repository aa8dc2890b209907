//! The log's life, named by records of a topic of its own.
//!
//! A record is a random nonce, or says that a nonce's life has ended. The nonce that counts is the first after the last end of one
//! that counted, so all that race to begin a life agree; and an end of a nonce that does not count any more, said by one who was slow,
//! ends nothing. What is said is appended, since what brokers have trimmed may be there again after a power loss.
//!
//! It is lost with the cluster's data. Where only some topics were lost, offsets of those must never be taken for offsets of the new ones:
//! batches of audit records bear the name of the life and an offset. Whoever makes them anew does so in this order:
//!
//! 1. It reads the nonce that counts, then looks which topics are missing.
//! 2. Where one is, it says that the nonce's life has ended.
//! 3. It makes the missing topics.
//! 4. It reads the nonce that counts, and appends one if there is none.
//!
//! A process that dies before 2 has changed nothing. One that dies after 2 leaves no nonce that counts, and whoever comes next goes on
//! at 3 or 4. Whoever finds the new topics there comes to 4 after another's 2, and never reads the old nonce. Two that make the same
//! topics agree on one nonce, or at worst begin two lives, which does no harm.

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
use crate::error::{later_where_lost, panicked, port_error};
use crate::queries::{Deadline, Queries, bounds};

const CONTEXT: &str = "read the log's incarnation";
/// The key of a record that says that the nonce in it counts no more.
const ENDED: &[u8] = b"ended";
/// One wait for records.
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
    async fn append(&self) -> PortResult<Position> {
        self.appender.append(&self.topic, &Append::new(b"", self.random.nonce().to_bytes().to_vec())).await
    }

    /// Has `nonce` count no more.
    pub(crate) async fn end(&self, nonce: Nonce) -> PortResult<()> {
        let record = Append::new(ENDED, nonce.to_bytes().to_vec());
        self.appender.append(&self.topic, &record).await.map(drop)
    }

    /// Has `nonce` count no more, if it does: a partition was seen to have less than it had.
    pub(crate) async fn end_where_it_counts(&self, nonce: Nonce) -> PortResult<()> {
        if self.read().await.map_err(later_where_lost)? == Some(nonce) {
            tracing::warn!("records of the log were lost: it begins another life");
            self.end(nonce).await.map_err(later_where_lost)?;
        }
        Ok(())
    }

    /// The nonce that counts; none where there is none.
    pub(crate) async fn read(&self) -> PortResult<Option<Nonce>> {
        let this = self.clone();
        tokio::task::spawn_blocking(move || this.read_blocking()).await.map_err(panicked)?
    }

    /// The same, on the thread that asks; by a client of its own, for one that is kept may go by what the cluster was before it was lost.
    pub(crate) fn read_blocking(&self) -> PortResult<Option<Nonce>> {
        let deadline = self.queries.deadline();
        let consumer = BaseConsumer::from_config_and_context(&self.client, Context::default());
        let consumer: BaseConsumer<Context> = consumer.map_err(port_error(CONTEXT))?;
        let (first, next) = bounds(&consumer, &self.topic, 0, deadline).map_err(of_no_topic)?;
        let mut life = Life::default();
        if first < next {
            self.read_records(&consumer, (first, next), deadline, &mut life)?;
        }
        Ok(life.0)
    }

    /// Reads the records from `first` to before `next`.
    fn read_records(
        &self,
        consumer: &BaseConsumer<Context>,
        (first, next): (u64, u64),
        deadline: Deadline,
        life: &mut Life,
    ) -> PortResult<()> {
        let failed = port_error(CONTEXT);
        let mut place = TopicPartitionList::new();
        let start = Offset::Offset(first.cast_signed());
        place.add_partition_offset(&self.topic, 0, start).map_err(&failed)?;
        consumer.assign(&place).map_err(&failed)?;
        let mut trouble = None;
        while !deadline.has_passed() {
            match consumer.poll(WAIT.min(deadline.left())) {
                Some(Ok(message)) => {
                    life.hear(message.key().unwrap_or_default(), message.payload().unwrap_or_default())?;
                    if message.offset() + 1 >= next.cast_signed() {
                        return Ok(());
                    }
                }
                // It tries again by itself.
                Some(Err(error)) => trouble = Some(error),
                None => {}
            }
        }
        Err(failed(trouble.unwrap_or(KafkaError::NoMessageReceived)))
    }
}

/// Its topic has one partition: where that is not known, the topic is not there, or not yet.
fn of_no_topic(error: PortError) -> PortError {
    if error.kind() != PortErrorKind::Invalid {
        return error;
    }
    PortError::new(PortErrorKind::NotFound, CONTEXT).because(error)
}

/// The nonce that counts after the records so far.
#[derive(Debug, Default)]
struct Life(Option<Nonce>);

impl Life {
    /// The next record.
    fn hear(&mut self, key: &[u8], payload: &[u8]) -> PortResult<()> {
        let corrupt = |error| PortError::new(PortErrorKind::Corrupt, CONTEXT).because(error);
        let nonce = Nonce::from_bytes(payload).map_err(corrupt)?;
        if key != ENDED {
            self.0.get_or_insert(nonce);
        } else if self.0 == Some(nonce) {
            self.0 = None;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_nonce_after_the_last_end_counts() {
        const NEW: &[u8] = b"";
        type Record = (&'static [u8], u8);
        let cases: [(&[Record], Option<u8>); 6] = [
            (&[], None),
            (&[(NEW, 1), (NEW, 2)], Some(1)),
            (&[(NEW, 1), (NEW, 2), (ENDED, 1)], None),
            (&[(NEW, 1), (ENDED, 1), (NEW, 3), (NEW, 4)], Some(3)),
            // It was slow to say so.
            (&[(NEW, 1), (ENDED, 1), (NEW, 3), (ENDED, 1)], Some(3)),
            (&[(NEW, 1), (NEW, 2), (ENDED, 2)], Some(1)),
        ];
        for (records, counts) in cases {
            let mut life = Life::default();
            for (key, nonce) in records {
                life.hear(key, &[*nonce; 16]).unwrap();
            }
            assert_eq!(life.0, counts.map(|nonce| Nonce::from_random([nonce; 16])), "{records:?}");
        }
        assert_eq!(Life::default().hear(b"", b"short").unwrap_err().kind(), PortErrorKind::Corrupt);
    }
}
