//! Any value of every kind.

use std::fmt::Debug;
use std::time::Duration;

use proptest::prelude::*;
use vidimus_domain::event::{AuditedAction, Probe, UserCandidate, UserChange, UserProbe, UserSearch};
use vidimus_domain::face::{DetectedFace, Pose, Quality};
use vidimus_domain::geometry::{BoundingBox, Point};
use vidimus_domain::placements::MoveStage;
use vidimus_domain::record::{
    Face, FaceBody, LiveFace, Origin, OtherTemplate, PhotoKey, Record, RememberedRequest, State,
};
use vidimus_domain::retention::{Retention, RetentionRule};
use vidimus_domain::{
    CollectionUid, FaceNumber, ImageId, Nonce, Part, Placement, Template, TenantId, UnixMillis, Version,
};

use crate::fixtures::number;

pub fn parsed<T: std::str::FromStr<Err: Debug> + Debug>(pattern: &'static str) -> impl Strategy<Value = T> {
    proptest::string::string_regex(pattern)
        .expect("it is a pattern")
        .prop_map(|text| text.parse().expect("the pattern gives valid texts"))
}

pub fn any_part() -> impl Strategy<Value = Part> {
    any::<([u8; 16], [u8; 16])>().prop_map(|(tenant, collection)| Part {
        tenant: TenantId::from_random(tenant),
        collection: CollectionUid::from_random(collection),
    })
}

pub fn any_image() -> impl Strategy<Value = ImageId> {
    any::<[u8; 16]>().prop_map(ImageId::from_random)
}

/// A stage of a move, and names of placements.
pub fn any_move() -> impl Strategy<Value = (MoveStage, Vec<Placement>)> {
    let stage = prop_oneof![Just(MoveStage::Filling), Just(MoveStage::Leaving)];
    (stage, prop::collection::vec(parsed::<Placement>("[a-zA-Z0-9_.-]{1,100}"), 0..4))
}

pub fn any_nonce() -> impl Strategy<Value = Nonce> {
    any::<[u8; 16]>().prop_map(Nonce::from_random)
}

pub fn any_time() -> impl Strategy<Value = UnixMillis> {
    any::<i64>().prop_map(UnixMillis::new)
}

pub fn any_number() -> impl Strategy<Value = FaceNumber> {
    (1_u32..=65_535).prop_map(number)
}

pub fn any_ratio() -> impl Strategy<Value = f32> {
    prop::num::f32::NORMAL | prop::num::f32::ZERO
}

pub fn any_detected() -> impl Strategy<Value = DetectedFace> {
    let quality = (any_ratio(), any_ratio());
    let pose = (any_ratio(), any_ratio(), any_ratio());
    let template = prop::collection::vec(-1.0_f32..1.0, 1..20);
    let numbers = prop::array::uniform15(any_ratio());
    (numbers, prop::option::of(pose), prop::option::of(quality), template).prop_map(
        |(numbers, pose, quality, template)| DetectedFace {
            bounding_box: BoundingBox {
                left: numbers[0],
                top: numbers[1],
                width: numbers[2],
                height: numbers[3],
            },
            landmarks: std::array::from_fn(|place| Point {
                x: numbers[4 + 2 * place],
                y: numbers[5 + 2 * place],
            }),
            confidence: numbers[14],
            pose: pose.map(|(roll, yaw, pitch)| Pose { roll, yaw, pitch }),
            quality: quality.map(|(brightness, sharpness)| Quality { brightness, sharpness }),
            template: Template::normalised(template)
                .or_else(|_| Template::normalised(vec![1.0]))
                .expect("it has a direction"),
        },
    )
}

pub fn any_face() -> impl Strategy<Value = Face> {
    let user = prop::option::of((parsed("[a-zA-Z0-9_.:-]{1,128}"), any::<u64>()));
    let name = prop::option::of(parsed("[a-zA-Z0-9_.:-]{1,255}"));
    let model = prop::option::of((parsed("[a-z]{1,3}"), any_time()));
    let live = (any_detected(), model, prop::option::of(any_time()), user, name).prop_map(
        |(detected, model, expires_at, user, external_image_id)| {
            let other_template = model.map(|(face_model, made_for)| OtherTemplate {
                face_model,
                made_for,
                template: detected.template.clone(),
            });
            FaceBody::Live(LiveFace { detected, other_template, expires_at, user, external_image_id })
        },
    );
    let body = prop_oneof![live, any_time().prop_map(|at| FaceBody::Erased { at })];
    (any_number(), any_version(), any_time(), body).prop_map(|(number, version, enrolled_at, body)| Face {
        number,
        version,
        enrolled_at,
        body,
    })
}

fn any_version() -> impl Strategy<Value = Version> {
    (0..Version::MAX.get()).prop_map(Version::new)
}

/// Each number once, in order.
fn any_faces() -> impl Strategy<Value = Vec<Face>> {
    prop::collection::vec(any_face(), 0..4).prop_map(|mut faces| {
        faces.sort_by_key(|face| face.number);
        faces.dedup_by_key(|face| face.number);
        faces
    })
}

pub fn any_origin() -> impl Strategy<Value = Origin> {
    let name = prop::option::of(parsed("[a-zA-Z0-9_.:-]{1,255}"));
    (any_part(), any_image(), parsed("[a-zA-Z0-9_.-]{1,100}"), name).prop_map(
        |(part, image, face_model, external_image_id)| Origin { part, image, face_model, external_image_id },
    )
}

pub fn any_photo() -> impl Strategy<Value = PhotoKey> {
    ("[0-9]{4}-[01][0-9]-[0-3][0-9]", any_nonce(), any::<i64>()).prop_map(|(day, nonce, at)| PhotoKey {
        day,
        nonce,
        put_at: UnixMillis::new(at),
    })
}

pub fn any_request() -> impl Strategy<Value = RememberedRequest> {
    (parsed("[!-~]{1,200}"), any_time(), prop::collection::vec(any_number(), 0..5))
        .prop_map(|(id, at, faces)| RememberedRequest { id, at, faces })
}

pub fn any_record() -> impl Strategy<Value = Record> {
    let state = prop_oneof![
        Just(State::Accepted),
        Just(State::Enrolled),
        Just(State::Erased),
        any::<String>().prop_map(State::Refused),
    ];
    let photos = (prop::option::of(any_photo()), prop::collection::vec(any_photo(), 0..3));
    let faces = (any_faces(), any::<u32>());
    let write = (any_version(), any_nonce(), any_time());
    let requests = prop::collection::vec(any_request(), 0..4);
    (any_origin(), state, photos, faces, (requests, write)).prop_map(
        |(origin, state, (photo, photos_to_remove), (faces, next_number), (requests, write))| Record {
            origin,
            state,
            version: write.0,
            photo,
            photos_to_remove,
            faces,
            next_number,
            requests,
            nonce: write.1,
            changed_at: write.2,
        },
    )
}

pub fn any_retention() -> impl Strategy<Value = Retention> {
    let kept = || prop::option::of((1_000_u64..3_000_000_000_000).prop_map(Duration::from_millis));
    let rule =
        (kept(), kept()).prop_map(|(faces, photos)| RetentionRule::new(faces, photos).expect("it is a rule"));
    (rule, any_time(), any_time()).prop_map(|(rule, faces_floor, photos_floor)| Retention {
        rule,
        faces_floor,
        photos_floor,
    })
}

pub fn any_action() -> impl Strategy<Value = AuditedAction> {
    let face = || (any_image(), any_number()).prop_map(|(image, number)| image.face(number));
    let probe = prop_oneof![face().prop_map(Probe::Face), any::<[u8; 32]>().prop_map(Probe::Photo)];
    let candidates = prop::collection::vec((face(), any_ratio()), 0..4);
    let numbers = prop::collection::vec(any_number(), 0..4);
    prop_oneof![
        (probe, any_ratio(), any::<u32>(), any::<u64>(), candidates).prop_map(
            |(probe, threshold_cosine, faces_max, gallery_faces, candidates)| AuditedAction::Search {
                probe,
                threshold_cosine,
                faces_max,
                gallery_faces,
                candidates,
            }
        ),
        (any_image(), numbers).prop_map(|(image, faces)| AuditedAction::Enrolment { image, faces }),
        prop::collection::vec(face(), 0..4).prop_map(|faces| AuditedAction::Deletion { faces }),
        face().prop_map(|face| AuditedAction::PhotoRead { face }),
        (any_change(), prop::collection::vec(face(), 0..4)).prop_map(|(change, faces)| {
            AuditedAction::UserChange { change, user: "u:1".parse().expect("it is an id"), faces }
        }),
        any_user_search().prop_map(AuditedAction::UserSearch),
        (any_kept(), any_kept())
            .prop_map(|(faces_kept, photos_kept)| AuditedAction::RetentionChange { faces_kept, photos_kept }),
        (prop::collection::vec(face(), 0..4), prop::option::of(any_image()))
            .prop_map(|(faces, photo_of)| AuditedAction::Expiry { faces, photo_of }),
    ]
}

fn any_change() -> impl Strategy<Value = UserChange> {
    use UserChange::{Associated, Created, Deleted, Disassociated};
    prop::sample::select(vec![Created, Deleted, Associated, Disassociated])
}

fn any_kept() -> impl Strategy<Value = Option<Duration>> {
    prop::option::of((0..1_u64 << 50).prop_map(Duration::from_millis))
}

fn any_user_search() -> impl Strategy<Value = UserSearch> {
    let face = || (any_image(), any_number()).prop_map(|(image, number)| image.face(number));
    let user = || parsed::<vidimus_domain::UserId>("[a-zA-Z0-9_.:-]{1,128}");
    let probe = prop_oneof![
        face().prop_map(UserProbe::Face),
        user().prop_map(UserProbe::User),
        any::<[u8; 32]>().prop_map(UserProbe::Photo),
    ];
    let candidate =
        (user(), face(), any_ratio()).prop_map(|(user, face, cosine)| UserCandidate { user, face, cosine });
    let candidates = prop::collection::vec(candidate, 0..4);
    (probe, any_ratio(), any::<u32>(), any::<u64>(), candidates).prop_map(
        |(probe, threshold_cosine, users_max, gallery_faces, candidates)| UserSearch {
            probe,
            threshold_cosine,
            users_max,
            gallery_faces,
            candidates,
        },
    )
}
