//! Brings an export in, as a stream of its bytes.
//!
//! What is absent here is made as it was, under the ids that it had; what is here is merged, record by record and user by user, by
//! compare-and-swap ([`vidimus_domain::record::merge`], [`vidimus_domain::user::merge`]). What was deleted here stays deleted: a record that is gone
//! has left its husk, a collection or tenant that is gone its uid. So an import that broke off is begun again, and one that is done
//! twice does nothing the second time. Every record that is written is said on the log, as reconciling does, and the index follows.

mod catalog;
mod objects;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::Stream;
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;
use vidimus_domain::blob_key::BlobKey;
use vidimus_domain::catalog::{Collection, Tenant};
use vidimus_domain::codec::Stored;
use vidimus_domain::record::Record;
use vidimus_domain::retention::Cutoffs;
use vidimus_domain::user::{User, UserKey};
use vidimus_domain::{CollectionName, ErrorCode, Failure, UnixMillis};
use vidimus_ports::{Etag, PortErrorKind, PutCondition, Topic};
use vidimus_runtime::accepted_photos::AcceptedPhotos;
use vidimus_runtime::backlog::uncommitted;
use vidimus_runtime::changes::Changes;
use vidimus_runtime::errors::failure_from_port;
use vidimus_runtime::records::Records;
use vidimus_runtime::users::Users;

use super::format::{Entry, Kind, Reader};
use super::{BackupDeps, Manifest, decoded, refused};

/// Users, or records with their photos, that are brought in at a time.
const CONCURRENT_UNITS: usize = 8;
/// After so many it is asked how many changes wait.
const UNITS_PER_LOOK: u64 = 256;
/// Between two looks while too many changes wait.
const LOOK_AGAIN: Duration = Duration::from_millis(500);
/// Looks in a row that find too many waiting, then the import ends: nobody projects.
const LOOKS_MAX: usize = 1200;

/// What an import did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Imported {
    /// Collections that were made.
    pub collections_made: u64,
    /// Collections of a tenant that were left out, and why: one that was deleted here keeps no other from coming in.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub collections_left_out: BTreeMap<String, String>,
    /// Users that were made or changed.
    pub users_written: u64,
    /// Records that were absent and are here now.
    pub records_added: u64,
    /// Records that were here and have changed.
    pub records_merged: u64,
    /// Records to which the export adds nothing.
    pub records_unchanged: u64,
    /// Records that stay deleted.
    pub records_stay_deleted: u64,
    /// Photos that waited to be embedded and are not in the export.
    pub records_left_out: u64,
    /// Photos that were put.
    pub photos_put: u64,
}

/// What came of one unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    UserWritten,
    UserUnchanged,
    Added { photo: bool },
    Merged { photo: bool },
    Unchanged,
    DeletedHere,
    LeftOut,
}

/// What is brought in by itself.
enum Unit {
    User { key: BlobKey, user: Box<User> },
    Record { record: Box<Record>, photo: Option<Bytes> },
    Gone(Box<Record>),
}

/// The collection that units go into.
struct Target {
    /// As it is here.
    here: Collection,
    /// What had expired by the exported collection's rule when the export was taken.
    exported: Cutoffs,
}

/// Brings exports in.
#[derive(Clone)]
pub struct Importer {
    deps: BackupDeps,
    records: Records,
    users: Users,
    changes: Changes,
    accepted_photos: AcceptedPhotos,
}

/// One import under way.
#[derive(Default)]
struct Run {
    taken_at: UnixMillis,
    tenant: Option<catalog::FoundTenant>,
    /// Whether a collection that cannot come in is left out, and not the end of the import: other collections may follow.
    may_leave_out: bool,
    target: Option<Arc<Target>>,
    /// The collection under way is left out.
    is_left_out: bool,
    /// A record whose photo may follow.
    record: Option<Box<Record>>,
    /// The kind of what is under way: users are all there before a record claims a face for one.
    kind: Option<Kind>,
    units: JoinSet<Result<Outcome, Failure>>,
    begun_units: u64,
    imported: Imported,
}

impl Importer {
    /// Imports into these stores.
    #[must_use]
    pub fn new(deps: BackupDeps) -> Self {
        Self {
            records: Records::new(Arc::clone(&deps.blobs), Arc::clone(&deps.clock)),
            users: Users::new(Arc::clone(&deps.blobs), Arc::clone(&deps.clock)),
            changes: Changes::new(Arc::clone(&deps.log)),
            accepted_photos: AcceptedPhotos::new(Arc::clone(&deps.log)),
            deps,
        }
    }

    /// Brings all of an export in.
    ///
    /// # Errors
    /// Where the export is damaged, is of something that was deleted here or that is another's here, or a store fails. What was brought in
    /// until then stays. Of a whole tenant such collections are left out, and the others come in.
    pub async fn run<S>(&self, reader: &mut Reader<S>) -> Result<Imported, Failure>
    where
        S: Stream<Item = std::io::Result<Bytes>> + Unpin,
    {
        let mut run = Run::default();
        while let Some(entry) = reader.next().await? {
            self.take(&mut run, entry).await?;
        }
        self.finish_record(&mut run, None).await?;
        self.finish_collection(&mut run).await?;
        self.finish_tenant(&mut run).await?;
        Ok(run.imported)
    }

    async fn take(&self, run: &mut Run, entry: Entry) -> Result<(), Failure> {
        if run.is_left_out && matches!(entry.kind, Kind::User | Kind::Record | Kind::Photo | Kind::Gone) {
            return Ok(());
        }
        if entry.kind == Kind::Photo {
            return self.finish_record(run, Some(entry)).await;
        }
        self.finish_record(run, None).await?;
        if run.kind != Some(entry.kind) {
            run.finish_units().await?;
            run.kind = Some(entry.kind);
        }
        match entry.kind {
            Kind::Manifest => {
                let manifest = serde_json::from_slice::<Manifest>(&entry.body);
                let manifest = manifest.map_err(|error| refused(format!("the manifest: {error}")))?;
                run.taken_at = UnixMillis::new(manifest.taken_at_ms);
                run.may_leave_out = manifest.scope.collection.is_none();
            }
            Kind::Tenant => run.tenant = Some(self.find_tenant(keyed(&entry, tenant_key)?).await?),
            Kind::AccessKey => self.put_access_key(run.tenant()?, &entry).await?,
            Kind::Bucket => self.put_bucket(run.tenant()?, &entry).await?,
            Kind::Collection => self.begin_collection(run, &entry).await?,
            Kind::User => {
                let unit = run.user(&entry)?;
                self.begin_unit(run, unit).await?;
            }
            Kind::Record => run.record = Some(Box::new(run.record(&entry, BlobKey::record)?)),
            Kind::Gone => {
                let husk = Box::new(run.record(&entry, BlobKey::gone)?);
                self.begin_unit(run, Unit::Gone(husk)).await?;
            }
            Kind::Photo | Kind::Failed | Kind::End => return Err(refused("an entry is out of place")),
        }
        Ok(())
    }

    async fn begin_collection(&self, run: &mut Run, entry: &Entry) -> Result<(), Failure> {
        self.finish_collection(run).await?;
        self.finish_tenant(run).await?;
        let collection: Collection = keyed(entry, collection_key)?;
        let tenant = &run.tenant()?.tenant;
        if collection.tenant != tenant.id {
            return Err(refused("a collection is of another tenant"));
        }
        let exported = collection.retention.cutoffs(run.taken_at);
        let name = collection.name.clone();
        match self.find_collection(collection).await {
            Ok((here, is_made)) => {
                run.imported.collections_made += u64::from(is_made);
                run.target = Some(Arc::new(Target { here, exported }));
                run.is_left_out = false;
                Ok(())
            }
            Err(failure) => run.leave_out(&name, failure),
        }
    }

    /// What was brought in is of use only where the collection lives: its uid may have died meanwhile.
    async fn finish_collection(&self, run: &mut Run) -> Result<(), Failure> {
        run.finish_units().await?;
        let Some(target) = run.target.take() else { return Ok(()) };
        let name = &target.here.name;
        let failure = match self.deps.catalog.read_by_part(&target.here.part()).await? {
            None => refused(format!("the collection {name} was deleted meanwhile")),
            Some(now) if now.placements.face_models() == [target.here.face_model()] => return Ok(()),
            Some(_) => refused(format!(
                "the collection {name} turns to another face model since: import it again when it has"
            )),
        };
        run.leave_out(name, failure)
    }

    /// The record that was read last has its photo now, or has none.
    async fn finish_record(&self, run: &mut Run, photo: Option<Entry>) -> Result<(), Failure> {
        let Some(record) = run.record.take() else {
            return photo.map_or(Ok(()), |_| Err(refused("a photo does not follow its record")));
        };
        if let Some(entry) = &photo {
            let named = record.photo.as_ref();
            let named = named.map(|photo| BlobKey::photo(&record.origin.part, record.origin.image, photo));
            if named.is_none_or(|key| key.as_str() != entry.key) {
                return Err(refused("a photo is not the one that its record names"));
            }
        }
        let photo = photo.map(|entry| entry.body);
        self.begin_unit(run, Unit::Record { record, photo }).await
    }

    async fn begin_unit(&self, run: &mut Run, unit: Unit) -> Result<(), Failure> {
        if run.begun_units.is_multiple_of(UNITS_PER_LOOK) {
            self.keep_pace().await?;
        }
        run.begun_units += 1;
        let target = Arc::clone(run.target()?);
        let importer = self.clone();
        run.units.spawn(async move { importer.bring_in(&target, unit).await });
        while run.units.len() >= CONCURRENT_UNITS {
            run.finish_unit().await?;
        }
        Ok(())
    }

    /// Waits while too many changes wait to be projected: tenants' own enrolments are refused past the limit.
    async fn keep_pace(&self) -> Result<(), Failure> {
        let Some(most) = self.deps.waiting_changes_max else { return Ok(()) };
        for _ in 0..LOOKS_MAX {
            let waiting = uncommitted(&*self.deps.log, Topic::Changes).await.map_err(failure_from_port)?;
            if waiting <= most {
                return Ok(());
            }
            self.deps.clock.sleep(LOOK_AGAIN).await;
        }
        Err(Failure::unavailable("changes wait to be projected and nobody projects them", LOOK_AGAIN))
    }

    async fn read<T: Stored>(&self, key: &BlobKey) -> Result<Option<(T, Etag)>, Failure> {
        let read = self.deps.blobs.get(key).await.map_err(failure_from_port)?;
        read.map(|blob| Ok((decoded(key.as_str(), &blob.bytes)?, blob.etag))).transpose()
    }

    async fn exists(&self, key: &BlobKey) -> Result<bool, Failure> {
        Ok(self.deps.blobs.get(key).await.map_err(failure_from_port)?.is_some())
    }

    /// Puts an object; false where the condition did not hold.
    async fn put(&self, key: &BlobKey, bytes: Bytes, condition: PutCondition) -> Result<bool, Failure> {
        match self.deps.blobs.put(key, bytes, condition).await {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == PortErrorKind::Conflict => Ok(false),
            Err(error) => Err(failure_from_port(error)),
        }
    }
}

impl Run {
    /// Goes on without a collection that cannot be brought in, where others may follow and it is not the store that fails.
    fn leave_out(&mut self, name: &CollectionName, failure: Failure) -> Result<(), Failure> {
        let is_its_own = matches!(failure.code, ErrorCode::InvalidParameter | ErrorCode::AlreadyExists);
        if !self.may_leave_out || !is_its_own {
            return Err(failure);
        }
        self.is_left_out = true;
        self.imported.collections_left_out.insert(name.to_string(), failure.message);
        Ok(())
    }

    fn tenant(&self) -> Result<&catalog::FoundTenant, Failure> {
        self.tenant.as_ref().ok_or_else(|| refused("the export names no tenant first"))
    }

    fn target(&self) -> Result<&Arc<Target>, Failure> {
        self.target.as_ref().ok_or_else(|| refused("the export names no collection first"))
    }

    fn user(&self, entry: &Entry) -> Result<Unit, Failure> {
        let here = &self.target()?.here;
        let user: User = decoded(&entry.key, &entry.body)?;
        let elsewhere = || refused("a user is not where its key says");
        let key = UserKey::listed(entry.key.rsplit('/').next().unwrap_or_default()).ok_or_else(elsewhere)?;
        let has_its_key = |id| UserKey::of(&here.image_id_key, id) == key;
        let key = BlobKey::user(&here.part(), key);
        let is_there = user.part == here.part() && key.as_str() == entry.key;
        if !is_there || !user.id.as_ref().is_none_or(has_its_key) {
            return Err(elsewhere());
        }
        Ok(Unit::User { key, user: Box::new(user) })
    }

    fn record(
        &self,
        entry: &Entry,
        key: impl FnOnce(&vidimus_domain::Part, vidimus_domain::ImageId) -> BlobKey,
    ) -> Result<Record, Failure> {
        let here = &self.target()?.here;
        let record: Record = decoded(&entry.key, &entry.body)?;
        let other_model =
            |_| refused(format!("{} has no templates of its collection's face model", entry.key));
        let record = record.only_of(here.face_model()).map_err(other_model)?;
        let origin = &record.origin;
        if origin.part != here.part() || key(&origin.part, origin.image).as_str() != entry.key {
            return Err(refused("a record is not where its key says"));
        }
        Ok(record)
    }

    async fn finish_units(&mut self) -> Result<(), Failure> {
        while !self.units.is_empty() {
            self.finish_unit().await?;
        }
        Ok(())
    }

    async fn finish_unit(&mut self) -> Result<(), Failure> {
        let Some(joined) = self.units.join_next().await else { return Ok(()) };
        let lost = |_| Failure::new(ErrorCode::Internal, "a task of the import was lost");
        self.imported.count(joined.map_err(lost)??);
        Ok(())
    }
}

impl Imported {
    fn count(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::UserWritten => self.users_written += 1,
            Outcome::UserUnchanged => {}
            Outcome::Added { photo } => {
                self.records_added += 1;
                self.photos_put += u64::from(photo);
            }
            Outcome::Merged { photo } => {
                self.records_merged += 1;
                self.photos_put += u64::from(photo);
            }
            Outcome::Unchanged => self.records_unchanged += 1,
            Outcome::DeletedHere => self.records_stay_deleted += 1,
            Outcome::LeftOut => self.records_left_out += 1,
        }
    }
}

/// Reads an entry's object, which must be the one that its key names: an export is not to write elsewhere.
fn keyed<T: Stored>(entry: &Entry, key: impl FnOnce(&T) -> BlobKey) -> Result<T, Failure> {
    let value = decoded::<T>(&entry.key, &entry.body)?;
    if key(&value).as_str() == entry.key {
        return Ok(value);
    }
    Err(refused("an object of the catalog is not where its key says"))
}

fn tenant_key(tenant: &Tenant) -> BlobKey {
    BlobKey::tenant(&tenant.name)
}

fn collection_key(collection: &Collection) -> BlobKey {
    BlobKey::collection(collection.tenant, &collection.name)
}

#[cfg(test)]
mod tests;
