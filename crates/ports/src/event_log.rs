//! The durable log: says what has changed.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use vidimus_domain::Nonce;

use crate::error::PortResult;

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
            Self::PhotosDead => &[],
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

/// One record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogRecord {
    /// Where it stands.
    pub position: Position,
    /// What was appended.
    pub payload: Bytes,
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
    /// Appends a record; durable on return, against power loss too. Records of one `key` MUST go to one partition, in
    /// the order in which their appends returned. A record whose append failed may be there all the same.
    async fn append(&self, topic: Topic, key: &[u8], payload: Bytes) -> PortResult<Position>;

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
    /// Waits up to `wait` for records and returns up to `limit`, each partition's in order; none where none came. A
    /// record is given again to another consumer (or after a restart) until it is committed.
    async fn next(&mut self, limit: usize, wait: Duration) -> PortResult<Vec<LogRecord>>;

    /// Commits: the group's next record of the partition is the one at `next.offset`. Durable on return. A commit
    /// never goes back.
    async fn commit(&mut self, next: Committed) -> PortResult<()>;
}
