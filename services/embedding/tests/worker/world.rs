//! Everything that a worker stands on, and an encoder that does as its photos say.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use prometheus_client::registry::Registry;
use vidimus_domain::blob_key::{BlobKey, BlobPrefix};
use vidimus_domain::catalog::Collection;
use vidimus_domain::codec::Stored;
use vidimus_domain::event::{AcceptedPhoto, Change};
use vidimus_domain::face::{DetectedFace, Pose, Quality};
use vidimus_domain::geometry::{BoundingBox, Landmarks};
use vidimus_domain::record::{Acceptance, BulkPhoto, Origin, PhotoKey, Record, WantedModels, Write, accept};
use vidimus_domain::retention::Cutoffs;
use vidimus_domain::{FaceModelName, ImageId, Template};
use vidimus_embedding::{Worker, WorkerConfig, WorkerDeps};
use vidimus_ports::clock::SystemClock;
use vidimus_ports::faulty::{FaultPlan, FaultyBlobStore, FaultyEventLog};
use vidimus_ports::memory::{MemoryBlobStore, MemoryEventLog};
use vidimus_ports::random::SeededRandom;
use vidimus_ports::{
    BlobStore, Clock, EncodedPhoto, EncoderError, Encoders, EventLog, FaceEncoder, PortError, PortErrorKind,
    PutCondition, Random, Topic,
};
use vidimus_runtime::accepted_photos::AcceptedPhotos;
use vidimus_runtime::backlog::uncommitted;
use vidimus_runtime::catalog::{Catalog, CatalogDeps, NewCollection};
use vidimus_runtime::dead_letters::DeadLetters;
use vidimus_runtime::records::{Records, Written};
use vidimus_runtime::shutdown::Shutdown;

/// Finds as many faces as the photo's first byte says, unless it is a word.
pub(crate) struct Encoder {
    pub(crate) face_model: FaceModelName,
    pub(crate) is_broken: AtomicBool,
    pub(crate) is_held_up: AtomicBool,
    pub(crate) busy_times: AtomicUsize,
    pub(crate) encoded: AtomicUsize,
    pub(crate) at_once: AtomicUsize,
    pub(crate) at_once_most: AtomicUsize,
}

fn face(number: u8) -> DetectedFace {
    let left = f32::from(number) * 0.1;
    DetectedFace {
        bounding_box: BoundingBox { left, top: 0.0, width: 0.09, height: 0.09 },
        landmarks: Landmarks::default(),
        confidence: 0.95,
        pose: Some(Pose::default()),
        quality: Some(Quality { brightness: 60.0, sharpness: 60.0 }),
        template: Template::normalised(vec![1.0, f32::from(number)]).unwrap(),
    }
}

impl Encoder {
    pub(crate) fn of(face_model: &str) -> Arc<Self> {
        Arc::new(Self {
            face_model: face_model.parse().unwrap(),
            is_broken: AtomicBool::new(true),
            is_held_up: AtomicBool::new(false),
            busy_times: AtomicUsize::new(0),
            encoded: AtomicUsize::new(0),
            at_once: AtomicUsize::new(0),
            at_once_most: AtomicUsize::new(0),
        })
    }

    pub(crate) fn look(&self, photo: &[u8]) -> Result<EncodedPhoto, EncoderError> {
        let broken = || PortError::new(PortErrorKind::Internal, "encode photo").because("it panicked");
        if photo == b"poison" && self.is_broken.load(Ordering::SeqCst) {
            return Err(broken().into());
        }
        if photo == b"text" {
            return Err(EncoderError::NotAPhoto("it is text".to_owned()));
        }
        if self.busy_times.try_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok()
        {
            return Err(EncoderError::Busy);
        }
        self.encoded.fetch_add(1, Ordering::SeqCst);
        let count = match photo {
            b"poison" => 1,
            photo => photo.first().copied().unwrap_or_default().saturating_sub(b'0'),
        };
        let mut faces = (0..count).map(face).collect::<Vec<_>>();
        if photo.ends_with(b"blurred") {
            faces
                .iter_mut()
                .for_each(|face| face.quality = Some(Quality { brightness: 60.0, sharpness: 0.0 }));
        }
        Ok(EncodedPhoto { faces, width_px: 1000, height_px: 1000 })
    }
}

#[async_trait]
impl FaceEncoder for Encoder {
    fn face_model(&self) -> &FaceModelName {
        &self.face_model
    }

    fn dimension(&self) -> usize {
        2
    }

    async fn encode(&self, photo: Bytes) -> Result<EncodedPhoto, EncoderError> {
        let at_once = self.at_once.fetch_add(1, Ordering::SeqCst) + 1;
        self.at_once_most.fetch_max(at_once, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(2)).await;
        while self.is_held_up.load(Ordering::SeqCst) {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        self.at_once.fetch_sub(1, Ordering::SeqCst);
        self.look(&photo)
    }

    async fn embed_at(
        &self,
        photo: Bytes,
        landmarks: Vec<Landmarks>,
    ) -> Result<Vec<Option<Template>>, EncoderError> {
        self.look(&photo)?;
        Ok(landmarks.iter().map(|_| Template::normalised(vec![1.0, 1.0, 1.0]).ok()).collect())
    }
}

/// Everything that a worker stands on.
pub(crate) struct World {
    pub(crate) blobs: Arc<MemoryBlobStore>,
    pub(crate) log: Arc<MemoryEventLog>,
    pub(crate) catalog: Arc<Catalog>,
    pub(crate) collection: Arc<Collection>,
    pub(crate) encoder: Arc<Encoder>,
    pub(crate) newer: Arc<Encoder>,
    pub(crate) faults: Arc<FaultPlan>,
    pub(crate) random: Arc<SeededRandom>,
    pub(crate) records: Records,
    pub(crate) shutdown: Shutdown,
}

impl Drop for World {
    fn drop(&mut self) {
        self.shutdown.begin();
    }
}

impl World {
    pub(crate) async fn new() -> Self {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let blobs = Arc::new(MemoryBlobStore::new(clock.clone()));
        let random = Arc::new(SeededRandom::new(7));
        let deps = CatalogDeps { blobs: blobs.clone(), clock: clock.clone(), random: random.clone() };
        let catalog = Arc::new(Catalog::new(deps, None));
        let tenant = catalog.create_tenant("acme".parse().unwrap()).await.unwrap();
        let (name, face_model) = ("staff".parse().unwrap(), "model".parse().unwrap());
        let new = NewCollection::new(tenant.id, name, face_model, "1.0".to_owned());
        Self {
            collection: catalog.create_collection(new).await.unwrap(),
            records: Records::new(blobs.clone(), clock),
            log: Arc::new(MemoryEventLog::new(random.nonce())),
            encoder: Encoder::of("model"),
            newer: Encoder::of("newer"),
            faults: FaultPlan::scripted(),
            shutdown: Shutdown::new(),
            blobs,
            catalog,
            random,
        }
    }

    /// A worker that runs until the world ends, or until its shutdown begins.
    pub(crate) fn start_worker(&self) -> Shutdown {
        self.start_worker_by(Arc::new(SystemClock))
    }

    pub(crate) fn start_worker_by(&self, clock: Arc<dyn Clock>) -> Shutdown {
        let deps = WorkerDeps {
            blobs: Arc::new(FaultyBlobStore::new(self.blobs.clone(), self.faults.clone())),
            log: Arc::new(FaultyEventLog::new(self.log.clone(), self.faults.clone())),
            catalog: self.catalog.clone(),
            encoders: Encoders::new(vec![self.encoder.clone(), self.newer.clone()]),
            clock,
            random: self.random.clone(),
        };
        let config = WorkerConfig {
            photos_in_flight_max: NonZeroUsize::new(3).unwrap(),
            photos_read_ahead_max: NonZeroUsize::new(4).unwrap(),
            commit_interval: Duration::from_millis(5),
            tries_max: NonZeroUsize::new(2).unwrap(),
        };
        let shutdown = Shutdown::new();
        Worker::start(config, deps, &shutdown, &mut Registry::default());
        let (worker, world) = (shutdown.clone(), self.shutdown.clone());
        self.shutdown.spawn(async move {
            world.begun().await;
            worker.begin();
        });
        shutdown
    }

    pub(crate) fn write(&self) -> Write {
        Write { now: SystemClock.now(), nonce: self.random.nonce(), cutoffs: Cutoffs::default() }
    }

    /// Accepts a photo, as ingestion does, and says it on the log.
    pub(crate) async fn accept(&self, image: u8, photo: &'static str) -> Record {
        let origin = Origin {
            part: self.collection.part(),
            image: ImageId::from_random([image; 16]),
            face_model: self.collection.face_model().clone(),
            external_image_id: None,
        };
        let write = self.write();
        let key = PhotoKey::new(write.now, self.random.nonce());
        let blob = BlobKey::photo(&origin.part, origin.image, &key);
        self.blobs.put(&blob, photo.into(), PutCondition::IfAbsent).await.unwrap();
        let bulk = BulkPhoto { request: "bulk-job".parse().unwrap(), photo: key, photos_removed: Vec::new() };
        let Ok(Acceptance::Changed(record)) = accept(&origin, None, bulk, write) else {
            panic!("it is new");
        };
        self.store(&record).await;
        self.say(&record).await;
        *record
    }

    /// Has the collection turn to that face model, as a move does.
    pub(crate) async fn turn_to(&self, face_model: &str) -> WantedModels {
        let target = (&face_model.parse().unwrap(), &face_model.parse().unwrap());
        let turning = self.catalog.begin_move(&self.collection.part(), target).await.unwrap();
        WantedModels::of(&turning.placements)
    }

    pub(crate) async fn store(&self, record: &Record) {
        let read = self.records.read(&record.origin.part, record.origin.image).await.unwrap();
        assert_eq!(self.records.write(record, &read).await.unwrap(), Written::Yes);
    }

    pub(crate) async fn say(&self, record: &Record) {
        let photo =
            AcceptedPhoto { part: record.origin.part, image: record.origin.image, at: record.changed_at };
        AcceptedPhotos::new(self.log.clone()).append(&photo).await.unwrap();
    }

    pub(crate) async fn read(&self, record: &Record) -> Record {
        self.records.read(&record.origin.part, record.origin.image).await.unwrap().record.unwrap()
    }

    /// Waits until everything that is on the log is committed.
    pub(crate) async fn all_done(&self) {
        self.until(async || uncommitted(&*self.log, Topic::Photos).await.unwrap() == 0).await;
    }

    pub(crate) async fn until(&self, condition: impl AsyncFn() -> bool) {
        let waiting = async {
            while !condition().await {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), waiting).await.expect("it comes to pass");
    }

    pub(crate) async fn photos(&self) -> usize {
        self.blobs.list(&BlobPrefix::photos(&self.collection.part()), None, 100).await.unwrap().len()
    }

    pub(crate) async fn changed(&self) -> Vec<ImageId> {
        let mut reader = self.log.subscribe(Topic::Changes, "test").await.unwrap();
        let records = reader.next(1000, Duration::ZERO).await.unwrap();
        records.iter().map(|record| Change::decode(&record.payload).unwrap().image).collect()
    }

    pub(crate) fn dead_letters(&self) -> DeadLetters {
        DeadLetters {
            log: self.log.clone(),
            blobs: self.blobs.clone(),
            clock: Arc::new(SystemClock),
            random: self.random.clone(),
        }
    }
}
