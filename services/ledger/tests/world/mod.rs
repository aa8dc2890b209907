//! A world of fakes with one tenant and one collection.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::registry::Registry;
use prost::Message;
use vidimus_domain::blob_key::{BlobKey, BlobPrefix};
use vidimus_domain::catalog::Collection;
use vidimus_domain::codec::Stored;
use vidimus_domain::event::{AcceptedPhoto, Audit, AuditedAction, Change};
use vidimus_domain::face::DetectedFace;
use vidimus_domain::geometry::{BoundingBox, Landmarks};
use vidimus_domain::point::Gallery;
use vidimus_domain::record::{
    Acceptance, BulkPhoto, Enrolled, Enrolment, Origin, PhotoKey, Record, Write, accept, enrol, erase,
    projection,
};
use vidimus_domain::retention::{Cutoffs, RetentionRule};
use vidimus_domain::score::Calibration;
use vidimus_domain::{FaceNumber, ImageId, Nonce, Part, Template, UnixMillis};
use vidimus_ledger::{Ledger, LedgerConfig, LedgerDeps};
use vidimus_ports::clock::ManualClock;
use vidimus_ports::faulty::{FaultPlan, FaultyBlobStore, FaultyEventLog, FaultyFaceIndex};
use vidimus_ports::memory::{MemoryBlobStore, MemoryEventLog, MemoryFaceIndex};
use vidimus_ports::random::SeededRandom;
use vidimus_ports::{Append, BlobStore, Clock, EventLog, FaceIndex, PutCondition, Random, RemoveIf, Topic};
use vidimus_proto::internal::v1;
use vidimus_runtime::catalog::{Catalog, CatalogDeps, NewCollection};
use vidimus_runtime::models::{FaceModels, KnownModel};
use vidimus_runtime::records::{Records, Written};
use vidimus_runtime::shutdown::Shutdown;

/// Everything that the ledger stands on.
pub struct World {
    pub blobs: Arc<MemoryBlobStore>,
    pub log: Arc<MemoryEventLog>,
    pub index: Arc<MemoryFaceIndex>,
    pub clock: Arc<ManualClock>,
    pub catalog: Arc<Catalog>,
    pub collection: Arc<Collection>,
    /// What the catalog and ledgers meet at the stores; none at first.
    pub faults: Arc<FaultPlan>,
    random: Arc<SeededRandom>,
    records: Records,
    shutdown: Shutdown,
}

impl Drop for World {
    fn drop(&mut self) {
        self.shutdown.begin();
    }
}

async fn new_collection(catalog: &Catalog, tenant: vidimus_domain::TenantId) -> Arc<Collection> {
    let (name, face_model) = ("staff".parse().unwrap(), "model".parse().unwrap());
    let new = NewCollection::new(tenant, name, face_model, "1.0".to_owned());
    catalog.create_collection(new).await.unwrap()
}

fn face_models() -> FaceModels {
    let known = |name: &str, version: &str, dimension| KnownModel {
        face_model: name.parse().unwrap(),
        face_model_version: version.to_owned(),
        dimension,
        calibration: Calibration::new(vec![(0.3, 1e-3), (0.9, 1e-6)], vec![(0.0, 0.0), (1.0, 100.0)])
            .unwrap(),
    };
    FaceModels { first: known("model", "1.0", 2), others: vec![known("newer", "2.0", 3)] }
}

impl World {
    pub async fn new() -> Self {
        let clock = Arc::new(ManualClock::new(UnixMillis::new(1_800_000_000_000)));
        let blobs = Arc::new(MemoryBlobStore::new(clock.clone()));
        let random = Arc::new(SeededRandom::new(7));
        let faults = FaultPlan::scripted();
        let faulty = Arc::new(FaultyBlobStore::new(blobs.clone(), faults.clone()));
        let deps = CatalogDeps { blobs: faulty, clock: clock.clone(), random: random.clone() };
        let catalog = Arc::new(Catalog::new(deps, None));
        let tenant = catalog.create_tenant("acme".parse().unwrap()).await.unwrap();
        let collection = new_collection(&catalog, tenant.id).await;
        Self {
            log: Arc::new(MemoryEventLog::new(Nonce::from_random([1; 16]))),
            index: Arc::new(MemoryFaceIndex::new()),
            records: Records::new(blobs.clone(), clock.clone()),
            shutdown: Shutdown::new(),
            blobs,
            clock,
            catalog,
            collection,
            faults,
            random,
        }
    }

    /// The same world with another collection of the same name.
    pub async fn with_new_collection(mut self) -> Self {
        self.collection = new_collection(&self.catalog, self.collection.tenant).await;
        self
    }

    pub fn ledger(&self) -> Arc<Ledger> {
        self.ledger_counted(&mut Registry::default())
    }

    /// A ledger that counts in this registry.
    pub fn ledger_counted(&self, registry: &mut Registry) -> Arc<Ledger> {
        Ledger::new(self.deps(), registry)
    }

    /// The same with another log.
    pub fn ledger_on(&self, log: Arc<dyn EventLog>, registry: &mut Registry) -> Arc<Ledger> {
        Ledger::new(LedgerDeps { log, ..self.deps() }, registry)
    }

    /// What a ledger stands on.
    pub fn deps(&self) -> LedgerDeps {
        LedgerDeps {
            blobs: Arc::new(FaultyBlobStore::new(self.blobs.clone(), self.faults.clone())),
            log: Arc::new(FaultyEventLog::new(self.log.clone(), self.faults.clone())),
            index: Arc::new(FaultyFaceIndex::new(self.index.clone(), self.faults.clone())),
            catalog: self.catalog.clone(),
            clock: self.clock.clone(),
            random: self.random.clone(),
            waiting_changes_max: 1_000,
            waiting_photos_max: 1_000,
            face_models: Arc::new(face_models()),
        }
    }

    /// A ledger whose tasks run.
    pub fn started_ledger(&self) -> Arc<Ledger> {
        let ledger = self.ledger();
        self.start(&ledger);
        ledger
    }

    pub fn start(&self, ledger: &Arc<Ledger>) {
        let config = LedgerConfig { audit_batch_wait: Duration::ZERO, ..LedgerConfig::default() };
        ledger.start(config, &self.shutdown);
    }

    /// Ends what runs; whether it ended soon.
    pub async fn has_ended(&self) -> bool {
        self.shutdown.begin();
        self.shutdown.drained(Duration::from_secs(5)).await
    }

    pub fn now(&self) -> UnixMillis {
        self.clock.now()
    }

    pub fn write(&self) -> Write {
        Write { now: self.now(), nonce: self.random.nonce(), cutoffs: Cutoffs::default() }
    }

    pub fn part(&self) -> Part {
        self.collection.part()
    }

    pub fn gallery(&self) -> Gallery {
        self.collection.gallery()
    }

    pub async fn read(&self, record: &Record) -> Option<Record> {
        self.records.read(&self.part(), record.origin.image).await.unwrap().record
    }

    pub async fn read_image(&self, image: ImageId) -> Option<Record> {
        self.records.read(&self.part(), image).await.unwrap().record
    }

    /// The images of all records.
    pub async fn blobs_images(&self) -> Vec<ImageId> {
        let prefix = BlobPrefix::records(&self.part());
        let listed = self.blobs.list(&prefix, None, 1000).await.unwrap();
        listed.iter().map(|entry| entry.key.name().parse().unwrap()).collect()
    }

    pub async fn store(&self, record: &Record) {
        let read = self.records.read(&self.part(), record.origin.image).await.unwrap();
        assert_eq!(self.records.write(record, &read).await.unwrap(), Written::Yes);
    }

    /// Enrols a photo with one face: record and photo, without a word on the log.
    pub async fn enrol(&self, image: u8, external: Option<&str>) -> Record {
        self.enrol_face(image, external, None).await
    }

    /// The same, for a while only.
    pub async fn enrol_until(&self, image: u8, expires_at: UnixMillis) -> Record {
        self.enrol_face(image, None, Some(expires_at)).await
    }

    async fn enrol_face(&self, image: u8, external: Option<&str>, expires_at: Option<UnixMillis>) -> Record {
        let origin = Origin {
            part: self.part(),
            image: ImageId::from_random([image; 16]),
            face_model: self.collection.face_model().clone(),
            external_image_id: external.map(|name| name.parse().unwrap()),
        };
        let write = self.write();
        let photo = PhotoKey::new(write.now, self.random.nonce());
        let key = BlobKey::photo(&origin.part, origin.image, &photo);
        self.blobs.put(&key, "photo".into(), PutCondition::IfAbsent).await.unwrap();
        let request = format!("request-{image}").parse().unwrap();
        let enrolment =
            Enrolment { request, faces: vec![face()], photo, expires_at, photos_removed: Vec::new() };
        let Enrolled::Changed { record, .. } = enrol(&origin, None, enrolment, write).unwrap() else {
            panic!("it is the first enrolment")
        };
        self.store(&record).await;
        *record
    }

    /// Accepts a photo of a bulk job, without a word on the log.
    pub async fn accept(&self, image: u8) -> Record {
        let origin = Origin {
            part: self.part(),
            image: ImageId::from_random([image; 16]),
            face_model: self.collection.face_model().clone(),
            external_image_id: None,
        };
        let write = self.write();
        let photo = PhotoKey::new(write.now, self.random.nonce());
        let key = BlobKey::photo(&origin.part, origin.image, &photo);
        self.blobs.put(&key, "photo".into(), PutCondition::IfAbsent).await.unwrap();
        let bulk = BulkPhoto { request: "bulk-job".parse().unwrap(), photo, photos_removed: Vec::new() };
        let Ok(Acceptance::Changed(record)) = accept(&origin, None, bulk, write) else { panic!("it is new") };
        self.store(&record).await;
        *record
    }

    /// Photos that the ledger has said on the log again, from the first on.
    pub async fn said_photos(&self) -> Vec<ImageId> {
        let mut reader = self.log.subscribe(Topic::Photos, "test").await.unwrap();
        let records = reader.next(1000, Duration::ZERO).await.unwrap();
        records.iter().map(|record| AcceptedPhoto::decode(&record.payload).unwrap().image).collect()
    }

    pub async fn erase(&self, record: &Record) -> Record {
        let erased = *erase(record, &[FaceNumber::FIRST], self.write()).record.unwrap();
        self.store(&erased).await;
        erased
    }

    /// Sets the collection's retention rule.
    pub async fn set_retention(&self, faces: Option<Duration>, photos: Option<Duration>) {
        let rule = RetentionRule::new(faces, photos).unwrap();
        let (tenant, name) = (self.collection.tenant, &self.collection.name);
        self.catalog.set_retention(tenant, name, rule).await.unwrap();
    }

    /// Whether the photo is stored that the record was enrolled from.
    pub async fn has_photo(&self, enrolled: &Record) -> bool {
        let key = BlobKey::photo(&self.part(), enrolled.origin.image, enrolled.photo.as_ref().unwrap());
        self.blobs.get(&key).await.unwrap().is_some()
    }

    /// What is on the audit log.
    pub async fn audited(&self) -> Vec<AuditedAction> {
        let mut reader = self.log.subscribe(Topic::Audit, "test").await.unwrap();
        let records = reader.next(1000, Duration::ZERO).await.unwrap();
        records.iter().map(|record| Audit::decode(&record.payload).unwrap().what).collect()
    }

    /// Does what indexing does.
    pub async fn project(&self, record: &Record) {
        let wanted = projection(record, &record.origin.face_model, self.now());
        self.index.write(&self.gallery(), &wanted.write).await.unwrap();
        let remove = wanted.remove.into_iter().map(|(face, version_max)| RemoveIf { face, version_max });
        self.index.remove(&self.gallery(), &remove.collect::<Vec<_>>()).await.unwrap();
    }

    /// What the ledger has said on the log, from the first on.
    pub async fn changes(&self) -> Vec<Change> {
        let mut reader = self.log.subscribe(Topic::Changes, "test").await.unwrap();
        let records = reader.next(1000, Duration::ZERO).await.unwrap();
        records.iter().map(|record| Change::decode(&record.payload).unwrap()).collect()
    }

    /// The images that it was said of, each once.
    pub async fn changed_images(&self) -> Vec<ImageId> {
        let images: BTreeSet<ImageId> = self.changes().await.iter().map(|change| change.image).collect();
        images.into_iter().collect()
    }

    pub fn audit(&self, request: u64) -> Audit {
        Audit {
            part: self.part(),
            collection: "staff".to_owned(),
            request_id: format!("request-{request}"),
            principal: "KEY".to_owned(),
            at: self.now(),
            what: AuditedAction::Deletion { faces: Vec::new() },
        }
    }

    pub async fn append_audit(&self, request: u64) {
        let record = Append::new(b"one", self.audit(request).encode());
        // One key: one partition, so that offsets are known.
        self.log.append(Topic::Audit, record).await.unwrap();
    }

    /// Puts the batch of the first to the last offset, as a ledger that died right after it.
    pub async fn put_audit_batch(&self, first: u64, last: u64) {
        let partition = self.audit_partition().await;
        let incarnation = self.log.incarnation().await.unwrap();
        let batch = v1::AuditBatch {
            format: 1,
            log_incarnation: incarnation.to_string(),
            partition,
            first_offset: first,
            last_offset: last,
            records: (first..=last).map(|request| self.audit(request).to_proto()).collect(),
            unreadable: Vec::new(),
        };
        let key = BlobKey::audit_batch(&incarnation, partition, first);
        self.blobs.put(&key, batch.encode_to_vec().into(), PutCondition::IfAbsent).await.unwrap();
    }

    pub async fn audit_partition(&self) -> u32 {
        let states = self.log.state(Topic::Audit).await.unwrap();
        states.iter().find(|state| state.next_offset > 0).unwrap().partition
    }

    /// All audit records of this log's life that are in batches.
    pub async fn batched(&self) -> Vec<v1::Audit> {
        let incarnation = self.log.incarnation().await.unwrap().to_string();
        let mut all = Vec::new();
        for entry in self.blobs.list(&BlobPrefix::audit(), None, 1000).await.unwrap() {
            let blob = self.blobs.get(&entry.key).await.unwrap().unwrap();
            let batch = v1::AuditBatch::decode(blob.bytes).unwrap();
            if batch.log_incarnation == incarnation {
                all.extend(batch.records);
            }
        }
        all
    }

    /// Lets time pass until the condition holds.
    pub async fn until(&self, condition: impl AsyncFn() -> bool) {
        let waiting = async {
            while !condition().await {
                self.clock.advance(Duration::from_secs(1));
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), waiting).await.expect("it comes to pass");
    }
}

fn face() -> DetectedFace {
    DetectedFace {
        bounding_box: BoundingBox { left: 0.1, top: 0.1, width: 0.5, height: 0.5 },
        landmarks: Landmarks::default(),
        confidence: 0.9,
        pose: None,
        quality: None,
        template: Template::normalised(vec![1.0, 2.0]).unwrap(),
    }
}
