//! Transitions of the bulk lane.

use vidimus_domain::record::{
    Acceptance, BulkPhoto, ReadyFace, Record, Refusal, State, accept, embedded, expire, import, refuse,
    set_aside, try_again,
};
use vidimus_domain::retention::Cutoffs;
use vidimus_domain::time::ERASED_KEPT;

use crate::fixtures::{detected, model, number, origin};
use crate::{
    HOUR, LATER, T0, accept_photo, accepted, at, by, changed, enrolment, erased_of, every_state, on, photo,
    refused,
};

#[test]
fn bulk_acceptance_leaves_alone_what_is_there() {
    for (from, before) in every_state() {
        let bulk = BulkPhoto {
            request: "bulk".parse().expect("it is a request id"),
            photo: photo(b'b'),
            photos_removed: Vec::new(),
        };
        let accepted = accept(&origin(None), before.as_ref(), bulk, at(LATER)).expect("there is room");
        match accepted {
            Acceptance::Changed(record) => {
                assert_eq!((&record.state, &record.photo), (&State::Accepted, &Some(photo(b'b'))), "{from}");
                let remembered = record.remembered(&"bulk".parse().expect("it is a request id"));
                assert_eq!(remembered.map(|request| request.at), Some(LATER), "{from}");
            }
            other => {
                assert_eq!(other, Acceptance::AlreadyThere, "{from}");
                assert!(matches!(from, "accepted" | "enrolled"), "{from}");
            }
        }
    }
}

/// Rule 4: whatever has become of the photo, its job does not bring it in again, for a day after that.
#[test]
fn a_job_that_is_remembered_accepts_nothing_again() {
    let long_after = T0.plus(ERASED_KEPT * 3);
    let found = embedded(&accepted(), (&model(), vec![detected(0.1)]), None, at(long_after))
        .expect("numbers are left");
    let found = found.expect("it was accepted");
    let refused = refuse(&accepted(), "no face", at(long_after)).expect("it was accepted");
    let enrolled_online = changed(Some(&accepted()), enrolment("online", &[0.1]), long_after).0;
    let again = |record: &Record, now| accept_photo(Some(record), "job", photo(b'b'), at(now)).is_none();
    let too_late = Cutoffs { photos: Some(T0), ..Cutoffs::default() };
    let expired = expire(&accepted(), by(long_after, too_late)).expect("its photo's time has come");
    for record in [&accepted(), &found, &refused, &enrolled_online, &expired] {
        assert!(again(record, long_after.plus(HOUR)), "{:?}", record.state);
    }
    let erased = erased_of(&found, long_after.plus(HOUR));
    assert!(again(&erased, long_after.plus(HOUR * 2)));
    assert!(accept_photo(Some(&erased), "other", photo(b'b'), at(long_after.plus(HOUR * 2))).is_some());
    let later = erased_of(&found, long_after.plus(ERASED_KEPT));
    assert!(!again(&later, long_after.plus(ERASED_KEPT + HOUR)), "after a day it is forgotten");
    let numbers = found.remembered(&"job".parse().expect("it is a request id")).map(|job| job.faces.clone());
    assert_eq!(numbers, Some(vec![number(1)]), "it knows what it brought in");
}

/// A job that has had its faces hears that they are gone, while somebody else's photo waits in the same record: when it hears
/// more, it may be forgotten.
#[test]
fn a_job_waits_for_no_photo_that_another_has_brought_in_again() {
    let id = |name: &str| name.parse().expect("it is a request id");
    assert!(accepted().waits_for(&id("job")) && accepted().waits_for(&id("another")));
    let found =
        embedded(&accepted(), (&model(), vec![detected(0.1)]), None, at(LATER)).expect("numbers are left");
    let erased = erased_of(&found.expect("it was accepted"), LATER.plus(HOUR));
    for before in [&erased, &refused()] {
        assert!(!before.waits_for(&id("job")), "{:?}", before.state);
    }
    let again = accept_photo(Some(&erased), "other", photo(b'b'), at(LATER.plus(HOUR * 2)));
    let again = again.expect("it is erased");
    assert!(again.waits_for(&id("other")) && !again.waits_for(&id("job")));
    let again = accept_photo(Some(&refused()), "other", photo(b'b'), at(LATER)).expect("it is refused");
    assert!(again.waits_for(&id("job")), "a job that had none has what comes of this one");
    let long_after = LATER.plus(ERASED_KEPT * 2);
    let found =
        embedded(&again, (&model(), vec![detected(0.1)]), None, at(long_after)).expect("numbers are left");
    let numbers = found.and_then(|found| Some(found.remembered(&id("job"))?.faces.clone()));
    assert_eq!(numbers, Some(vec![number(1)]));
}

#[test]
fn a_photo_that_was_set_aside_can_be_tried_again() {
    let aside = set_aside(&accepted(), "the encoder failed", at(LATER)).expect("it was accepted");
    assert_eq!(aside.state, State::Refused("the encoder failed".to_owned()));
    assert_eq!((&aside.photo, aside.photos_to_remove.len()), (&Some(photo(b'a')), 0));
    let again = try_again(&aside, at(LATER.plus(HOUR))).expect("it has its photo");
    assert_eq!((&again.state, &again.photo), (&State::Accepted, &Some(photo(b'a'))));
    for (from, before) in every_state() {
        let Some(before) = before else { continue };
        assert!(try_again(&before, at(LATER)).is_none(), "{from}");
        assert_eq!(set_aside(&before, "x", at(LATER)).is_some(), from == "accepted", "{from}");
    }
    let taken = accept_photo(Some(&aside), "other", photo(b'b'), at(LATER)).expect("it is refused");
    assert_eq!((taken.photo, taken.photos_to_remove), (Some(photo(b'b')), vec![photo(b'a')]));
}

#[test]
fn ready_templates_are_faces_without_a_photo() {
    let named = |name: &str| ReadyFace {
        detected: detected(0.1),
        external_image_id: Some(name.parse().expect("it is a name")),
    };
    let ready = vec![named("ada"), named("bert")];
    let request = || "import".parse().expect("it is a request id");
    for (from, before) in every_state() {
        let imported = import(&origin(None), before.as_ref(), (request(), ready.clone()), at(LATER));
        let imported = imported.expect("there is room");
        let Acceptance::Changed(record) = imported else {
            assert!(matches!(from, "accepted" | "enrolled"), "{from}");
            continue;
        };
        assert_eq!((&record.state, &record.photo), (&State::Enrolled, &None), "{from}");
        let live = record.live_faces(on(LATER)).collect::<Vec<_>>();
        let names = live.iter().map(|(_, live)| record.external_image_id_of(live).map(|name| name.as_str()));
        assert_eq!(
            names.collect::<Vec<_>>(),
            [Some("ada"), Some("bert")],
            "{from}: alike, and yet two faces"
        );
        let again = import(&origin(None), Some(&record), (request(), ready.clone()), at(LATER));
        assert_eq!(again, Ok(Acceptance::AlreadyDone), "{from}");
        let erased = erased_of(&record, LATER.plus(HOUR));
        let again = import(&origin(None), Some(&erased), (request(), ready.clone()), at(LATER.plus(HOUR)));
        assert_eq!(again, Ok(Acceptance::AlreadyDone), "{from}: the job brings nothing back");
    }
    for wrong in [Vec::new(), vec![named("ada"); 1001]] {
        let refused = import(&origin(None), None, (request(), wrong), at(LATER));
        assert_eq!(refused, Err(Refusal::TemplatesOutOfRange));
    }
}

#[test]
fn only_an_accepted_record_is_embedded_or_refused() {
    for (from, before) in every_state() {
        let Some(before) = before else { continue };
        let found =
            embedded(&before, (&model(), vec![detected(0.1)]), None, at(LATER)).expect("numbers are left");
        let none_found = refuse(&before, "no face", at(LATER));
        assert_eq!(found.is_some(), from == "accepted", "{from}");
        assert_eq!(none_found.is_some(), from == "accepted", "{from}");
        if let (Some(found), Some(none_found)) = (found, none_found) {
            assert_eq!((&found.state, &found.photo), (&State::Enrolled, &Some(photo(b'a'))));
            assert_eq!(found.faces.len(), 1);
            assert_eq!(none_found.state, State::Refused("no face".to_owned()));
            assert_eq!((none_found.photo, none_found.photos_to_remove), (None, vec![photo(b'a')]));
        }
    }
}
