//! Tenants and collections of an import: found here, or made as they were. One that was deleted here is refused.

use vidimus_domain::blob_key::BlobKey;
use vidimus_domain::catalog::{AccessKey, Bucket, Collection, Tenant, UidEntry};
use vidimus_domain::codec::Stored;
use vidimus_domain::placements::Placements;
use vidimus_domain::{ErrorCode, FaceModelName, Failure};
use vidimus_ports::PutCondition;

use super::{Entry, Importer, Run, keyed};
use crate::backup::refused;

/// The tenant of an import.
pub(super) struct FoundTenant {
    pub(super) tenant: Tenant,
    /// It is not here yet: it is put after its keys and buckets, so that who finds it here finds what became of those here.
    is_absent: bool,
}

impl Importer {
    /// The tenant as it is here, or as it is to be.
    pub(super) async fn find_tenant(&self, exported: Tenant) -> Result<FoundTenant, Failure> {
        let name = exported.name.clone();
        let deleted = || refused(format!("the tenant {name} was deleted here: no import brings it back"));
        if self.exists(&BlobKey::dead_tenant(exported.id)).await? {
            return Err(deleted());
        }
        for here in self.deps.catalog.tenants().await? {
            match (here.id == exported.id, here.name == exported.name) {
                (true, true) if here.deleted_at.is_some() => return Err(deleted()),
                (true, true) => return Ok(FoundTenant { tenant: here, is_absent: false }),
                (true, false) | (false, true) => {
                    let message = format!("there is another tenant here of the name {name} or of its id");
                    return Err(Failure::new(ErrorCode::AlreadyExists, message));
                }
                (false, false) => {}
            }
        }
        Ok(FoundTenant { tenant: exported, is_absent: true })
    }

    /// Puts the tenant, where it is to be made.
    pub(super) async fn finish_tenant(&self, run: &mut Run) -> Result<(), Failure> {
        let Some(found) = run.tenant.as_mut().filter(|found| found.is_absent) else { return Ok(()) };
        self.put_new(&BlobKey::tenant(&found.tenant.name), &found.tenant).await?;
        found.is_absent = false;
        Ok(())
    }

    /// Puts an access key of a tenant that is made by this import. Where the tenant is here already, its keys are as they are
    /// here: one may have been deleted.
    pub(super) async fn put_access_key(&self, found: &FoundTenant, entry: &Entry) -> Result<(), Failure> {
        let key: AccessKey = keyed(entry, |key: &AccessKey| BlobKey::access_key(&key.id))?;
        if key.tenant != found.tenant.id {
            return Err(refused("an access key is of another tenant"));
        }
        if found.is_absent { self.put_new(&BlobKey::access_key(&key.id), &key).await } else { Ok(()) }
    }

    /// As [`Importer::put_access_key`], for a bucket.
    pub(super) async fn put_bucket(&self, found: &FoundTenant, entry: &Entry) -> Result<(), Failure> {
        let blob_key = |bucket: &Bucket| BlobKey::bucket(bucket.tenant, &bucket.name);
        let bucket: Bucket = keyed(entry, blob_key)?;
        if bucket.tenant != found.tenant.id {
            return Err(refused("a bucket is of another tenant"));
        }
        if found.is_absent { self.put_new(&blob_key(&bucket), &bucket).await } else { Ok(()) }
    }

    /// The collection as it is here; made where it never was. True where it was made.
    pub(super) async fn find_collection(&self, exported: Collection) -> Result<(Collection, bool), Failure> {
        let name = exported.name.clone();
        let face_model = exported.face_model();
        if !self.deps.face_models.contains(face_model) {
            let known: Vec<_> = self.deps.face_models.iter().map(FaceModelName::as_str).collect();
            return Err(refused(format!(
                "the collection {name} has faces of the model {face_model}, the service compares by {}",
                known.join(", ")
            )));
        }
        let deleted = || refused(format!("the collection {name} was deleted here: no import brings it back"));
        if self.exists(&BlobKey::dead_collection(exported.tenant, exported.uid)).await? {
            return Err(deleted());
        }
        let key = BlobKey::collection(exported.tenant, &name);
        let condition = match self.read::<Collection>(&key).await? {
            Some((here, _)) if here.uid == exported.uid && here.deleted_at.is_none() => {
                if here.placements.face_models() != [face_model] {
                    let message =
                        format!("the collection {name} has turned, or turns, to another face model here");
                    return Err(refused(message));
                }
                return Ok((here, false));
            }
            Some((here, _)) if here.uid == exported.uid => return Err(deleted()),
            Some((here, _)) if here.deleted_at.is_none() => {
                let message = format!("the tenant has another collection {name} here");
                return Err(Failure::new(ErrorCode::AlreadyExists, message));
            }
            // Another dead one had the name since this one died.
            Some(_) if self.is_known(&exported).await? => return Err(deleted()),
            Some((_, etag)) => PutCondition::IfMatch(etag),
            None => PutCondition::IfAbsent,
        };
        Ok((self.make_collection(exported, condition).await?, true))
    }

    /// The uid's entry comes first, as where a collection is created. The face model's version is the one that it has here. Its points
    /// come where those of a new collection do: of one that had an index collection of its own into one of its own.
    async fn make_collection(
        &self,
        exported: Collection,
        condition: PutCondition,
    ) -> Result<Collection, Failure> {
        let face_model_version = self.deps.catalog.face_model_version(exported.face_model()).await?;
        // Where the points lay there means nothing here, nor does a move that was under way.
        let is_alone = exported.placements.read.owner() == Some(exported.uid);
        let placement = exported.face_model().first_placement(exported.uid, is_alone)?;
        let placements = Placements::only(exported.face_model().clone(), placement.clone());
        let collection = Collection { face_model_version, placements, ..exported };
        let entry = UidEntry {
            part: collection.part(),
            name: collection.name.clone(),
            placement,
            other_placements: Vec::new(),
            nonce: collection.nonce,
        };
        let uid_key = BlobKey::collection_uid(collection.tenant, collection.uid);
        self.put_new(&uid_key, &entry).await?;
        let key = BlobKey::collection(collection.tenant, &collection.name);
        if self.put(&key, collection.encode().into(), condition).await?
            || self.is_there(&key, &collection).await?
        {
            return Ok(collection);
        }
        let message = format!("the collection {} was made here at the same time", collection.name);
        Err(Failure::new(ErrorCode::Conflict, message))
    }

    /// Whether the uid was heard of here.
    async fn is_known(&self, exported: &Collection) -> Result<bool, Failure> {
        self.exists(&BlobKey::collection_uid(exported.tenant, exported.uid)).await
    }

    /// Puts an object where there is none; the very same one, of an import that broke off, is as good.
    async fn put_new<T: Stored + PartialEq>(&self, key: &BlobKey, value: &T) -> Result<(), Failure> {
        if self.put(key, value.encode().into(), PutCondition::IfAbsent).await? {
            return Ok(());
        }
        match self.is_there(key, value).await? {
            true => Ok(()),
            false => Err(Failure::new(ErrorCode::AlreadyExists, format!("there is another {key} here"))),
        }
    }

    async fn is_there<T: Stored + PartialEq>(&self, key: &BlobKey, value: &T) -> Result<bool, Failure> {
        Ok(self.read::<T>(key).await?.is_some_and(|(here, _)| here == *value))
    }
}
