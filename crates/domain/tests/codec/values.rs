//! A fixed value of every kind.

use std::time::Duration;

use vidimus_domain::catalog::{AccessKey, Bucket, Collection, FaceModel, Secret, Tenant, UidEntry};
use vidimus_domain::event::{
    AcceptedPhoto, Audit, AuditedAction, Change, Probe, UserCandidate, UserProbe, UserSearch,
};
use vidimus_domain::face::DetectedFace;
use vidimus_domain::placements::{Left, Move, MoveStage, Placements};
use vidimus_domain::record::{
    Face, FaceBody, LiveFace, OtherTemplate, PhotoKey, Record, RememberedRequest, State,
};
use vidimus_domain::retention::{Retention, RetentionRule};
use vidimus_domain::user::{ClientToken, TokenKey, User};
use vidimus_domain::{Part, Template, UnixMillis, Version};

use crate::fixtures::{detected, model, nonce, number, origin};

const T0: UnixMillis = UnixMillis::new(1_760_000_000_000);

pub fn photo(byte: u8) -> PhotoKey {
    PhotoKey { day: "2025-10-09".to_owned(), nonce: nonce(byte), put_at: UnixMillis::new(1_760_000_000_000) }
}

pub fn part() -> Part {
    origin(None).part
}

/// A record with everything that a record can have.
pub fn full_record() -> Record {
    let live = LiveFace {
        expires_at: Some(UnixMillis::new(1_760_086_400_000)),
        user: Some(("anna".parse().expect("it is a user id"), 7)),
        ..LiveFace::new(detected(0.0))
    };
    let plain = DetectedFace { pose: None, quality: None, ..detected(0.0) };
    let plain = LiveFace::new(plain);
    let face = |face, version, body| Face {
        number: number(face),
        version: Version::new(version),
        enrolled_at: T0,
        body,
    };
    Record {
        origin: origin(Some("anna:passport")),
        state: State::Enrolled,
        version: Version::new(1_760_000_000_003),
        photo: Some(photo(4)),
        photos_to_remove: vec![photo(5)],
        faces: vec![
            face(1, 1_760_000_000_001, FaceBody::Erased { at: UnixMillis::new(1_760_000_000_001) }),
            face(2, 1_760_000_000_002, FaceBody::Live(live)),
            face(3, 1_760_000_000_003, FaceBody::Live(plain)),
        ],
        next_number: 4,
        requests: vec![RememberedRequest {
            id: "0f5e6f2c-7a1b-4d2e-9c3d-1a2b3c4d5e6f".parse().expect("it is a request id"),
            at: T0,
            faces: vec![number(2), number(3)],
        }],
        nonce: nonce(6),
        changed_at: UnixMillis::new(1_760_000_000_003),
    }
}

pub fn refused_record() -> Record {
    Record {
        origin: origin(None),
        state: State::Refused("no face".to_owned()),
        photo: None,
        photos_to_remove: Vec::new(),
        faces: Vec::new(),
        next_number: 1,
        requests: Vec::new(),
        ..full_record()
    }
}

pub fn change() -> Change {
    let seen = vec![(number(1), Version::new(8)), (number(65_535), Version::new(9))];
    Change { part: part(), image: origin(None).image, seen, at: T0 }
}

pub fn audit(what: AuditedAction) -> Audit {
    Audit {
        part: part(),
        collection: "staff".to_owned(),
        request_id: "e2b5c1de-1111-4222-8333-444455556666".to_owned(),
        principal: "VKEXAMPLE".to_owned(),
        at: T0,
        what,
    }
}

pub fn search(probe: Probe) -> Audit {
    let face = origin(None).image.face(number(2));
    audit(AuditedAction::Search {
        probe,
        threshold_cosine: 0.5,
        faces_max: 10,
        gallery_faces: 1_000,
        candidates: vec![(face, 0.75), (origin(None).image.face(number(3)), 0.625)],
    })
}

pub fn accepted_photo() -> AcceptedPhoto {
    AcceptedPhoto { part: part(), image: origin(None).image, at: T0 }
}

/// A record of ready templates: no photo, and a name for each face.
pub fn imported_record() -> Record {
    let mut record = full_record();
    (record.origin, record.photo, record.photos_to_remove) = (origin(None), None, Vec::new());
    if let FaceBody::Live(live) = &mut record.faces[1].body {
        live.external_image_id = Some("bert:passport".parse().expect("it is a name"));
    }
    record
}

pub fn tenant() -> Tenant {
    Tenant {
        id: part().tenant,
        name: "acme".parse().expect("it is a name"),
        account: "123456789012".to_owned(),
        disabled: true,
        created_at: T0,
        deleted_at: Some(UnixMillis::new(1_760_000_000_001)),
        nonce: nonce(7),
    }
}

pub fn access_key() -> AccessKey {
    AccessKey {
        id: "VKEXAMPLE".parse().expect("it is a key id"),
        tenant: part().tenant,
        tenant_name: "acme".parse().expect("it is a name"),
        secret: Secret::new("secret"),
        label: "laptop".to_owned(),
        disabled: false,
        may_get_photos: true,
        created_at: T0,
        nonce: nonce(8),
    }
}

pub fn collection() -> Collection {
    let kept = |days: u64| Some(Duration::from_secs(days * 86_400));
    Collection {
        tenant: part().tenant,
        name: "staff".parse().expect("it is a name"),
        uid: part().collection,
        face_model_version: "1.0".to_owned(),
        placements: Placements::only(model(), "sface-2021dec".parse().expect("it is a placement")),
        image_id_key: [9; 32],
        created_at: T0,
        deleted_at: Some(UnixMillis::new(1_760_000_000_001)),
        tags: [("team".to_owned(), "door".to_owned())].into(),
        retention: Retention {
            rule: RetentionRule::new(kept(30), kept(7)).expect("it is a rule"),
            faces_floor: UnixMillis::new(1_700_000_000_000),
            photos_floor: UnixMillis::new(1_700_000_000_001),
        },
        nonce: nonce(10),
    }
}

pub fn uid_entry() -> UidEntry {
    UidEntry {
        part: part(),
        name: "staff".parse().expect("it is a name"),
        placement: "sface-2021dec".parse().expect("it is a placement"),
        other_placements: Vec::new(),
        nonce: nonce(11),
    }
}

/// A collection on its way, with one that it left before.
pub fn moving_collection() -> Collection {
    let placement = |name: &str| name.parse().expect("it is a placement");
    let other = placement("sface-2021dec.2");
    let moving = |stage| Move { other, face_model: model(), stage, began_at: T0 };
    let left = |name, cleared_at| Left { placement: placement(name), left_at: T0, cleared_at };
    Collection {
        placements: Placements {
            read: placement("sface-2021dec.3"),
            face_model: model(),
            moving: Some(moving(MoveStage::Leaving)),
            left: vec![left("sface-2021dec.4", None), left("sface-2021dec", Some(T0))],
        },
        ..collection()
    }
}

/// A collection that turns to another face model.
pub fn turning_collection() -> Collection {
    let (read, target) = ("sface-2021dec".parse().expect("it is a placement"), "newer".parse());
    let target = (&target.expect("it is a placement"), &"newer".parse().expect("it is a face model"));
    let turning = Placements::only(model(), read).begun(target, T0).expect("it can be moved");
    Collection { placements: turning, ..collection() }
}

/// A record of such a collection: the first of its live faces has a template of both models.
pub fn turning_record() -> Record {
    let newer = Template::normalised(vec![1.0, 1.0, 1.0]).expect("it has a direction");
    let mut record = full_record();
    if let FaceBody::Live(live) = &mut record.faces[1].body {
        let face_model = "newer".parse().expect("it is a face model");
        live.other_template = Some(OtherTemplate { face_model, made_for: T0, template: newer });
    }
    record
}

pub fn moved_uid_entry() -> UidEntry {
    let placement = |name: &str| name.parse().expect("it is a placement");
    UidEntry {
        other_placements: vec![placement("sface-2021dec.2"), placement("sface-2021dec.3")],
        ..uid_entry()
    }
}

pub fn face_model() -> FaceModel {
    FaceModel { name: "sface-2021dec".parse().expect("it is a face model"), number: 1 }
}

/// A user with everything that a user can have.
pub fn full_user() -> User {
    let token = |name| Some(TokenKey::of(&[9; 32], "CreateUser", name));
    User {
        part: part(),
        id: Some("anna".parse().expect("it is a user id")),
        generation: 1_760_000_000_000,
        faces: vec![origin(None).image.face(number(2)), origin(None).image.face(number(3))],
        created_at: T0,
        changed_at: UnixMillis::new(1_760_000_000_001),
        nonce: nonce(12),
        created_with: token("one"),
        deleted_with: token("two"),
    }
}

pub fn client_token() -> ClientToken {
    ClientToken { parameters: [13; 32], at: T0 }
}

pub fn user_search() -> UserSearch {
    let anna = "anna".parse().expect("it is a user id");
    let face = origin(None).image.face(number(2));
    UserSearch {
        probe: UserProbe::User("bert".parse().expect("it is a user id")),
        threshold_cosine: 0.5,
        users_max: 10,
        gallery_faces: 1_000,
        candidates: vec![UserCandidate { user: anna, face, cosine: 0.75 }],
    }
}

pub fn bucket() -> Bucket {
    Bucket {
        tenant: part().tenant,
        name: "photos".parse().expect("it is a name"),
        prefix: "acme/2026".parse().expect("it is a prefix"),
        created_at: T0,
        nonce: nonce(12),
    }
}
