//! Records are read several at a time: over S3 each takes tens of milliseconds.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use prometheus_client::registry::Registry;
use tokio::sync::Barrier;
use vidimus_domain::blob_key::{BlobKey, BlobPrefix};
use vidimus_ledger::{Ledger, LedgerDeps, Walk};
use vidimus_ports::faulty::BlobKind;
use vidimus_ports::memory::MemoryBlobStore;
use vidimus_ports::{Blob, BlobEntry, BlobStore, Etag, PortResult, PutCondition};

use super::DAY;
use super::world::World;

/// Records that are read side by side.
const TOGETHER: usize = 16;

/// A store that gives a record only when as many others are asked for.
struct Crowd {
    inner: Arc<MemoryBlobStore>,
    asked: Barrier,
}

#[async_trait]
impl BlobStore for Crowd {
    async fn get(&self, key: &BlobKey) -> PortResult<Option<Blob>> {
        if BlobKind::of(key) == BlobKind::Record {
            self.asked.wait().await;
        }
        self.inner.get(key).await
    }

    async fn put(&self, key: &BlobKey, bytes: Bytes, condition: PutCondition) -> PortResult<Etag> {
        self.inner.put(key, bytes, condition).await
    }

    async fn delete(&self, key: &BlobKey) -> PortResult<()> {
        self.inner.delete(key).await
    }

    async fn forget_versions(&self, key: &BlobKey) -> PortResult<()> {
        self.inner.forget_versions(key).await
    }

    async fn list(
        &self,
        prefix: &BlobPrefix,
        after: Option<&BlobKey>,
        limit: usize,
    ) -> PortResult<Vec<BlobEntry>> {
        self.inner.list(prefix, after, limit).await
    }
}

fn ledger(world: &World) -> Arc<Ledger> {
    let blobs = Arc::new(Crowd { inner: world.blobs.clone(), asked: Barrier::new(TOGETHER) });
    Ledger::new(LedgerDeps { blobs, ..world.deps() }, &mut Registry::default())
}

#[tokio::test]
async fn records_are_compared_side_by_side() {
    let world = World::new().await;
    for image in 0..TOGETHER * 3 {
        let record = world.enrol(u8::try_from(image).unwrap(), None).await;
        world.project(&record).await;
    }
    let ledger = ledger(&world);
    let walking = tokio::time::timeout(Duration::from_secs(5), ledger.reconcile(Walk::Full));
    let found = walking.await.expect("one waits for no other").unwrap();
    assert_eq!((found.compared_records, found.differences), (TOGETHER as u64 * 3, 0));
    // Old photos are looked at beside that.
    world.clock.advance(2 * DAY);
    let walking = tokio::time::timeout(Duration::from_secs(5), ledger.reconcile(Walk::Full));
    let found = walking.await.expect("one waits for no other").unwrap();
    assert_eq!((found.compared_records, found.removed_photos), (TOGETHER as u64 * 3, 0));
}
