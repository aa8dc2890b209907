//! Where a call stands, and who may interfere there.

use std::fmt;

use async_trait::async_trait;
use vidimus_domain::blob_key::BlobKey;

use crate::error::PortResult;
use crate::event_log::Topic;

/// What an object is, as its key tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum BlobKind {
    /// A photo.
    Photo,
    /// A photo's record.
    Record,
    /// Anything else: catalog, audit batches.
    Other,
}

impl BlobKind {
    /// The kind of the object of `key`.
    #[must_use]
    pub fn of(key: &BlobKey) -> Self {
        let part = |name: &str| key.as_str().split('/').any(|part| part == name);
        match (part("photos"), part("records")) {
            (true, _) => Self::Photo,
            (_, true) => Self::Record,
            _ => Self::Other,
        }
    }
}

/// What a call does. Reading is one stage a port, since it has no effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Stage {
    /// An object is put.
    Put(BlobKind),
    /// An object is deleted.
    Delete(BlobKind),
    /// Objects are read or listed.
    BlobRead,
    /// A record is appended.
    Append(Topic),
    /// Records, bounds or commits are read, or a group is joined.
    LogRead,
    /// A group commits.
    Commit,
    /// A partition is trimmed.
    Trim,
    /// Points are written: the projection.
    IndexWrite,
    /// Points are removed.
    IndexRemove,
    /// Points are got, searched, listed or counted.
    IndexRead,
    /// The index is flushed.
    IndexFlush,
    /// A photo is encoded.
    Encode,
}

impl fmt::Display for Stage {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            Self::Put(BlobKind::Photo) => "photo put",
            Self::Put(BlobKind::Record) => "record put",
            Self::Put(BlobKind::Other) => "other put",
            Self::Delete(BlobKind::Photo) => "photo delete",
            Self::Delete(BlobKind::Record) => "record delete",
            Self::Delete(BlobKind::Other) => "other delete",
            Self::BlobRead => "blob read",
            Self::Append(topic) => return write!(formatter, "append to {}", topic.name()),
            Self::LogRead => "log read",
            Self::Commit => "commit",
            Self::Trim => "trim",
            Self::IndexWrite => "index write",
            Self::IndexRemove => "index remove",
            Self::IndexRead => "index read",
            Self::IndexFlush => "index flush",
            Self::Encode => "encode",
        };
        formatter.write_str(name)
    }
}

/// Which side of the effect a call is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Moment {
    /// It has not taken place.
    Before,
    /// It has taken place, and the caller has not been told.
    After,
}

/// Interferes with calls: it may wait, fail the call, or end the process. A call that it fails before the effect has
/// none; one that it fails after the effect has had it. Calls that fail of themselves have no "after".
#[async_trait]
pub trait Interference: Send + Sync {
    /// A call is there.
    async fn at(&self, stage: Stage, moment: Moment) -> PortResult<()>;
}

/// Tells a function of every stage. The function may note it, or kill the process: on return the call goes on.
pub struct StageHook<F>(F);

impl<F: Fn(Stage, Moment) + Send + Sync> StageHook<F> {
    /// Tells `hook`.
    pub const fn new(hook: F) -> Self {
        Self(hook)
    }
}

#[async_trait]
impl<F: Fn(Stage, Moment) + Send + Sync> Interference for StageHook<F> {
    async fn at(&self, stage: Stage, moment: Moment) -> PortResult<()> {
        (self.0)(stage, moment);
        Ok(())
    }
}

/// Runs `effect` with interference on both sides.
pub(super) async fn around<T>(
    interference: &dyn Interference,
    stage: Stage,
    effect: impl Future<Output = PortResult<T>>,
) -> PortResult<T> {
    interference.at(stage, Moment::Before).await?;
    let result = effect.await?;
    interference.at(stage, Moment::After).await?;
    Ok(result)
}
