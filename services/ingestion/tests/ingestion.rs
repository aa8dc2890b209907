//! Enrolling and deleting over fakes: what is stored, what is said, and what a failure in the middle leaves.
#![expect(clippy::unwrap_used, reason = "all of this is a test")]

mod world;

use std::sync::atomic::Ordering;
use std::time::Duration;

use vidimus_domain::blob_key::BlobKey;
use vidimus_domain::event::AuditedAction;
use vidimus_domain::record::State;
use vidimus_domain::retention::RetentionRule;
use vidimus_domain::{ErrorCode, UnixMillis};
use vidimus_ports::faulty::{BlobKind, Fault, Gate, Moment, Stage};
use vidimus_ports::{Clock, PortErrorKind, Topic};
use vidimus_proto::internal::v1;
use world::World;

const HOUR: Duration = Duration::from_secs(3600);

#[tokio::test]
async fn an_enrolment_stores_photo_and_record_and_says_so() {
    let world = World::new().await;
    let faces = world.enrol(world.photo("2 faces")).await.unwrap();
    let records = world.records().await;
    assert_eq!((records.len(), world.photos().await, world.changes().await), (1, 1, 1));
    assert_eq!(records[0].state, State::Enrolled);
    assert_eq!(faces.len(), 2);
    assert!(faces.iter().all(|face| face.image() == records[0].origin.image));
    assert!(matches!(world.audited().await[..], [AuditedAction::Enrolment { .. }]));
}

#[tokio::test]
async fn a_deletion_leaves_nothing_in_older_versions_and_a_retry_makes_up_for_what_failed() {
    let world = World::new().await;
    let faces = world.enrol(world.photo("2 faces")).await.unwrap();
    let origin = world.records().await[0].origin.clone();
    let key = BlobKey::record(&origin.part, origin.image);
    world.delete(&faces[..1]).await.unwrap();
    assert_eq!(world.blobs.older_versions(&key), Vec::<bytes::Bytes>::new());
    let failure = Fault::Fail(PortErrorKind::Unavailable);
    world.faults.script(Stage::Delete(BlobKind::Record), Moment::Before, 0, failure);
    assert_eq!(world.delete(&faces).await.unwrap_err().code, ErrorCode::Unavailable);
    assert_eq!(world.blobs.older_versions(&key).len(), 1, "decided, and not carried out yet");
    world.delete(&faces).await.unwrap();
    assert_eq!(world.blobs.older_versions(&key), Vec::<bytes::Bytes>::new());
}

#[tokio::test]
async fn a_photo_without_a_face_stores_nothing() {
    let world = World::new().await;
    assert_eq!(world.enrol(world.photo("0 faces")).await, Ok(Vec::new()));
    assert_eq!((world.records().await.len(), world.photos().await, world.changes().await), (0, 0, 0));
}

#[tokio::test]
async fn faces_past_the_number_asked_for_are_left_out_with_the_reason() {
    use vidimus_proto::internal::v1::ingestion_server::Ingestion as _;
    let world = World::new().await;
    let request = v1::IndexFacesRequest { faces_max: 1, ..world.photo("3 faces") };
    let answer = world.ingestion.index_faces(tonic::Request::new(request)).await.unwrap().into_inner();
    assert_eq!((answer.faces.len(), answer.unindexed.len()), (1, 2));
    assert!(answer.unindexed.iter().all(|face| face.reasons == ["EXCEEDS_MAX_FACES"]));
    assert_eq!(world.records().await[0].faces.len(), 1);
}

/// The faces of the fake are ten pixels wide: any filter refuses them.
#[tokio::test]
async fn where_no_face_is_fit_nothing_is_stored_and_the_answer_says_why() {
    use vidimus_proto::internal::v1::ingestion_server::Ingestion as _;
    let world = World::new().await;
    let quality_filter = v1::QualityFilter::Auto.into();
    let request = v1::IndexFacesRequest { quality_filter, ..world.photo("2 faces") };
    let answer = world.ingestion.index_faces(tonic::Request::new(request)).await.unwrap().into_inner();
    assert_eq!((answer.faces.len(), answer.unindexed.len()), (0, 2));
    assert!(answer.unindexed.iter().all(|face| face.reasons.contains(&"SMALL_BOUNDING_BOX".to_owned())));
    assert_eq!((world.records().await.len(), world.photos().await, world.changes().await), (0, 0, 0));
}

#[tokio::test]
async fn a_retry_finds_what_the_first_attempt_enrolled_and_says_it_again() {
    let world = World::new().await;
    let request = v1::IndexFacesRequest { retry_id: "invocation".to_owned(), ..world.photo("1 face") };
    let first = world.enrol(request.clone()).await.unwrap();
    assert_eq!(world.enrol(request.clone()).await.unwrap(), first);
    assert_eq!((world.records().await.len(), world.photos().await, world.changes().await), (1, 1, 2));
    world.delete(&first).await.unwrap();
    assert_eq!(world.enrol(request).await, Ok(Vec::new()), "a retry after a deletion brings nothing back");
    let anew = world.enrol(world.photo("1 face")).await.unwrap();
    assert_ne!(anew, first, "another request makes a new face");
}

#[tokio::test]
async fn a_photo_of_the_same_name_is_the_same_photo() {
    let world = World::new().await;
    let request = v1::IndexFacesRequest { external_image_id: "ada".to_owned(), ..world.photo("2 faces") };
    let first = world.enrol(request.clone()).await.unwrap();
    assert_eq!(world.enrol(request.clone()).await.unwrap(), first);
    assert_eq!((world.records().await.len(), world.photos().await), (1, 1));
    world.delete(&first[..1]).await.unwrap();
    assert_eq!(world.photos().await, 1, "a face of it is still there");
    let again = world.enrol(request.clone()).await.unwrap();
    assert_eq!(again[1], first[1], "the live face is left alone");
    assert_ne!(again[0], first[0], "the erased one comes back as another");
    world.delete(&again).await.unwrap();
    assert_eq!(world.photos().await, 0);
    let anew = world.enrol(request).await.unwrap();
    assert!(anew.iter().all(|face| !first.contains(face) && !again.contains(face)));
    assert_eq!((world.records().await.len(), world.photos().await), (1, 1));
}

#[tokio::test]
async fn without_a_name_or_a_retry_every_enrolment_is_its_own() {
    let world = World::new().await;
    let first = world.enrol(world.photo("1 face")).await.unwrap();
    assert_ne!(world.enrol(world.photo("1 face")).await.unwrap(), first);
    assert_eq!((world.records().await.len(), world.photos().await), (2, 2));
}

#[tokio::test]
async fn many_that_enrol_one_photo_at_once_enrol_it_once() {
    let world = World::new().await;
    let request = v1::IndexFacesRequest { external_image_id: "ada".to_owned(), ..world.photo("1 face") };
    let enrolments = (0..16).map(|_| world.enrol(request.clone()));
    let answers = futures::future::join_all(enrolments).await;
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
    assert_eq!((world.records().await.len(), world.photos().await), (1, 1));
    assert_eq!(world.records().await[0].faces.len(), 1);
}

#[tokio::test]
async fn a_write_that_took_place_though_it_was_called_lost_is_found() {
    let world = World::new().await;
    let lost = Fault::Fail(PortErrorKind::Conflict);
    world.faults.script(Stage::Put(BlobKind::Record), Moment::After, 0, lost);
    assert_eq!(world.enrol(world.photo("1 face")).await.unwrap().len(), 1);
    assert_eq!((world.records().await.len(), world.photos().await), (1, 1));
    assert_eq!(world.records().await[0].faces.len(), 1);
}

#[tokio::test]
async fn a_failure_at_any_stage_is_told_and_a_retry_completes_it() {
    for stage in [
        Stage::Put(BlobKind::Photo),
        Stage::Put(BlobKind::Record),
        Stage::Append(Topic::Changes),
        Stage::Append(Topic::Audit),
    ] {
        for moment in [Moment::Before, Moment::After] {
            let world = World::new().await;
            let request =
                v1::IndexFacesRequest { retry_id: "invocation".to_owned(), ..world.photo("1 face") };
            world.faults.script(stage, moment, 0, Fault::Fail(PortErrorKind::Unavailable));
            let told = world.enrol(request.clone()).await;
            assert_eq!(told, Err(ErrorCode::Unavailable), "{stage} {moment:?}");
            assert_eq!(world.enrol(request).await.unwrap().len(), 1, "{stage} {moment:?}");
            let records = world.records().await;
            assert_eq!((records.len(), records[0].faces.len()), (1, 1), "{stage} {moment:?}");
            assert!(world.changes().await >= 1, "{stage} {moment:?}");
        }
    }
}

#[tokio::test]
async fn an_enrolment_does_not_wait_for_a_slow_index() {
    let world = World::new().await;
    world.indexing.is_slow.store(true, Ordering::SeqCst);
    assert_eq!(world.enrol(world.photo("1 face")).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_deletion_answers_only_when_it_is_projected() {
    let world = World::new().await;
    let faces = world.enrol(world.photo("1 face")).await.unwrap();
    for away in [&world.indexing.is_away, &world.indexing.is_slow] {
        away.store(true, Ordering::SeqCst);
        let told = world.delete(&faces).await.unwrap_err();
        assert_eq!(told.code, ErrorCode::Unavailable);
        assert!(told.retry_after.is_some());
        assert_eq!(world.records().await[0].state, State::Erased, "it is decided");
        away.store(false, Ordering::SeqCst);
    }
    let said_before = world.changes().await;
    let answer = world.delete(&faces).await.unwrap();
    assert_eq!(answer.deleted.len(), 1);
    assert_eq!(world.photos().await, 0);
    assert_eq!(world.changes().await, said_before + 1, "who finds its effect there says it again");
}

#[tokio::test]
async fn deletions_tell_each_face_apart() {
    let world = World::new().await;
    let faces = world.enrol(world.photo("2 faces")).await.unwrap();
    let unknown = world.enrol(world.photo("1 face")).await.unwrap()[0].image();
    let never = unknown.face(vidimus_domain::FaceNumber::new(9).unwrap());
    let answer = world.delete(&[faces[1], never, faces[0]]).await.unwrap();
    assert_eq!(answer.deleted, [faces[1].to_bytes().to_vec(), faces[0].to_bytes().to_vec()]);
    assert_eq!(answer.undeleted.len(), 1);
    assert_eq!(answer.undeleted[0].reason, "FACE_NOT_FOUND");
    assert_eq!(world.delete(&faces).await.unwrap().deleted.len(), 2, "again, as an SDK's retry would");
}

#[tokio::test]
async fn nothing_is_enrolled_into_a_collection_that_is_gone() {
    let world = World::new().await;
    let collection = &world.collection;
    world.catalog.delete_collection(collection.tenant, &collection.name).await.unwrap();
    assert_eq!(world.enrol(world.photo("1 face")).await, Err(ErrorCode::NotFound));
    assert_eq!(world.delete(&[]).await.unwrap_err().code, ErrorCode::NotFound);
    assert_eq!((world.records().await.len(), world.photos().await), (0, 0));
}

/// Lets an enrolment sleep between putting its photo and writing its record.
async fn enrol_asleep(world: &World, asleep: Duration) -> Result<usize, ErrorCode> {
    let request = v1::IndexFacesRequest { external_image_id: "ada".to_owned(), ..world.photo("1 face") };
    let gate = Gate::closed();
    world.faults.script(Stage::Put(BlobKind::Photo), Moment::After, 0, Fault::Pause(gate.clone()));
    let meanwhile = async {
        tokio::time::timeout(Duration::from_secs(10), gate.reached_by(1)).await.unwrap();
        world.clock.advance(asleep);
        gate.open();
    };
    let (faces, ()) = tokio::join!(world.enrol(request), meanwhile);
    faces.map(|faces| faces.len())
}

#[tokio::test]
async fn a_writer_that_slept_does_not_write_what_it_decided_before() {
    let world = World::new().await;
    assert_eq!(enrol_asleep(&world, Duration::from_secs(30 * 60)).await, Ok(1));
    let world = World::new().await;
    assert_eq!(enrol_asleep(&world, Duration::from_secs(25 * 3600)).await, Err(ErrorCode::Unavailable));
    assert!(world.records().await.is_empty(), "its retry is another enrolment");
}

#[tokio::test]
async fn a_face_may_be_enrolled_for_a_while() {
    let world = World::new().await;
    let now = world.clock.now();
    let until = |expires_at: UnixMillis| v1::IndexFacesRequest {
        external_image_id: "ada".to_owned(),
        expires_at_ms: Some(expires_at.get()),
        ..world.photo("1 face")
    };
    for past in [now, now.minus(HOUR)] {
        assert_eq!(world.enrol(until(past)).await, Err(ErrorCode::InvalidParameter));
    }
    assert_eq!((world.records().await.len(), world.photos().await), (0, 0));
    let first = world.enrol(until(now.plus(HOUR))).await.unwrap();
    assert_eq!(world.records().await[0].faces[0].live().unwrap().expires_at, Some(now.plus(HOUR)));
    let longer = world.enrol(until(now.plus(HOUR * 9))).await.unwrap();
    assert_eq!(longer, first, "it is the same face");
    assert_eq!(world.records().await[0].faces[0].live().unwrap().expires_at, Some(now.plus(HOUR)));
    world.clock.advance(HOUR);
    let anew = world.enrol(until(now.plus(HOUR * 2))).await.unwrap();
    assert_ne!(anew, first, "what has expired stays so");
}

#[tokio::test]
async fn what_is_older_than_the_rule_is_enrolled_anew() {
    let world = World::new().await;
    let request = v1::IndexFacesRequest { external_image_id: "ada".to_owned(), ..world.photo("1 face") };
    let first = world.enrol(request.clone()).await.unwrap();
    let rule = RetentionRule::new(Some(HOUR), None).unwrap();
    world.catalog.set_retention(world.collection.tenant, &world.collection.name, rule).await.unwrap();
    world.clock.advance(HOUR - Duration::from_millis(1));
    assert_eq!(world.enrol(request.clone()).await.unwrap(), first);
    world.clock.advance(Duration::from_millis(1));
    let anew = world.enrol(request).await.unwrap();
    assert_ne!(anew, first);
    assert_eq!((world.records().await.len(), world.photos().await), (1, 2));
    assert!(world.records().await[0].faces[0].live().is_none());
    assert_eq!(world.delete(&first).await.unwrap().deleted.len(), 1, "it is known, and erased");
}

#[tokio::test]
async fn a_photo_that_has_gone_by_the_rule_is_put_again() {
    let world = World::new().await;
    let request = v1::IndexFacesRequest { external_image_id: "ada".to_owned(), ..world.photo("1 face") };
    let first = world.enrol(request.clone()).await.unwrap();
    let rule = RetentionRule::new(None, Some(HOUR)).unwrap();
    world.catalog.set_retention(world.collection.tenant, &world.collection.name, rule).await.unwrap();
    world.clock.advance(HOUR);
    let before = world.records().await.remove(0);
    assert_eq!(world.enrol(request).await.unwrap(), first, "its face lives on");
    let after = world.records().await.remove(0);
    assert!(after.photo.is_some() && after.photo != before.photo);
    assert_eq!(after.photos_to_remove, [before.photo.unwrap()]);
}
