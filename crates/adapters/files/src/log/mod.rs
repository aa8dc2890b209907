//! A log of segment files.
//!
//! Layout: `meta` (incarnation, number of partitions, and salt), and for each topic `topics/NAME/journal` and
//! `topics/NAME/PARTITION/FIRST_OFFSET.log`. See [`segment`] and
//! [`content`] for the bytes.

mod consumer;
pub(crate) mod content;
mod file;
pub(crate) mod journal;
mod partition;
pub(crate) mod segment;
mod topic;
mod writer;

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use vidimus_domain::Nonce;
use vidimus_ports::{
    Append, Committed, EventLog, PortError, PortErrorKind, PortResult, Position, Random, Subscription, Topic,
    TopicState,
};

use crate::directory::Directory;
use crate::error::OpenError;
use crate::space::Space;
use consumer::Consumer;
use segment::Salt;
use topic::{TopicLog, TopicParams, blocking};

/// What a log is made with.
#[derive(Clone, Copy, Debug)]
pub struct LogOptions {
    /// Partitions of each topic. Counts when the log is made; afterwards it has those that it has.
    pub partitions: u32,
    /// A segment of this length or more is followed by another. Trimming gives room back by segments.
    pub segment_bytes: u64,
    /// Bytes of the disk that are kept for deletions: while less is free, photos to embed are refused with `Full`.
    /// Changes, audit records and commits go on, since deletions need them.
    pub reserve_bytes: u64,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self { partitions: 4, segment_bytes: 64 << 20, reserve_bytes: 0 }
    }
}

/// An [`EventLog`] on a directory. Its consumers all live in this process, since the directory is this process's.
///
/// Each partition has a thread that takes all appends that wait, writes them at once, syncs once, and answers them. An audit record
/// that would be the only one is written by whoever appends it.
pub struct FileEventLog {
    incarnation: Nonce,
    topics: BTreeMap<Topic, Arc<TopicLog>>,
}

impl FileEventLog {
    /// Opens the log of a directory, or makes one. What an interrupted write left at a segment's end is cut; none of it
    /// had been acknowledged.
    ///
    /// # Errors
    /// Where a file is damaged, or the system refuses.
    pub fn open(
        directory: Arc<Directory>,
        options: LogOptions,
        random: &dyn Random,
    ) -> Result<Self, OpenError> {
        let meta = Meta::open(&directory, options.partitions, random)?;
        let options = LogOptions { partitions: meta.partitions, ..options };
        let topics = directory.root().join("topics");
        directory.ensure_folder(&topics)?;
        let disk = directory.disk().clone();
        let space = Arc::new(Space::new(disk, directory.root().to_owned(), options.reserve_bytes));
        let mut logs = BTreeMap::new();
        for topic in Topic::ALL {
            let folder = topics.join(topic.name());
            // What may be refused on a full disk: nothing of it is needed to delete.
            let may_be_refused = matches!(topic, Topic::Photos | Topic::PhotosDead);
            let space = may_be_refused.then(|| space.clone());
            // Every search's answer waits for its audit record.
            let appends_here = topic == Topic::Audit;
            let params = TopicParams { folder, options, salt: meta.salt, space, appends_here };
            logs.insert(topic, Arc::new(TopicLog::open(directory.clone(), params)?));
        }
        Ok(Self { incarnation: meta.incarnation, topics: logs })
    }

    fn topic(&self, topic: Topic) -> PortResult<&Arc<TopicLog>> {
        self.topics.get(&topic).ok_or(PortError::new(PortErrorKind::Internal, "find topic"))
    }
}

#[async_trait]
impl EventLog for FileEventLog {
    async fn append(&self, topic: Topic, record: Append) -> PortResult<Position> {
        self.topic(topic)?.append(&record).await
    }

    async fn subscribe(&self, topic: Topic, group: &str) -> PortResult<Box<dyn Subscription>> {
        Ok(Box::new(Consumer::join(self.topic(topic)?.clone(), self.incarnation, group)))
    }

    async fn state(&self, topic: Topic) -> PortResult<Vec<TopicState>> {
        Ok(self.topic(topic)?.state())
    }

    async fn committed(&self, topic: Topic, group: &str) -> PortResult<Vec<Committed>> {
        let committed = self.topic(topic)?.journal().committed(group);
        Ok(committed.into_iter().map(|(partition, offset)| Position { partition, offset }).collect())
    }

    async fn trim(&self, topic: Topic, position: Position) -> PortResult<()> {
        let topic = self.topic(topic)?.clone();
        blocking(move || topic.trim(position)).await
    }

    async fn incarnation(&self) -> PortResult<Nonce> {
        Ok(self.incarnation)
    }
}

/// What is fixed when a log is made.
struct Meta {
    incarnation: Nonce,
    partitions: u32,
    salt: Salt,
}

impl Meta {
    fn open(directory: &Directory, partitions: u32, random: &dyn Random) -> Result<Self, OpenError> {
        let path = directory.root().join("meta");
        let damaged = |reason| OpenError::Damaged { path: path.clone(), position: 0, reason };
        if let Some(text) = directory.read_small(&path)? {
            return Self::parse(&text).ok_or(damaged("it does not name incarnation, partitions and salt"));
        }
        let topics = directory.root().join("topics");
        if directory.disk().stat(&topics).is_ok() {
            return Err(damaged("it is missing, though there are topics"));
        }
        let mut salt = [0; 4];
        random.fill(&mut salt);
        let salt = Salt(u32::from_le_bytes(salt));
        let meta = Self { incarnation: random.nonce(), partitions: partitions.clamp(1, 1024), salt };
        let text = format!(
            "incarnation {}\npartitions {}\nsalt {:08x}\n",
            meta.incarnation, meta.partitions, meta.salt.0
        );
        directory.write_whole(&path, text.as_bytes())?;
        Ok(meta)
    }

    fn parse(text: &str) -> Option<Self> {
        let (incarnation, partitions) = text.strip_prefix("incarnation ")?.split_once("\npartitions ")?;
        let incarnation = u128::from_str_radix(incarnation, 16).ok()?.to_be_bytes();
        let (partitions, salt) = partitions.split_once("\nsalt ")?;
        let partitions = partitions.parse().ok().filter(|partitions| (1..=1024).contains(partitions))?;
        let salt = Salt(u32::from_str_radix(salt.trim_end(), 16).ok()?);
        Some(Self { incarnation: Nonce::from_random(incarnation), partitions, salt })
    }
}

#[cfg(test)]
mod tests;
