//! One topic: partitions, journal, groups.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use vidimus_ports::consumer_group::{Membership, partition_of};
use vidimus_ports::{Append, PortError, PortErrorKind, PortResult, Position, TopicState};

use super::LogOptions;
use super::journal::Journal;
use super::partition::{Partition, PartitionParams};
use super::segment::Salt;
use super::writer::WriterParams;
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

/// How a topic is opened.
pub(crate) struct TopicParams {
    /// Its folder.
    pub(crate) folder: PathBuf,
    /// What the log was made with.
    pub(crate) options: LogOptions,
    /// Where the log's CRCs begin.
    pub(crate) salt: Salt,
    /// Admits appends; none where the topic may use the reserve.
    pub(crate) space: Option<Arc<Space>>,
    /// See [`PartitionParams::appends_here`].
    pub(crate) appends_here: bool,
}

impl TopicLog {
    pub(crate) fn open(directory: Arc<Directory>, params: TopicParams) -> Result<Self, OpenError> {
        let TopicParams { folder, options, salt, space, appends_here } = params;
        directory.ensure_folder(&folder)?;
        let journal = Journal::open(directory.disk().clone(), &folder, salt)?;
        let changed = watch::Sender::new(());
        let mut partitions = Vec::new();
        for number in 0..options.partitions {
            let partition_folder = folder.join(format!("{number:05}"));
            directory.ensure_folder(&partition_folder)?;
            let segment_bytes = options.segment_bytes;
            let writer = WriterParams { salt, segment_bytes, space: space.clone(), changed: changed.clone() };
            let params = PartitionParams {
                folder: partition_folder,
                name: format!("log-{number}"),
                trimmed_to: journal.trimmed_to(number),
                reaches: journal.furthest(number),
                writer,
                appends_here,
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

    pub(crate) async fn append(&self, record: &Append) -> PortResult<Position> {
        record.check()?;
        let partition = partition_of(&record.key, self.partitions.len() as u32);
        let offset = self.partition(partition)?.append(record).await?;
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
