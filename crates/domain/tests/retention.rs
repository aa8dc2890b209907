//! What a collection's retention rule does to its records.

#![cfg(test)]

mod fixtures;

use std::time::Duration;

use fixtures::{detected, model, nonce, number, origin};
use vidimus_domain::record::{
    Acceptance, BulkPhoto, EXPIRED, Enrolled, Enrolment, FaceBody, PhotoKey, Record, State, Write, accept,
    embedded, enrol, erase, expire,
};
use vidimus_domain::retention::{Cutoffs, Retention, RetentionRule};
use vidimus_domain::{FaceNumber, UnixMillis};

const HOUR: Duration = Duration::from_secs(3600);
const MILLISECOND: Duration = Duration::from_millis(1);
const T0: UnixMillis = UnixMillis::new(1_760_000_000_000);
const LATER: UnixMillis = UnixMillis::new(T0.get() + 2 * 3_600_000);

fn by(now: UnixMillis, cutoffs: Cutoffs) -> Write {
    Write { now, nonce: nonce(now.get() as u8), cutoffs }
}

fn enrolment(request: &str, lefts: &[f32], expires_at: Option<UnixMillis>) -> Enrolment {
    Enrolment {
        request: request.parse().expect("it is a request id"),
        faces: lefts.iter().map(|left| detected(*left)).collect(),
        photo: PhotoKey::new(T0, nonce(request.as_bytes()[0])),
        expires_at,
        photos_removed: Vec::new(),
    }
}

/// Enrols, which must change something: the record, the faces' numbers, whether it names the photo.
fn changed(before: Option<&Record>, enrolment: Enrolment, write: Write) -> (Record, Vec<FaceNumber>, bool) {
    match enrol(&origin(None), before, enrolment, write) {
        Ok(Enrolled::Changed { record, faces, photo_named }) => (*record, faces, photo_named),
        other => panic!("it should have changed: {other:?}"),
    }
}

/// A record of one face that was enrolled at `T0`.
fn enrolled(expires_at: Option<UnixMillis>) -> Record {
    changed(None, enrolment("first", &[0.1], expires_at), by(T0, Cutoffs::default())).0
}

/// What a rule lets go that keeps faces for two hours and photos for one, seen a while after `T0`.
fn cutoffs(after: Duration) -> Cutoffs {
    let rule = RetentionRule::new(Some(HOUR * 2), Some(HOUR)).expect("it is a rule");
    Retention { rule, ..Retention::default() }.cutoffs(T0.plus(after))
}

#[test]
fn what_is_older_than_the_rule_counts_as_erased() {
    let record = enrolled(None);
    for (after, live) in [(HOUR * 2 - MILLISECOND, true), (HOUR * 2, false)] {
        let write = by(T0.plus(after), cutoffs(after));
        assert_eq!(record.live_faces(write.horizon()).count(), usize::from(live));
        let erased = erase(&record, &[number(1)], write).record.expect("it has a template");
        assert!(erased.faces[0].live().is_none(), "expired or not");
        let faces = changed(Some(&record), enrolment("x", &[0.1], None), write).1;
        assert_eq!(faces, vec![number(if live { 1 } else { 2 })], "an expired face's id never means another");
    }
    let gone = expire(&record, by(LATER, cutoffs(HOUR * 2))).expect("it has expired");
    assert_eq!((&gone.state, &gone.photo), (&State::Erased, &None));
    assert!(gone.faces.iter().all(|face| face.body == FaceBody::Erased { at: LATER }));
}

#[test]
fn the_earlier_of_a_faces_own_expiry_and_the_rule_counts() {
    let soon = enrolled(Some(T0.plus(HOUR)));
    let late = enrolled(Some(T0.plus(HOUR * 9)));
    for (after, live) in [(HOUR - MILLISECOND, [1, 1]), (HOUR, [0, 1]), (HOUR * 2, [0, 0])] {
        let horizon = cutoffs(after).horizon(T0.plus(after));
        assert_eq!([&soon, &late].map(|record| record.live_faces(horizon).count()), live, "{after:?}");
    }
}

#[test]
fn a_photo_goes_when_its_own_time_has_come_and_faces_stay() {
    let record = enrolled(None);
    assert_eq!(expire(&record, by(LATER, cutoffs(HOUR - MILLISECOND))), None);
    let without = expire(&record, by(LATER, cutoffs(HOUR))).expect("its photo has expired");
    assert_eq!((&without.state, &without.photo), (&State::Enrolled, &None));
    assert_eq!(without.photos_to_remove, record.photo.iter().cloned().collect::<Vec<_>>());
    assert_eq!(without.faces, record.faces, "faces are left alone");
    assert_eq!(expire(&without, by(LATER, cutoffs(HOUR))), None, "nothing is left to do");
    let (again, faces, photo_named) =
        changed(Some(&without), enrolment("zweite", &[0.1], None), by(LATER, Cutoffs::default()));
    assert_eq!((faces, photo_named), (vec![number(1)], true), "enrolled again it has a photo again");
    let erased = erase(&again, &[number(1)], by(LATER, Cutoffs::default())).record.expect("it lives");
    assert_eq!((&erased.state, erased.photos_to_remove.len()), (&State::Erased, 2));
}

#[test]
fn a_photo_that_waits_beyond_its_time_is_refused() {
    let photo = PhotoKey::new(T0, nonce(1));
    let request = "bulk-job".parse().expect("it is a request id");
    let bulk = BulkPhoto { request, photo, photos_removed: Vec::new() };
    let Ok(Acceptance::Changed(record)) = accept(&origin(None), None, bulk, by(T0, Cutoffs::default()))
    else {
        panic!("it is new");
    };
    let write = by(LATER, cutoffs(HOUR));
    let refused = State::Refused(EXPIRED.to_owned());
    let expired = expire(&record, write).expect("its photo has expired");
    assert_eq!((&expired.state, expired.photos_to_remove.len()), (&refused, 1));
    let found = embedded(&record, (&model(), vec![detected(0.1)]), None, write).expect("numbers are left");
    assert_eq!(found.map(|record| (record.state, record.faces.len())), Some((refused, 0)));
}
