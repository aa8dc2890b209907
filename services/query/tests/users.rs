//! Searching and listing users over fakes.
#![expect(clippy::unwrap_used, clippy::panic, reason = "all of this is a test")]

mod moves;
mod world;

use std::time::Duration;

use tonic::Request;
use vidimus_domain::event::UserProbe;
use vidimus_domain::{ErrorCode, FaceId, FaceNumber};
use vidimus_ports::faulty::{Fault, Moment, Stage};
use vidimus_ports::{PortErrorKind, Topic};
use vidimus_proto::internal::v1;
use vidimus_proto::internal::v1::query_server::Query as _;
use vidimus_proto::internal::v1::search_users_request::Probe;
use world::{NOW, World, audited_names, code, named};

/// The cosine of 60 degrees is a similarity of 50.
const THRESHOLD: f32 = 49.9;

impl World {
    async fn search(&self, probe: Probe, users_max: u32) -> Result<v1::SearchUsersResponse, ErrorCode> {
        let request = v1::SearchUsersRequest {
            collection: self.reference(),
            probe: Some(probe),
            users_max,
            threshold_similarity: THRESHOLD,
            ..v1::SearchUsersRequest::default()
        };
        code(self.query.search_users(Request::new(request)).await)
    }

    async fn by_face(&self, face: FaceId, users_max: u32) -> Result<v1::SearchUsersResponse, ErrorCode> {
        self.search(Probe::FaceId(face.to_bytes().to_vec()), users_max).await
    }

    async fn by_photo(
        &self,
        photo: &'static str,
        filter: v1::QualityFilter,
    ) -> Result<v1::SearchUsersResponse, ErrorCode> {
        let request = v1::SearchUsersByImageRequest {
            collection: self.reference(),
            photo: photo.as_bytes().into(),
            quality_filter: filter.into(),
            threshold_similarity: THRESHOLD,
            ..v1::SearchUsersByImageRequest::default()
        };
        code(self.query.search_users_by_image(Request::new(request)).await)
    }

    async fn listed(&self, users_max: u32) -> Vec<String> {
        let (mut names, mut after) = (Vec::new(), Vec::new());
        loop {
            let request = v1::ListUsersRequest { collection: self.reference(), after, users_max };
            let page = code(self.query.list_users(Request::new(request)).await).unwrap();
            assert!(users_max == 0 || page.users.len() <= users_max as usize);
            names.extend(page.users.into_iter().map(|user| user.user_id));
            after = page.last;
            if after.is_empty() {
                return names;
            }
        }
    }
}

#[tokio::test]
async fn a_user_scores_as_its_best_face_and_is_answered_once() {
    let world = World::new().await;
    world.user_with("anna", &[80.0, 30.0, 40.0]).await;
    world.user_with("bert", &[-10.0]).await;
    world.user_with("carl", &[100.0]).await;
    let probe = world.face(0.0, None).await;
    let answer = world.by_face(probe, 0).await.unwrap();
    assert_eq!(named(&answer), [("bert", 98), ("anna", 87)]);
    assert!(answer.users.iter().all(|user| user.status() == v1::UserStatus::Active));
    let meaning = answer.meaning.unwrap();
    assert_eq!(meaning.gallery_faces, 5, "faces without a user are not searched");
    assert_eq!(named(&world.by_face(probe, 1).await.unwrap()), [("bert", 98)]);
}

#[tokio::test]
async fn a_face_may_find_its_own_user_and_a_user_does_not() {
    let world = World::new().await;
    let anna = world.user_with("anna", &[0.0]).await;
    let own = world.face(50.0, Some(&anna)).await;
    world.user_with("bert", &[80.0]).await;
    assert_eq!(named(&world.by_face(own, 0).await.unwrap()), [("anna", 100), ("bert", 87)]);
    let answer = world.search(Probe::UserId("anna".to_owned()), 0).await.unwrap();
    assert_eq!(named(&answer), [("bert", 87)], "the best of all pairs");
    let audited = world.audited().await;
    assert!(audited.iter().any(|search| search.probe == UserProbe::User("anna".parse().unwrap())));
    let nobody = world.search(Probe::UserId("nobody".to_owned()), 0).await;
    assert_eq!(nobody, Err(ErrorCode::NotFound));
    let never = own.image().face(FaceNumber::new(7).unwrap());
    assert_eq!(world.by_face(never, 0).await, Err(ErrorCode::InvalidParameter));
    world.user("empty").await;
    assert_eq!(named(&world.search(Probe::UserId("empty".to_owned()), 0).await.unwrap()), []);
}

#[tokio::test]
async fn many_faces_of_one_user_do_not_crowd_out_another() {
    let world = World::new().await;
    world.user_with("anna", &[1.0; 100]).await;
    world.user_with("bert", &[2.0; 100]).await;
    world.user_with("carl", &[3.0]).await;
    let probe = world.face(0.0, None).await;
    let names = |answer: v1::SearchUsersResponse| {
        answer.users.into_iter().map(|user| user.user_id).collect::<Vec<_>>()
    };
    assert_eq!(names(world.by_face(probe, 3).await.unwrap()), ["anna", "bert", "carl"]);
    assert_eq!(names(world.by_face(probe, 2).await.unwrap()), ["anna", "bert"]);
}

#[tokio::test]
async fn what_a_point_says_of_a_user_that_is_gone_is_not_answered() {
    let world = World::new().await;
    let anna = world.user_with("anna", &[1.0]).await;
    world.user_with("bert", &[20.0]).await;
    let probe = world.face(0.0, None).await;
    world.delete_object(&anna.0).await;
    assert_eq!(named(&world.by_face(probe, 1).await.unwrap()), [("bert", 94)]);
    world.clock.advance(Duration::from_secs(1));
    let again = world.user("anna").await;
    assert_ne!(again, anna);
    assert_eq!(named(&world.by_face(probe, 0).await.unwrap()), [("bert", 94)], "another life of it");
    world.face(30.0, Some(&again)).await;
    assert_eq!(named(&world.by_face(probe, 0).await.unwrap()), [("bert", 94), ("anna", 87)]);
    let expires_at = world.face_until(5.0, Some(&again), NOW.plus(Duration::from_secs(2))).await;
    assert_eq!(world.by_face(probe, 1).await.unwrap().users[0].user_id, "anna", "{expires_at} is live");
    world.clock.advance(Duration::from_secs(1));
    assert_eq!(world.by_face(probe, 1).await.unwrap().users[0].user_id, "bert", "and has expired");
}

#[tokio::test]
async fn a_photo_is_searched_by_its_largest_face() {
    let world = World::new().await;
    world.user_with("anna", &[10.0]).await;
    world.user_with("bert", &[170.0]).await;
    let answer = world.by_photo("0 180 90", v1::QualityFilter::Unspecified).await.unwrap();
    assert_eq!(named(&answer), [("anna", 98)]);
    assert!(answer.searched.unwrap().template.is_empty());
    assert_eq!(answer.unsearched.len(), 2);
    assert!(answer.unsearched.iter().all(|face| face.reasons == ["FACE_NOT_LARGEST"]));
    let nobody = world.by_photo("", v1::QualityFilter::High).await.unwrap();
    assert_eq!((nobody.users.len(), nobody.searched, nobody.unsearched.len()), (0, None, 0));
    assert_eq!(world.audited().await.len(), 2, "I8: also of a photo without a face");
}

#[tokio::test]
async fn a_photo_is_searched_by_its_largest_face_that_is_fit() {
    let world = World::new().await;
    world.user_with("anna", &[10.0]).await;
    world.user_with("bert", &[170.0]).await;
    for (filter, user, reason) in [
        (v1::QualityFilter::None, "bert", "FACE_NOT_LARGEST"),
        (v1::QualityFilter::Auto, "anna", "LOW_CONFIDENCE"),
    ] {
        let answer = world.by_photo("180? 0", filter).await.unwrap();
        assert_eq!(named(&answer), [(user, 98)], "{filter:?}");
        assert_eq!(answer.unsearched.len(), 1);
        assert!(answer.unsearched[0].reasons.iter().any(|told| told == reason), "{:?}", answer.unsearched);
    }
    let unfit = world.by_photo("0?", v1::QualityFilter::Auto).await.unwrap();
    assert_eq!((unfit.users.len(), unfit.searched, unfit.unsearched.len()), (0, None, 1));
}

#[tokio::test]
async fn no_answer_without_its_audit_record() {
    let world = World::new().await;
    world.user_with("anna", &[10.0]).await;
    let probe = world.face(0.0, None).await;
    for moment in [Moment::Before, Moment::After] {
        let away = Fault::Fail(PortErrorKind::Unavailable);
        world.faults.script(Stage::Append(Topic::Audit), moment, 0, away);
        assert_eq!(world.by_face(probe, 0).await, Err(ErrorCode::Unavailable), "I8: {moment:?}");
    }
    world.by_face(probe, 0).await.unwrap();
    let audited = world.audited().await;
    assert_eq!(audited.len(), 2, "that of the lost answer is there too");
    assert_eq!(audited_names(&audited[1].candidates), ["anna"]);
    assert_eq!((&audited[1].probe, audited[1].gallery_faces), (&UserProbe::Face(probe), 1));
}

#[tokio::test]
async fn users_are_listed_in_pages_and_counted() {
    let world = World::new().await;
    let names: Vec<String> = (0..25).map(|nth| format!("user-{nth}")).collect();
    for name in &names {
        world.user(name).await;
    }
    for gone in ["user-3", "user-4"] {
        world.delete_object(&gone.parse().unwrap()).await;
    }
    let mut expected = names.clone();
    expected.retain(|name| name != "user-3" && name != "user-4");
    expected.sort();
    for users_max in [1, 7, 23, 24, 500, 0] {
        let mut listed = world.listed(users_max).await;
        listed.sort();
        assert_eq!(listed, expected, "pages of {users_max}");
    }
    let count = v1::CountFacesRequest { collection: world.reference() };
    let counted = code(world.query.count_faces(Request::new(count)).await).unwrap();
    assert_eq!((counted.faces, counted.users), (0, 23));
    let anna = world.user("anna").await;
    world.face(0.0, Some(&anna)).await;
    let request = v1::ListUsersRequest { collection: world.reference(), after: Vec::new(), users_max: 0 };
    let listed = code(world.query.list_users(Request::new(request)).await).unwrap().users;
    let status = |name: &str| listed.iter().find(|user| user.user_id == name).unwrap().status();
    assert_eq!((status("anna"), status("user-1")), (v1::UserStatus::Active, v1::UserStatus::Created));
}

#[tokio::test]
async fn a_users_faces_are_listed_in_pages() {
    let world = World::new().await;
    let anna = world.user_with("anna", &[0.0, 1.0, 2.0, 3.0]).await;
    world.user_with("bert", &[0.0]).await;
    let mut own = world.users.read(&world.collection, &anna.0).await.unwrap().user.unwrap().faces;
    own.sort();
    for faces_max in [1, 3, 4, 100] {
        let (mut listed, mut after_face_id) = (Vec::new(), Vec::new());
        loop {
            let request = v1::ListFacesRequest {
                collection: world.reference(),
                after_face_id,
                faces_max,
                face_ids: Vec::new(),
                user_id: "anna".to_owned(),
            };
            let page = code(world.query.list_faces(Request::new(request)).await).unwrap();
            assert!(page.faces.iter().all(|face| face.user_id == "anna"));
            listed.extend(page.faces.iter().map(|face| FaceId::from_bytes(&face.face_id).unwrap()));
            after_face_id = page.last_face_id;
            if after_face_id.is_empty() {
                break;
            }
        }
        assert_eq!(listed, own, "pages of {faces_max}");
    }
}
