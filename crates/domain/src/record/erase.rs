//! Transitions that take faces out.

use super::{Record, Write};
use crate::ids::{FaceNumber, UserId};

/// What came of a deletion.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Erasure {
    /// The record to write; none where every face asked for was erased already, is unknown or is kept.
    pub record: Option<Box<Record>>,
    /// Faces that are erased now, by this or before.
    pub erased: Vec<FaceNumber>,
    /// Faces that never were.
    pub unknown: Vec<FaceNumber>,
    /// Faces that a user holds: they stay.
    pub held_by_user: Vec<(FaceNumber, UserId)>,
}

/// DeleteFaces: enrolled → enrolled, and erased when no live face is left.
#[must_use]
pub fn erase(before: &Record, numbers: &[FaceNumber], write: Write) -> Erasure {
    let mut erasure = Erasure::default();
    let mut doomed = Vec::new();
    for number in numbers {
        let live = before.face(*number).map(|face| face.live_at(write.horizon()));
        match live {
            None => erasure.unknown.push(*number),
            Some(Some(live)) if live.user.is_some() => {
                erasure.held_by_user.extend(live.user.clone().map(|(user, _)| (*number, user)));
            }
            Some(Some(_)) => doomed.push(*number),
            Some(None) => erasure.erased.push(*number),
        }
    }
    if !doomed.is_empty() {
        erasure.record = Some(Box::new(without(before, &doomed, write)));
        erasure.erased.extend(doomed);
    }
    erasure
}

fn without(before: &Record, numbers: &[FaceNumber], write: Write) -> Record {
    let mut record = before.next(write);
    for number in numbers {
        record.erase_face(*number, write.now);
    }
    record.settle();
    record
}

/// Retention: erases faces that have expired, and names the photo for removal where its own time has come, though faces
/// live on. None where nothing has.
#[must_use]
pub fn expire(before: &Record, write: Write) -> Option<Record> {
    let faces = before.faces.iter().any(|face| face.has_expired(write.horizon()));
    let photo = before.photo.is_some() && before.photo_kept(write.cutoffs).is_none();
    (faces || photo).then(|| before.next(write))
}
