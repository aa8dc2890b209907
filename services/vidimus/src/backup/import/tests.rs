//! From one store to another, over fakes.

use bytes::Bytes;
use futures::{StreamExt, stream};
use tokio::sync::mpsc;
use vidimus_domain::blob_key::BlobPrefix;
use vidimus_domain::catalog::Collection;
use vidimus_domain::face::DetectedFace;
use vidimus_domain::geometry::{BoundingBox, Point};
use vidimus_domain::placements::Placements;
use vidimus_domain::record::{
    Enrolled, Enrolment, Origin, PhotoKey, Record, Write, associate, enrol, erase, must_be_remembered,
};
use vidimus_domain::retention::Cutoffs;
use vidimus_domain::user::{Creation, UserKey, create};
use vidimus_domain::{FaceNumber, ImageId, Nonce, Template};
use vidimus_ports::clock::ManualClock;
use vidimus_ports::memory::{MemoryBlobStore, MemoryEventLog};
use vidimus_ports::random::SeededRandom;
use vidimus_ports::{BlobStore, Clock, EventLog, Random};
use vidimus_runtime::catalog::{Catalog, CatalogDeps, NewCollection};

use super::*;
use crate::backup::Scope;
use crate::backup::export::Exporter;

const T0: UnixMillis = UnixMillis::new(1_760_000_000_000);
const MINUTE: Duration = Duration::from_secs(60);

/// A deployment's stores.
struct Store {
    deps: BackupDeps,
    clock: Arc<ManualClock>,
}

impl Store {
    fn new(seed: u64) -> Self {
        let clock = Arc::new(ManualClock::new(T0));
        let dyn_clock: Arc<dyn Clock> = clock.clone();
        let random: Arc<dyn Random> = Arc::new(SeededRandom::new(seed));
        let blobs: Arc<dyn BlobStore> = Arc::new(MemoryBlobStore::new(dyn_clock.clone()));
        let log: Arc<dyn EventLog> = Arc::new(MemoryEventLog::new(Nonce::from_random([seed as u8; 16])));
        let catalog_deps =
            CatalogDeps { blobs: blobs.clone(), clock: dyn_clock.clone(), random: random.clone() };
        let catalog = Arc::new(Catalog::new(catalog_deps, None));
        let face_model = "sface-2021dec".parse().unwrap();
        let deps = BackupDeps {
            blobs,
            log,
            catalog,
            clock: dyn_clock,
            random,
            face_models: vec![face_model],
            waiting_changes_max: None,
        };
        Self { deps, clock }
    }

    async fn with_collection(seed: u64) -> (Self, Arc<Collection>) {
        Self::with_new_collection(seed, false).await
    }

    async fn with_new_collection(seed: u64, is_large: bool) -> (Self, Arc<Collection>) {
        let store = Self::new(seed);
        let tenant = store.deps.catalog.create_tenant("acme".parse().unwrap()).await.unwrap();
        store.deps.catalog.create_key(&tenant.name, "first", false).await.unwrap();
        let (name, face_model) = ("staff".parse().unwrap(), store.deps.face_models[0].clone());
        let new = NewCollection::new(tenant.id, name, face_model, "1.0".to_owned());
        let new = NewCollection { is_large, ..new };
        let collection = store.deps.catalog.create_collection(new).await.unwrap();
        (store, collection)
    }

    fn write(&self) -> Write {
        Write { now: self.clock.now(), nonce: self.deps.random.nonce(), cutoffs: Cutoffs::default() }
    }

    /// Enrols one face of a photo.
    async fn enrol(&self, collection: &Collection, image: u8) -> Record {
        let origin = Origin {
            part: collection.part(),
            image: ImageId::from_random([image; 16]),
            face_model: collection.face_model().clone(),
            external_image_id: None,
        };
        let write = self.write();
        let photo = PhotoKey::new(write.now, write.nonce);
        let key = BlobKey::photo(&origin.part, origin.image, &photo);
        self.deps.blobs.put(&key, Bytes::from(vec![image; 9]), PutCondition::IfAbsent).await.unwrap();
        let enrolment = Enrolment {
            request: format!("request-{image}").parse().unwrap(),
            faces: vec![detected()],
            photo,
            expires_at: None,
            photos_removed: Vec::new(),
        };
        let Ok(Enrolled::Changed { record, .. }) = enrol(&origin, None, enrolment, write) else {
            panic!("it is new");
        };
        self.store(&record).await;
        *record
    }

    async fn store(&self, record: &Record) {
        let records = Records::new(self.deps.blobs.clone(), self.deps.clock.clone());
        let read = records.read(&record.origin.part, record.origin.image).await.unwrap();
        records.write(record, &read).await.unwrap();
    }

    async fn read(&self, record: &Record) -> Option<Record> {
        let records = Records::new(self.deps.blobs.clone(), self.deps.clock.clone());
        records.read(&record.origin.part, record.origin.image).await.unwrap().record
    }

    async fn erase(&self, record: &Record) -> Record {
        self.clock.advance(MINUTE);
        let erased = *erase(record, &[FaceNumber::FIRST], self.write()).record.unwrap();
        self.store(&erased).await;
        erased
    }

    /// As the ledger removes it when its day is over.
    async fn remove_husk(&self, husk: &Record) {
        assert!(must_be_remembered(husk, Cutoffs::default()));
        let (part, image) = (&husk.origin.part, husk.origin.image);
        let gone = BlobKey::gone(part, image);
        self.deps.blobs.put(&gone, husk.encode().into(), PutCondition::IfAbsent).await.unwrap();
        self.deps.blobs.delete(&BlobKey::record(part, image)).await.unwrap();
    }

    /// An export of the tenant.
    async fn export(&self) -> Vec<Bytes> {
        self.export_of(None).await
    }

    async fn export_of(&self, collection: Option<&str>) -> Vec<Bytes> {
        let exporter = Exporter::new(self.deps.clone());
        let scope = Scope { tenant: "acme".to_owned(), collection: collection.map(str::to_owned) };
        let plan = exporter.plan(scope).await.unwrap();
        let (sender, mut receiver) = mpsc::channel(1);
        tokio::spawn(async move { exporter.run(plan, sender).await });
        let mut chunks = Vec::new();
        while let Some(chunk) = receiver.recv().await {
            chunks.push(chunk);
        }
        chunks
    }

    async fn import(&self, chunks: &[Bytes]) -> Result<Imported, Failure> {
        let chunks = stream::iter(chunks.to_vec()).map(Ok);
        Importer::new(self.deps.clone()).run(&mut Reader::new(chunks)).await
    }

    async fn keys_under(&self, prefix: &BlobPrefix) -> Vec<BlobKey> {
        let listed = self.deps.blobs.list(prefix, None, 1000).await.unwrap();
        listed.into_iter().map(|entry| entry.key).collect()
    }

    async fn changes(&self) -> u64 {
        let state = self.deps.log.state(Topic::Changes).await.unwrap();
        state.iter().map(|partition| partition.next_offset).sum()
    }
}

fn detected() -> DetectedFace {
    DetectedFace {
        bounding_box: BoundingBox { left: 0.25, top: 0.25, width: 0.25, height: 0.25 },
        landmarks: [Point { x: 0.3, y: 0.3 }; 5],
        confidence: 0.9375,
        pose: None,
        quality: None,
        template: Template::normalised(vec![3.0, 4.0, 0.0, 1.0]).unwrap(),
    }
}

#[tokio::test]
async fn what_is_exported_is_there_after_an_import_and_again_after_a_second() {
    let (from, collection) = Store::with_collection(1).await;
    let record = from.enrol(&collection, 1).await;
    let export = from.export().await;
    let to = Store::new(2);
    let imported = to.import(&export).await.unwrap();
    assert_eq!((imported.collections_made, imported.records_added, imported.photos_put), (1, 1, 1));
    assert_eq!(to.read(&record).await, Some(record.clone()));
    let photos = BlobPrefix::photos(&collection.part());
    assert_eq!(to.keys_under(&photos).await, from.keys_under(&photos).await);
    let there = to.deps.catalog.read_by_part(&collection.part()).await.unwrap().unwrap();
    assert_eq!((there.uid, there.image_id_key), (collection.uid, collection.image_id_key));
    let tenant = "acme".parse().unwrap();
    assert_eq!(to.deps.catalog.keys(&tenant).await.unwrap(), from.deps.catalog.keys(&tenant).await.unwrap());
    assert_eq!(to.changes().await, 1, "the index follows");

    let again = to.import(&export).await.unwrap();
    assert_eq!((again.collections_made, again.records_added, again.records_unchanged), (0, 0, 1));
    assert_eq!(to.read(&record).await, Some(record));
}

#[tokio::test]
async fn a_face_that_was_deleted_since_stays_deleted_with_its_husk_and_without() {
    let (store, collection) = Store::with_collection(1).await;
    let record = store.enrol(&collection, 1).await;
    let export = store.export().await;
    let husk = store.erase(&record).await;
    let imported = store.import(&export).await.unwrap();
    assert_eq!(imported.records_unchanged, 1);
    assert_eq!(store.read(&record).await, Some(husk.clone()));

    store.remove_husk(&husk).await;
    let imported = store.import(&export).await.unwrap();
    assert_eq!((imported.records_added, imported.records_stay_deleted), (0, 1));
    assert_eq!(store.read(&record).await, None);
}

#[tokio::test]
async fn a_later_export_brings_its_deletions_along() {
    let (from, collection) = Store::with_collection(1).await;
    let [first, second] = [from.enrol(&collection, 1).await, from.enrol(&collection, 2).await];
    let to = Store::new(2);
    to.import(&from.export().await).await.unwrap();
    from.erase(&first).await;
    let husk = from.erase(&second).await;
    from.remove_husk(&husk).await;
    let imported = to.import(&from.export().await).await.unwrap();
    assert_eq!(imported.records_merged, 2);
    for record in [first, second] {
        let here = to.read(&record).await.unwrap();
        assert!(here.faces.iter().all(|face| face.live().is_none()));
        assert!(to.deps.blobs.get(&photo_key(&record)).await.unwrap().is_none(), "its photo went too");
    }
}

fn photo_key(record: &Record) -> BlobKey {
    BlobKey::photo(&record.origin.part, record.origin.image, record.photo.as_ref().unwrap())
}

#[tokio::test]
async fn a_record_that_is_missing_without_having_been_deleted_comes_back() {
    let (store, collection) = Store::with_collection(1).await;
    let record = store.enrol(&collection, 1).await;
    let export = store.export().await;
    let key = BlobKey::record(&record.origin.part, record.origin.image);
    store.deps.blobs.delete(&key).await.unwrap();
    assert_eq!(store.import(&export).await.unwrap().records_added, 1);
    assert_eq!(store.read(&record).await, Some(record));
}

#[tokio::test]
async fn deleted_collections_keys_and_tenants_stay_deleted() {
    let (store, collection) = Store::with_collection(1).await;
    let export = store.export().await;
    let catalog = &store.deps.catalog;
    let tenant = catalog.tenant(&"acme".parse().unwrap()).await.unwrap();
    let [key] = catalog.keys(&tenant.name).await.unwrap().try_into().unwrap();
    catalog.delete_key(&key.id).await.unwrap();
    store.import(&export).await.unwrap();
    assert!(catalog.keys(&tenant.name).await.unwrap().is_empty());

    let alone = store.export_of(Some("staff")).await;
    catalog.delete_collection(tenant.id, &collection.name).await.unwrap();
    let refused = store.import(&alone).await.unwrap_err();
    assert!(refused.message.contains("was deleted here"), "{refused}");
    store.clock.advance(MINUTE * 61);
    for dead in catalog.dead_collections(tenant.id).await.unwrap() {
        catalog.forget_dead(&dead).await.unwrap();
    }
    store.deps.blobs.delete(&BlobKey::collection(tenant.id, &collection.name)).await.unwrap();
    assert!(store.import(&alone).await.unwrap_err().message.contains("was deleted here"));
    assert_eq!(left_out(&store.import(&export).await.unwrap()), ["staff"]);

    catalog.delete_tenant(&tenant.name).await.unwrap();
    assert!(store.import(&export).await.unwrap_err().message.contains("tenant acme was deleted here"));
    catalog.forget_tenant(&tenant).await.unwrap();
    assert!(store.import(&export).await.unwrap_err().message.contains("tenant acme was deleted here"));
}

/// Why collections were left out stands beside their names.
fn left_out(imported: &Imported) -> Vec<&str> {
    assert!(
        imported.collections_left_out.values().all(|why| why.contains("was deleted here")),
        "{imported:?}"
    );
    imported.collections_left_out.keys().map(String::as_str).collect()
}

#[tokio::test]
async fn a_collection_that_was_deleted_keeps_no_other_of_its_tenant_out() {
    let (store, first) = Store::with_collection(1).await;
    let new = |name: &str| {
        let face_model = store.deps.face_models[0].clone();
        NewCollection::new(first.tenant, name.parse().unwrap(), face_model, "1.0".to_owned())
    };
    let catalog = &store.deps.catalog;
    let others = [
        catalog.create_collection(new("guests")).await.unwrap(),
        catalog.create_collection(new("visitors")).await.unwrap(),
    ];
    let mut records = Vec::new();
    for (image, collection) in (1..).zip([&first, &others[0], &others[1]]) {
        records.push(store.enrol(collection, image).await);
    }
    let export = store.export().await;
    for deleted in [&first, &others[0], &others[1]] {
        let from = Store::new(2);
        from.import(&export).await.unwrap();
        from.deps.catalog.delete_collection(deleted.tenant, &deleted.name).await.unwrap();
        for record in &records {
            from.deps.blobs.delete(&BlobKey::record(&record.origin.part, record.origin.image)).await.unwrap();
        }
        let imported = from.import(&export).await.unwrap();
        assert_eq!(left_out(&imported), [deleted.name.as_str()]);
        assert_eq!(imported.records_added, 2);
        for record in &records {
            assert_eq!(from.read(record).await.is_some(), record.origin.part != deleted.part());
        }
    }
}

#[tokio::test]
async fn what_is_damaged_is_named() {
    let (store, collection) = Store::with_collection(1).await;
    let record = store.enrol(&collection, 1).await;
    let key = BlobKey::record(&record.origin.part, record.origin.image);
    store.deps.blobs.delete(&key).await.unwrap();
    store.deps.blobs.put(&key, Bytes::from_static(b"no record"), PutCondition::IfAbsent).await.unwrap();
    let export = store.export().await;
    let failed = Store::new(2).import(&export).await.unwrap_err();
    assert!(failed.message.contains(key.as_str()), "{failed}");
}

#[tokio::test]
async fn another_tenant_or_collection_of_the_name_is_left_alone() {
    let (from, _) = Store::with_collection(1).await;
    let (to, there) = Store::with_collection(2).await;
    let export = from.export().await;
    assert_eq!(to.import(&export).await.unwrap_err().code, ErrorCode::AlreadyExists);
    assert!(to.deps.catalog.read_by_part(&there.part()).await.unwrap().is_some());
}

#[tokio::test]
async fn users_come_with_their_faces_and_claims_that_none_names_do_not() {
    let (from, collection) = Store::with_collection(1).await;
    let [first, second] = [from.enrol(&collection, 1).await, from.enrol(&collection, 2).await];
    let id: vidimus_domain::UserId = "anna".parse().unwrap();
    let Creation::Write(user) = create(None, (collection.part(), id.clone()), None, from.write()) else {
        panic!("she is new");
    };
    let face = first.face_id(FaceNumber::FIRST);
    let user = user.reserved(&[face], &[], from.write()).unwrap();
    let claim = user.claim().unwrap();
    let key = BlobKey::user(&collection.part(), UserKey::of(&collection.image_id_key, &id));
    from.deps.blobs.put(&key, user.encode().into(), PutCondition::IfAbsent).await.unwrap();
    for record in [&first, &second] {
        let claimed = associate(record, &[FaceNumber::FIRST], &claim, &[], from.write());
        from.store(&claimed.record.unwrap()).await;
    }
    let to = Store::new(2);
    let imported = to.import(&from.export().await).await.unwrap();
    assert_eq!((imported.users_written, imported.records_added), (1, 2));
    let claims = [to.read(&first).await.unwrap(), to.read(&second).await.unwrap()];
    let claims = claims.map(|record| record.faces[0].live().unwrap().user.clone());
    assert_eq!(claims, [Some(claim), None]);
}

#[tokio::test]
async fn an_export_that_is_cut_off_fails_and_is_gone_on_with() {
    let (from, collection) = Store::with_collection(1).await;
    for image in 1..=20 {
        from.enrol(&collection, image).await;
    }
    let export = from.export().await;
    let to = Store::new(2);
    let cut = to.import(&export[..export.len() - 20]).await.unwrap_err();
    assert!(cut.message.contains("cut off"), "{cut}");
    to.import(&export).await.unwrap();
    let records = BlobPrefix::records(&collection.part());
    assert_eq!(to.keys_under(&records).await.len(), 20);
}

#[tokio::test]
async fn a_large_collection_has_an_index_collection_of_its_own_here_too() {
    let (from, collection) = Store::with_new_collection(1, true).await;
    let own = collection.face_model().own_placement(collection.uid, 1).unwrap();
    assert_eq!(collection.placements.read, own);
    let export = from.export().await;
    let to = Store::new(2);
    for _ in 0..2 {
        to.import(&export).await.unwrap();
        let here = to.deps.catalog.read_by_part(&collection.part()).await.unwrap().unwrap();
        assert_eq!(here.placements, Placements::only(collection.face_model().clone(), own.clone()));
    }
    to.deps.catalog.delete_collection(collection.tenant, &collection.name).await.unwrap();
    let dead = to.deps.catalog.dead_collections(collection.tenant).await.unwrap();
    assert_eq!(dead[0].galleries.iter().map(|gallery| &gallery.placement).collect::<Vec<_>>(), [&own]);
}

/// Where points lay there means nothing here; a half-made move would never end.
#[tokio::test]
async fn a_move_that_is_under_way_is_not_brought_in() {
    let (from, collection) = Store::with_collection(1).await;
    let record = from.enrol(&collection, 1).await;
    from.deps
        .catalog
        .begin_move(&collection.part(), (&"sface-2021dec.2".parse().unwrap(), collection.face_model()))
        .await
        .unwrap();
    let export = from.export().await;
    let to = Store::new(2);
    for _ in 0..2 {
        to.import(&export).await.unwrap();
        let here = to.deps.catalog.read_by_part(&collection.part()).await.unwrap().unwrap();
        assert_eq!(
            here.placements,
            Placements::only(collection.face_model().clone(), "sface-2021dec".parse().unwrap())
        );
    }
    assert_eq!(to.read(&record).await, from.read(&record).await);
    // One that has moved here stays where it is.
    to.deps
        .catalog
        .begin_move(&collection.part(), (&"sface-2021dec.2".parse().unwrap(), collection.face_model()))
        .await
        .unwrap();
    to.import(&export).await.unwrap();
    let here = to.deps.catalog.read_by_part(&collection.part()).await.unwrap().unwrap();
    assert!(here.placements.moving.is_some());
}
