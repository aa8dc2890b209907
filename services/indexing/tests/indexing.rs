//! The consumer of changes over fakes: who knows when that the index has all that it should.
#![expect(clippy::unwrap_used, reason = "all of this is a test")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use prometheus_client::registry::Registry;
use prost::Message;
use tokio::sync::watch;
use vidimus_domain::catalog::Collection;
use vidimus_domain::codec::FORMAT;
use vidimus_domain::event::Change;
use vidimus_domain::face::DetectedFace;
use vidimus_domain::geometry::{BoundingBox, Landmarks};
use vidimus_domain::point::{Gallery, Point};
use vidimus_domain::record::{Enrolled, Enrolment, Origin, PhotoKey, Record, Write, enrol};
use vidimus_domain::retention::{Cutoffs, Horizon};
use vidimus_domain::{FaceId, ImageId, Nonce, Placement, Template, UnixMillis};
use vidimus_indexing::{Baseline, Indexing, IndexingConfig, IndexingDeps};
use vidimus_ports::clock::SystemClock;
use vidimus_ports::faulty::{Fault, FaultPlan, FaultyFaceIndex, FlushedOnly, Gate, Moment, Stage};
use vidimus_ports::memory::{MemoryBlobStore, MemoryEventLog, MemoryFaceIndex};
use vidimus_ports::random::SeededRandom;
use vidimus_ports::{
    Append, Clock, EventLog, FaceIndex, Hits, IndexSearch, ListedPoint, Listing, PortError, PortErrorKind,
    PortResult, Random, RemoveIf, Topic,
};
use vidimus_proto::internal::v1;
use vidimus_runtime::catalog::{Catalog, CatalogDeps, NewCollection};
use vidimus_runtime::changes::Changes;
use vidimus_runtime::records::{Records, Written};
use vidimus_runtime::shutdown::Shutdown;

const PATIENCE: Duration = Duration::from_secs(20);
/// The log's.
const LIFE: Nonce = Nonce::from_random([1; 16]);

/// Fails as often as it is told, and counts.
#[derive(Default)]
struct Counting {
    failures_left: AtomicU64,
    /// So often it compares by a life of the log that is over.
    late_left: AtomicU64,
    ensured: AtomicU64,
    reached: AtomicU64,
}

#[async_trait]
impl Baseline for Counting {
    async fn ensure(&self) -> PortResult<Nonce> {
        let left = self.failures_left.load(Ordering::SeqCst);
        if left > 0 {
            self.failures_left.store(left - 1, Ordering::SeqCst);
            return Err(PortError::new(PortErrorKind::Unavailable, "compare the index"));
        }
        self.ensured.fetch_add(1, Ordering::SeqCst);
        let left = |left: u64| left.checked_sub(1);
        let is_late = self.late_left.try_update(Ordering::SeqCst, Ordering::SeqCst, left).is_ok();
        Ok(if is_late { Nonce::from_random([0; 16]) } else { LIFE })
    }

    fn is_elsewhere(&self) -> bool {
        true
    }

    async fn reached(&self, incarnation: &Nonce) -> PortResult<()> {
        assert_eq!(*incarnation, LIFE);
        self.reached.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }
}

/// One process's view of an index that all share: it counts as flushed for whom has begun again himself.
struct View {
    index: Arc<FlushedOnly>,
    begun_again: AtomicU64,
}

#[async_trait]
impl FaceIndex for View {
    async fn write(&self, gallery: &Gallery, points: &[Point]) -> PortResult<()> {
        self.index.write(gallery, points).await
    }

    async fn get(&self, gallery: &Gallery, faces: &[FaceId]) -> PortResult<Vec<Point>> {
        self.index.get(gallery, faces).await
    }

    async fn search(&self, search: IndexSearch) -> PortResult<Hits> {
        self.index.search(search).await
    }

    async fn scroll(
        &self,
        gallery: &Gallery,
        listing: Listing,
        after: Option<FaceId>,
        limit: usize,
    ) -> PortResult<Vec<ListedPoint>> {
        self.index.scroll(gallery, listing, after, limit).await
    }

    async fn count(&self, gallery: &Gallery, listing: Listing) -> PortResult<u64> {
        self.index.count(gallery, listing).await
    }

    async fn remove(&self, gallery: &Gallery, points: &[RemoveIf]) -> PortResult<()> {
        self.index.remove(gallery, points).await
    }

    async fn remove_part(&self, gallery: &Gallery) -> PortResult<()> {
        self.index.remove_part(gallery).await
    }

    async fn drop_placement(&self, placement: &Placement) -> PortResult<bool> {
        self.index.drop_placement(placement).await
    }

    async fn flush(&self, called_at: UnixMillis) -> PortResult<UnixMillis> {
        let covered = self.index.flush(called_at).await?;
        let has_begun = self.begun_again.load(Ordering::SeqCst) >= self.index.losses();
        Ok(if has_begun { covered } else { UnixMillis::new(0) })
    }

    async fn look(&self) -> PortResult<()> {
        self.index.look().await
    }

    fn losses(&self) -> u64 {
        self.index.losses()
    }

    fn begun_again(&self, losses: u64) {
        self.begun_again.fetch_max(losses, Ordering::SeqCst);
        self.index.begun_again(losses);
    }

    fn made_good(&self, losses: u64) {
        self.index.made_good(losses);
    }
}

struct World {
    blobs: Arc<MemoryBlobStore>,
    log: Arc<MemoryEventLog>,
    index: Arc<FlushedOnly>,
    catalog: Arc<Catalog>,
    collection: Arc<Collection>,
    baseline: Arc<Counting>,
    clock: Arc<SystemClock>,
    random: Arc<SeededRandom>,
    records: Records,
    shutdown: Shutdown,
}

impl World {
    async fn new() -> Self {
        let clock = Arc::new(SystemClock);
        let blobs = Arc::new(MemoryBlobStore::new(clock.clone()));
        let random = Arc::new(SeededRandom::new(7));
        let deps = CatalogDeps { blobs: blobs.clone(), clock: clock.clone(), random: random.clone() };
        let catalog = Arc::new(Catalog::new(deps, None));
        let tenant = catalog.create_tenant("acme".parse().unwrap()).await.unwrap();
        let (name, face_model) = ("staff".parse().unwrap(), "model".parse().unwrap());
        let new = NewCollection::new(tenant.id, name, face_model, "1.0".to_owned());
        Self {
            log: Arc::new(MemoryEventLog::new(LIFE)),
            index: Arc::new(FlushedOnly::new(|| Arc::new(MemoryFaceIndex::new()))),
            collection: catalog.create_collection(new).await.unwrap(),
            records: Records::new(blobs.clone(), clock.clone()),
            baseline: Arc::default(),
            shutdown: Shutdown::new(),
            blobs,
            catalog,
            clock,
            random,
        }
    }

    /// A process with the role.
    fn indexing(&self) -> watch::Receiver<bool> {
        self.indexing_into(Arc::new(View { index: self.index.clone(), begun_again: AtomicU64::new(0) }))
    }

    /// The same, whose index is this one.
    fn indexing_into(&self, index: Arc<dyn FaceIndex>) -> watch::Receiver<bool> {
        let config =
            IndexingConfig { flush_interval: Duration::from_millis(50), ..IndexingConfig::default() };
        let deps = IndexingDeps {
            blobs: self.blobs.clone(),
            log: self.log.clone(),
            index,
            catalog: self.catalog.clone(),
            baseline: self.baseline.clone(),
            clock: self.clock.clone(),
        };
        Indexing::start(config, deps, &self.shutdown, &mut Registry::default()).searchable()
    }

    /// Enrols a photo with one face and says so on the log.
    async fn enrol(&self) {
        let write = Write { now: self.clock.now(), nonce: self.random.nonce(), cutoffs: Cutoffs::default() };
        let origin = Origin {
            part: self.collection.part(),
            image: ImageId::from_random(self.random.bytes16()),
            face_model: self.collection.face_model().clone(),
            external_image_id: None,
        };
        let record = enrolled(&origin, write, &write.nonce.to_string());
        let read = self.records.read(&record.origin.part, record.origin.image).await.unwrap();
        assert_eq!(self.records.write(&record, &read).await.unwrap(), Written::Yes);
        let change = Change {
            part: record.origin.part,
            image: record.origin.image,
            seen: record.faces.iter().map(|face| (face.number, face.version)).collect(),
            at: write.now,
        };
        Changes::new(self.log.clone()).append(&change).await.unwrap();
    }

    async fn points_in(&self, placement: &str) -> u64 {
        let listing = Listing::LiveAt(Horizon { now: self.clock.now(), faces_cutoff: None });
        let gallery = self.collection.gallery_in(&placement.parse().unwrap());
        self.index.count(&gallery, listing).await.unwrap()
    }

    async fn points(&self) -> u64 {
        let listing = Listing::LiveAt(Horizon { now: self.clock.now(), faces_cutoff: None });
        self.index.count(&self.collection.gallery(), listing).await.unwrap()
    }

    async fn until_points(&self, points: u64) {
        let began = tokio::time::Instant::now();
        while self.points().await != points {
            assert!(began.elapsed() < PATIENCE, "{} points, not {points}", self.points().await);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Waits until the consumer has begun so often.
    async fn until_ensured(&self, times: u64) {
        let began = tokio::time::Instant::now();
        while self.baseline.ensured.load(Ordering::SeqCst) < times {
            assert!(began.elapsed() < PATIENCE, "it has not begun for the {times}th time");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn end(&self) {
        self.shutdown.begin();
        assert!(self.shutdown.drained(PATIENCE).await);
    }
}

async fn until(searchable: &mut watch::Receiver<bool>, value: bool) {
    let waiting = searchable.wait_for(|searchable| *searchable == value);
    tokio::time::timeout(PATIENCE, waiting).await.unwrap().unwrap();
}

#[tokio::test]
async fn searches_wait_until_everything_is_compared_and_projected() {
    let world = World::new().await;
    for _ in 0..5 {
        world.enrol().await;
    }
    world.baseline.failures_left.store(2, Ordering::SeqCst);
    let mut searchable = world.indexing();
    assert!(!*searchable.borrow());
    until(&mut searchable, true).await;
    assert_eq!(world.points().await, 5);
    assert_eq!(world.baseline.failures_left.load(Ordering::SeqCst), 0, "it went on before all was compared");
    assert_eq!(world.baseline.reached.load(Ordering::SeqCst), 1);
    world.end().await;
}

#[tokio::test]
async fn what_was_compared_by_a_life_of_the_log_that_is_over_is_compared_again() {
    let world = World::new().await;
    world.enrol().await;
    world.baseline.late_left.store(2, Ordering::SeqCst);
    let mut searchable = world.indexing();
    until(&mut searchable, true).await;
    assert_eq!(world.baseline.ensured.load(Ordering::SeqCst), 3);
    assert_eq!((world.points().await, world.baseline.reached.load(Ordering::SeqCst)), (1, 1));
    world.end().await;
}

#[tokio::test]
async fn what_an_index_lost_is_told_again_and_searches_wait_for_it() {
    let world = World::new().await;
    let mut searchable = world.indexing();
    until(&mut searchable, true).await;
    for lost in 1..=3_u64 {
        world.enrol().await;
        world.until_points(lost).await;
        // For as long as that fails it is seen that they wait.
        world.baseline.failures_left.store(2, Ordering::SeqCst);
        world.index.lose_power().await.unwrap();
        until(&mut searchable, false).await;
        world.until_ensured(lost + 1).await;
        world.until_points(lost).await;
        until(&mut searchable, true).await;
        assert_eq!(world.baseline.ensured.load(Ordering::SeqCst), lost + 1);
    }
    world.end().await;
}

#[tokio::test]
async fn what_an_index_lost_while_it_could_not_be_asked_is_noticed_too() {
    let world = World::new().await;
    let plan = FaultPlan::scripted();
    for flush in 0..4 {
        plan.script(Stage::IndexFlush, Moment::Before, flush, Fault::Fail(PortErrorKind::Unavailable));
    }
    let index = View { index: world.index.clone(), begun_again: AtomicU64::new(0) };
    let mut searchable = world.indexing_into(Arc::new(FaultyFaceIndex::new(Arc::new(index), plan)));
    until(&mut searchable, true).await;
    world.enrol().await;
    world.until_ensured(2).await;
    world.baseline.failures_left.store(2, Ordering::SeqCst);
    world.index.lose_power().await.unwrap();
    until(&mut searchable, false).await;
    until(&mut searchable, true).await;
    world.until_points(1).await;
    world.end().await;
}

#[tokio::test]
async fn processes_that_share_the_partitions_all_learn_that_everything_is_there() {
    let world = World::new().await;
    for _ in 0..40 {
        world.enrol().await;
    }
    let mut all = [world.indexing(), world.indexing(), world.indexing()];
    for searchable in &mut all {
        until(searchable, true).await;
    }
    assert_eq!(world.points().await, 40);
    world.end().await;
    let committed = world.log.committed(Topic::Changes, "indexing").await.unwrap();
    assert_eq!(committed.iter().map(|place| place.offset).sum::<u64>(), 40, "{committed:?}");
}

#[tokio::test]
async fn what_is_too_new_is_neither_projected_nor_skipped_and_holds_up_nothing_beside_it() {
    let world = World::new().await;
    let payload = v1::Change { format: FORMAT + 1, ..v1::Change::default() }.encode_to_vec();
    let at = world.log.append(Topic::Changes, Append::new(b"newer", payload)).await.unwrap();
    world.enrol().await;
    let searchable = world.indexing();
    world.until_points(1).await;
    assert!(!*searchable.borrow(), "it lacks something that the log had at the start");
    world.end().await;
    let committed = world.log.committed(Topic::Changes, "indexing").await.unwrap();
    let passed = committed.iter().any(|place| place.partition == at.partition && place.offset > at.offset);
    assert!(!passed, "{committed:?} is past {at:?}");
}

/// Processes learn by each other's commits that all is told again: so after a loss none may wait for the whole with its own.
#[tokio::test]
async fn after_a_loss_a_process_commits_its_part_whatever_becomes_of_the_others() {
    let world = World::new().await;
    let mut other = world.log.subscribe(Topic::Changes, "indexing").await.unwrap();
    let searchable = world.indexing();
    world.until_ensured(1).await;
    world.index.lose_power().await.unwrap();
    for _ in 0..40 {
        world.enrol().await;
    }
    world.until_ensured(2).await;
    // The other one has its share, and does nothing with it.
    let taken = other.next(40, Duration::from_secs(1)).await.unwrap();
    for _ in 0..40 {
        world.enrol().await;
    }
    let began = tokio::time::Instant::now();
    let sum = async || {
        let committed = world.log.committed(Topic::Changes, "indexing").await.unwrap();
        committed.iter().map(|place| place.offset).sum::<u64>()
    };
    while sum().await == 0 {
        assert!(began.elapsed() < PATIENCE, "nothing is committed; the other has {} changes", taken.len());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(taken.is_empty() || !*searchable.borrow(), "it cannot know of the other's part");
    world.end().await;
}

#[tokio::test]
async fn while_a_collection_moves_both_index_collections_are_written_to() {
    let world = World::new().await;
    let mut searchable = world.indexing();
    until(&mut searchable, true).await;
    world.enrol().await;
    world.until_points(1).await;
    world
        .catalog
        .begin_move(&world.collection.part(), (&"model.2".parse().unwrap(), world.collection.face_model()))
        .await
        .unwrap();
    world.enrol().await;
    world.until_points(2).await;
    world.end().await;
    assert_eq!(world.points_in("model.2").await, 1, "of the first one nothing was said since");
}

#[tokio::test]
async fn a_projection_that_slept_through_the_beginning_of_a_move_writes_to_both() {
    let world = World::new().await;
    let (plan, gate) = (FaultPlan::scripted(), Gate::closed());
    plan.script(Stage::IndexWrite, Moment::Before, 0, Fault::Pause(gate.clone()));
    let mut searchable = world.indexing_into(Arc::new(FaultyFaceIndex::new(world.index.clone(), plan)));
    until(&mut searchable, true).await;
    world.enrol().await;
    gate.reached_by(1).await;
    world
        .catalog
        .begin_move(&world.collection.part(), (&"model.2".parse().unwrap(), world.collection.face_model()))
        .await
        .unwrap();
    gate.open();
    world.until_points(1).await;
    // What it commits it has written to both.
    world.end().await;
    assert_eq!(world.points_in("model.2").await, 1);
}

fn enrolled(origin: &Origin, write: Write, request: &str) -> Record {
    let face = DetectedFace {
        bounding_box: BoundingBox { left: 0.1, top: 0.1, width: 0.5, height: 0.5 },
        landmarks: Landmarks::default(),
        confidence: 0.99,
        pose: None,
        quality: None,
        template: Template::normalised(vec![0.6, 0.8]).unwrap(),
    };
    let enrolment = Enrolment {
        request: request.parse().unwrap(),
        faces: vec![face],
        photo: PhotoKey::new(write.now, write.nonce),
        expires_at: None,
        photos_removed: Vec::new(),
    };
    match enrol(origin, None, enrolment, write).unwrap() {
        Enrolled::Changed { record, .. } => *record,
        Enrolled::AlreadyDone { .. } => unreachable!("it is the first enrolment"),
    }
}
