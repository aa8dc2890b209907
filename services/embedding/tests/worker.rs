//! The worker over fakes: what comes of accepted photos, and what failures and deaths in the middle leave.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "all of this is a test")]

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
use vidimus_domain::record::{
    Acceptance, BulkPhoto, Origin, PhotoKey, Record, State, WantedModels, Write, accept, erase,
};
use vidimus_domain::retention::Cutoffs;
use vidimus_domain::{FaceModelName, FaceNumber, ImageId, Template};
use vidimus_embedding::{Worker, WorkerConfig, WorkerDeps};
use vidimus_ports::clock::SystemClock;
use vidimus_ports::faulty::{BlobKind, Fault, FaultPlan, FaultyBlobStore, FaultyEventLog, Moment, Stage};
use vidimus_ports::memory::{MemoryBlobStore, MemoryEventLog};
use vidimus_ports::random::SeededRandom;
use vidimus_ports::{
    Append, BlobStore, Clock, EncodedPhoto, EncoderError, Encoders, EventLog, FaceEncoder, PortError,
    PortErrorKind, PutCondition, Random, Topic,
};
use vidimus_runtime::accepted_photos::AcceptedPhotos;
use vidimus_runtime::backlog::uncommitted;
use vidimus_runtime::catalog::{Catalog, CatalogDeps, NewCollection};
use vidimus_runtime::dead_letters::{DeadLetters, REASON_HEADER, Replayed};
use vidimus_runtime::records::{Records, Written};
use vidimus_runtime::shutdown::Shutdown;

/// Finds as many faces as the photo's first byte says, unless it is a word.
struct Encoder {
    face_model: FaceModelName,
    is_broken: AtomicBool,
    busy_times: AtomicUsize,
    encoded: AtomicUsize,
    at_once: AtomicUsize,
    at_once_most: AtomicUsize,
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
    fn of(face_model: &str) -> Arc<Self> {
        Arc::new(Self {
            face_model: face_model.parse().unwrap(),
            is_broken: AtomicBool::new(true),
            busy_times: AtomicUsize::new(0),
            encoded: AtomicUsize::new(0),
            at_once: AtomicUsize::new(0),
            at_once_most: AtomicUsize::new(0),
        })
    }

    fn look(&self, photo: &[u8]) -> Result<EncodedPhoto, EncoderError> {
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
struct World {
    blobs: Arc<MemoryBlobStore>,
    log: Arc<MemoryEventLog>,
    catalog: Arc<Catalog>,
    collection: Arc<Collection>,
    encoder: Arc<Encoder>,
    newer: Arc<Encoder>,
    faults: Arc<FaultPlan>,
    random: Arc<SeededRandom>,
    records: Records,
    shutdown: Shutdown,
}

impl Drop for World {
    fn drop(&mut self) {
        self.shutdown.begin();
    }
}

impl World {
    async fn new() -> Self {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let blobs = Arc::new(MemoryBlobStore::new(clock.clone()));
        let random = Arc::new(SeededRandom::new(7));
        let deps = CatalogDeps { blobs: blobs.clone(), clock: clock.clone(), random: random.clone() };
        let catalog = Arc::new(Catalog::new(deps, None));
        let tenant = catalog.create_tenant("acme".parse().unwrap()).await.unwrap();
        let new = NewCollection {
            tenant: tenant.id,
            name: "staff".parse().unwrap(),
            face_model: "model".parse().unwrap(),
            face_model_version: "1.0".to_owned(),
            tags: std::collections::BTreeMap::new(),
        };
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
    fn start_worker(&self) -> Shutdown {
        let deps = WorkerDeps {
            blobs: Arc::new(FaultyBlobStore::new(self.blobs.clone(), self.faults.clone())),
            log: Arc::new(FaultyEventLog::new(self.log.clone(), self.faults.clone())),
            catalog: self.catalog.clone(),
            encoders: Encoders::new(vec![self.encoder.clone(), self.newer.clone()]),
            clock: Arc::new(SystemClock),
            random: self.random.clone(),
        };
        let config = WorkerConfig {
            photos_in_flight_max: NonZeroUsize::new(3).unwrap(),
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

    fn write(&self) -> Write {
        Write { now: SystemClock.now(), nonce: self.random.nonce(), cutoffs: Cutoffs::default() }
    }

    /// Accepts a photo, as ingestion does, and says it on the log.
    async fn accept(&self, image: u8, photo: &'static str) -> Record {
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
    async fn turn_to(&self, face_model: &str) -> WantedModels {
        let target = (&face_model.parse().unwrap(), &face_model.parse().unwrap());
        let turning = self.catalog.begin_move(&self.collection.part(), target).await.unwrap();
        WantedModels::of(&turning.placements)
    }

    async fn store(&self, record: &Record) {
        let read = self.records.read(&record.origin.part, record.origin.image).await.unwrap();
        assert_eq!(self.records.write(record, &read).await.unwrap(), Written::Yes);
    }

    async fn say(&self, record: &Record) {
        let photo =
            AcceptedPhoto { part: record.origin.part, image: record.origin.image, at: record.changed_at };
        AcceptedPhotos::new(self.log.clone()).append(&photo).await.unwrap();
    }

    async fn read(&self, record: &Record) -> Record {
        self.records.read(&record.origin.part, record.origin.image).await.unwrap().record.unwrap()
    }

    /// Waits until everything that is on the log is committed.
    async fn all_done(&self) {
        self.until(async || uncommitted(&*self.log, Topic::Photos).await.unwrap() == 0).await;
    }

    async fn until(&self, condition: impl AsyncFn() -> bool) {
        let waiting = async {
            while !condition().await {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), waiting).await.expect("it comes to pass");
    }

    async fn photos(&self) -> usize {
        self.blobs.list(&BlobPrefix::photos(&self.collection.part()), None, 100).await.unwrap().len()
    }

    async fn changed(&self) -> Vec<ImageId> {
        let mut reader = self.log.subscribe(Topic::Changes, "test").await.unwrap();
        let records = reader.next(1000, Duration::ZERO).await.unwrap();
        records.iter().map(|record| Change::decode(&record.payload).unwrap().image).collect()
    }

    fn dead_letters(&self) -> DeadLetters {
        DeadLetters {
            log: self.log.clone(),
            blobs: self.blobs.clone(),
            clock: Arc::new(SystemClock),
            random: self.random.clone(),
        }
    }
}

#[tokio::test]
async fn what_was_accepted_is_enrolled_or_refused_with_the_reason() {
    let world = World::new().await;
    let photos = ["2 faces", "0 faces", "text", "1 blurred"];
    let mut accepted = Vec::new();
    for (image, photo) in photos.into_iter().enumerate() {
        accepted.push(world.accept(image as u8 + 1, photo).await);
    }
    let _worker = world.start_worker();
    world.all_done().await;
    let enrolled = world.read(&accepted[0]).await;
    assert_eq!((&enrolled.state, enrolled.faces.len()), (&State::Enrolled, 2));
    let own = enrolled.remembered(&"bulk-job".parse().unwrap()).unwrap();
    assert_eq!(own.faces.len(), 2, "the job's own faces are known");
    for (record, reason) in accepted[1..].iter().zip(["no face was found", "text", "LOW_SHARPNESS"]) {
        let State::Refused(said) = world.read(record).await.state else { panic!("{reason}") };
        assert!(said.contains(reason), "{said}");
    }
    assert_eq!(world.photos().await, 1, "the photos of what was refused are gone");
    assert_eq!(world.changed().await.iter().filter(|image| **image == accepted[0].origin.image).count(), 1);
}

#[tokio::test]
async fn several_are_encoded_at_once_and_no_more_than_configured() {
    let world = World::new().await;
    for image in 1..40 {
        world.accept(image, "1 face").await;
    }
    world.encoder.busy_times.store(5, Ordering::SeqCst);
    let _worker = world.start_worker();
    world.all_done().await;
    assert_eq!(world.encoder.at_once_most.load(Ordering::SeqCst), 3);
    assert_eq!(
        world.encoder.encoded.load(Ordering::SeqCst),
        39,
        "one that was refused as busy is offered again"
    );
    assert_eq!(world.changed().await.len(), 39);
}

/// Whatever is away for a while: everything is done in the end, and nothing twice.
#[tokio::test]
async fn what_is_away_is_waited_for() {
    for stage in [
        Stage::BlobRead,
        Stage::Put(BlobKind::Record),
        Stage::Append(Topic::Changes),
        Stage::Commit,
        Stage::LogRead,
    ] {
        for moment in [Moment::Before, Moment::After] {
            let world = World::new().await;
            let record = world.accept(1, "1 face").await;
            for skipped in 0..3 {
                let fault = Fault::Fail(PortErrorKind::Unavailable);
                world.faults.script(stage, moment, skipped, fault);
            }
            let _worker = world.start_worker();
            world.all_done().await;
            let read = world.read(&record).await;
            assert_eq!((&read.state, read.faces.len()), (&State::Enrolled, 1), "{stage} {moment:?}");
            assert!(world.changed().await.contains(&record.origin.image), "{stage} {moment:?}");
            assert_eq!(world.dead_letters().waiting().await.unwrap(), 0, "an outage is nobody's fault");
        }
    }
}

#[tokio::test]
async fn what_is_given_again_is_found_done() {
    let world = World::new().await;
    let record = world.accept(1, "1 face").await;
    let first = world.start_worker();
    world.all_done().await;
    first.begin();
    assert!(first.drained(Duration::from_secs(5)).await);
    // As if the worker had died before its commit, and the face had been deleted since.
    let enrolled = world.read(&record).await;
    let erased = erase(&enrolled, &[FaceNumber::FIRST], world.write()).record.unwrap();
    world.store(&erased).await;
    world.say(&record).await;
    let _second = world.start_worker();
    world.all_done().await;
    assert_eq!(world.read(&record).await, *erased, "what was deleted stays so");
    assert_eq!(world.encoder.encoded.load(Ordering::SeqCst), 1);
    assert_eq!(world.changed().await.len(), 2, "it is said again: whoever did it may have died before");
}

#[tokio::test]
async fn poison_is_set_aside_and_can_be_tried_again() {
    let world = World::new().await;
    let poison = world.accept(1, "poison").await;
    let unreadable = Append::new(b"key", "no message").with_header("traceparent", "00-1-1-01");
    world.log.append(Topic::Photos, unreadable).await.unwrap();
    let fine = world.accept(2, "1 face").await;
    let _worker = world.start_worker();
    world.all_done().await;
    assert_eq!(world.read(&fine).await.state, State::Enrolled, "it holds up no other");
    let aside = world.read(&poison).await;
    assert!(
        matches!(&aside.state, State::Refused(reason) if reason.contains("panicked")),
        "{:?}",
        aside.state
    );
    assert_eq!(aside.photo, poison.photo, "its photo stays");

    let dead_letters = world.dead_letters();
    let letters = dead_letters.list(10).await.unwrap();
    assert_eq!(letters.len(), 2);
    let of_poison = letters.iter().find(|letter| letter.photo.is_some()).unwrap();
    assert_eq!(of_poison.photo.as_ref().unwrap().image, poison.origin.image);
    assert!(of_poison.reason.contains("panicked"), "{}", of_poison.reason);
    let mut reader = world.log.subscribe(Topic::PhotosDead, "test").await.unwrap();
    let records = reader.next(10, Duration::ZERO).await.unwrap();
    let unreadable = records.iter().find(|record| record.payload.as_ref() == b"no message").unwrap();
    assert_eq!(unreadable.header("traceparent").unwrap().as_ref(), b"00-1-1-01", "headers stay");
    assert!(unreadable.header(REASON_HEADER).is_some());

    world.encoder.is_broken.store(false, Ordering::SeqCst);
    assert_eq!(dead_letters.replay().await.unwrap(), Replayed { sent: 1, dropped: 1 });
    assert_eq!(dead_letters.waiting().await.unwrap(), 0);
    world.all_done().await;
    let mended = world.read(&poison).await;
    assert_eq!((&mended.state, mended.faces.len()), (&State::Enrolled, 1));
}

#[tokio::test]
async fn a_photo_whose_collection_is_gone_is_let_go() {
    let world = World::new().await;
    let record = world.accept(1, "1 face").await;
    world.catalog.delete_collection(world.collection.tenant, &world.collection.name).await.unwrap();
    let _worker = world.start_worker();
    world.all_done().await;
    assert_eq!(world.read(&record).await.state, State::Accepted);
    assert_eq!(world.encoder.encoded.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn shutdown_ends_what_is_in_flight_and_commits_it() {
    let world = World::new().await;
    for image in 1..30 {
        world.accept(image, "1 face").await;
    }
    let worker = world.start_worker();
    world.until(async || world.encoder.encoded.load(Ordering::SeqCst) >= 5).await;
    worker.begin();
    assert!(worker.drained(Duration::from_secs(5)).await);
    let left = uncommitted(&*world.log, Topic::Photos).await.unwrap();
    let encoded = world.encoder.encoded.load(Ordering::SeqCst) as u64;
    assert_eq!(left, 29 - encoded, "all that was encoded is committed");
    let _next = world.start_worker();
    world.all_done().await;
    assert_eq!(world.encoder.encoded.load(Ordering::SeqCst), 29, "and nothing is encoded twice");
}

#[tokio::test]
async fn what_is_enrolled_is_embedded_anew_where_its_collection_turns() {
    let world = World::new().await;
    let [before, refused] = [world.accept(1, "2 faces").await, world.accept(2, "0 faces").await];
    let _worker = world.start_worker();
    world.all_done().await;
    let wanted = world.turn_to("newer").await;
    let later = world.accept(3, "1 face").await;
    for record in [&before, &refused] {
        world.say(record).await;
        world.say(record).await;
    }
    world.all_done().await;
    for record in [&before, &later] {
        let now = world.read(record).await;
        assert!(now.has_models(&wanted), "{:?}", now.faces);
        let newer = |live| now.template_of(live, &"newer".parse().unwrap()).unwrap().dimension();
        assert!(now.faces.iter().all(|face| newer(face.live().unwrap()) == 3));
    }
    assert_eq!(world.newer.encoded.load(Ordering::SeqCst), 2, "each photo once");
    let changed = world.changed().await;
    let of_before = changed.iter().filter(|image| **image == before.origin.image).count();
    assert!(of_before >= 2, "it is said that it has changed: {changed:?}");
}

#[tokio::test]
async fn a_face_that_cannot_be_embedded_anew_stays_enrolled() {
    let world = World::new().await;
    let record = world.accept(1, "1 face").await;
    let _worker = world.start_worker();
    world.all_done().await;
    world.turn_to("strange").await;
    world.say(&record).await;
    world.all_done().await;
    let dead = world.dead_letters().list(10).await.unwrap();
    assert!(format!("{dead:?}").contains("not strange"), "{dead:?}");
    let now = world.read(&record).await;
    assert_eq!((now.state, now.faces.len(), now.photo.is_some()), (State::Enrolled, 1, true));
}
