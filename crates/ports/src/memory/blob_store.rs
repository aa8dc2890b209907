//! Objects in memory.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use vidimus_domain::UnixMillis;
use vidimus_domain::blob_key::{BlobKey, BlobPrefix};

use crate::blob_store::{Blob, BlobEntry, BlobStore, Etag, PutCondition};
use crate::clock::Clock;
use crate::error::{PortError, PortErrorKind, PortResult};

/// A [`BlobStore`] in memory.
pub struct MemoryBlobStore {
    clock: Arc<dyn Clock>,
    objects: Mutex<Objects>,
}

#[derive(Default)]
struct Objects {
    puts: u64,
    by_key: BTreeMap<BlobKey, Object>,
}

struct Object {
    bytes: Bytes,
    etag: Etag,
    modified_at: UnixMillis,
}

impl MemoryBlobStore {
    /// An empty store, whose objects are dated by `clock`.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, objects: Mutex::default() }
    }

    /// The keys of all objects, in order.
    #[must_use]
    pub fn keys(&self) -> Vec<BlobKey> {
        self.objects().by_key.keys().cloned().collect()
    }

    fn objects(&self) -> MutexGuard<'_, Objects> {
        self.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl BlobStore for MemoryBlobStore {
    async fn get(&self, key: &BlobKey) -> PortResult<Option<Blob>> {
        let found = |object: &Object| Blob { bytes: object.bytes.clone(), etag: object.etag.clone() };
        Ok(self.objects().by_key.get(key).map(found))
    }

    async fn put(&self, key: &BlobKey, bytes: Bytes, condition: PutCondition) -> PortResult<Etag> {
        let modified_at = self.clock.now();
        let mut objects = self.objects();
        let present = objects.by_key.get(key).map(|object| &object.etag);
        let holds = match &condition {
            PutCondition::IfAbsent => present.is_none(),
            PutCondition::IfMatch(etag) => present == Some(etag),
        };
        if !holds {
            return Err(PortError::new(PortErrorKind::Conflict, "put object"));
        }
        objects.puts += 1;
        let etag = Etag::new(objects.puts.to_string());
        objects.by_key.insert(key.clone(), Object { bytes, etag: etag.clone(), modified_at });
        Ok(etag)
    }

    async fn delete(&self, key: &BlobKey) -> PortResult<()> {
        self.objects().by_key.remove(key);
        Ok(())
    }

    async fn list(
        &self,
        prefix: &BlobPrefix,
        after: Option<&BlobKey>,
        limit: usize,
    ) -> PortResult<Vec<BlobEntry>> {
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        let objects = self.objects();
        let listed = objects.by_key.range::<BlobKey, _>((start, Bound::Unbounded));
        let entry = |(key, object): (&BlobKey, &Object)| BlobEntry {
            key: key.clone(),
            size: object.bytes.len() as u64,
            modified_at: object.modified_at,
        };
        Ok(listed
            .filter(|(key, _)| key.as_str().starts_with(prefix.as_str()))
            .take(limit)
            .map(entry)
            .collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;
    use crate::conformance;
    use crate::random::SeededRandom;

    #[tokio::test]
    async fn conforms() {
        let store = Arc::new(MemoryBlobStore::new(Arc::new(SystemClock)));
        conformance::blob_store::conforms(store, &SeededRandom::new(1)).await.unwrap();
    }
}
