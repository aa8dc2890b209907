//! The worker over fakes: what comes of accepted photos, and what failures and deaths in the middle leave.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "all of this is a test")]

mod world;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use vidimus_domain::record::{State, erase};
use vidimus_domain::{FaceNumber, UnixMillis};
use vidimus_ports::clock::{ManualClock, SystemClock};
use vidimus_ports::faulty::{BlobKind, Fault, Moment, Stage};
use vidimus_ports::{Append, Clock, EventLog, PortErrorKind, Topic};
use vidimus_runtime::backlog::uncommitted;
use vidimus_runtime::dead_letters::{REASON_HEADER, Replayed};

use world::World;

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
async fn some_are_read_while_the_encoder_is_busy_with_others_and_no_more_than_configured() {
    let world = World::new().await;
    world.accept(1, "1 face").await;
    let _worker = world.start_worker();
    world.all_done().await;
    let reads = || world.faults.calls(Stage::BlobRead, Moment::After);
    let (before, of_seven) = (reads(), 2 * (3 + 4));
    world.encoder.is_held_up.store(true, Ordering::SeqCst);
    for image in 2..30 {
        world.accept(image, "1 face").await;
    }
    world.until(async || reads() >= before + of_seven).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(reads(), before + of_seven, "record and photo of each");
    world.encoder.is_held_up.store(false, Ordering::SeqCst);
    world.all_done().await;
    assert_eq!(world.encoder.encoded.load(Ordering::SeqCst), 29);
}

#[tokio::test]
async fn what_was_encoded_is_written_together_at_multiples_of_a_fifth_of_a_second() {
    const WRITTEN_EVERY_MS: i64 = 200;
    let world = World::new().await;
    for image in 1..=6 {
        world.accept(image, "1 face").await;
    }
    let now = SystemClock.now().get();
    let clock = Arc::new(ManualClock::new(UnixMillis::new(now - now % WRITTEN_EVERY_MS + 50)));
    let _worker = world.start_worker_by(clock.clone());
    let written = || world.faults.calls(Stage::Put(BlobKind::Record), Moment::After);
    world.until(async || world.encoder.encoded.load(Ordering::SeqCst) == 6 && clock.sleepers() >= 6).await;
    clock.advance(Duration::from_millis(149));
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert_eq!(written(), 0);
    clock.advance(Duration::from_millis(1));
    world.until(async || written() == 6).await;
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
    assert_eq!(dead_letters.replay().await.unwrap(), Replayed { sent: 1, dropped: 1, kept: 0 });
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
