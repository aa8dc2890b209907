//! One consumer's reading.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::Instant;
use vidimus_domain::Nonce;
use vidimus_ports::{Append, Committed, LogRecord, PortResult, Position, Subscription};

use super::partition::Cursor;
use super::topic::{TopicLog, blocking};

/// A consumer of a group.
pub(crate) struct Consumer {
    topic: Arc<TopicLog>,
    /// The log's life.
    incarnation: Nonce,
    group: String,
    member: u64,
    /// Where it reads on, for each partition that is its own. One that was lost and got back between two calls goes on
    /// where it was: what was given from it is still being worked on here.
    cursors: BTreeMap<u32, Cursor>,
    /// The partition that the next call reads first, so that each has its turn.
    turn: u32,
}

impl Consumer {
    pub(crate) fn join(topic: Arc<TopicLog>, incarnation: Nonce, group: &str) -> Self {
        let member = topic.groups().entry(group.to_owned()).or_default().join();
        topic.changed().send_replace(());
        Self { topic, incarnation, group: group.to_owned(), member, cursors: BTreeMap::new(), turn: 0 }
    }

    /// Takes up the partitions that are this consumer's now, and drops the others.
    fn take_partitions(&mut self) {
        let owned: Vec<u32> = {
            let groups = self.topic.groups();
            let membership = groups.get(&self.group);
            let owns = |partition| membership.is_some_and(|group| group.owns(self.member, partition));
            self.topic
                .partitions()
                .map(|(partition, _)| partition)
                .filter(|partition| owns(*partition))
                .collect()
        };
        self.cursors.retain(|partition, _| owned.contains(partition));
        if owned.iter().all(|partition| self.cursors.contains_key(partition)) {
            return;
        }
        let committed: BTreeMap<u32, u64> = self.topic.journal().committed(&self.group).into_iter().collect();
        for partition in owned {
            let offset = committed.get(&partition).copied().unwrap_or(0);
            self.cursors.entry(partition).or_insert(Cursor::at(offset));
        }
    }

    /// Whether any of this consumer's partitions has records for it.
    fn has_more(&self) -> bool {
        let behind = |(partition, cursor): (&u32, &Cursor)| {
            self.topic.partition(*partition).is_ok_and(|partition| cursor.offset < partition.bounds().1)
        };
        self.cursors.iter().any(behind)
    }

    /// Reads up to `limit` records. Where the caller does not wait for the end, they are given again.
    async fn read(&mut self, limit: usize) -> PortResult<Vec<LogRecord>> {
        let (topic, turn) = (self.topic.clone(), self.turn);
        let mut cursors = self.cursors.clone();
        let (records, cursors) = blocking(move || {
            let records = read_all(&topic, &mut cursors, turn, limit)?;
            Ok((records, cursors))
        })
        .await?;
        self.cursors = cursors;
        self.turn = self.turn.wrapping_add(1);
        Ok(records)
    }
}

/// Reads up to `limit` records of the cursors' partitions, beginning with the one whose turn it is.
fn read_all(
    topic: &TopicLog,
    cursors: &mut BTreeMap<u32, Cursor>,
    turn: u32,
    limit: usize,
) -> PortResult<Vec<LogRecord>> {
    let mut records = Vec::new();
    let count = cursors.len();
    let first = (turn as usize).checked_rem(count).unwrap_or(0);
    let (before, from) = cursors.iter_mut().enumerate().partition::<Vec<_>, _>(|(index, _)| *index < first);
    for (_, (partition, cursor)) in from.into_iter().chain(before) {
        let log = topic.partition(*partition)?;
        while records.len() < limit && cursor.offset < log.bounds().1 {
            let read = log.read(cursor, limit - records.len())?;
            if read.is_empty() {
                break;
            }
            for (offset, Append { key, payload, headers }) in read {
                let position = Position { partition: *partition, offset };
                records.push(LogRecord { position, key, payload, headers });
            }
        }
    }
    Ok(records)
}

#[async_trait]
impl Subscription for Consumer {
    fn incarnation(&self) -> Nonce {
        self.incarnation
    }

    async fn next(&mut self, limit: usize, wait: Duration) -> PortResult<Vec<LogRecord>> {
        let deadline = Instant::now() + wait;
        let mut changed = self.topic.changed().subscribe();
        loop {
            changed.mark_unchanged();
            self.take_partitions();
            if limit > 0 && self.has_more() {
                let records = self.read(limit).await?;
                if !records.is_empty() {
                    return Ok(records);
                }
            }
            if tokio::time::timeout_at(deadline, changed.changed()).await.is_err() {
                return Ok(Vec::new());
            }
        }
    }

    async fn commit(&mut self, next: Committed) -> PortResult<()> {
        let (topic, group) = (self.topic.clone(), self.group.clone());
        blocking(move || topic.commit(&group, next)).await
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        if let Some(group) = self.topic.groups().get_mut(&self.group) {
            group.leave(self.member);
        }
        self.topic.changed().send_replace(());
    }
}
