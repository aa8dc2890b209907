//! Records, catalog objects and events as bytes: there and back, as they were written before, and damaged.

#![cfg(test)]

#[path = "../fixtures/mod.rs"]
mod fixtures;
mod strategies;
mod values;

use std::fmt::Debug;
use std::path::Path;

use fixtures::{number, origin};
use proptest::prelude::*;
use prost::Message as _;
use strategies::{
    any_action, any_image, any_move, any_nonce, any_number, any_part, any_record, any_retention, any_time,
    parsed,
};
use values::{
    accepted_photo, access_key, audit, bucket, change, client_token, collection, face_model, full_record,
    full_user, imported_record, moved_uid_entry, moving_collection, photo, refused_record, search, tenant,
    turning_collection, turning_record, uid_entry, user_search,
};
use vidimus_domain::Version;
use vidimus_domain::catalog::{AccessKey, Collection, FaceModel, Secret, Tenant, UidEntry};
use vidimus_domain::codec::{DecodeError, Stored};
use vidimus_domain::event::{AcceptedPhoto, Audit, AuditedAction, Change, Probe, UserChange};
use vidimus_domain::placements::{Left, Move, Placements};
use vidimus_domain::record::{Record, State};
use vidimus_domain::user::{ClientToken, TokenKey, User};

fn hex(bytes: &[u8]) -> String {
    let lines =
        bytes.chunks(32).map(|chunk| chunk.iter().map(|byte| format!("{byte:02x}")).collect::<String>());
    lines.map(|line| line + "\n").collect()
}

fn bytes_of(hex: &str) -> Vec<u8> {
    let digits = hex.split_whitespace().collect::<String>();
    let pair = |place| u8::from_str_radix(&digits[place..place + 2], 16).expect("it is hexadecimal");
    (0..digits.len()).step_by(2).map(pair).collect()
}

/// The value is written as these bytes, and these bytes, written long ago, are read as the value. `VIDIMUS_WRITE_GOLDEN=1` writes
/// them anew: only until the first release, or for a value that is new.
fn check_golden<T: Stored + PartialEq + Debug>(name: &str, value: &T) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/{name}.hex"));
    if std::env::var_os("VIDIMUS_WRITE_GOLDEN").is_some() {
        std::fs::write(&path, hex(&value.encode())).expect("the golden file can be written");
    }
    let golden = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(hex(&value.encode()), golden, "{name} is written otherwise than it was: raise the format");
    assert_eq!(T::decode(&bytes_of(&golden)).as_ref(), Ok(value), "{name}");
}

#[test]
fn the_formats_are_what_they_were() {
    check_golden("record_enrolled", &full_record());
    check_golden("record_refused", &refused_record());
    check_golden(
        "record_accepted",
        &Record { state: State::Accepted, photo: Some(photo(4)), ..refused_record() },
    );
    check_golden("record_erased", &Record { state: State::Erased, ..refused_record() });
    check_golden("record_imported", &imported_record());
    check_golden("change", &change());
    check_golden("accepted_photo", &accepted_photo());
    check_golden("audit_search_photo", &search(Probe::Photo([12; 32])));
    check_golden("audit_search_face", &search(Probe::Face(origin(None).image.face(number(1)))));
    let (image, faces) = (origin(None).image, vec![number(1), number(2)]);
    check_golden("audit_enrolment", &audit(AuditedAction::Enrolment { image, faces }));
    check_golden("audit_deletion", &audit(AuditedAction::Deletion { faces: vec![image.face(number(1))] }));
    let face = image.face(number(1));
    check_golden("audit_photo_read", &audit(AuditedAction::PhotoRead { face }));
    let change = UserChange::Associated;
    let user = "user:1".parse().expect("it is an id");
    check_golden("audit_user_change", &audit(AuditedAction::UserChange { change, user, faces: vec![face] }));
    let faces_kept = Some(std::time::Duration::from_secs(86_400));
    let retention = AuditedAction::RetentionChange { faces_kept, photos_kept: None };
    check_golden("audit_retention_change", &audit(retention));
    let expiry = AuditedAction::Expiry { faces: vec![face], photo_of: Some(image) };
    check_golden("audit_expiry", &audit(expiry));
    check_golden("audit_user_search", &audit(AuditedAction::UserSearch(user_search())));
    check_golden("user", &full_user());
    check_golden("user_deleted", &User { id: None, faces: Vec::new(), ..full_user() });
    check_golden("client_token", &client_token());
    check_golden("tenant", &tenant());
    check_golden("access_key", &access_key());
    check_golden("collection", &collection());
    check_golden("collection_uid", &uid_entry());
    check_golden("collection_moving", &moving_collection());
    check_golden("collection_uid_moved", &moved_uid_entry());
    check_golden("collection_turning", &turning_collection());
    check_golden("record_turning", &turning_record());
    check_golden("face_model", &face_model());
    check_golden("bucket", &bucket());
}

#[test]
fn a_newer_format_and_none_are_refused() {
    fn check<T: Stored + Debug>(value: &T, set_format: impl Fn(&mut T::Proto, u32)) {
        for format in [0, T::NEWEST + 1, u32::MAX] {
            let mut proto = value.to_proto();
            set_format(&mut proto, format);
            let refused = T::decode(&proto.encode_to_vec()).err();
            let newer = DecodeError::NewerFormat(format);
            assert_eq!(refused, Some(if format == 0 { DecodeError::Field("format") } else { newer }));
        }
    }
    check(&full_record(), |proto, format| proto.format = format);
    check(&change(), |proto, format| proto.format = format);
    check(&accepted_photo(), |proto, format| proto.format = format);
    check(&search(Probe::Photo([1; 32])), |proto, format| proto.format = format);
    check(&tenant(), |proto, format| proto.format = format);
    check(&access_key(), |proto, format| proto.format = format);
    check(&collection(), |proto, format| proto.format = format);
    check(&uid_entry(), |proto, format| proto.format = format);
    check(&face_model(), |proto, format| proto.format = format);
    check(&full_user(), |proto, format| proto.format = format);
    check(&client_token(), |proto, format| proto.format = format);
}

#[test]
fn a_sealed_or_transformed_record_is_not_read_as_a_plain_one() {
    for (key_id, transform_id) in [("key", ""), ("", "transform")] {
        let mut proto = full_record().to_proto();
        (proto.key_id, proto.transform_id) = (key_id.to_owned(), transform_id.to_owned());
        assert!(Record::decode(&proto.encode_to_vec()).is_err());
    }
}

#[test]
fn a_face_is_live_or_erased() {
    let mut both = full_record().to_proto();
    both.faces[1].erased_at_ms = Some(1);
    let mut neither = full_record().to_proto();
    neither.faces[1].detected = None;
    for proto in [both, neither] {
        assert_eq!(Record::decode(&proto.encode_to_vec()), Err(DecodeError::Field("detected")));
    }
}

#[test]
fn versions_can_grow_and_numbers_are_given_once() {
    let mut late = full_record().to_proto();
    late.version = Version::MAX.get();
    let mut late_face = full_record().to_proto();
    late_face.faces[0].version = u64::MAX;
    for proto in [late, late_face] {
        assert_eq!(Record::decode(&proto.encode_to_vec()), Err(DecodeError::Field("version")));
    }
    let mut twice = full_record().to_proto();
    twice.faces[1].number = twice.faces[0].number;
    let mut disordered = full_record().to_proto();
    disordered.faces.swap(0, 1);
    for proto in [twice, disordered] {
        assert_eq!(Record::decode(&proto.encode_to_vec()), Err(DecodeError::Field("number")));
    }
}

/// How often each message's bytes are taken for another kind's.
#[test]
fn no_message_is_taken_for_another() {
    fn is<T: Stored>(bytes: &[u8]) -> bool {
        T::decode(bytes).is_ok()
    }
    let kinds: [fn(&[u8]) -> bool; 9] = [
        is::<Record>,
        is::<Change>,
        is::<AcceptedPhoto>,
        is::<Audit>,
        is::<Tenant>,
        is::<AccessKey>,
        is::<Collection>,
        is::<UidEntry>,
        is::<User>,
    ];
    let messages = [
        full_record().encode(),
        change().encode(),
        accepted_photo().encode(),
        search(Probe::Photo([1; 32])).encode(),
        tenant().encode(),
        access_key().encode(),
        collection().encode(),
        uid_entry().encode(),
        full_user().encode(),
    ];
    for (message, bytes) in messages.iter().enumerate() {
        for (kind, is_kind) in kinds.iter().enumerate() {
            assert_eq!(is_kind(bytes), kind == message, "message {message} as kind {kind}");
        }
    }
}

/// An older program, which would write to one index collection alone, must not take a collection that moves for one that does not; and
/// must read one that never moved.
#[test]
fn only_what_moves_is_of_the_newer_format() {
    assert_eq!((collection().to_proto().format, uid_entry().to_proto().format), (1, 1));
    assert_eq!((moving_collection().to_proto().format, moved_uid_entry().to_proto().format), (2, 2));
    let mut own = collection();
    own.placements.read = "sface-2021dec.2".parse().expect("it is a placement");
    assert_eq!(own.to_proto().format, 2);
    assert_eq!(turning_collection().to_proto().format, 3);
    assert_eq!((full_record().to_proto().format, turning_record().to_proto().format), (1, 2));
}

/// A record that was cut off is refused; at most the time of its last change, which comes last, can be missed.
#[test]
fn a_truncated_record_is_refused() {
    for record in [full_record(), refused_record()] {
        let bytes = record.encode();
        for length in 0..bytes.len() {
            if let Ok(read) = Record::decode(&bytes[..length]) {
                assert_eq!(Record { changed_at: record.changed_at, ..read }, record, "cut off at {length}");
            }
        }
    }
}

fn decode_all(bytes: &[u8]) {
    let _ = Record::decode(bytes);
    let _ = Change::decode(bytes);
    let _ = AcceptedPhoto::decode(bytes);
    let _ = Audit::decode(bytes);
    let _ = Tenant::decode(bytes);
    let _ = AccessKey::decode(bytes);
    let _ = Collection::decode(bytes);
    let _ = UidEntry::decode(bytes);
    let _ = FaceModel::decode(bytes);
    let _ = User::decode(bytes);
    let _ = ClientToken::decode(bytes);
}

#[test]
fn truncation_never_panics() {
    let messages = [
        full_record().encode(),
        change().encode(),
        accepted_photo().encode(),
        search(Probe::Photo([1; 32])).encode(),
        tenant().encode(),
        access_key().encode(),
        collection().encode(),
        uid_entry().encode(),
        full_user().encode(),
    ];
    for bytes in messages {
        for length in 0..bytes.len() {
            decode_all(&bytes[..length]);
        }
    }
}

fn check_round_trip<T: Stored + PartialEq + Debug>(value: &T) {
    assert_eq!(T::decode(&value.encode()).as_ref(), Ok(value));
}

proptest! {
    #[test]
    fn records_come_back(record in any_record()) {
        check_round_trip(&record);
    }

    #[test]
    fn events_come_back(
        part in any_part(),
        image in any_image(),
        seen in prop::collection::vec((any_number(), any::<u64>().prop_map(Version::new)), 0..5),
        (collection, request_id, principal) in any::<(String, String, String)>(),
        (at, what) in (any_time(), any_action()),
    ) {
        check_round_trip(&Change { part, image, seen, at });
        check_round_trip(&AcceptedPhoto { part, image, at });
        check_round_trip(&Audit { part, collection, request_id, principal, at, what });
    }

    #[test]
    fn catalog_objects_come_back(
        (part, nonce) in (any_part(), any_nonce()),
        (created_at, deleted_at) in (any_time(), prop::option::of(any_time())),
        (account, label, secret) in any::<(String, String, String)>(),
        (disabled, key, model) in any::<(bool, [u8; 32], u32)>(),
        retention in any_retention(),
        tenant_name in parsed::<vidimus_domain::TenantName>("[a-zA-Z0-9_.-]{1,255}"),
        name in parsed::<vidimus_domain::CollectionName>("[a-zA-Z0-9_.-]{1,255}"),
        placement in parsed::<vidimus_domain::Placement>("[a-zA-Z0-9_.-]{1,100}"),
        face_model in parsed::<vidimus_domain::FaceModelName>("[a-zA-Z0-9_.-]{1,100}"),
        other_model in parsed::<vidimus_domain::FaceModelName>("[a-z]{1,3}"),
        (stage, others) in any_move(),
        id in parsed::<vidimus_domain::AccessKeyId>("[a-zA-Z0-9]{1,128}"),
    ) {
        let (tenant, uid) = (part.tenant, part.collection);
        let (owner, secret) = (tenant_name.clone(), Secret::new(secret));
        let face_model_version = label.clone();
        check_round_trip(&Tenant { id: tenant, name: owner, account, disabled, created_at, deleted_at, nonce });
        check_round_trip(&AccessKey { id, tenant, tenant_name, secret, label, disabled, may_get_photos: !disabled, created_at, nonce });
        check_round_trip(&UidEntry {
            part, name: name.clone(), placement: placement.clone(), other_placements: others.clone(), nonce,
        });
        check_round_trip(&FaceModel { name: face_model.clone(), number: model });
        let moving = others.first().map(|other| Move {
            other: other.clone(), face_model: other_model, stage, began_at: created_at,
        });
        let left = others.into_iter().map(|placement| Left {
            placement, left_at: created_at, cleared_at: deleted_at,
        });
        let placements = Placements { read: placement, face_model, moving, left: left.collect() };
        check_round_trip(&Collection {
            tenant, name, uid, face_model_version, placements, image_id_key: key, created_at, deleted_at,
            tags: std::collections::BTreeMap::new(), retention, nonce,
        });
    }

    #[test]
    fn users_come_back(
        (part, nonce) in (any_part(), any_nonce()),
        (created_at, changed_at) in (any_time(), any_time()),
        id in prop::option::of(parsed::<vidimus_domain::UserId>("[a-zA-Z0-9_.:-]{1,128}")),
        numbers in prop::collection::vec((any_image(), any_number()), 0..101),
        (generation, deleted_with, parameters) in any::<(u64, Option<[u8; 16]>, [u8; 32])>(),
    ) {
        let faces = numbers.into_iter().map(|(image, number)| image.face(number)).collect();
        let deleted_with = deleted_with.map(|bytes| TokenKey::from_bytes(&bytes).expect("there are 16"));
        check_round_trip(&User {
            part, id, generation, faces, created_at, changed_at, nonce, created_with: None, deleted_with,
        });
        check_round_trip(&ClientToken { parameters, at: created_at });
    }

    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        decode_all(&bytes);
    }

    /// What a damaged record is read as, if it is read, is a record that can be written.
    #[test]
    fn damaged_records_never_panic(
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut bytes = full_record().encode();
        for (place, byte) in damage {
            let length = bytes.len();
            bytes[place.index(length)] = byte;
        }
        decode_all(&bytes);
        if let Ok(record) = Record::decode(&bytes) {
            // Not a number is unlike itself: the bytes are compared.
            let written = record.encode();
            assert_eq!(Record::decode(&written).map(|read| read.encode()), Ok(written));
        }
    }
}
