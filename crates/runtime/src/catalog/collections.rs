//! Collections.

use std::collections::BTreeMap;
use std::sync::Arc;

use vidimus_domain::blob_key::{BlobKey, BlobPrefix};
use vidimus_domain::catalog::{Collection, UidEntry};
use vidimus_domain::placements::Placements;
use vidimus_domain::point::Gallery;
use vidimus_domain::record::is_fresh;
use vidimus_domain::retention::Retention;
use vidimus_domain::time::READ_FRESH;
use vidimus_domain::{CollectionName, CollectionUid, ErrorCode, FaceModelName, Failure, Part, TenantId};
use vidimus_ports::PutCondition;

use super::{Catalog, PAGE, changed_meanwhile};
use crate::errors::failure_from_port;
use crate::requests::no_such_collection;

/// A collection to be made.
#[derive(Clone, Debug)]
pub struct NewCollection {
    /// Whose.
    pub tenant: TenantId,
    /// Its name, unique in the tenant.
    pub name: CollectionName,
    /// Its face model.
    pub face_model: FaceModelName,
    /// Whether its points come into an index collection of its own, and not where those of other new collections of that model do.
    pub is_large: bool,
    /// Its face model's version as clients see it.
    pub face_model_version: String,
    /// What its tenant tags it with.
    pub tags: BTreeMap<String, String>,
}

/// A collection that is gone but of which something may be left.
#[derive(Clone, Debug)]
pub struct DeadCollection {
    /// Its faces' part.
    pub part: Part,
    /// Everywhere in the index where something of it may lie.
    pub galleries: Vec<Gallery>,
    key: BlobKey,
}

impl NewCollection {
    /// One without tags, beside others in the index.
    #[must_use]
    pub fn new(
        tenant: TenantId,
        name: CollectionName,
        face_model: FaceModelName,
        face_model_version: String,
    ) -> Self {
        Self { tenant, name, face_model, face_model_version, is_large: false, tags: BTreeMap::new() }
    }
}

impl Catalog {
    /// Makes a collection.
    ///
    /// # Errors
    /// `AlreadyExists` where the tenant has one of that name.
    pub async fn create_collection(&self, new: NewCollection) -> Result<Arc<Collection>, Failure> {
        let began_at = self.deps.clock.now();
        let key = BlobKey::collection(new.tenant, &new.name);
        let before = self.read::<Collection>(&key).await?;
        if before.as_ref().is_some_and(|(collection, _)| collection.deleted_at.is_none()) {
            return Err(already_exists(&new.name));
        }
        let mut image_id_key = [0; 32];
        self.deps.random.fill(&mut image_id_key);
        let uid = CollectionUid::from_random(self.deps.random.bytes16());
        let read = new.face_model.first_placement(uid, new.is_large)?;
        let collection = Collection {
            tenant: new.tenant,
            name: new.name,
            uid,
            face_model_version: new.face_model_version,
            placements: Placements::only(new.face_model, read),
            image_id_key,
            created_at: began_at,
            deleted_at: None,
            tags: new.tags,
            retention: Retention::default(),
            nonce: self.deps.random.nonce(),
        };
        self.write_uid(&collection).await?;
        if !is_fresh(began_at, self.deps.clock.now()) {
            return Err(changed_meanwhile());
        }
        let condition = before.map_or(PutCondition::IfAbsent, |(_, etag)| PutCondition::IfMatch(etag));
        if !self.write(&key, &collection, condition).await? {
            return Err(already_exists(&collection.name));
        }
        self.collections.forget();
        Ok(Arc::new(collection))
    }

    /// The uid's entry comes first: a collection that is not listed by its uid could never be cleared away.
    async fn write_uid(&self, collection: &Collection) -> Result<(), Failure> {
        let entry = UidEntry {
            part: collection.part(),
            name: collection.name.clone(),
            placement: collection.placements.read.clone(),
            other_placements: Vec::new(),
            nonce: collection.nonce,
        };
        let key = BlobKey::collection_uid(collection.tenant, collection.uid);
        let written = self.write(&key, &entry, PutCondition::IfAbsent).await?;
        if written { Ok(()) } else { Err(changed_meanwhile()) }
    }

    /// A tenant's collection of that name, at most five seconds old; none where there is none or it is deleted.
    ///
    /// # Errors
    /// Where the store fails.
    pub async fn collection(
        &self,
        tenant: TenantId,
        name: &CollectionName,
    ) -> Result<Option<Arc<Collection>>, Failure> {
        let key = BlobKey::collection(tenant, name);
        if let Some(cached) = self.collections.get(&key, self.deps.clock.now()) {
            return Ok(Some(cached));
        }
        let reading = self.collections.begin(self.deps.clock.now());
        let read = self.read::<Collection>(&key).await?.map(|(collection, _)| collection);
        let live = read.filter(|collection| collection.deleted_at.is_none()).map(Arc::new);
        if let Some(collection) = &live {
            self.collections.remember(&reading, key, Arc::clone(collection));
        }
        Ok(live)
    }

    /// The collection of a uid, at most five seconds old; none where the uid is dead.
    ///
    /// # Errors
    /// Where the store fails.
    pub async fn collection_by_part(&self, part: &Part) -> Result<Option<Arc<Collection>>, Failure> {
        let key = BlobKey::collection_uid(part.tenant, part.collection);
        if let Some(cached) = self.collections.get(&key, self.deps.clock.now()) {
            return Ok(Some(cached));
        }
        let reading = self.collections.begin(self.deps.clock.now());
        let live = self.read_by_part(part).await?;
        if let Some(collection) = &live {
            self.collections.remember(&reading, key, Arc::clone(collection));
        }
        Ok(live)
    }

    /// The collection of a uid as it is now; none where the uid is dead. What an enrolment asks before it answers.
    ///
    /// # Errors
    /// Where the store fails.
    pub async fn read_by_part(&self, part: &Part) -> Result<Option<Arc<Collection>>, Failure> {
        let key = BlobKey::collection_uid(part.tenant, part.collection);
        let Some((entry, _)) = self.read::<UidEntry>(&key).await? else {
            return Ok(None);
        };
        let named = self.read::<Collection>(&BlobKey::collection(part.tenant, &entry.name)).await?;
        let live =
            |collection: &Collection| collection.uid == part.collection && collection.deleted_at.is_none();
        Ok(named.map(|(collection, _)| collection).filter(live).map(Arc::new))
    }

    /// Up to `limit` of a tenant's collections after the one of key `after`, in the order of their keys (hashes of their
    /// names), each with its key. Fewer than `limit` means that there are no more.
    ///
    /// # Errors
    /// Where the store fails.
    pub async fn collections(
        &self,
        tenant: TenantId,
        after: Option<&BlobKey>,
        limit: usize,
    ) -> Result<Vec<(BlobKey, Arc<Collection>)>, Failure> {
        let prefix = BlobPrefix::collections(tenant);
        let mut found = Vec::new();
        let mut after = after.cloned();
        while found.len() < limit {
            let page =
                self.deps.blobs.list(&prefix, after.as_ref(), PAGE).await.map_err(failure_from_port)?;
            for entry in &page {
                let read = self.read::<Collection>(&entry.key).await?.map(|(collection, _)| collection);
                let live = read.filter(|collection| collection.deleted_at.is_none());
                found.extend(live.map(|collection| (entry.key.clone(), Arc::new(collection))));
                if found.len() == limit {
                    break;
                }
            }
            if page.len() < PAGE {
                break;
            }
            after = page.last().map(|entry| entry.key.clone());
        }
        Ok(found)
    }

    /// Deletes a collection: from now on its uid is dead, for ever, and nothing asks for its part again. What lies under
    /// it is removed by the ledger.
    ///
    /// # Errors
    /// `NotFound` where there is none of that name.
    pub async fn delete_collection(&self, tenant: TenantId, name: &CollectionName) -> Result<(), Failure> {
        let key = BlobKey::collection(tenant, name);
        let live = self.read::<Collection>(&key).await?.filter(|(found, _)| found.deleted_at.is_none());
        let Some((mut collection, etag)) = live else {
            return Err(no_such_collection(name));
        };
        collection.deleted_at = Some(self.deps.clock.now());
        collection.nonce = self.deps.random.nonce();
        if !self.write(&key, &collection, PutCondition::IfMatch(etag)).await? {
            return Err(changed_meanwhile());
        }
        self.collections.forget();
        self.wait_out_lease().await;
        Ok(())
    }

    /// A tenant's live collections.
    ///
    /// # Errors
    /// Where the store fails.
    pub async fn all_collections(&self, tenant: TenantId) -> Result<Vec<Collection>, Failure> {
        let all = self.read_all::<Collection>(&BlobPrefix::collections(tenant)).await?;
        Ok(all.into_iter().filter(|collection| collection.deleted_at.is_none()).collect())
    }

    /// A tenant's dead collections of which something may be left. A uid whose collection is not there yet counts only
    /// after an hour: it may be being made.
    ///
    /// # Errors
    /// Where the store fails.
    pub async fn dead_collections(&self, tenant: TenantId) -> Result<Vec<DeadCollection>, Failure> {
        let prefix = BlobPrefix::collection_uids(tenant);
        let mut dead = Vec::new();
        let mut after: Option<BlobKey> = None;
        loop {
            let page =
                self.deps.blobs.list(&prefix, after.as_ref(), PAGE).await.map_err(failure_from_port)?;
            for listed in &page {
                let Some((entry, _)) = self.read::<UidEntry>(&listed.key).await? else { continue };
                let old = self.deps.clock.now().since(listed.modified_at) > READ_FRESH;
                if self.is_dead(&entry, old).await? {
                    let galleries = entry.galleries().collect();
                    dead.push(DeadCollection { part: entry.part, galleries, key: listed.key.clone() });
                }
            }
            if page.len() < PAGE {
                return Ok(dead);
            }
            after = page.last().map(|entry| entry.key.clone());
        }
    }

    async fn is_dead(&self, entry: &UidEntry, old: bool) -> Result<bool, Failure> {
        let key = BlobKey::collection(entry.part.tenant, &entry.name);
        let named = self.read::<Collection>(&key).await?.map(|(collection, _)| collection);
        Ok(match named {
            Some(collection) if collection.uid == entry.part.collection => collection.deleted_at.is_some(),
            _ => old,
        })
    }

    /// Forgets a dead collection of which nothing is left, but for its uid: no import may bring that back.
    ///
    /// # Errors
    /// Where the store fails.
    pub async fn forget_dead(&self, dead: &DeadCollection) -> Result<(), Failure> {
        let Part { tenant, collection } = dead.part;
        if let Some((entry, _)) = self.read::<UidEntry>(&dead.key).await? {
            let key = BlobKey::dead_collection(tenant, collection);
            self.write(&key, &entry, PutCondition::IfAbsent).await?;
        }
        self.deps.blobs.delete(&dead.key).await.map_err(failure_from_port)
    }
}

fn already_exists(name: &CollectionName) -> Failure {
    Failure::new(ErrorCode::AlreadyExists, format!("The collection id: {name} already exists."))
}
