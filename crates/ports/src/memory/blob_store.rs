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

/// A [`BlobStore`] in memory. It keeps versions, so that tests of erasing see what was left behind.
pub struct MemoryBlobStore {
    clock: Arc<dyn Clock>,
    objects: Mutex<Objects>,
}

#[derive(Default)]
struct Objects {
    puts: u64,
    by_key: BTreeMap<BlobKey, Object>,
    /// What objects were before, oldest first.
    older: BTreeMap<BlobKey, Vec<Bytes>>,
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

    /// What an object was before its present state, oldest first: what [`BlobStore::forget_versions`] removes.
    #[must_use]
    pub fn older_versions(&self, key: &BlobKey) -> Vec<Bytes> {
        self.objects().older.get(key).cloned().unwrap_or_default()
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
        let over = objects.by_key.insert(key.clone(), Object { bytes, etag: etag.clone(), modified_at });
        if let Some(over) = over {
            objects.older.entry(key.clone()).or_default().push(over.bytes);
        }
        Ok(etag)
    }

    async fn delete(&self, key: &BlobKey) -> PortResult<()> {
        let mut objects = self.objects();
        objects.by_key.remove(key);
        objects.older.remove(key);
        Ok(())
    }

    async fn forget_versions(&self, key: &BlobKey) -> PortResult<()> {
        self.objects().older.remove(key);
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
    use vidimus_domain::ImageId;

    use super::*;
    use crate::clock::SystemClock;
    use crate::conformance;
    use crate::random::SeededRandom;

    #[tokio::test]
    async fn conforms() {
        let store = Arc::new(MemoryBlobStore::new(Arc::new(SystemClock)));
        conformance::blob_store::conforms(store, &SeededRandom::new(1)).await.unwrap();
    }

    #[tokio::test]
    async fn older_versions_stay_until_they_are_forgotten() {
        let store = MemoryBlobStore::new(Arc::new(SystemClock));
        let part = conformance::blob_store::fresh_part(&SeededRandom::new(1));
        let key = BlobKey::record(&part, ImageId::from_random([1; 16]));
        let etag = store.put(&key, "face".into(), PutCondition::IfAbsent).await.unwrap();
        store.put(&key, "erased".into(), PutCondition::IfMatch(etag)).await.unwrap();
        assert_eq!(store.older_versions(&key), ["face"]);
        store.forget_versions(&key).await.unwrap();
        assert_eq!(store.older_versions(&key), Vec::<Bytes>::new());
        assert_eq!(store.get(&key).await.unwrap().unwrap().bytes, "erased");
    }
}
