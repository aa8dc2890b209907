//! Objects by key: the truth lies here.

use async_trait::async_trait;
use bytes::Bytes;
use vidimus_domain::UnixMillis;
use vidimus_domain::blob_key::{BlobKey, BlobPrefix};

use crate::error::PortResult;

/// Names one state of an object. Opaque; equal exactly where the state is the same write's.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Etag(String);

impl Etag {
    /// Wraps a backend's tag.
    pub fn new(tag: impl Into<String>) -> Self {
        Self(tag.into())
    }

    /// The backend's tag.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// An object's content and state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blob {
    /// The content.
    pub bytes: Bytes,
    /// Its state, for [`PutCondition::IfMatch`].
    pub etag: Etag,
}

/// What a listing tells of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlobEntry {
    /// Its key.
    pub key: BlobKey,
    /// Size in bytes.
    pub size: u64,
    /// When it was last put, by the store's own clock.
    pub modified_at: UnixMillis,
}

/// When a put may take place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PutCondition {
    /// Only where there is no such object.
    IfAbsent,
    /// Only over this very state.
    IfMatch(Etag),
}

/// A store of objects.
#[async_trait]
pub trait BlobStore: Send + Sync {
    /// Reads an object; none where there is none. MUST return what the last acknowledged put wrote or a later one
    /// (read after write), and MUST report damage as `Corrupt`, never as absence.
    async fn get(&self, key: &BlobKey) -> PortResult<Option<Blob>>;

    /// Writes an object, whole or not at all, and returns its new state. Durable on return, against power loss too.
    /// Of concurrent puts over one state exactly one MUST win; the others fail with `Conflict`.
    async fn put(&self, key: &BlobKey, bytes: Bytes, condition: PutCondition) -> PortResult<Etag>;

    /// Removes an object, every version of it; durable on return. Of no effect where there is none.
    async fn delete(&self, key: &BlobKey) -> PortResult<()>;

    /// Removes what the object was before its present state, where the store keeps such: a put over an object may leave the
    /// older version behind, and what was erased from the object is still in that. Whoever erases by a put MUST call this
    /// after it, and again where it finds its erasure done already. The present state stays, whatever is put meanwhile;
    /// durable on return. Of no effect where there is nothing older, or no object.
    async fn forget_versions(&self, key: &BlobKey) -> PortResult<()>;

    /// Up to `limit` objects under `prefix` whose keys come after `after`, in the order of their keys. Fewer than
    /// `limit` means that there are no more.
    async fn list(
        &self,
        prefix: &BlobPrefix,
        after: Option<&BlobKey>,
        limit: usize,
    ) -> PortResult<Vec<BlobEntry>>;
}
