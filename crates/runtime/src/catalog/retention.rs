//! Retention rules of collections.

use vidimus_domain::blob_key::BlobKey;
use vidimus_domain::catalog::Collection;
use vidimus_domain::retention::RetentionRule;
use vidimus_domain::{CollectionName, Failure, TenantId};
use vidimus_ports::PutCondition;

use super::{CACHE_MAX_AGE, Catalog, changed_meanwhile};
use crate::requests::no_such_collection;

impl Catalog {
    /// Sets how long a collection's faces and photos are kept, for those that are there too. A shorter rule holds when
    /// this returns; a longer one brings nothing back that the rule before lets go within the time that it may still be
    /// believed. Whoever calls this says it on the audit log.
    ///
    /// The write is taken to be in the store within a second or never: one that came seconds later would have left the old
    /// rule in force for longer than the floor covers.
    ///
    /// # Errors
    /// `NotFound` where there is no such collection; `Conflict` where it was changed at the same time.
    pub async fn set_retention(
        &self,
        tenant: TenantId,
        name: &CollectionName,
        rule: RetentionRule,
    ) -> Result<Collection, Failure> {
        self.change_retention(tenant, name, |_| Ok(rule)).await
    }

    /// The same, of a rule that is made of the one that is there.
    ///
    /// # Errors
    /// What `change` refuses with; else as [`Catalog::set_retention`].
    pub async fn change_retention(
        &self,
        tenant: TenantId,
        name: &CollectionName,
        change: impl FnOnce(RetentionRule) -> Result<RetentionRule, Failure>,
    ) -> Result<Collection, Failure> {
        let key = BlobKey::collection(tenant, name);
        let live = self.read::<Collection>(&key).await?.filter(|(found, _)| found.deleted_at.is_none());
        let Some((mut collection, etag)) = live else {
            return Err(no_such_collection(name));
        };
        let rule = change(collection.retention.rule)?;
        let now = self.deps.clock.now();
        let believed_until = now.plus(CACHE_MAX_AGE).plus(self.lease.unwrap_or_default());
        collection.retention = collection.retention.changed(rule, now, believed_until);
        collection.nonce = self.deps.random.nonce();
        if !self.write(&key, &collection, PutCondition::IfMatch(etag)).await? {
            return Err(changed_meanwhile());
        }
        self.collections.forget();
        self.wait_out_lease().await;
        Ok(collection)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use vidimus_domain::{ErrorCode, UnixMillis};
    use vidimus_ports::clock::ManualClock;
    use vidimus_ports::memory::MemoryBlobStore;
    use vidimus_ports::random::SeededRandom;

    use super::super::{CatalogDeps, NewCollection};
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    struct World {
        clock: Arc<ManualClock>,
        deps: CatalogDeps,
        collection: Arc<Collection>,
    }

    impl World {
        async fn new() -> Self {
            let clock = Arc::new(ManualClock::new(UnixMillis::new(1_800_000_000_000)));
            let blobs = Arc::new(MemoryBlobStore::new(clock.clone()));
            let deps = CatalogDeps { blobs, clock: clock.clone(), random: Arc::new(SeededRandom::new(7)) };
            let catalog = Catalog::new(deps.clone(), None);
            let tenant = catalog.create_tenant("acme".parse().unwrap()).await.unwrap().id;
            let (name, face_model) = ("staff".parse().unwrap(), "model".parse().unwrap());
            let new = NewCollection::new(tenant, name, face_model, "1.0".to_owned());
            Self { clock, collection: catalog.create_collection(new).await.unwrap(), deps }
        }

        async fn set(&self, catalog: &Catalog, faces: Option<Duration>) -> Result<Collection, Failure> {
            let rule = RetentionRule::new(faces, None).unwrap();
            catalog.set_retention(self.collection.tenant, &self.collection.name, rule).await
        }
    }

    #[tokio::test]
    async fn within_the_process_a_rule_holds_at_once() {
        let world = World::new().await;
        let catalog = Catalog::new(world.deps.clone(), None);
        let part = world.collection.part();
        let before = catalog.collection_by_part(&part).await.unwrap().unwrap();
        assert_eq!(before.retention.rule, RetentionRule::default());
        let set = world.set(&catalog, Some(HOUR)).await.unwrap();
        let now = catalog.collection_by_part(&part).await.unwrap().unwrap();
        assert_eq!((&now.retention, now.retention.rule.faces_kept()), (&set.retention, Some(HOUR)));
    }

    #[tokio::test]
    async fn a_lengthened_rule_brings_nothing_back() {
        let world = World::new().await;
        let catalog = Catalog::new(world.deps.clone(), None);
        world.set(&catalog, Some(HOUR)).await.unwrap();
        let now = vidimus_ports::Clock::now(&*world.clock);
        for longer in [Some(HOUR * 2), None] {
            let set = world.set(&catalog, longer).await.unwrap();
            assert!(set.retention.cutoffs(now).faces >= Some(now.minus(HOUR)), "{longer:?}");
        }
    }

    #[tokio::test]
    async fn where_others_read_the_catalog_it_answers_one_lease_later() {
        let world = World::new().await;
        let catalog = Arc::new(Catalog::new(world.deps.clone(), Some(CACHE_MAX_AGE)));
        let other = Catalog::new(world.deps.clone(), Some(CACHE_MAX_AGE));
        let part = world.collection.part();
        other.collection_by_part(&part).await.unwrap();
        let (tenant, name) = (world.collection.tenant, world.collection.name.clone());
        let rule = RetentionRule::new(Some(HOUR), None).unwrap();
        let setting = tokio::spawn(async move { catalog.set_retention(tenant, &name, rule).await });
        while world.clock.sleepers() == 0 {
            tokio::task::yield_now().await;
        }
        assert!(!setting.is_finished());
        let stale = other.collection_by_part(&part).await.unwrap().unwrap();
        assert_eq!(stale.retention.rule.faces_kept(), None, "others may believe what was before");
        world.clock.advance(CACHE_MAX_AGE);
        setting.await.unwrap().unwrap();
        let fresh = other.collection_by_part(&part).await.unwrap().unwrap();
        assert_eq!(fresh.retention.rule.faces_kept(), Some(HOUR));
    }

    #[tokio::test]
    async fn only_a_collection_has_a_rule() {
        let world = World::new().await;
        let catalog = Catalog::new(world.deps.clone(), None);
        catalog.delete_collection(world.collection.tenant, &world.collection.name).await.unwrap();
        assert_eq!(world.set(&catalog, None).await.unwrap_err().code, ErrorCode::NotFound);
    }
}
