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

/// What a listing tells of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceEntry {
    /// Its name in the bucket: what [`SourceObject::name`] takes.
    pub name: String,
    /// Size in bytes.
    pub size: u64,
}

/// Reads photos. It never writes.
#[async_trait]
pub trait PhotoSource: Send + Sync {
    /// The object, where it has at most `bytes_max` bytes. MUST NOT read anything outside of the prefix, whatever the name, through
    /// links either; and MUST NOT block the caller's thread.
    async fn get(&self, object: &SourceObject, bytes_max: u64) -> PortResult<Found>;

    /// Up to `limit` objects under `prefix` whose names begin with `within` and come after `after`. Fewer than `limit` means
    /// that there are no more. MUST keep one order of all names for good, so that a listing can be resumed after the last
    /// name that it gave, whatever has come and gone meanwhile; which order is the source's own (S3 goes by the names'
    /// bytes, servers that speak its protocol over folders do not). MUST show only what [`PhotoSource::get`] would read,
    /// whatever `within` and `after` say.
    ///
    /// A page may cost as much as reading the folder that it is in: ask for long ones.
    async fn list(
        &self,
        prefix: &ImportPrefix,
        within: &str,
        after: Option<&str>,
        limit: usize,
    ) -> PortResult<Vec<SourceEntry>>;
}
