//! A [`BlobStore`] with interference.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use vidimus_domain::blob_key::{BlobKey, BlobPrefix};

use super::stage::{BlobKind, Interference, Stage, around};
use crate::blob_store::{Blob, BlobEntry, BlobStore, Etag, PutCondition};
use crate::error::PortResult;

/// Decorates a [`BlobStore`].
pub struct FaultyBlobStore {
    inner: Arc<dyn BlobStore>,
    interference: Arc<dyn Interference>,
}

impl FaultyBlobStore {
    /// `inner`, with `interference` around its calls.
    #[must_use]
    pub fn new(inner: Arc<dyn BlobStore>, interference: Arc<dyn Interference>) -> Self {
        Self { inner, interference }
    }
}

#[async_trait]
impl BlobStore for FaultyBlobStore {
    async fn get(&self, key: &BlobKey) -> PortResult<Option<Blob>> {
        around(&*self.interference, Stage::BlobRead, self.inner.get(key)).await
    }

    async fn put(&self, key: &BlobKey, bytes: Bytes, condition: PutCondition) -> PortResult<Etag> {
        let stage = Stage::Put(BlobKind::of(key));
        around(&*self.interference, stage, self.inner.put(key, bytes, condition)).await
    }

    async fn delete(&self, key: &BlobKey) -> PortResult<()> {
        let stage = Stage::Delete(BlobKind::of(key));
        around(&*self.interference, stage, self.inner.delete(key)).await
    }

    async fn forget_versions(&self, key: &BlobKey) -> PortResult<()> {
        let stage = Stage::Delete(BlobKind::of(key));
        around(&*self.interference, stage, self.inner.forget_versions(key)).await
    }

    async fn list(
        &self,
        prefix: &BlobPrefix,
        after: Option<&BlobKey>,
        limit: usize,
    ) -> PortResult<Vec<BlobEntry>> {
        around(&*self.interference, Stage::BlobRead, self.inner.list(prefix, after, limit)).await
    }
}
