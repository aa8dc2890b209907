//! Photos that lie where an administrator has put them: what a tenant names by bucket and object.

use async_trait::async_trait;
use bytes::Bytes;
use vidimus_domain::catalog::ImportPrefix;

use crate::error::PortResult;

/// What is found under a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// The object's bytes.
    Photo(Bytes),
    /// No such object, or none that may be read.
    Nothing,
    /// It is larger than was asked for; nothing of it was read.
    TooLarge,
}

/// An object under a prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceObject {
    /// Where the bucket's objects lie.
    pub prefix: ImportPrefix,
    /// Its name in the bucket, as a tenant sent it: anything at all.
    pub name: String,
    /// The version that is asked for; none: the newest.
    pub version: Option<String>,
}

/// Reads photos. It never writes.
#[async_trait]
pub trait PhotoSource: Send + Sync {
    /// The object, where it has at most `bytes_max` bytes. MUST NOT read anything outside of the prefix, whatever the name, through
    /// links either; and MUST NOT block the caller's thread.
    async fn get(&self, object: &SourceObject, bytes_max: u64) -> PortResult<Found>;
}
