//! Dead letters over fakes: a log that is slow to give them, and letters that cannot be sent again.

use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use vidimus_domain::blob_key::BlobKey;
use vidimus_domain::codec::FORMAT;
use vidimus_domain::record::{Acceptance, BulkPhoto, Origin, PhotoKey, Record, accept, set_aside};
use vidimus_domain::{CollectionUid, ImageId, Nonce, Part, TenantId, UnixMillis};
use vidimus_ports::clock::ManualClock;
use vidimus_ports::memory::{MemoryBlobStore, MemoryEventLog};
use vidimus_ports::random::SeededRandom;
use vidimus_ports::{Committed, PutCondition, TopicState};
use vidimus_proto::internal::v1;

use super::*;

/// A log whose consumers are given nothing so many times, as in a group that comes together. What they wait for passes on the clock.
struct SlowLog {
    inner: MemoryEventLog,
    clock: Arc<ManualClock>,
    empty_answers: Arc<AtomicU64>,
}

struct SlowSubscription {
    inner: Box<dyn Subscription>,
    clock: Arc<ManualClock>,
    empty_answers: Arc<AtomicU64>,
}

#[async_trait]
impl Subscription for SlowSubscription {
    fn incarnation(&self) -> Nonce {
        self.inner.incarnation()
    }

    async fn next(&mut self, limit: usize, wait: Duration) -> PortResult<Vec<LogRecord>> {
        let left = |left: u64| left.checked_sub(1);
        let is_slow = self.empty_answers.try_update(Ordering::SeqCst, Ordering::SeqCst, left).is_ok();
        let records = if is_slow { Vec::new() } else { self.inner.next(limit, Duration::ZERO).await? };
        if records.is_empty() {
            self.clock.advance(wait);
            tokio::task::yield_now().await;
        }
        Ok(records)
    }

    async fn commit(&mut self, next: Committed) -> PortResult<()> {
        self.inner.commit(next).await
    }
}

#[async_trait]
impl EventLog for SlowLog {
    async fn append(&self, topic: Topic, record: Append) -> PortResult<Position> {
        self.inner.append(topic, record).await
    }

    async fn subscribe(&self, topic: Topic, group: &str) -> PortResult<Box<dyn Subscription>> {
        let inner = self.inner.subscribe(topic, group).await?;
        let (clock, empty_answers) = (self.clock.clone(), self.empty_answers.clone());
        Ok(Box::new(SlowSubscription { inner, clock, empty_answers }))
    }

    async fn state(&self, topic: Topic) -> PortResult<Vec<TopicState>> {
        self.inner.state(topic).await
    }

    async fn committed(&self, topic: Topic, group: &str) -> PortResult<Vec<Committed>> {
        self.inner.committed(topic, group).await
    }

    async fn trim(&self, topic: Topic, position: Position) -> PortResult<()> {
        self.inner.trim(topic, position).await
    }

    async fn incarnation(&self) -> PortResult<Nonce> {
        self.inner.incarnation().await
    }
}

struct World {
    log: MemoryEventLog,
    blobs: Arc<MemoryBlobStore>,
    clock: Arc<ManualClock>,
    random: Arc<SeededRandom>,
    empty_answers: Arc<AtomicU64>,
    letters: DeadLetters,
}

impl World {
    fn new() -> Self {
        let clock = Arc::new(ManualClock::new(UnixMillis::new(1_800_000_000_000)));
        let (log, random) =
            (MemoryEventLog::new(Nonce::from_random([1; 16])), Arc::new(SeededRandom::new(7)));
        let (blobs, empty_answers) = (Arc::new(MemoryBlobStore::new(clock.clone())), Arc::default());
        let slow =
            SlowLog { inner: log.clone(), clock: clock.clone(), empty_answers: Arc::clone(&empty_answers) };
        let letters = DeadLetters {
            log: Arc::new(slow),
            blobs: blobs.clone(),
            clock: clock.clone(),
            random: random.clone(),
        };
        Self { log, blobs, clock, random, empty_answers, letters }
    }

    fn write(&self) -> Write {
        Write { now: self.clock.now(), nonce: self.random.nonce(), cutoffs: Cutoffs::default() }
    }

    /// A photo that was set aside, and its letter.
    async fn set_aside(&self, image: u8) -> AcceptedPhoto {
        let part =
            Part { tenant: TenantId::from_random([1; 16]), collection: CollectionUid::from_random([2; 16]) };
        let origin = Origin {
            part,
            image: ImageId::from_random([image; 16]),
            face_model: "model".parse().unwrap(),
            external_image_id: None,
        };
        let photo = PhotoKey::new(self.clock.now(), self.random.nonce());
        let bulk = BulkPhoto { request: "bulk-job".parse().unwrap(), photo, photos_removed: Vec::new() };
        let Ok(Acceptance::Changed(accepted)) = accept(&origin, None, bulk, self.write()) else {
            panic!("it is new")
        };
        let aside = set_aside(&accepted, "it panicked", self.write()).unwrap();
        self.put(&part, origin.image, aside.encode()).await;
        let photo = AcceptedPhoto { part, image: origin.image, at: self.clock.now() };
        self.append(photo.encode()).await;
        photo
    }

    async fn put(&self, part: &Part, image: ImageId, record: Vec<u8>) {
        let key = BlobKey::record(part, image);
        self.blobs.delete(&key).await.unwrap();
        self.blobs.put(&key, record.into(), PutCondition::IfAbsent).await.unwrap();
    }

    /// All letters are in one partition.
    async fn append(&self, payload: Vec<u8>) {
        let letter = Append::new(b"one", payload)
            .with_header(REASON_HEADER, "it panicked")
            .with_header(ORIGIN_HEADER, "3/14");
        self.log.append(Topic::PhotosDead, letter).await.unwrap();
    }

    async fn state_of(&self, photo: &AcceptedPhoto) -> State {
        let blob = self.blobs.get(&BlobKey::record(&photo.part, photo.image)).await.unwrap().unwrap();
        Record::decode(&blob.bytes).unwrap().state
    }

    async fn said(&self) -> Vec<ImageId> {
        let mut reader = self.log.subscribe(Topic::Photos, "test").await.unwrap();
        let records = reader.next(100, Duration::ZERO).await.unwrap();
        records.iter().map(|record| AcceptedPhoto::decode(&record.payload).unwrap().image).collect()
    }

    fn is_slow_for(&self, answers: u64) {
        self.empty_answers.store(answers, Ordering::SeqCst);
    }
}

#[tokio::test]
async fn letters_that_come_late_are_listed_and_sent() {
    let world = World::new();
    let photo = world.set_aside(1).await;
    world.is_slow_for(10);
    assert_eq!(world.letters.list(10).await.unwrap().len(), 1);
    world.is_slow_for(10);
    assert_eq!(world.letters.replay().await.unwrap(), Replayed { sent: 1, ..Replayed::default() });
    assert_eq!(world.said().await, [photo.image]);
    world.is_slow_for(10);
    assert!(world.letters.list(10).await.unwrap().is_empty());
    assert_eq!(world.empty_answers.load(Ordering::SeqCst), 10, "nothing is waited for where none are left");
}

#[tokio::test]
async fn letters_that_do_not_come_are_not_taken_for_none() {
    let world = World::new();
    world.set_aside(1).await;
    for _ in 0..2 {
        world.is_slow_for(1000);
        let began = world.clock.now();
        let errors = [world.letters.list(10).await.unwrap_err(), world.letters.replay().await.unwrap_err()];
        for error in errors {
            assert_eq!(error.kind(), PortErrorKind::Unavailable);
            assert!(error.to_string().contains("1 are left"), "{error}");
        }
        assert_eq!(world.clock.now().since(began), PATIENCE * 2);
    }
    world.is_slow_for(0);
    assert_eq!(world.letters.replay().await.unwrap().sent, 1);
}

#[tokio::test]
async fn what_another_process_has_sent_is_not_waited_for() {
    let world = World::new();
    world.set_aside(1).await;
    let state = world.log.state(Topic::PhotosDead).await.unwrap();
    let partition = state.iter().find(|state| state.next_offset == 1).unwrap().partition;
    let sent = async {
        let mut other = world.log.subscribe(Topic::PhotosDead, GROUP).await.unwrap();
        other.commit(Position { partition, offset: 1 }).await.unwrap();
    };
    world.is_slow_for(10);
    let (replayed, ()) = tokio::join!(world.letters.replay(), sent);
    assert_eq!(replayed.unwrap(), Replayed::default());
    assert_eq!(world.empty_answers.load(Ordering::SeqCst), 9, "it was looked after one empty answer");
}

#[tokio::test]
async fn a_damaged_record_keeps_its_letter_and_no_other() {
    let world = World::new();
    let damaged = world.set_aside(1).await;
    let fine = world.set_aside(2).await;
    let aside = world.blobs.get(&BlobKey::record(&damaged.part, damaged.image)).await.unwrap().unwrap();
    world.put(&damaged.part, damaged.image, b"no record".to_vec()).await;
    for replayed in [Replayed { sent: 1, dropped: 0, kept: 1 }, Replayed { sent: 0, dropped: 0, kept: 1 }] {
        assert_eq!(world.letters.replay().await.unwrap(), replayed);
        let letters = world.letters.list(10).await.unwrap();
        let [letter] = letters.as_slice() else { panic!("{letters:?}") };
        assert_eq!(letter.photo.as_ref(), Some(&damaged));
        assert!(letter.reason.contains("read record: Corrupt"), "{}", letter.reason);
    }
    assert_eq!(world.said().await, [fine.image]);
    let mut reader = world.log.subscribe(Topic::PhotosDead, "test").await.unwrap();
    let records = reader.next(100, Duration::ZERO).await.unwrap();
    assert_eq!(records.len(), 4);
    for record in records {
        assert_eq!(record.header(ORIGIN_HEADER).unwrap().as_ref(), b"3/14");
        assert_eq!(record.headers.len(), 2);
    }
    world.put(&damaged.part, damaged.image, aside.bytes.to_vec()).await;
    assert_eq!(world.letters.replay().await.unwrap().sent, 1, "it is sent when its record is mended");
    assert_eq!(world.state_of(&damaged).await, State::Accepted);
}

#[tokio::test]
async fn what_is_too_new_ends_a_replay_uncommitted() {
    let world = World::new();
    let fine = world.set_aside(1).await;
    let newer = v1::AcceptedPhoto { format: FORMAT + 1, ..fine.to_proto() };
    world.append(prost::Message::encode_to_vec(&newer)).await;
    world.set_aside(2).await;
    for _ in 0..2 {
        assert_eq!(world.letters.replay().await.unwrap_err().kind(), PortErrorKind::TooNew);
        assert_eq!(world.letters.waiting().await.unwrap(), 2);
    }
    assert_eq!(world.letters.list(10).await.unwrap().len(), 2, "they can be listed");
    assert_eq!(world.said().await, [fine.image]);
}
