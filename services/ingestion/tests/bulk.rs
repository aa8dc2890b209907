//! The bulk lane's door over fakes: what is stored and said, what a job that is begun again finds, and what is refused.
#![expect(clippy::unwrap_used, reason = "all of this is a test")]

mod world;

use std::time::Duration;

use tonic::Request;
use vidimus_domain::codec::Stored;
use vidimus_domain::event::{AcceptedPhoto, AuditedAction};
use vidimus_domain::face::DetectedFace;
use vidimus_domain::geometry::{BoundingBox, Landmarks};
use vidimus_domain::record::{Record, State, Write, embedded, refuse};
use vidimus_domain::retention::Cutoffs;
use vidimus_domain::{ErrorCode, FaceId, Failure, Nonce, Template};
use vidimus_ports::faulty::{BlobKind, Fault, Gate, Moment, Stage};
use vidimus_ports::{Append, Clock, EventLog, PortErrorKind, Topic};
use vidimus_proto::internal::v1;
use vidimus_proto::internal::v1::BulkOutcome;
use vidimus_proto::internal::v1::ingestion_server::Ingestion as _;
use vidimus_runtime::errors::failure_from_status;
use vidimus_runtime::records::{Records, Written};
use world::World;

const DAY: Duration = Duration::from_secs(24 * 3600);

/// A photo of a job.
fn photo(world: &World, job: &str, name: &str, external_image_id: &str) -> v1::AcceptPhotoRequest {
    v1::AcceptPhotoRequest {
        collection: world.reference(),
        caller: Some(v1::Caller { request_id: "request".to_owned(), principal: "KEY".to_owned() }),
        job_id: job.to_owned(),
        name: name.to_owned(),
        external_image_id: external_image_id.to_owned(),
        photo: "1 face".into(),
    }
}

async fn accept(world: &World, request: v1::AcceptPhotoRequest) -> Result<v1::BulkState, Failure> {
    let answer = world.ingestion.accept_photo(Request::new(request)).await;
    answer.map(tonic::Response::into_inner).map_err(|status| failure_from_status(&status))
}

async fn outcome(world: &World, request: v1::AcceptPhotoRequest) -> BulkOutcome {
    accept(world, request).await.unwrap().outcome()
}

/// What is said to have come of the images of these states.
async fn states(world: &World, job: &str, of: &[&v1::BulkState]) -> Vec<v1::BulkState> {
    let request = v1::BulkStatesRequest {
        collection: world.reference(),
        job_id: job.to_owned(),
        image_ids: of.iter().map(|state| state.image_id.clone()).collect(),
    };
    world.ingestion.bulk_states(Request::new(request)).await.unwrap().into_inner().states
}

/// Photos that were said on the log, oldest first.
async fn said(world: &World) -> Vec<AcceptedPhoto> {
    let mut reader = world.log.subscribe(Topic::Photos, "test").await.unwrap();
    let records = reader.next(1000, Duration::ZERO).await.unwrap();
    records.iter().map(|record| AcceptedPhoto::decode(&record.payload).unwrap()).collect()
}

fn write(world: &World) -> Write {
    Write { now: world.clock.now(), nonce: Nonce::from_random([9; 16]), cutoffs: Cutoffs::default() }
}

/// Does what a worker does with the only record.
async fn work(world: &World, transition: impl FnOnce(&Record) -> Record) {
    let records = Records::new(world.blobs.clone(), world.clock.clone());
    let origin = world.records().await.remove(0).origin;
    let read = records.read(&origin.part, origin.image).await.unwrap();
    let after = transition(read.record.as_ref().unwrap());
    assert_eq!(records.write(&after, &read).await.unwrap(), Written::Yes);
}

fn face() -> DetectedFace {
    DetectedFace {
        bounding_box: BoundingBox { left: 0.1, top: 0.1, width: 0.5, height: 0.5 },
        landmarks: Landmarks::default(),
        confidence: 0.9,
        pose: None,
        quality: None,
        template: Template::normalised(vec![1.0, 0.0]).unwrap(),
    }
}

async fn enrol(world: &World) {
    let found = (world.collection.face_model(), vec![face()]);
    work(world, |record| embedded(record, found.clone(), None, write(world)).unwrap().unwrap()).await;
}

#[tokio::test]
async fn acceptance_stores_photo_and_record_and_says_so() {
    let world = World::new().await;
    let state = accept(&world, photo(&world, "job", "a.jpg", "ada")).await.unwrap();
    assert_eq!(state.outcome(), BulkOutcome::Waiting);
    let records = world.records().await;
    assert_eq!((records.len(), world.photos().await, world.changes().await), (1, 1, 0));
    assert_eq!(records[0].state, State::Accepted);
    let said = said(&world).await;
    assert_eq!((said.len(), said[0].image), (1, records[0].origin.image));
    let audited = world.audited().await;
    assert!(matches!(&audited[..], [AuditedAction::Enrolment { faces, .. }] if faces.is_empty()));
}

#[tokio::test]
async fn a_job_that_is_begun_again_finds_what_it_did() {
    let world = World::new().await;
    let request = || photo(&world, "job", "a.jpg", "");
    assert_eq!(outcome(&world, request()).await, BulkOutcome::Waiting);
    assert_eq!(outcome(&world, request()).await, BulkOutcome::Waiting);
    assert_eq!((world.records().await.len(), world.photos().await), (1, 1));
    assert_eq!(said(&world).await.len(), 2, "it is said again: whoever accepted it may have died before");
    enrol(&world).await;
    let state = accept(&world, request()).await.unwrap();
    assert_eq!((state.outcome(), state.face_ids.len()), (BulkOutcome::Enrolled, 1));
    let face = FaceId::from_bytes(&state.face_ids[0]).unwrap();
    world.delete(&[face]).await.unwrap();
    assert_eq!(outcome(&world, request()).await, BulkOutcome::Gone, "what was deleted stays so");
    assert_eq!(world.records().await[0].state, State::Erased);
    assert_eq!(world.audited().await.len(), 2, "one acceptance and one deletion");
}

#[tokio::test]
async fn what_somebody_else_brought_in_is_already_there() {
    let world = World::new().await;
    accept(&world, photo(&world, "one", "a.jpg", "ada")).await.unwrap();
    let other = || photo(&world, "other", "b.jpg", "ada");
    assert_eq!(outcome(&world, other()).await, BulkOutcome::Waiting, "it waits for the same photo");
    enrol(&world).await;
    let state = accept(&world, other()).await.unwrap();
    assert_eq!((state.outcome(), state.face_ids.len()), (BulkOutcome::AlreadyThere, 1));
    assert_eq!((world.records().await.len(), world.photos().await), (1, 1));
    let online = v1::IndexFacesRequest { external_image_id: "ada".to_owned(), ..world.photo("1 face") };
    assert_eq!(world.enrol(online).await.unwrap().len(), 1);
    assert_eq!(world.records().await.len(), 1, "both lanes know one photo of one name");
}

#[tokio::test]
async fn what_a_job_brought_in_and_is_deleted_is_gone_though_another_brings_it_in_again() {
    let world = World::new().await;
    let mine = || photo(&world, "one", "a.jpg", "ada");
    accept(&world, mine()).await.unwrap();
    enrol(&world).await;
    let state = accept(&world, mine()).await.unwrap();
    world.delete(&[FaceId::from_bytes(&state.face_ids[0]).unwrap()]).await.unwrap();
    let other = accept(&world, photo(&world, "other", "a.jpg", "ada")).await.unwrap();
    assert_eq!(other.outcome(), BulkOutcome::Waiting);
    for (job, expected) in [("one", BulkOutcome::Gone), ("other", BulkOutcome::Waiting)] {
        assert_eq!(states(&world, job, &[&state]).await[0].outcome(), expected, "{job}");
    }
    assert_eq!(outcome(&world, mine()).await, BulkOutcome::Gone);
}

#[tokio::test]
async fn without_a_name_of_its_own_a_photo_is_known_in_its_job() {
    let world = World::new().await;
    for (job, name) in [("one", "a.jpg"), ("one", "b.jpg"), ("two", "a.jpg"), ("one", "a.jpg")] {
        accept(&world, photo(&world, job, name, "")).await.unwrap();
    }
    assert_eq!(world.records().await.len(), 3);
}

#[tokio::test]
async fn what_was_refused_says_why_and_can_be_brought_in_by_another_job() {
    let world = World::new().await;
    let state = accept(&world, photo(&world, "job", "a.jpg", "ada")).await.unwrap();
    work(&world, |record| refuse(record, "no face was found", write(&world)).unwrap()).await;
    let refused = states(&world, "job", &[&state]).await.remove(0);
    assert_eq!((refused.outcome(), refused.reason.as_str()), (BulkOutcome::Refused, "no face was found"));
    assert_eq!(outcome(&world, photo(&world, "job", "a.jpg", "ada")).await, BulkOutcome::Refused);
    world.clock.advance(DAY + Duration::from_secs(1));
    assert_eq!(outcome(&world, photo(&world, "other", "a.jpg", "ada")).await, BulkOutcome::Waiting);
    assert_eq!(world.photos().await, 1, "the old photo is gone");
}

#[tokio::test]
async fn a_failure_in_the_middle_is_mended_by_the_next_try() {
    for stage in [
        Stage::Put(BlobKind::Photo),
        Stage::Put(BlobKind::Record),
        Stage::Append(Topic::Photos),
        Stage::Append(Topic::Audit),
    ] {
        for moment in [Moment::Before, Moment::After] {
            let world = World::new().await;
            world.faults.script(stage, moment, 0, Fault::Fail(PortErrorKind::Unavailable));
            let request = || photo(&world, "job", "a.jpg", "");
            let failure = accept(&world, request()).await.unwrap_err();
            assert_eq!(failure.code, ErrorCode::Unavailable, "{stage} {moment:?}");
            assert_eq!(outcome(&world, request()).await, BulkOutcome::Waiting, "{stage} {moment:?}");
            assert_eq!(world.records().await.len(), 1);
            let named = world.records().await[0].photo.clone().unwrap();
            assert!(world.has_photo(&named).await, "{stage} {moment:?}: the record's photo is there");
            assert!(!said(&world).await.is_empty(), "{stage} {moment:?}");
        }
    }
}

#[tokio::test]
async fn past_the_backlogs_limit_jobs_are_told_to_wait() {
    let world = World::with_backlog_photos_max(2).await;
    for name in ["a", "b", "c"] {
        accept(&world, photo(&world, "job", name, "")).await.unwrap();
    }
    world.clock.advance(Duration::from_secs(2));
    let failure = accept(&world, photo(&world, "job", "d", "")).await.unwrap_err();
    assert_eq!(failure.code, ErrorCode::Unavailable);
    assert!(failure.retry_after.is_some(), "with a hint when to try again");
    let mut reader = world.log.subscribe(Topic::Photos, "embedding").await.unwrap();
    for record in reader.next(10, Duration::ZERO).await.unwrap() {
        let next = vidimus_ports::Position { offset: record.position.offset + 1, ..record.position };
        reader.commit(next).await.unwrap();
    }
    world.clock.advance(Duration::from_secs(2));
    assert_eq!(outcome(&world, photo(&world, "job", "d", "")).await, BulkOutcome::Waiting);
}

#[tokio::test]
async fn what_is_wrong_is_refused_before_anything_is_stored() {
    let world = World::new().await;
    let fine = photo(&world, "job", "a", "");
    for wrong in [
        v1::AcceptPhotoRequest { job_id: String::new(), ..fine.clone() },
        v1::AcceptPhotoRequest { job_id: "a b".to_owned(), ..fine.clone() },
        v1::AcceptPhotoRequest { job_id: "x".repeat(65), ..fine.clone() },
        v1::AcceptPhotoRequest { name: String::new(), ..fine.clone() },
        v1::AcceptPhotoRequest { external_image_id: "a b".to_owned(), ..fine.clone() },
        v1::AcceptPhotoRequest { collection: None, ..fine.clone() },
    ] {
        assert_eq!(accept(&world, wrong).await.unwrap_err().code, ErrorCode::InvalidParameter);
    }
    let photo = vec![0; 15 * 1024 * 1024 + 1].into();
    let large = v1::AcceptPhotoRequest { photo, ..fine };
    assert_eq!(accept(&world, large).await.unwrap_err().code, ErrorCode::ImageTooLarge);
    assert_eq!((world.records().await.len(), world.photos().await), (0, 0));
}

fn templates(world: &World, job: &str, faces: Vec<v1::ReadyTemplate>) -> v1::ImportTemplatesRequest {
    v1::ImportTemplatesRequest {
        collection: world.reference(),
        caller: None,
        job_id: job.to_owned(),
        name: "record 1".to_owned(),
        face_model: "model".to_owned(),
        templates: faces,
    }
}

fn ready(template: Vec<f32>, name: &str) -> v1::ReadyTemplate {
    v1::ReadyTemplate { template, external_image_id: name.to_owned(), ..v1::ReadyTemplate::default() }
}

async fn import(world: &World, request: v1::ImportTemplatesRequest) -> Result<v1::BulkState, Failure> {
    let answer = world.ingestion.import_templates(Request::new(request)).await;
    answer.map(tonic::Response::into_inner).map_err(|status| failure_from_status(&status))
}

#[tokio::test]
async fn ready_templates_are_faces_of_one_record_without_a_photo() {
    let world = World::new().await;
    let faces = || (0..1000).map(|number| ready(vec![0.6, 0.8], &format!("face-{number}"))).collect();
    let state = import(&world, templates(&world, "job", faces())).await.unwrap();
    assert_eq!((state.outcome(), state.face_ids.len()), (BulkOutcome::Enrolled, 1000));
    let records = world.records().await;
    assert_eq!((records.len(), records[0].faces.len(), world.photos().await), (1, 1000, 0));
    assert_eq!(world.changes().await, 1);
    let again = import(&world, templates(&world, "job", faces())).await.unwrap();
    assert_eq!(again, state, "begun again, the job finds its faces");
    assert_eq!(world.changes().await, 2, "and says them again");
    let gone: Vec<FaceId> = state.face_ids.iter().map(|id| FaceId::from_bytes(id).unwrap()).collect();
    world.delete(&gone).await.unwrap();
    let after = import(&world, templates(&world, "job", faces())).await.unwrap();
    assert_eq!(after.outcome(), BulkOutcome::Gone, "what was deleted stays so");
}

/// What an import reads after a day may have forgotten it.
#[tokio::test]
async fn templates_that_slept_on_their_way_are_given_up() {
    for (asleep, expected) in [(DAY / 48, None), (DAY + DAY / 24, Some(ErrorCode::Unavailable))] {
        let world = World::new().await;
        let gate = Gate::closed();
        world.faults.script(Stage::BlobRead, Moment::After, 0, Fault::Pause(gate.clone()));
        let request = templates(&world, "job", vec![ready(vec![0.6, 0.8], "ada")]);
        let meanwhile = async {
            tokio::time::timeout(Duration::from_secs(10), gate.reached_by(1)).await.unwrap();
            world.clock.advance(asleep);
            gate.open();
        };
        let (answer, ()) = tokio::join!(import(&world, request), meanwhile);
        assert_eq!(answer.err().map(|failure| failure.code), expected);
        assert_eq!(world.records().await.len(), usize::from(expected.is_none()));
    }
}

#[tokio::test]
async fn templates_that_are_none_are_refused_with_their_number() {
    let world = World::new().await;
    let fine = || ready(vec![0.6, 0.8], "");
    for (wrong, said) in [
        (ready(vec![1.0, 0.0, 0.0], ""), "components"),
        (ready(vec![1.0, 1.0], ""), "unit length"),
        (ready(vec![f32::NAN, 0.0], ""), "unit length"),
        (ready(vec![f32::INFINITY, 0.0], ""), "unit length"),
        (ready(vec![0.6, 0.8], "a b"), "external image id"),
        (v1::ReadyTemplate { confidence: f32::NAN, ..fine() }, "confidence"),
        (
            v1::ReadyTemplate {
                bounding_box: Some(v1::BoundingBox { width: -1.0, ..v1::BoundingBox::default() }),
                ..fine()
            },
            "bounding box",
        ),
    ] {
        let failure = import(&world, templates(&world, "job", vec![fine(), wrong])).await.unwrap_err();
        assert_eq!(failure.code, ErrorCode::InvalidParameter, "{said}");
        assert!(
            failure.message.contains("template 2") && failure.message.contains(said),
            "{}",
            failure.message
        );
    }
    let other_model = v1::ImportTemplatesRequest {
        face_model: "other".to_owned(),
        ..templates(&world, "job", vec![fine()])
    };
    assert_eq!(import(&world, other_model).await.unwrap_err().code, ErrorCode::InvalidParameter);
    for count in [0, 1001] {
        let request = templates(&world, "job", vec![fine(); count]);
        assert!(import(&world, request).await.is_err(), "{count}");
    }
    assert_eq!(world.records().await.len(), 0);
}

/// A change of the log that no worker knows does no harm here: it is the worker's affair.
#[tokio::test]
async fn the_backlog_counts_what_was_said_by_anybody() {
    let world = World::with_backlog_photos_max(1).await;
    for key in [b"a", b"b"] {
        world.log.append(Topic::Photos, Append::new(key, "anything")).await.unwrap();
    }
    let failure = accept(&world, photo(&world, "job", "a", "")).await.unwrap_err();
    assert_eq!(failure.code, ErrorCode::Unavailable);
}
