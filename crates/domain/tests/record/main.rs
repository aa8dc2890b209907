//! The record's transitions, rule by rule.

#![cfg(test)]

mod bulk;
#[path = "../fixtures/mod.rs"]
mod fixtures;
mod merge;
mod models;

use std::time::Duration;

use fixtures::{detected, model, nonce, number, origin};
use proptest::prelude::*;
use vidimus_domain::limits::REQUESTS_PER_RECORD_MAX;
use vidimus_domain::point::PointBody;
use vidimus_domain::record::{
    Acceptance, BulkPhoto, Enrolled, Enrolment, FaceBody, PhotoKey, ReadyFace, Record, Refusal, State, Write,
    accept, embedded, enrol, erase, expire, import, is_fresh, projection, refuse, set_aside, try_again,
};
use vidimus_domain::retention::{Cutoffs, Horizon, Retention, RetentionRule};
use vidimus_domain::time::ERASED_KEPT;
use vidimus_domain::{FaceNumber, UnixMillis, Version};

const HOUR: Duration = Duration::from_secs(3600);
const MILLISECOND: Duration = Duration::from_millis(1);
const T0: UnixMillis = UnixMillis::new(1_760_000_000_000);

fn at(now: UnixMillis) -> Write {
    by(now, Cutoffs::default())
}

/// A write by a retention rule.
fn by(now: UnixMillis, cutoffs: Cutoffs) -> Write {
    Write { now, nonce: nonce(now.get() as u8), cutoffs }
}

/// No retention rule.
const fn on(now: UnixMillis) -> Horizon {
    Horizon::without_rule(now)
}

fn photo(byte: u8) -> PhotoKey {
    PhotoKey { day: "2025-10-09".to_owned(), nonce: nonce(byte), put_at: UnixMillis::new(0) }
}

/// An enrolment of faces at these places, whose photo has the request's first byte.
fn enrolment(request: &str, lefts: &[f32]) -> Enrolment {
    Enrolment {
        request: request.parse().expect("it is a request id"),
        faces: lefts.iter().map(|left| detected(*left)).collect(),
        photo: photo(request.as_bytes()[0]),
        expires_at: None,
        photos_removed: Vec::new(),
    }
}

fn expiring(request: &str, lefts: &[f32], expires_at: UnixMillis) -> Enrolment {
    Enrolment { expires_at: Some(expires_at), ..enrolment(request, lefts) }
}

/// Enrols over a record of an image without a name, which must change.
fn changed(before: Option<&Record>, enrolment: Enrolment, now: UnixMillis) -> (Record, Vec<u16>, bool) {
    let named = before.map_or_else(|| origin(None), |before| before.origin.clone());
    match enrol(&named, before, enrolment, at(now)) {
        Ok(Enrolled::Changed { record, faces, photo_named }) => {
            (*record, faces.into_iter().map(FaceNumber::get).collect(), photo_named)
        }
        other => panic!("it should have changed: {other:?}"),
    }
}

fn enrolled() -> Record {
    changed(None, enrolment("first", &[0.1, 0.5]), T0).0
}

/// Accepts a photo; none where the record stays as it is.
fn accept_photo(before: Option<&Record>, request: &str, photo: PhotoKey, write: Write) -> Option<Record> {
    let bulk = BulkPhoto {
        request: request.parse().expect("it is a request id"),
        photo,
        photos_removed: Vec::new(),
    };
    match accept(&origin(None), before, bulk, write) {
        Ok(Acceptance::Changed(record)) => Some(*record),
        _ => None,
    }
}

fn accepted() -> Record {
    accept_photo(None, "job", photo(b'a'), at(T0)).expect("a new record is accepted")
}

fn refused() -> Record {
    refuse(&accepted(), "no face", at(T0.plus(MILLISECOND))).expect("an accepted record is refused")
}

fn erased() -> Record {
    erased_of(&enrolled(), T0.plus(MILLISECOND))
}

fn erased_of(record: &Record, now: UnixMillis) -> Record {
    let numbers = record.faces.iter().map(|face| face.number).collect::<Vec<_>>();
    *erase(record, &numbers, at(now)).record.expect("live faces are erased")
}

/// Live once, expired now.
fn expired() -> Record {
    changed(None, expiring("first", &[0.1], T0.plus(HOUR)), T0).0
}

fn every_state() -> [(&'static str, Option<Record>); 6] {
    [
        ("none", None),
        ("accepted", Some(accepted())),
        ("refused", Some(refused())),
        ("enrolled", Some(enrolled())),
        ("erased", Some(erased())),
        ("expired", Some(expired())),
    ]
}

const LATER: UnixMillis = UnixMillis::new(T0.get() + 2 * 3_600_000);

#[test]
fn index_faces_enrols_from_every_state() {
    for (from, before) in every_state() {
        let (record, faces, photo_named) = changed(before.as_ref(), enrolment("zweite", &[0.1]), LATER);
        assert_eq!(record.state, State::Enrolled, "{from}");
        let (expected_faces, expected_named) = match from {
            "none" | "refused" => (vec![1], true),
            "accepted" => (vec![1], false),
            "enrolled" => (vec![1], false),
            "erased" => (vec![3], true),
            "expired" => (vec![2], true),
            other => panic!("no expectation for {other}"),
        };
        assert_eq!((faces, photo_named), (expected_faces, expected_named), "{from}");
        let kept = before.as_ref().and_then(|before| before.photo.clone()).filter(|_| !photo_named);
        assert_eq!(record.photo, Some(kept.unwrap_or_else(|| photo(b'z'))), "{from}");
    }
}

#[test]
fn deletion_changes_only_what_lives() {
    for (from, before) in every_state() {
        let Some(before) = before else { continue };
        let erasure = erase(&before, &[number(1)], at(LATER));
        assert_eq!(erasure.record.is_some(), matches!(from, "enrolled" | "expired"), "{from}");
        let known = matches!(from, "enrolled" | "erased" | "expired");
        assert_eq!(erasure.erased, if known { vec![number(1)] } else { vec![] }, "{from}");
        assert_eq!(erasure.unknown, if known { vec![] } else { vec![number(1)] }, "{from}");
    }
}

#[test]
fn retention_changes_only_what_has_expired() {
    for (from, before) in every_state() {
        let Some(before) = before else { continue };
        let record = expire(&before, at(LATER));
        assert_eq!(record.is_some(), from == "expired", "{from}");
        if let Some(record) = record {
            assert_eq!((record.state, record.photo), (State::Erased, None));
            assert_eq!(record.photos_to_remove, vec![photo(b'f')]);
            assert_eq!(record.faces[0].body, FaceBody::Erased { at: LATER });
        }
    }
}

#[test]
fn the_photo_goes_with_the_last_face() {
    let record = *erase(&enrolled(), &[number(2)], at(LATER)).record.expect("one face is erased");
    assert_eq!((&record.state, &record.photo), (&State::Enrolled, &Some(photo(b'f'))));
    assert_eq!(record.photos_to_remove, vec![]);
    let record = *erase(&record, &[number(1)], at(LATER)).record.expect("the other is erased");
    assert_eq!((&record.state, &record.photo), (&State::Erased, &None));
    assert_eq!(record.photos_to_remove, vec![photo(b'f')]);

    let not_removed = changed(Some(&record), enrolment("again", &[0.1]), LATER).0;
    assert_eq!(not_removed.photos_to_remove, vec![photo(b'f')], "nobody says that it is gone");
    let photos_removed = vec![photo(b'f')];
    let removed = Enrolment { photos_removed, ..enrolment("again", &[0.1]) };
    assert_eq!(changed(Some(&record), removed, LATER).0.photos_to_remove, vec![]);
}

#[test]
fn erasing_leaves_number_version_and_times() {
    let before = enrolled();
    let record = erased_of(&before, LATER);
    for (face, was) in record.faces.iter().zip(&before.faces) {
        assert_eq!(face.body, FaceBody::Erased { at: LATER });
        assert_eq!((face.number, face.enrolled_at), (was.number, was.enrolled_at));
        assert!(face.version > was.version);
    }
}

#[test]
fn a_face_that_a_user_holds_stays() {
    let mut record = enrolled();
    if let FaceBody::Live(live) = &mut record.faces[0].body {
        live.user = Some(("anna".parse().expect("it is a user id"), 1));
    }
    let erasure = erase(&record, &[number(1), number(2), number(9)], at(LATER));
    assert_eq!(erasure.held_by_user, vec![(number(1), "anna".parse().expect("it is a user id"))]);
    assert_eq!((erasure.erased, erasure.unknown), (vec![number(2)], vec![number(9)]));
    let record = erasure.record.expect("the other face is erased");
    assert_eq!((record.live_faces(on(LATER)).count(), record.state), (1, State::Enrolled));
}

#[test]
fn a_detection_that_overlaps_by_half_is_that_face() {
    // Boxes of width 0.2 that are shifted by s overlap with an IoU of (0.2 − s) / (0.2 + s): a half at 0.0667.
    for (left, faces) in [(0.1, vec![1]), (0.16, vec![1]), (0.17, vec![3]), (0.04, vec![1]), (0.51, vec![2])]
    {
        assert_eq!(changed(Some(&enrolled()), enrolment("x", &[left]), LATER).1, faces, "{left}");
    }
}

#[test]
fn two_detections_are_never_one_face() {
    let (record, faces, _) = changed(Some(&enrolled()), enrolment("x", &[0.11, 0.12, 0.5]), LATER);
    assert_eq!(faces, vec![1, 3, 2]);
    assert_eq!(record.faces[0].version, enrolled().faces[0].version, "a live face is left alone");
}

#[test]
fn a_request_is_remembered_for_a_day() {
    let record = erased();
    let again = |now| enrol(&origin(None), Some(&record), enrolment("first", &[0.1]), at(now));
    let faces = vec![number(1), number(2)];
    assert_eq!(again(LATER), Ok(Enrolled::AlreadyDone { faces }), "though its faces are erased");

    // Another write within the day keeps it, one after the day forgets it.
    let kept = changed(Some(&record), enrolment("x", &[0.1]), T0.plus(ERASED_KEPT).minus(MILLISECOND)).0;
    assert_eq!(kept.requests.len(), 2);
    let forgotten = changed(Some(&record), enrolment("x", &[0.1]), T0.plus(ERASED_KEPT)).0;
    assert_eq!(forgotten.requests.len(), 1);
    assert_eq!(forgotten.requests[0].id.as_str(), "x");
}

#[test]
fn the_memory_has_a_limit() {
    let mut record = enrolled();
    for request in 1..REQUESTS_PER_RECORD_MAX {
        record = changed(Some(&record), enrolment(&format!("r{request}"), &[0.1]), LATER).0;
    }
    let refused = enrol(&origin(None), Some(&record), enrolment("one-more", &[0.1]), at(LATER));
    assert_eq!(refused, Err(Refusal::TooManyRequests));
    assert!(enrol(&origin(None), Some(&record), enrolment("first", &[0.1]), at(LATER)).is_ok());
    changed(Some(&record), enrolment("a-day-later", &[0.1]), LATER.plus(ERASED_KEPT));
}

#[test]
fn numbers_run_out() {
    let record = Record { next_number: 65_535, ..erased() };
    let (last, faces, _) = changed(Some(&record), enrolment("x", &[0.1]), LATER);
    assert_eq!(faces, vec![65_535]);
    let refused = enrol(&origin(None), Some(&last), enrolment("y", &[0.5]), at(LATER));
    assert_eq!(refused, Err(Refusal::NumbersExhausted));
}

#[test]
fn expired_counts_as_erased() {
    let (record, end) = (expired(), T0.plus(HOUR));
    for (now, live) in [(end.minus(MILLISECOND), 1), (end, 0)] {
        assert_eq!(record.live_faces(on(now)).count(), live);
        assert_eq!(expire(&record, at(now)).is_none(), live == 1);
        let faces = changed(Some(&record), enrolment("x", &[0.1]), now).1;
        assert_eq!(faces, vec![if live == 1 { 1 } else { 2 }]);
        assert_eq!(accept_photo(Some(&record), "bulk", photo(1), at(now)).is_none(), live == 1);
    }
}

#[test]
fn husks_go_when_nothing_can_ask_for_them() {
    let day = T0.plus(MILLISECOND).plus(ERASED_KEPT);
    let named = Record { origin: origin(Some("anna")), ..erased() };
    let just_asked = changed(Some(&erased()), expiring("x", &[0.1], LATER), LATER.minus(MILLISECOND)).0;
    let just_asked = expire(&just_asked, at(LATER)).expect("it has expired");
    for (what, record, now, goes) in [
        ("erased", erased(), day, true),
        ("refused", refused(), day, true),
        ("young", erased(), day.minus(MILLISECOND), false),
        ("derivable", named, day.plus(ERASED_KEPT * 100), false),
        ("accepted", accepted(), day, false),
        ("enrolled", enrolled(), day, false),
        ("expired, but not erased yet", expired(), day, false),
        ("asked for within the day", just_asked, LATER.plus(ERASED_KEPT).minus(MILLISECOND), false),
    ] {
        assert_eq!(record.is_husk_to_remove(now), goes, "{what}");
    }
}

#[test]
fn an_erased_face_is_a_mark_for_a_day() {
    let record = *erase(&enrolled(), &[number(1)], at(LATER)).record.expect("it is erased");
    let version = record.faces[0].version;
    let young = projection(&record, &model(), LATER.plus(ERASED_KEPT).minus(MILLISECOND));
    let bodies = young.write.iter().map(|point| (point.face.number(), point.version, &point.body));
    let (marks, live): (Vec<_>, Vec<_>) =
        bodies.partition(|(_, _, body)| **body == PointBody::Erased { erased_at: LATER });
    assert_eq!(marks[0], (Some(number(1)), version, &PointBody::Erased { erased_at: LATER }));
    assert_eq!((marks.len(), live.len(), live[0].0), (1, 1, Some(number(2))));
    assert_eq!(young.remove, vec![]);

    let old = projection(&record, &model(), LATER.plus(ERASED_KEPT));
    assert_eq!((old.write.len(), old.remove), (1, vec![(record.face_id(number(1)), version)]));
}

#[test]
fn a_point_shows_its_face() {
    let before = changed(None, expiring("first", &[0.1], LATER), T0).0;
    let record = Record { origin: origin(Some("anna")), ..before };
    let points = projection(&record, &model(), T0).write;
    let PointBody::Live(point) = &points[0].body else { panic!("it is live") };
    assert_eq!((points[0].face, points[0].version), (record.face_id(number(1)), record.faces[0].version));
    assert_eq!((point.enrolled_at, point.expires_at), (T0, LATER));
    assert_eq!(point.template, detected(0.1).template);
    assert_eq!(point.shown.bounding_box, detected(0.1).bounding_box);
    assert_eq!(point.shown.external_image_id, record.origin.external_image_id);
    let PointBody::Live(point) = &projection(&enrolled(), &model(), T0).write[0].body else {
        panic!("it is live")
    };
    assert_eq!(point.expires_at, UnixMillis::NEVER);
}

#[test]
fn a_read_is_fresh_for_less_than_an_hour() {
    for (minutes, fresh) in [(0, true), (58, true), (59, false), (60, false), (3_000, false)] {
        assert_eq!(is_fresh(T0, T0.plus(Duration::from_secs(minutes * 60))), fresh, "{minutes}");
    }
}

/// One thing done to a record.
#[derive(Clone, Debug)]
enum Step {
    Enrol { request: u8, places: Vec<u8>, expires_in_hours: Option<u8> },
    Erase(u8),
    Expire,
    Rule { faces_hours: Option<u8>, photos_hours: Option<u8> },
    Accept(u8),
    Embed,
    Refuse,
    SetAside,
    TryAgain,
    Import(u8),
}

fn steps() -> impl Strategy<Value = Vec<(Step, u32)>> {
    let places = prop::collection::vec(0_u8..4, 1..4);
    let step = prop_oneof![
        4 => (0_u8..20, places, prop::option::of(0_u8..48))
            .prop_map(|(request, places, expires_in_hours)| Step::Enrol { request, places, expires_in_hours }),
        4 => (1_u8..8).prop_map(Step::Erase),
        1 => Just(Step::Expire),
        1 => (prop::option::of(1_u8..60), prop::option::of(1_u8..60))
            .prop_map(|(faces_hours, photos_hours)| Step::Rule { faces_hours, photos_hours }),
        2 => (0_u8..20).prop_map(Step::Accept),
        1 => Just(Step::Embed),
        1 => Just(Step::Refuse),
        1 => Just(Step::SetAside),
        1 => Just(Step::TryAgain),
        1 => (0_u8..20).prop_map(Step::Import),
    ];
    // The clock may stand still, or stand behind the version.
    prop::collection::vec((step, prop_oneof![Just(0), 1_u32..100, 1_u32..100_000_000]), 1..40)
}

fn apply(before: Option<&Record>, step: &Step, write: Write) -> Option<Record> {
    let now = write.now;
    match (step, before) {
        (Step::Enrol { request, places, expires_in_hours }, before) => {
            let mut places = places.clone();
            places.sort_unstable();
            places.dedup();
            let lefts = places.iter().map(|place| f32::from(*place) * 0.25).collect::<Vec<_>>();
            let expires_at = expires_in_hours.map(|hours| now.plus(HOUR * u32::from(hours) + MILLISECOND));
            let photo = PhotoKey::new(now, nonce(now.get() as u8));
            let enrolment = Enrolment { expires_at, photo, ..enrolment(&format!("r{request}"), &lefts) };
            match enrol(&origin(None), before, enrolment, write) {
                Ok(Enrolled::Changed { record, .. }) => Some(*record),
                _ => None,
            }
        }
        (Step::Accept(request), before) => {
            accept_photo(before, &format!("b{request}"), PhotoKey::new(now, nonce(now.get() as u8)), write)
        }
        (Step::Import(request), before) => {
            let request = format!("i{request}").parse().expect("it is a request id");
            let faces = vec![ReadyFace { detected: detected(0.0), external_image_id: None }];
            match import(&origin(None), before, (request, faces), write) {
                Ok(Acceptance::Changed(record)) => Some(*record),
                _ => None,
            }
        }
        (Step::SetAside, Some(before)) => set_aside(before, "it failed", write),
        (Step::TryAgain, Some(before)) => try_again(before, write),
        (Step::Erase(face), Some(before)) => {
            erase(before, &[number((*face).into())], write).record.map(|r| *r)
        }
        (Step::Expire, Some(before)) => expire(before, write),
        (Step::Embed, Some(before)) => {
            embedded(before, (&model(), vec![detected(0.0)]), None, write).ok().flatten()
        }
        (Step::Refuse, Some(before)) => refuse(before, "no face", write),
        (Step::Rule { .. }, _) | (_, None) => None,
    }
}

fn ruled(retention: &Retention, step: &Step, now: UnixMillis) -> Retention {
    let Step::Rule { faces_hours, photos_hours } = step else { return *retention };
    let kept = |hours: &Option<u8>| hours.map(|hours| HOUR * u32::from(hours));
    let rule = RetentionRule::new(kept(faces_hours), kept(photos_hours)).expect("it is a rule");
    retention.changed(rule, now, now)
}

fn check_succession(before: &Record, after: &Record, write: Write) {
    assert!(after.version > before.version, "versions grow");
    assert!(after.next_number >= before.next_number);
    for face in &before.faces {
        let later = after.face(face.number).expect("no face vanishes");
        let dead = face.live_at(write.horizon()).is_none();
        assert!(!dead || later.live().is_none(), "what is erased or expired stays so");
        assert!(*later == *face || later.version == after.version, "a face that changed has the version");
        assert_eq!(later.enrolled_at, face.enrolled_at);
    }
}

fn check_record(record: &Record, write: Write) {
    let now = write.now;
    assert_eq!(record.changed_at, now);
    assert!(record.version >= Version::new(now.get() as u64), "versions follow the clock");
    let numbers = record.faces.iter().map(|face| u32::from(face.number.get())).collect::<Vec<_>>();
    assert_eq!(numbers, (1..record.next_number).collect::<Vec<_>>(), "numbers are given once, in order");
    let live =
        record.live_faces(write.horizon()).map(|(_, live)| live.detected.bounding_box).collect::<Vec<_>>();
    assert_eq!(live.is_empty(), record.state != State::Enrolled, "enrolled is to have a live face");
    let waits = record.state == State::Accepted;
    assert!(record.photo.is_none() || record.state != State::Erased);
    assert!(record.photo.is_some() || !waits, "what waits has its photo");
    assert_eq!(record.photo.as_ref(), record.photo_kept(write.cutoffs), "no photo outlives its time");
    assert_eq!(expire(record, write), None, "what has expired is erased by every transition");
    for (place, left) in live.iter().enumerate() {
        assert!(live[place + 1..].iter().all(|right| left.iou(right) < 0.5), "no face is there twice");
    }
    let recent = |at| now.since(at) < ERASED_KEPT;
    assert!(record.requests.iter().all(|request| recent(request.at) || (waits && request.faces.is_empty())));
}

proptest! {
    #[test]
    fn every_way_through_the_transitions_keeps_the_rules(steps in steps()) {
        let (mut now, mut record, mut retention) = (T0, None::<Record>, Retention::default());
        for (step, wait_ms) in steps {
            now = now.plus(Duration::from_millis(wait_ms.into()));
            retention = ruled(&retention, &step, now);
            let write = by(now, retention.cutoffs(now));
            let Some(after) = apply(record.as_ref(), &step, write) else { continue };
            if let Some(before) = &record {
                check_succession(before, &after, write);
            }
            check_record(&after, write);
            record = Some(after);
        }
    }
}
