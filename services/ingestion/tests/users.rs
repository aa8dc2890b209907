//! Users over fakes: who belongs to whom, what is told of whom, and what a failure in the middle leaves.
#![expect(clippy::unwrap_used, reason = "all of this is a test")]

mod world;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tonic::{Request, Response};
use vidimus_domain::event::{AuditedAction, UserChange};
use vidimus_domain::user::User;
use vidimus_domain::{ErrorCode, FaceId, FaceNumber};
use vidimus_ports::faulty::{BlobKind, Fault, Gate, Moment, Stage};
use vidimus_ports::{BlobStore, PortErrorKind, Topic};
use vidimus_proto::internal::v1;
use vidimus_proto::internal::v1::ingestion_server::Ingestion as _;
use vidimus_runtime::errors::failure_from_status;
use vidimus_runtime::users::Users;
use world::World;

const UNAVAILABLE: Fault = Fault::Fail(PortErrorKind::Unavailable);

/// What an association or its opposite answered: faces that it was done for, and the others with the reason.
type Answer = (Vec<FaceId>, Vec<(FaceId, String)>);

fn code<T>(answer: Result<Response<T>, tonic::Status>) -> Result<T, ErrorCode> {
    answer.map(Response::into_inner).map_err(|status| failure_from_status(&status).code)
}

fn bytes(faces: &[FaceId]) -> Vec<Vec<u8>> {
    faces.iter().map(|face| face.to_bytes().to_vec()).collect()
}

fn face(bytes: &[u8]) -> FaceId {
    FaceId::from_bytes(bytes).unwrap()
}

fn answer(done: &[Vec<u8>], undone: &[v1::UnassociatedFace]) -> Answer {
    let undone = undone.iter().map(|undone| (face(&undone.face_id), undone.reason.clone()));
    (done.iter().map(|bytes| face(bytes)).collect(), undone.collect())
}

impl World {
    async fn create(&self, user: &str, token: &str) -> Result<(), ErrorCode> {
        let request = v1::CreateUserRequest {
            collection: self.reference(),
            caller: None,
            user_id: user.to_owned(),
            client_token: token.to_owned(),
        };
        code(self.ingestion.create_user(Request::new(request)).await).map(|_| ())
    }

    async fn delete_user(&self, user: &str, token: &str) -> Result<(), ErrorCode> {
        let request = v1::DeleteUserRequest {
            collection: self.reference(),
            caller: None,
            user_id: user.to_owned(),
            client_token: token.to_owned(),
        };
        code(self.ingestion.delete_user(Request::new(request)).await).map(|_| ())
    }

    /// Asks for a similarity of 75.
    async fn associate(&self, user: &str, faces: &[FaceId]) -> Result<Answer, ErrorCode> {
        let done = self.associated(user, faces).await?;
        Ok(answer(&done.associated, &done.unassociated))
    }

    async fn associated(
        &self,
        user: &str,
        faces: &[FaceId],
    ) -> Result<v1::AssociateFacesResponse, ErrorCode> {
        let request = v1::AssociateFacesRequest {
            collection: self.reference(),
            caller: None,
            user_id: user.to_owned(),
            face_ids: bytes(faces),
            threshold_similarity: 75.0,
            client_token: String::new(),
        };
        code(self.ingestion.associate_faces(Request::new(request)).await)
    }

    async fn disassociate(&self, user: &str, faces: &[FaceId], token: &str) -> Result<Answer, ErrorCode> {
        let request = v1::DisassociateFacesRequest {
            collection: self.reference(),
            caller: None,
            user_id: user.to_owned(),
            face_ids: bytes(faces),
            client_token: token.to_owned(),
        };
        let done = code(self.ingestion.disassociate_faces(Request::new(request)).await)?;
        Ok(answer(&done.disassociated, &done.not_disassociated))
    }

    async fn user(&self, user: &str) -> Option<User> {
        let users = Users::new(self.blobs.clone(), self.clock.clone());
        users.read(&self.collection, &user.parse().unwrap()).await.unwrap().user
    }

    /// Whose a face is by its record.
    async fn holder(&self, face: FaceId) -> Option<String> {
        let records = self.records().await;
        let record = records.iter().find(|record| record.origin.image == face.image())?;
        let live = record.face(face.number()?)?.live()?;
        live.user.as_ref().map(|(user, _)| user.to_string())
    }

    async fn one_face(&self, photo: &'static str) -> FaceId {
        self.enrol(self.photo(photo)).await.unwrap()[0]
    }

    /// A user with these faces.
    async fn with_user(&self, user: &str, faces: &[FaceId]) {
        self.create(user, "").await.unwrap();
        assert_eq!(self.associate(user, faces).await.unwrap().0, faces);
    }

    async fn user_changes(&self) -> Vec<(UserChange, usize)> {
        let change = |action: AuditedAction| match action {
            AuditedAction::UserChange { change, faces, .. } => Some((change, faces.len())),
            _ => None,
        };
        self.audited().await.into_iter().filter_map(change).collect()
    }
}

#[tokio::test]
async fn a_user_is_created_once_and_its_token_tells_a_retry() {
    let world = World::new().await;
    assert_eq!(world.create("anna", "one").await, Ok(()));
    assert_eq!(world.create("anna", "one").await, Ok(()), "an SDK's retry");
    assert_eq!(world.create("anna", "two").await, Err(ErrorCode::Conflict));
    assert_eq!(world.create("anna", "").await, Err(ErrorCode::Conflict));
    assert_eq!(world.create("bert", "one").await, Err(ErrorCode::IdempotentParameterMismatch));
    assert_eq!(world.delete_user("anna", "one").await, Ok(()), "each operation has its own tokens");
    assert_eq!(world.create("bad id", "three").await, Err(ErrorCode::InvalidParameter));
    world.clock.advance(Duration::from_secs(24 * 3600));
    assert_eq!(world.create("bert", "one").await, Ok(()), "a day later it is forgotten");
    world.clock.advance(Duration::from_secs(23 * 3600));
    assert_eq!(
        world.create("carl", "one").await,
        Err(ErrorCode::IdempotentParameterMismatch),
        "past midnight"
    );
}

#[tokio::test]
async fn a_late_retry_of_a_creation_brings_no_deleted_user_back() {
    let world = World::new().await;
    world.create("anna", "one").await.unwrap();
    world.delete_user("anna", "two").await.unwrap();
    assert_eq!(world.create("anna", "one").await, Ok(()), "it was created");
    assert_eq!(world.user("anna").await.unwrap().id, None, "and is deleted");
    assert_eq!(world.delete_user("anna", "two").await, Ok(()), "an SDK's retry");
    assert_eq!(world.delete_user("anna", "three").await, Err(ErrorCode::NotFound));
    assert_eq!(world.delete_user("nobody", "four").await, Err(ErrorCode::NotFound));
}

#[tokio::test]
async fn a_deleted_user_leaves_no_name_and_its_next_life_is_another() {
    let world = World::new().await;
    let one = world.one_face("1 face").await;
    world.with_user("anna-perenna", &[one]).await;
    let first = world.user("anna-perenna").await.unwrap().generation;
    world.delete_user("anna-perenna", "").await.unwrap();
    assert_eq!(world.holder(one).await, None);
    for key in world.blobs.keys() {
        assert!(!key.as_str().contains("anna"));
        let blob = world.blobs.get(&key).await.unwrap().unwrap();
        assert!(!blob.bytes.windows(4).any(|bytes| bytes == b"anna"), "{key}");
    }
    world.create("anna-perenna", "").await.unwrap();
    let second = world.user("anna-perenna").await.unwrap();
    assert!(second.generation > first && second.faces.is_empty());
    assert_eq!(
        world.user_changes().await,
        [
            (UserChange::Created, 0),
            (UserChange::Associated, 1),
            (UserChange::Deleted, 1),
            (UserChange::Created, 0)
        ]
    );
}

#[tokio::test]
async fn an_association_tells_each_face_apart() {
    let world = World::new().await;
    let [own, like, unlike, other] = [
        world.one_face("1@0").await,
        world.one_face("1@30").await,
        world.one_face("1@80").await,
        world.one_face("1@1").await,
    ];
    let never = own.image().face(FaceNumber::new(9).unwrap());
    assert_eq!(world.associate("anna", &[own]).await, Err(ErrorCode::NotFound));
    world.with_user("bert", &[other]).await;
    world.create("anna", "").await.unwrap();
    let done = world.associated("anna", &[own, like, unlike, other, never, own]).await.unwrap();
    assert_eq!(
        done.associated,
        bytes(&[own, like]),
        "the first whatever it looks like, the second is like it"
    );
    let undone = |reason: &str, face: FaceId| {
        let found = done.unassociated.iter().find(|undone| undone.reason == reason).unwrap();
        assert_eq!(found.face_id, face.to_bytes());
        found.clone()
    };
    // The nearest of the user's faces is the one at 30 degrees.
    let similarity = undone("LOW_MATCH_CONFIDENCE", unlike).similarity;
    assert!((similarity - 100.0 * 50_f32.to_radians().cos()).abs() < 0.01, "{similarity}");
    assert_eq!(undone("ASSOCIATED_TO_A_DIFFERENT_USER", other).user_id, "bert");
    undone("FACE_NOT_FOUND", never);
    assert_eq!((done.unassociated.len(), done.status), (3, v1::UserStatus::Active.into()));
    let again = world.associate("anna", &[like, own]).await.unwrap();
    assert_eq!(again, (vec![like, own], Vec::new()), "they are its own already");
    assert_eq!((world.holder(own).await, world.holder(unlike).await), (Some("anna".to_owned()), None));
}

#[tokio::test]
async fn faces_leave_a_user_and_the_answer_tells_each_apart() {
    let world = World::new().await;
    let faces = world.enrol(world.photo("3 faces")).await.unwrap();
    let other = world.one_face("1 face").await;
    let free = world.one_face("1 face").await;
    world.with_user("anna", &faces).await;
    world.with_user("bert", &[other]).await;
    let asked = [faces[1], other, free];
    let done = world.disassociate("anna", &asked, "token").await.unwrap();
    let reasons =
        vec![(other, "ASSOCIATED_TO_A_DIFFERENT_USER".to_owned()), (free, "FACE_NOT_FOUND".to_owned())];
    assert_eq!(done, (vec![faces[1]], reasons));
    assert_eq!(world.holder(faces[1]).await, None);
    assert_eq!(world.user("anna").await.unwrap().faces, [faces[0], faces[2]]);
    let retry = world.disassociate("anna", &asked, "token").await.unwrap();
    assert_eq!(retry.0, [faces[1], free], "a retry finds them free");
    assert_eq!(world.associate("bert", &[faces[1]]).await.unwrap().0, [faces[1]]);
    assert_eq!(world.disassociate("nobody", &asked, "").await, Err(ErrorCode::NotFound));
}

#[tokio::test]
async fn a_held_face_is_not_deleted() {
    let world = World::new().await;
    let one = world.one_face("1 face").await;
    world.with_user("anna", &[one]).await;
    let refused = world.delete(&[one]).await.unwrap();
    assert_eq!((refused.deleted.len(), refused.undeleted.len()), (0, 1));
    assert_eq!(refused.undeleted[0].reason, "ASSOCIATED_TO_AN_EXISTING_USER");
    assert_eq!(refused.undeleted[0].user_id, "anna");
    world.disassociate("anna", &[one], "").await.unwrap();
    assert_eq!(world.delete(&[one]).await.unwrap().deleted.len(), 1);
}

#[tokio::test]
async fn a_user_has_a_hundred_faces_and_the_dead_are_not_counted() {
    let world = World::new().await;
    let mut faces = Vec::new();
    for _ in 0..12 {
        faces.extend(world.enrol(world.photo("9 faces")).await.unwrap());
    }
    world.with_user("anna", &faces[..99]).await;
    assert_eq!(world.associate("anna", &faces[99..101]).await, Err(ErrorCode::QuotaExceeded));
    assert_eq!(world.holder(faces[99]).await, None, "all or none");
    assert_eq!(world.associate("anna", &faces[99..100]).await.unwrap().0, faces[99..100]);
    // What dies without the user being told: an association that died after its reservation, and faces that are erased.
    world.disassociate("anna", &faces[..2], "").await.unwrap();
    for (left, erased) in [(faces[101], false), (faces[100], true)] {
        world.faults.script(Stage::Put(BlobKind::Record), Moment::Before, 0, UNAVAILABLE);
        assert_eq!(world.associate("anna", &[left]).await, Err(ErrorCode::Unavailable));
        if erased {
            assert_eq!(world.delete(&[left]).await.unwrap().deleted.len(), 1);
        }
    }
    assert_eq!(world.user("anna").await.unwrap().faces.len(), 100);
    assert_eq!(world.associate("anna", &faces[102..104]).await.unwrap().0, faces[102..104]);
    let user = world.user("anna").await.unwrap();
    assert_eq!(user.faces.len(), 100);
    assert!(!user.faces.contains(&faces[100]) && !user.faces.contains(&faces[101]));
}

#[tokio::test]
async fn a_deletion_answers_only_when_no_face_shows_the_user() {
    let world = World::new().await;
    let one = world.one_face("1 face").await;
    world.with_user("anna", &[one]).await;
    world.indexing.is_away.store(true, Ordering::SeqCst);
    assert_eq!(world.delete_user("anna", "token").await, Err(ErrorCode::Unavailable));
    assert_eq!(world.user("anna").await.unwrap().id, None, "it is decided");
    assert_eq!(world.user("anna").await.unwrap().faces, [one], "and not done");
    assert_eq!(world.create("anna", "").await, Err(ErrorCode::Unavailable), "nor is it created before that");
    world.indexing.is_away.store(false, Ordering::SeqCst);
    assert_eq!(world.delete_user("anna", "token").await, Ok(()));
    assert_eq!(world.user("anna").await.unwrap().faces, []);
    assert_eq!(world.create("anna", "").await, Ok(()));
}

/// A deletion that died right after it was decided: the record still claims the face for a user that is gone.
async fn half_deleted(world: &World) -> FaceId {
    let one = world.one_face("1 face").await;
    world.with_user("anna", &[one]).await;
    world.faults.script(Stage::Put(BlobKind::Other), Moment::After, 0, UNAVAILABLE);
    assert_eq!(world.delete_user("anna", "").await, Err(ErrorCode::Unavailable));
    assert_eq!(world.holder(one).await, Some("anna".to_owned()));
    one
}

#[tokio::test]
async fn a_deletion_that_died_half_way_holds_up_nobody() {
    let world = World::new().await;
    let one = half_deleted(&world).await;
    assert_eq!(world.delete(&[one]).await.unwrap().deleted.len(), 1);

    let world = World::new().await;
    let one = half_deleted(&world).await;
    world.with_user("bert", &[one]).await;
    assert_eq!(world.delete_user("anna", "").await, Ok(()), "whoever asks again ends it");
    assert_eq!(world.holder(one).await, Some("bert".to_owned()));
    assert_eq!(world.delete_user("anna", "").await, Err(ErrorCode::NotFound));

    let world = World::new().await;
    let one = half_deleted(&world).await;
    assert_eq!(world.create("anna", "").await, Ok(()));
    assert_eq!(world.holder(one).await, None, "a new life begins without the faces of the old");
}

#[tokio::test]
async fn a_failure_at_any_stage_is_told_and_a_retry_completes_it() {
    for stage in [
        Stage::Put(BlobKind::Other),
        Stage::Put(BlobKind::Record),
        Stage::Append(Topic::Changes),
        Stage::Append(Topic::Audit),
    ] {
        for moment in [Moment::Before, Moment::After] {
            let world = World::new().await;
            let one = world.one_face("1 face").await;
            world.create("anna", "").await.unwrap();
            let fail = || world.faults.script(stage, moment, 0, UNAVAILABLE);
            let what = format!("{stage} {moment:?}");
            fail();
            assert_eq!(world.associate("anna", &[one]).await, Err(ErrorCode::Unavailable), "{what}");
            assert_eq!(world.associate("anna", &[one]).await.unwrap().0, [one], "{what}");
            assert_eq!(world.holder(one).await, Some("anna".to_owned()), "{what}");
            fail();
            let gone = world.disassociate("anna", &[one], "a").await;
            assert_eq!(gone, Err(ErrorCode::Unavailable), "{what}");
            assert_eq!(world.disassociate("anna", &[one], "a").await.unwrap().0, [one], "{what}");
            assert_eq!(world.holder(one).await, None, "{what}");
            assert_eq!(world.associate("anna", &[one]).await.unwrap().0, [one], "{what}");
            fail();
            assert_eq!(world.delete_user("anna", "b").await, Err(ErrorCode::Unavailable), "{what}");
            assert_eq!(world.delete_user("anna", "b").await, Ok(()), "{what}");
            assert_eq!(world.holder(one).await, None, "{what}");
            assert_eq!(world.user("anna").await.unwrap().faces, [], "{what}");
        }
    }
}

#[tokio::test]
async fn a_face_that_two_users_want_at_once_gets_one() {
    let world = World::new().await;
    let faces = world.enrol(world.photo("5 faces")).await.unwrap();
    let users = ["anna", "bert", "carl", "dora"];
    for user in users {
        world.create(user, "").await.unwrap();
    }
    let answers = users.map(|user| world.associate(user, &faces));
    let answers = futures::future::join_all(answers).await;
    for face in &faces {
        let holder = world.holder(*face).await.expect("somebody has it");
        for (user, answer) in users.iter().zip(&answers) {
            let (own, _) = answer.as_ref().unwrap();
            assert_eq!(own.contains(face), *user == holder, "{user}");
        }
        let user = world.user(&holder).await.unwrap();
        assert!(user.faces.contains(face));
    }
}

#[tokio::test]
async fn a_claim_that_slept_through_the_deletion_of_its_user_is_void() {
    let world = Arc::new(World::new().await);
    let one = world.one_face("1 face").await;
    world.create("anna", "").await.unwrap();
    let gate = Gate::closed();
    world.faults.script(Stage::Put(BlobKind::Record), Moment::Before, 0, Fault::Pause(gate.clone()));
    let sleeper = tokio::spawn({
        let world = Arc::clone(&world);
        async move { world.associate("anna", &[one]).await }
    });
    tokio::time::timeout(Duration::from_secs(10), gate.reached_by(1)).await.unwrap();
    assert_eq!(world.user("anna").await.unwrap().faces, [one], "it is reserved");
    assert_eq!(world.delete_user("anna", "").await, Ok(()));
    gate.open();
    assert_eq!(sleeper.await.unwrap(), Err(ErrorCode::NotFound));
    assert_eq!(world.holder(one).await, None);
    assert_eq!(world.delete(&[one]).await.unwrap().deleted.len(), 1);
}

#[tokio::test]
async fn nothing_is_done_in_a_collection_that_is_gone() {
    let world = World::new().await;
    let collection = &world.collection;
    world.catalog.delete_collection(collection.tenant, &collection.name).await.unwrap();
    assert_eq!(world.create("anna", "").await, Err(ErrorCode::NotFound));
    assert_eq!(world.delete_user("anna", "").await, Err(ErrorCode::NotFound));
    assert_eq!(world.associate("anna", &[]).await, Err(ErrorCode::NotFound));
    assert_eq!(world.disassociate("anna", &[], "").await, Err(ErrorCode::NotFound));
}
