//! Transitions that claim faces for users. What they are part of is told in [`crate::user`].

use super::{FaceBody, Record, Write};
use crate::ids::{FaceNumber, UserId};
use crate::user::Claim;

/// What came of an association in one record.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Association {
    /// The record to write; none where nothing is to be claimed.
    pub record: Option<Box<Record>>,
    /// Faces that are the user's now, by this or before.
    pub claimed: Vec<FaceNumber>,
    /// Faces that are not there, or not any more.
    pub unknown: Vec<FaceNumber>,
    /// Faces that another user holds.
    pub held_by_other: Vec<(FaceNumber, UserId)>,
}

/// AssociateFaces: claims live faces that no user holds. A claim in `stale` is one of a user, or of a life of it, that is no
/// more: it counts for nothing.
#[must_use]
pub fn associate(
    before: &Record,
    numbers: &[FaceNumber],
    claim: &Claim,
    stale: &[Claim],
    write: Write,
) -> Association {
    let mut association = Association::default();
    let mut claimed_now = Vec::new();
    for number in numbers {
        let live = before.face(*number).and_then(|face| face.live_at(write.horizon()));
        match live.map(|live| &live.user) {
            None => association.unknown.push(*number),
            Some(Some(held)) if held == claim => association.claimed.push(*number),
            Some(Some(held)) if !stale.contains(held) => {
                association.held_by_other.push((*number, held.0.clone()));
            }
            Some(_) => claimed_now.push(*number),
        }
    }
    if !claimed_now.is_empty() {
        association.record = Some(Box::new(with_users(before, &claimed_now, Some(claim), write)));
        association.claimed.extend(claimed_now);
    }
    association
}

/// Takes the claims of a user, of this generation and earlier ones, out of these faces. The record is to be written even
/// where no face has one: a claim that is on its way loses its compare-and-swap by that. So it is where a face has
/// expired: others may not know yet that it has. None where every one of them is erased: nobody claims an erased face.
#[must_use]
pub fn disassociate(before: &Record, numbers: &[FaceNumber], left: &Claim, write: Write) -> Option<Record> {
    let asked = before.faces.iter().filter(|face| numbers.contains(&face.number));
    let mut unerased = asked.filter_map(|face| Some((face.number, face.live()?))).peekable();
    unerased.peek()?;
    let of_user = |held: &Claim| held.0 == left.0 && held.1 <= left.1;
    let claimed = unerased.filter(|(_, live)| live.user.as_ref().is_some_and(of_user));
    let claimed = claimed.map(|(number, _)| number).collect::<Vec<_>>();
    Some(with_users(before, &claimed, None, write))
}

fn with_users(before: &Record, numbers: &[FaceNumber], user: Option<&Claim>, write: Write) -> Record {
    let mut record = before.next(write);
    let version = record.version;
    for face in record.faces.iter_mut().filter(|face| numbers.contains(&face.number)) {
        if let FaceBody::Live(live) = &mut face.body {
            live.user = user.cloned();
            face.version = version;
        }
    }
    record
}

/// The record as it is for whoever is to erase these faces: without their stale claims, so that these hold up nothing. It is
/// not to be written as it is, since no version has changed.
#[must_use]
pub fn without_stale(before: &Record, numbers: &[FaceNumber], stale: &[Claim]) -> Record {
    let mut record = before.clone();
    for face in record.faces.iter_mut().filter(|face| numbers.contains(&face.number)) {
        if let FaceBody::Live(live) = &mut face.body {
            live.user.take_if(|held| stale.contains(held));
        }
    }
    record
}
