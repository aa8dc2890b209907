//! Bringing an exported state of a record into the record as it is here.

use vidimus_domain::record::{associate, merge, must_be_remembered, with_named_claims};

use super::*;

const LATER: UnixMillis = UnixMillis::new(1_760_000_060_000);

fn lives(record: &Record) -> Vec<u16> {
    record.live_faces(on(LATER)).map(|(face, _)| face.number.get()).collect()
}

fn erased_face(record: &Record, face: u32, now: UnixMillis) -> Record {
    *erase(record, &[number(face)], at(now)).record.expect("it erases")
}

#[test]
fn what_was_erased_on_either_side_is_erased() {
    let exported = enrolled();
    let here = erased_face(&exported, 1, T0.plus(MILLISECOND));
    assert_eq!(merge(&here, &exported, at(LATER)), None, "the export is older");
    let merged = merge(&exported, &here, at(LATER)).expect("the export has an erasure");
    assert_eq!(lives(&merged), [2]);
    assert!(merged.version > here.version && merged.version > exported.version);
    assert_eq!(merged.face(number(1)).map(|face| face.version), Some(merged.version));
    assert_eq!(merge(&merged, &here, at(LATER)), None, "twice is once");
}

#[test]
fn an_erasure_here_is_not_undone_by_a_later_change_there() {
    let common = enrolled();
    let here = erased_face(&common, 1, T0.plus(MILLISECOND));
    let exported = erased_face(&common, 2, T0.plus(HOUR));
    let merged = merge(&here, &exported, at(LATER)).expect("it erases the other face");
    assert_eq!(lives(&merged), Vec::<u16>::new());
    assert_eq!(merged.state, State::Erased);
    assert_eq!(merged.photo, None);
    assert_eq!(merged.photos_to_remove.len(), 1, "its photo goes with its last face");
}

#[test]
fn faces_that_never_were_here_join() {
    let here = enrolled();
    let exported = changed(Some(&here), enrolment("second", &[0.1, 0.5, 0.75]), T0.plus(HOUR)).0;
    let merged = merge(&here, &exported, at(LATER)).expect("a face joins");
    assert_eq!(lives(&merged), [1, 2, 3]);
    assert_eq!(merged.next_number, exported.next_number);
    assert_eq!(merged.photo, here.photo, "it has its own");
    assert!(merged.remembered(&"second".parse().expect("it is a request id")).is_some());
    assert_eq!(merge(&merged, &exported, at(LATER)), None, "twice is once");
}

#[test]
fn a_photo_that_waits_here_is_what_it_was_embedded_to_there() {
    let here = accepted();
    let found = embedded(&here, (&model(), vec![detected(0.1)]), None, at(T0.plus(MILLISECOND)));
    let exported = found.expect("it has a number").expect("it was accepted");
    let merged = merge(&here, &exported, at(LATER)).expect("a face joins");
    assert_eq!((merged.state.clone(), lives(&merged)), (State::Enrolled, vec![1]));
    assert_eq!(merged.photo, here.photo);
    let answered = merged.remembered(&"job".parse().expect("it is a request id"));
    assert_eq!(answered.map(|request| request.faces.clone()), Some(vec![number(1)]));
    assert_eq!(merge(&exported, &here, at(LATER)), None, "the older state adds nothing");
}

#[test]
fn a_removed_photo_does_not_come_back() {
    let exported = changed(Some(&erased()), enrolment("second", &[0.1]), T0.plus(HOUR)).0;
    let merged = merge(&erased(), &exported, at(LATER)).expect("a face joins");
    assert_eq!((lives(&merged), merged.photo.as_ref()), (vec![3], exported.photo.as_ref()));
    let mut removed = erased();
    removed.photos_to_remove.extend(exported.photo.clone());
    let merged = merge(&removed, &exported, at(LATER)).expect("a face joins");
    assert_eq!(merged.photo, None);
}

#[test]
fn a_number_of_two_faces_stays_the_ones_that_is_here() {
    let here = changed(Some(&enrolled()), enrolment("here", &[0.75]), T0.plus(MILLISECOND)).0;
    let there = changed(Some(&enrolled()), enrolment("there", &[0.3]), T0.plus(HOUR)).0;
    assert_eq!(merge(&here, &erased_face(&there, 3, LATER), at(LATER)), None);
}

#[test]
fn claims_come_along_where_their_user_names_the_face() {
    let claim = ("anna".parse().expect("it is a user id"), 7);
    let claimed = associate(&enrolled(), &[number(1)], &claim, &[], at(T0.plus(HOUR)));
    let exported = *claimed.record.expect("it claims");
    let user_of = |record: &Record| {
        record.face(number(1)).and_then(|face| face.live()).and_then(|live| live.user.clone())
    };
    let named = with_named_claims(exported.clone(), |_, _| true);
    let merged = merge(&enrolled(), &named, at(LATER)).expect("the claim is later");
    assert_eq!(user_of(&merged), Some(claim));
    assert_eq!(user_of(&with_named_claims(exported, |_, _| false)), None);
}

#[test]
fn a_husk_is_remembered_unless_a_rule_lets_its_faces_go() {
    let none = Cutoffs::default();
    let by = |cutoff| Cutoffs { faces: Some(cutoff), photos: None };
    assert!(must_be_remembered(&erased(), none));
    assert!(must_be_remembered(&erased(), by(T0.minus(MILLISECOND))));
    assert!(!must_be_remembered(&erased(), by(T0)));
    assert!(!must_be_remembered(&refused(), none), "it never had a face");
}
