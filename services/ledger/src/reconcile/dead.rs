//! What lies under dead collections and deleted tenants is removed: nothing asks for it any more.

use vidimus_domain::Failure;
use vidimus_domain::blob_key::BlobPrefix;
use vidimus_domain::catalog::Tenant;
use vidimus_domain::time::ERASED_KEPT;
use vidimus_ports::PortResult;
use vidimus_runtime::catalog::DeadCollection;
use vidimus_runtime::errors::failure_from_port;

use super::{Reconciled, Reconciler};

impl Reconciler {
    /// Clears a tenant's dead collections; then, where the tenant itself is deleted, all that is left of it.
    pub(super) async fn clear_dead(
        &mut self,
        tenant: &Tenant,
        found: &mut Reconciled,
    ) -> Result<(), Failure> {
        let dead = self.deps.catalog.dead_collections(tenant.id).await?;
        for collection in &dead {
            self.clear_collection(collection, found).await?;
        }
        let gone = tenant.deleted_at.is_some_and(|at| self.deps.clock.now().since(at) >= ERASED_KEPT);
        if gone && dead.is_empty() {
            let left = BlobPrefix::tenant_contents(tenant.id);
            self.remove_all(&left).await.map_err(failure_from_port)?;
            self.deps.catalog.forget_tenant(tenant).await?;
        }
        Ok(())
    }

    /// Removes what lies under a dead collection. It is forgotten only when nothing was found a day after it was first
    /// seen dead: a writer that slept may come late.
    async fn clear_collection(
        &mut self,
        dead: &DeadCollection,
        found: &mut Reconciled,
    ) -> Result<(), Failure> {
        let part = dead.part;
        let mut is_gone = true;
        for gallery in &dead.galleries {
            is_gone &= self.clear(gallery).await.map_err(failure_from_port)?;
        }
        let contents = BlobPrefix::collection_contents(&part);
        let removed = self.remove_all(&contents).await.map_err(failure_from_port)?;
        if removed > 0 {
            found.cleared_collections += 1;
        }
        let now = self.deps.clock.now();
        let seen_at = *self.seen_dead.entry(part).or_insert(now);
        if is_gone && removed == 0 && now.since(seen_at) >= ERASED_KEPT {
            self.deps.catalog.forget_dead(dead).await?;
            self.seen_dead.remove(&part);
        }
        Ok(())
    }

    async fn remove_all(&self, prefix: &BlobPrefix) -> PortResult<u64> {
        let mut removed = 0;
        let mut after = None;
        loop {
            let page = self.next_page(prefix, &mut after).await?;
            if page.is_empty() {
                return Ok(removed);
            }
            for entry in &page {
                self.deps.blobs.delete(&entry.key).await?;
                self.metrics.removed.inc();
                removed += 1;
            }
        }
    }
}
