//! A log in memory.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::watch;
use tokio::time::Instant;
use vidimus_domain::Nonce;

use crate::consumer_group::{Membership, partition_of};
use crate::error::{PortError, PortErrorKind, PortResult};
use crate::event_log::{Append, Committed, EventLog, LogRecord, Position, Subscription, Topic, TopicState};

/// Partitions of each topic.
const PARTITIONS: usize = 4;

/// An [`EventLog`] in memory, of four partitions a topic. Clones are the same log.
#[derive(Clone)]
pub struct MemoryEventLog {
    incarnation: Nonce,
    state: Arc<Mutex<State>>,
    changed: watch::Sender<()>,
}

#[derive(Default)]
struct State {
    partitions: HashMap<Topic, [Partition; PARTITIONS]>,
    groups: HashMap<(Topic, String), Group>,
}

#[derive(Default)]
struct Partition {
    first_offset: u64,
    records: Vec<Append>,
}

#[derive(Default)]
struct Group {
    membership: Membership,
    committed: BTreeMap<u32, u64>,
}

impl Partition {
    fn next_offset(&self) -> u64 {
        self.records.len() as u64
    }
}

impl State {
    fn partition(&mut self, topic: Topic, partition: u32) -> PortResult<&mut Partition> {
        let partitions = self.partitions.entry(topic).or_default();
        partitions.get_mut(partition as usize).ok_or(
            PortError::new(PortErrorKind::Invalid, "find partition").because("there is no such partition"),
        )
    }

    /// Checks that a group may go on, or a partition begin, at `position`.
    fn check(&mut self, topic: Topic, position: Position) -> PortResult<()> {
        if position.offset > self.partition(topic, position.partition)?.next_offset() {
            let error = PortError::new(PortErrorKind::Invalid, "check position");
            return Err(error.because("it is past the end of the partition"));
        }
        Ok(())
    }

    fn group(&mut self, topic: Topic, group: &str) -> &mut Group {
        self.groups.entry((topic, group.to_owned())).or_default()
    }
}

impl MemoryEventLog {
    /// An empty log of that incarnation.
    #[must_use]
    pub fn new(incarnation: Nonce) -> Self {
        Self { incarnation, state: Arc::default(), changed: watch::Sender::new(()) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl EventLog for MemoryEventLog {
    async fn append(&self, topic: Topic, record: Append) -> PortResult<Position> {
        record.check()?;
        let number = partition_of(&record.key, PARTITIONS as u32);
        let offset = {
            let mut state = self.state();
            let partition = state.partition(topic, number)?;
            partition.records.push(record);
            partition.next_offset() - 1
        };
        self.changed.send_replace(());
        Ok(Position { partition: number, offset })
    }

    async fn subscribe(&self, topic: Topic, group: &str) -> PortResult<Box<dyn Subscription>> {
        let member = self.state().group(topic, group).membership.join();
        self.changed.send_replace(());
        let consumer =
            Consumer { log: self.clone(), topic, group: group.to_owned(), member, cursors: BTreeMap::new() };
        Ok(Box::new(consumer))
    }

    async fn state(&self, topic: Topic) -> PortResult<Vec<TopicState>> {
        let mut state = MemoryEventLog::state(self);
        let bounds = |(number, partition): (usize, &Partition)| TopicState {
            partition: number as u32,
            first_offset: partition.first_offset,
            next_offset: partition.next_offset(),
        };
        Ok(state.partitions.entry(topic).or_default().iter().enumerate().map(bounds).collect())
    }

    async fn committed(&self, topic: Topic, group: &str) -> PortResult<Vec<Committed>> {
        let mut state = MemoryEventLog::state(self);
        let committed = state.group(topic, group).committed.iter();
        Ok(committed.map(|(partition, offset)| Position { partition: *partition, offset: *offset }).collect())
    }

    async fn trim(&self, topic: Topic, position: Position) -> PortResult<()> {
        let mut state = MemoryEventLog::state(self);
        state.check(topic, position)?;
        let partition = state.partition(topic, position.partition)?;
        partition.first_offset = partition.first_offset.max(position.offset);
        Ok(())
    }

    async fn incarnation(&self) -> PortResult<Nonce> {
        Ok(self.incarnation)
    }
}

struct Consumer {
    log: MemoryEventLog,
    topic: Topic,
    group: String,
    member: u64,
    /// The offset of the next record to give, for each partition that is this consumer's.
    cursors: BTreeMap<u32, u64>,
}

impl Consumer {
    fn take(&mut self, limit: usize) -> PortResult<Vec<LogRecord>> {
        let mut state = self.log.state();
        let mut records = Vec::new();
        for number in 0..PARTITIONS as u32 {
            let group = state.group(self.topic, &self.group);
            if !group.membership.owns(self.member, number) {
                self.cursors.remove(&number);
                continue;
            }
            let committed = group.committed.get(&number).copied().unwrap_or(0);
            let partition = state.partition(self.topic, number)?;
            let cursor = self.cursors.entry(number).or_insert(committed);
            *cursor = partition.first_offset.max(*cursor);
            let wanted = partition.records.iter().skip(*cursor as usize).take(limit - records.len());
            for Append { key, payload, headers } in wanted.cloned() {
                let position = Position { partition: number, offset: *cursor };
                records.push(LogRecord { position, key, payload, headers });
                *cursor += 1;
            }
        }
        Ok(records)
    }
}

#[async_trait]
impl Subscription for Consumer {
    fn incarnation(&self) -> Nonce {
        self.log.incarnation
    }

    async fn next(&mut self, limit: usize, wait: Duration) -> PortResult<Vec<LogRecord>> {
        let deadline = Instant::now() + wait;
        let mut changed = self.log.changed.subscribe();
        loop {
            changed.mark_unchanged();
            let records = self.take(limit)?;
            let in_time = records.is_empty()
                && limit > 0
                && tokio::time::timeout_at(deadline, changed.changed()).await.is_ok();
            if !in_time {
                return Ok(records);
            }
        }
    }

    async fn commit(&mut self, next: Committed) -> PortResult<()> {
        let mut state = self.log.state();
        state.check(self.topic, next)?;
        let committed = state.group(self.topic, &self.group).committed.entry(next.partition).or_default();
        *committed = next.offset.max(*committed);
        Ok(())
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        self.log.state().group(self.topic, &self.group).membership.leave(self.member);
        self.log.changed.send_replace(());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance;
    use crate::random::{Random, SeededRandom};

    #[tokio::test]
    async fn conforms() {
        let random = SeededRandom::new(1);
        let log = Arc::new(MemoryEventLog::new(random.nonce()));
        conformance::event_log::conforms(log, &random).await.unwrap();
    }
}
