//! The durable log: says what has changed.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use vidimus_domain::Nonce;

use crate::error::{PortError, PortErrorKind, PortResult};

/// Longest payload of a record.
pub const PAYLOAD_BYTES_MAX: usize = 1 << 20;
/// Longest key of a record.
pub const KEY_BYTES_MAX: usize = 1 << 10;
/// Most headers of a record.
pub const HEADERS_MAX: usize = 16;
/// Longest that the names and values of a record's headers are together.
pub const HEADERS_BYTES_MAX: usize = 16 << 10;

/// The topics; there are no others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Topic {
    /// Photos to embed.
    Photos,
    /// Changes to project.
    Changes,
    /// Audit records.
    Audit,
    /// Photos that could not be embedded, with the reason.
    PhotosDead,
}

impl Topic {
    /// Every topic.
    pub const ALL: [Self; 4] = [Self::Photos, Self::Changes, Self::Audit, Self::PhotosDead];

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Photos => "vidimus.photos",
            Self::Changes => "vidimus.changes",
            Self::Audit => "vidimus.audit",
            Self::PhotosDead => "vidimus.photos.dead",
        }
    }

    /// The consumer groups that are configured to read it. Trimming waits for all of them.
    #[must_use]
    pub const fn groups(self) -> &'static [&'static str] {
        match self {
            Self::Photos => &["embedding"],
            Self::Changes => &["indexing"],
            Self::Audit => &["ledger"],
            Self::PhotosDead => &["dead-letters"],
        }
    }
}

/// Where a record stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Position {
    /// The partition.
    pub partition: u32,
    /// The offset in it; consecutive from 0.
    pub offset: u64,
}

/// What goes with a record beside its payload: the trace it belongs to, or why it is a dead letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// What it is; not empty, without zero bytes.
    pub name: String,
    /// Its value.
    pub value: Bytes,
}

/// A record to append.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Append {
    /// Chooses the partition.
    pub key: Bytes,
    /// What is appended.
    pub payload: Bytes,
    /// What goes with it, in this order. A name may come more than once.
    pub headers: Vec<Header>,
}

impl Append {
    /// A record without headers.
    #[must_use]
    pub fn new(key: &[u8], payload: impl Into<Bytes>) -> Self {
        Self { key: Bytes::copy_from_slice(key), payload: payload.into(), headers: Vec::new() }
    }

    /// Adds a header behind those that it has.
    #[must_use]
    pub fn with_header(mut self, name: impl Into<String>, value: impl Into<Bytes>) -> Self {
        self.headers.push(Header { name: name.into(), value: value.into() });
        self
    }

    /// Checks the bounds that every log has in common.
    ///
    /// # Errors
    /// `Invalid` where one is passed.
    pub fn check(&self) -> PortResult<()> {
        let header_bytes = |header: &Header| header.name.len() + header.value.len();
        let reason = if self.payload.len() > PAYLOAD_BYTES_MAX {
            "the payload is too long"
        } else if self.key.len() > KEY_BYTES_MAX {
            "the key is too long"
        } else if self.headers.len() > HEADERS_MAX {
            "there are too many headers"
        } else if self.headers.iter().map(header_bytes).sum::<usize>() > HEADERS_BYTES_MAX {
            "the headers are too long"
        } else if self.headers.iter().any(|header| header.name.is_empty() || header.name.contains('\0')) {
            "a header has no name, or a zero byte in it"
        } else {
            return Ok(());
        };
        Err(PortError::new(PortErrorKind::Invalid, "append to log").because(reason))
    }
}

/// One record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogRecord {
    /// Where it stands.
    pub position: Position,
    /// Its key.
    pub key: Bytes,
    /// What was appended.
    pub payload: Bytes,
    /// What goes with it, in the order in which it was appended.
    pub headers: Vec<Header>,
}

impl LogRecord {
    /// The value of its last header of that name.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&Bytes> {
        self.headers.iter().rfind(|header| header.name == name).map(|header| &header.value)
    }
}

/// A group's place in a partition: the offset of the next record that it will be given.
pub type Committed = Position;

/// One partition of a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TopicState {
    /// The partition.
    pub partition: u32,
    /// The oldest offset that is still there.
    pub first_offset: u64,
    /// The offset that the next append will have.
    pub next_offset: u64,
}

/// A log of topics with partitions.
#[async_trait]
pub trait EventLog: Send + Sync {
    /// Appends a record; durable on return, against power loss too. Records of one key MUST go to one partition, in
    /// the order in which their appends returned. A record whose append failed may be there all the same. A record that
    /// passes a bound of [`Append::check`] MUST be refused as `Invalid`.
    async fn append(&self, topic: Topic, record: Append) -> PortResult<Position>;

    /// Joins `group` as a consumer of `topic`. Every partition is given to one consumer of the group at a time; it
    /// begins at the group's commit, or at the oldest record where there is none.
    async fn subscribe(&self, topic: Topic, group: &str) -> PortResult<Box<dyn Subscription>>;

    /// Every partition's bounds.
    async fn state(&self, topic: Topic) -> PortResult<Vec<TopicState>>;

    /// `group`'s commits, for the partitions where it has one.
    async fn committed(&self, topic: Topic, group: &str) -> PortResult<Vec<Committed>>;

    /// Lets go of the records of a partition before `position.offset`. Whether and when the room is given back is the
    /// log's affair; records before it MUST NOT be given to a new consumer.
    async fn trim(&self, topic: Topic, position: Position) -> PortResult<()>;

    /// Names this log's life: another one after the log was lost and begun anew, so that offsets of the one are never
    /// taken for offsets of the other.
    async fn incarnation(&self) -> PortResult<Nonce>;
}

/// One consumer's reading of a topic.
#[async_trait]
pub trait Subscription: Send {
    /// The life of the log that its records are of, as [`EventLog::incarnation`] names it. Where it is given partitions of another
    /// one, it MUST end instead (`Unavailable`): whoever reads on subscribes again.
    fn incarnation(&self) -> Nonce;

    /// Waits up to `wait` for records and returns up to `limit`, each partition's in order; none where none came. A
    /// record is given again to another consumer (or after a restart) until it is committed. A consumer that lost a
    /// partition MUST be given no more of it; where it gets it back it may be given again what it has not committed.
    async fn next(&mut self, limit: usize, wait: Duration) -> PortResult<Vec<LogRecord>>;

    /// Commits: the group's next record of the partition is the one at `next.offset`. Durable on return. A commit
    /// never goes back. A commit for a partition that has become another consumer's is no error, and MUST NOT go past
    /// that one's own: it may have no effect at all.
    async fn commit(&mut self, next: Committed) -> PortResult<()>;
}
