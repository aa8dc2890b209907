//! Users' transitions, and those of the records that claim faces for them.

#![cfg(test)]

mod fixtures;

use std::time::Duration;

use fixtures::{detected, nonce, number, origin};
use vidimus_domain::limits::FACES_PER_USER_MAX;
use vidimus_domain::record::{
    Enrolled, Enrolment, PhotoKey, Record, Write, associate, disassociate, enrol, erase, projection,
    without_stale,
};
use vidimus_domain::retention::Cutoffs;
use vidimus_domain::user::{
    Claim, Creation, Deletion, TokenKey, User, UserIsFull, UserKey, create, delete, merge,
};
use vidimus_domain::{FaceId, ImageId, UnixMillis, UserId};

const T0: UnixMillis = UnixMillis::new(1_760_000_000_000);
const SECOND: Duration = Duration::from_secs(1);
const KEY: [u8; 32] = [9; 32];

fn at(now: UnixMillis) -> Write {
    Write { now, nonce: nonce(now.get() as u8), cutoffs: Cutoffs::default() }
}

fn id(name: &str) -> UserId {
    name.parse().expect("it is a user id")
}

fn token(name: &str) -> Option<TokenKey> {
    Some(TokenKey::of(&KEY, "operation", name))
}

fn face(number: u32) -> FaceId {
    ImageId::from_random([7; 16]).face(fixtures::number(number))
}

fn faces(numbers: std::ops::RangeInclusive<u32>) -> Vec<FaceId> {
    numbers.map(face).collect()
}

fn created(before: Option<&User>, now: UnixMillis) -> User {
    match create(before, (origin(None).part, id("anna")), token("one"), at(now)) {
        Creation::Write(user) => *user,
        other => panic!("it should be created: {other:?}"),
    }
}

fn deleted(before: &User, now: UnixMillis) -> User {
    match delete(Some(before), token("two"), at(now)) {
        Deletion::Write(husk) => *husk,
        other => panic!("it should be deleted: {other:?}"),
    }
}

#[test]
fn creating_tells_a_retry_from_another_request() {
    let new = || (origin(None).part, id("anna"));
    let user = created(None, T0);
    assert_eq!((user.generation, user.claim()), (T0.get() as u64, Some((id("anna"), T0.get() as u64))));
    assert_eq!(create(Some(&user), new(), token("one"), at(T0)), Creation::AlreadyDone);
    assert_eq!(create(Some(&user), new(), token("other"), at(T0)), Creation::Exists);
    let nameless = User { created_with: None, ..user.clone() };
    assert_eq!(
        create(Some(&nameless), new(), None, at(T0)),
        Creation::Exists,
        "no token is no token's retry"
    );
    let husk = deleted(&user, T0);
    assert_eq!(create(Some(&husk), new(), token("one"), at(T0)), Creation::AlreadyDone);
}

#[test]
fn deleting_leaves_the_generation_and_the_faces_until_they_are_released() {
    let user = created(None, T0).reserved(&faces(1..=3), &[], at(T0)).expect("there is room");
    let husk = deleted(&user, T0.plus(SECOND));
    assert_eq!((&husk.id, husk.generation, &husk.faces), (&None, user.generation, &user.faces));
    assert!(!husk.is_current(&(id("anna"), user.generation)));
    assert_eq!(delete(Some(&husk), token("two"), at(T0)), Deletion::Unfinished);
    let new = (origin(None).part, id("anna"));
    assert_eq!(create(Some(&husk), new, token("three"), at(T0)), Creation::Unfinished);
    let part = husk.released(&faces(1..=2), at(T0));
    assert_eq!(part.faces, faces(3..=3));
    let done = part.released(&faces(1..=3), at(T0));
    assert_eq!(delete(Some(&done), token("two"), at(T0)), Deletion::AlreadyDone);
    assert_eq!(delete(Some(&done), token("other"), at(T0)), Deletion::Unknown);
    assert_eq!(delete(None, token("two"), at(T0)), Deletion::Unknown);
    let again = User { created_with: None, ..done };
    // The clock has gone back: the generation grows all the same.
    assert_eq!(created(Some(&again), UnixMillis::new(5)).generation, user.generation + 1);
}

#[test]
fn reserving_counts_what_it_leaves() {
    let full = created(None, T0).reserved(&faces(1..=100), &[], at(T0)).expect("a hundred are allowed");
    assert_eq!(full.faces.len(), FACES_PER_USER_MAX);
    assert_eq!(full.reserved(&faces(101..=101), &[], at(T0)), Err(UserIsFull));
    let swapped = full.reserved(&faces(101..=101), &faces(1..=1), at(T0.plus(SECOND)));
    assert_eq!(swapped.expect("the dead one goes").faces, faces(2..=101));
    let again = full.reserved(&faces(50..=60), &faces(50..=50), at(T0.plus(SECOND))).expect("all are there");
    assert_eq!(again.faces, full.faces);
    assert_ne!(again.nonce, full.nonce, "it is another state all the same");
}

#[test]
fn keys_depend_on_the_collection_and_on_the_name() {
    let anna = UserKey::of(&KEY, &id("anna"));
    assert_eq!(UserKey::listed(&anna.to_string()), Some(anna));
    assert_eq!(UserKey::from_bytes(&anna.to_bytes()), Ok(anna));
    assert!(UserKey::listed("anna").is_none() && UserKey::from_bytes(b"anna").is_err());
    assert_ne!(anna, UserKey::of(&[8; 32], &id("anna")));
    assert_ne!(anna, UserKey::of(&KEY, &id("Anna")));
    assert_ne!(TokenKey::of(&KEY, "a", "bc"), TokenKey::of(&KEY, "ab", "c"));
}

/// A record of two faces, the second of which expires after a second.
fn record() -> Record {
    let enrolment = |request: &str, left: f32, expires_at| Enrolment {
        request: request.parse().expect("it is a request id"),
        faces: vec![detected(left)],
        photo: PhotoKey::new(T0, nonce(1)),
        expires_at,
        photos_removed: Vec::new(),
    };
    let enrolled = |before: Option<&Record>, enrolment| match enrol(&origin(None), before, enrolment, at(T0))
    {
        Ok(Enrolled::Changed { record, .. }) => *record,
        other => panic!("it should have changed: {other:?}"),
    };
    let first = enrolled(None, enrolment("first", 0.1, None));
    enrolled(Some(&first), enrolment("second", 0.5, Some(T0.plus(SECOND))))
}

fn claim(name: &str, generation: u64) -> Claim {
    (id(name), generation)
}

fn users(record: &Record) -> Vec<Option<Claim>> {
    record.faces.iter().map(|face| face.live().and_then(|live| live.user.clone())).collect()
}

#[test]
fn a_claim_needs_a_live_face_that_nobody_else_holds() {
    let (anna, bert) = (claim("anna", 5), claim("bert", 6));
    let both = [number(1), number(2), number(9)];
    let first = associate(&record(), &both, &anna, &[], at(T0));
    assert_eq!((first.claimed, first.unknown), (vec![number(1), number(2)], vec![number(9)]));
    let claimed = first.record.expect("it changes");
    assert_eq!(users(&claimed), [Some(anna.clone()), Some(anna.clone())]);
    assert!(claimed.faces.iter().all(|face| face.version == claimed.version), "points are to be written");
    assert!(claimed.version > record().version);
    let again = associate(&claimed, &both, &anna, &[], at(T0));
    assert_eq!((again.record, again.claimed.len()), (None, 2));
    let other = associate(&claimed, &both, &bert, &[], at(T0));
    assert_eq!((other.record, other.held_by_other[0].clone()), (None, (number(1), id("anna"))));
    let stale = associate(&claimed, &both, &bert, std::slice::from_ref(&anna), at(T0));
    assert_eq!(users(&stale.record.expect("it changes")), [Some(bert.clone()), Some(bert)]);
    let later = associate(&record(), &both, &anna, &[], at(T0.plus(SECOND)));
    assert_eq!((later.claimed, later.unknown), (vec![number(1)], vec![number(2), number(9)]), "rule 8");
}

#[test]
fn taking_a_claim_out_writes_the_record_even_where_there_is_none() {
    let (anna, later) = (claim("anna", 5), claim("anna", 6));
    let untouched = disassociate(&record(), &[number(1)], &anna, at(T0)).expect("it is written");
    assert!(untouched.version > record().version);
    assert_eq!(untouched.faces, record().faces, "no point changes");
    let claimed = associate(&record(), &[number(1), number(2)], &anna, &[], at(T0)).record;
    let claimed = claimed.expect("it changes");
    let left = disassociate(&claimed, &[number(1)], &later, at(T0)).expect("it is written");
    assert_eq!(users(&left), [None, Some(anna.clone())], "later lives take earlier claims out");
    assert_eq!((left.faces[0].version, left.faces[1].version), (left.version, claimed.version));
    let kept = disassociate(&claimed, &[number(1)], &claim("anna", 4), at(T0)).expect("it is written");
    assert_eq!(users(&kept)[0], Some(anna.clone()), "earlier ones do not");
    let other = disassociate(&claimed, &[number(1)], &claim("bert", 9), at(T0)).expect("it is written");
    assert_eq!(users(&other)[0], Some(anna.clone()));
    let expired = disassociate(&claimed, &[number(2)], &anna, at(T0.plus(SECOND))).expect("it is written");
    assert!(expired.faces[1].live().is_none(), "it is erased by that");
    assert_eq!(disassociate(&expired, &[number(2)], &anna, at(T0.plus(SECOND))), None);
    assert_eq!(disassociate(&claimed, &[number(9)], &anna, at(T0)), None);
}

#[test]
fn a_held_face_stays_and_a_stale_claim_holds_nothing() {
    let anna = claim("anna", 5);
    let claimed = associate(&record(), &[number(1), number(2)], &anna, &[], at(T0)).record;
    let claimed = claimed.expect("it changes");
    let held = erase(&claimed, &[number(1)], at(T0));
    assert_eq!((held.record, held.held_by_user), (None, vec![(number(1), id("anna"))]));
    let freed = without_stale(&claimed, &[number(1)], std::slice::from_ref(&anna));
    let erased = erase(&freed, &[number(1)], at(T0)).record.expect("it changes");
    assert!(erased.faces[0].live().is_none());
    assert_eq!(users(&erased)[1], Some(anna), "the other face's claim is not touched");
    assert_eq!(erased.faces[1].version, claimed.faces[1].version);
    assert_eq!(without_stale(&claimed, &[number(1)], &[claim("anna", 6)]), *claimed);
    let shown = projection(&claimed, &claimed.origin.face_model, T0).write;
    assert!(shown.iter().all(|point| format!("{:?}", point.body).contains("anna")));
}

#[test]
fn an_import_keeps_the_later_life_and_every_deletion() {
    let reserved =
        |user: &User, numbers, now| user.reserved(&faces(numbers), &[], at(now)).expect("there is room");
    let anna = reserved(&created(None, T0), 1..=1, T0.plus(SECOND));
    let gone = deleted(&anna, T0.plus(SECOND * 2));
    let grown = reserved(&anna, 2..=3, T0.plus(SECOND * 3));
    let later = T0.plus(SECOND * 9);
    let merged = |here: &User, imported: &User| merge(here, imported, at(later));

    assert_eq!(merged(&gone, &grown), None, "deleted here");
    let dead = merged(&grown, &gone).expect("deleted there");
    assert_eq!((dead.id.clone(), dead.faces), (None, faces(1..=3)), "its claims are to be released yet");
    let joined = merged(&anna, &grown).expect("faces join");
    assert_eq!((joined.claim(), joined.faces.clone()), (anna.claim(), faces(1..=3)));
    assert_eq!(merged(&grown, &anna), None, "the export is older");
    assert_eq!(merged(&joined, &grown), None, "twice is once");

    let released = gone.released(&faces(1..=1), at(T0.plus(SECOND * 4)));
    let again = created_again(&released, T0.plus(SECOND * 5));
    let reborn = merged(&anna, &again).expect("a later life");
    assert_eq!((reborn.claim(), reborn.faces), (again.claim(), faces(1..=1)));
    assert_eq!(merged(&again, &anna), None, "an earlier life");
}

fn created_again(before: &User, now: UnixMillis) -> User {
    match create(Some(before), (origin(None).part, id("anna")), token("two"), at(now)) {
        Creation::Write(user) => *user,
        other => panic!("it should be created: {other:?}"),
    }
}
