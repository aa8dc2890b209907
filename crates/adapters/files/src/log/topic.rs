//! One topic: partitions, journal, groups.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::watch;
use vidimus_ports::consumer_group::{Membership, partition_of};
use vidimus_ports::{PortError, PortErrorKind, PortResult, Position, TopicState};

use super::LogOptions;
use super::journal::Journal;
use super::partition::{Partition, PartitionParams};
use super::segment::PAYLOAD_BYTES_MAX;
use super::writer::Writer;
use crate::directory::Directory;
use crate::error::{OpenError, port_error};
use crate::space::Space;

/// One topic of a log.
pub(crate) struct TopicLog {
    partitions: Vec<Partition>,
    journal: Journal,
    groups: Mutex<HashMap<String, Membership>>,
    changed: watch::Sender<()>,
    /// Keeps the directory locked. Goes last, after the partitions' threads.
    _directory: Arc<Directory>,
}

impl TopicLog {
    pub(crate) fn open(
        directory: Arc<Directory>,
        folder: PathBuf,
        options: LogOptions,
        space: Option<Arc<Space>>,
    ) -> Result<Self, OpenError> {
        directory.ensure_folder(&folder)?;
        let journal = Journal::open(directory.disk().clone(), &folder)?;
        let changed = watch::Sender::new(());
        let mut partitions = Vec::new();
        for number in 0..options.partitions {
            let partition_folder = folder.join(format!("{number:05}"));
            directory.ensure_folder(&partition_folder)?;
            let segment_bytes = options.segment_bytes;
            let writer = Writer { segment_bytes, space: space.clone(), changed: changed.clone() };
            let params = PartitionParams {
                folder: partition_folder,
                name: format!("log-{number}"),
                trimmed_to: journal.trimmed_to(number),
                reaches: journal.furthest(number),
                writer,
            };
            partitions.push(Partition::open(directory.disk().clone(), params)?);
        }
        Ok(Self { partitions, journal, groups: Mutex::default(), changed, _directory: directory })
    }

    pub(crate) fn journal(&self) -> &Journal {
        &self.journal
    }

    /// Told whenever there is more to read, or a group's consumers are others.
    pub(crate) fn changed(&self) -> &watch::Sender<()> {
        &self.changed
    }

    /// What the group's consumers are.
    pub(crate) fn groups(&self) -> MutexGuard<'_, HashMap<String, Membership>> {
        self.groups.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn partitions(&self) -> impl Iterator<Item = (u32, &Partition)> {
        (0..).zip(&self.partitions)
    }

    pub(crate) async fn append(&self, key: &[u8], payload: Bytes) -> PortResult<Position> {
        if payload.len() > PAYLOAD_BYTES_MAX {
            return Err(
                PortError::new(PortErrorKind::Invalid, "append to log").because("the payload is too long")
            );
        }
        let partition = partition_of(key, self.partitions.len() as u32);
        let offset = self.partition(partition)?.append(payload).await?;
        Ok(Position { partition, offset })
    }

    pub(crate) fn state(&self) -> Vec<TopicState> {
        let state = |(partition, log): (u32, &Partition)| {
            let (first_offset, next_offset) = log.bounds();
            TopicState { partition, first_offset, next_offset }
        };
        self.partitions().map(state).collect()
    }

    pub(crate) fn partition(&self, partition: u32) -> PortResult<&Partition> {
        let found = self.partitions.get(partition as usize);
        found.ok_or(PortError::new(PortErrorKind::Invalid, "find partition"))
    }

    /// Blocks.
    pub(crate) fn commit(&self, group: &str, next: Position) -> PortResult<()> {
        self.check(next)?;
        self.journal.commit(group, next.partition, next.offset)
    }

    /// Blocks.
    pub(crate) fn trim(&self, position: Position) -> PortResult<()> {
        self.check(position)?;
        self.journal.trim(position.partition, position.offset)?;
        self.partition(position.partition)?.trim(position.offset).map_err(port_error("trim log"))
    }

    /// Checks that a group may go on, or a partition begin, at `position`.
    fn check(&self, position: Position) -> PortResult<()> {
        let (_, next_offset) = self.partition(position.partition)?.bounds();
        if position.offset <= next_offset {
            return Ok(());
        }
        let error = PortError::new(PortErrorKind::Invalid, "check position");
        Err(error.because("it is past the end of the partition"))
    }
}

/// Runs a call that blocks. Once it runs it runs to its end.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> PortResult<T> + Send + 'static,
) -> PortResult<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|panicked| PortError::new(PortErrorKind::Internal, "run call").because(panicked))?
}
