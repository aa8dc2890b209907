//! Transitions that take faces out.

use super::{Record, Write};
use crate::ids::{FaceNumber, UserId};

/// What came of a deletion.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Erasure {
    /// The record to write; none where every face asked for was erased already, is unknown or is kept. An expired face that
    /// is asked for is erased: by another rule it might match again.
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
        let Some(face) = before.face(*number) else {
            erasure.unknown.push(*number);
            continue;
        };
        match face.live_at(write.horizon()).map(|live| &live.user) {
            Some(Some((user, _))) => erasure.held_by_user.push((*number, user.clone())),
            None if face.live().is_none() => erasure.erased.push(*number),
            _ => doomed.push(*number),
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
