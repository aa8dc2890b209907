//! Transitions that bring faces in.

use super::{Face, FaceBody, LiveFace, Origin, PhotoKey, Record, Refusal, RememberedRequest, State, Write};
use crate::face::DetectedFace;
use crate::ids::{FaceNumber, RequestId};
use crate::limits::REQUESTS_PER_RECORD_MAX;
use crate::time::UnixMillis;

/// A detection that overlaps a live face this much (intersection over union) is that face (rule 2).
pub const IOU_SAME_FACE: f32 = 0.5;

/// What an enrolment brings.
#[derive(Clone, Debug)]
pub struct Enrolment {
    /// What it is known by across its retries.
    pub request: RequestId,
    /// The faces to enrol, largest first; at least one.
    pub faces: Vec<DetectedFace>,
    /// Where its photo was put; the record names it only where it needs it.
    pub photo: PhotoKey,
    /// When the new faces expire.
    pub expires_at: Option<UnixMillis>,
    /// Photos of the record before that the writer has removed from the store.
    pub photos_removed: Vec<PhotoKey>,
}

/// What came of an enrolment.
#[derive(Clone, Debug, PartialEq)]
pub enum Enrolled {
    /// The request is remembered: it enrolled before and does not again (rule 4). The record stays as it is.
    AlreadyDone {
        /// The faces that it enrolled or found then.
        faces: Vec<FaceNumber>,
    },
    /// The record is to be written.
    Changed {
        /// As it is to be.
        record: Box<Record>,
        /// The number of each of the enrolment's faces, in their order.
        faces: Vec<FaceNumber>,
        /// Whether the record names the enrolment's photo; else that photo is not needed.
        photo_named: bool,
    },
}

/// IndexFaces: none, accepted, refused or erased → enrolled; enrolled → enrolled, where live faces are left alone and
/// detections that match none are added under new numbers, largest first.
///
/// # Errors
/// Where the record remembers too many requests, has given every number, or its faces are of another face model than the origin
/// says of the new ones.
pub fn enrol(
    origin: &Origin,
    before: Option<&Record>,
    enrolment: Enrolment,
    write: Write,
) -> Result<Enrolled, Refusal> {
    if let Some(remembered) = before.and_then(|record| record.remembered(&enrolment.request)) {
        return Ok(Enrolled::AlreadyDone { faces: remembered.faces.clone() });
    }
    let mut record = before.map_or_else(|| Record::begun(origin.clone(), write), Clone::clone).next(write);
    if record.requests.len() >= REQUESTS_PER_RECORD_MAX {
        return Err(Refusal::TooManyRequests);
    }
    record.join_model(&origin.face_model)?;
    record.photos_to_remove.retain(|photo| !enrolment.photos_removed.contains(photo));
    let photo_named = take_photo(&mut record, enrolment.photo);
    let numbers = add_faces(&mut record, enrolment.faces, enrolment.expires_at)?;
    if record.state == State::Accepted {
        record.answer_waiting(&numbers);
    }
    record.state = State::Enrolled;
    record.requests.push(RememberedRequest { id: enrolment.request, at: write.now, faces: numbers.clone() });
    Ok(Enrolled::Changed { record: Box::new(record), faces: numbers, photo_named })
}

/// The record names the new photo unless it holds one already. Returns whether it does.
fn take_photo(record: &mut Record, photo: PhotoKey) -> bool {
    let named = record.photo.is_none();
    if named {
        record.photo = Some(photo);
    }
    named
}

/// Gives every detection its number: that of the live face which it overlaps most, else the next unused one.
pub(super) fn add_faces(
    record: &mut Record,
    detections: Vec<DetectedFace>,
    expires_at: Option<UnixMillis>,
) -> Result<Vec<FaceNumber>, Refusal> {
    let mut taken = Vec::new();
    let mut numbers = Vec::with_capacity(detections.len());
    let had = record.faces.len();
    for detected in detections {
        let same = same_face(&record.faces[..had], &detected, &taken);
        let number = match same {
            Some(number) => number,
            None => add_face(record, LiveFace { expires_at, ..LiveFace::new(detected) })?,
        };
        taken.push(number);
        numbers.push(number);
    }
    Ok(numbers)
}

/// The live face that the detection overlaps most, at least by half, and that no other detection has taken.
fn same_face(faces: &[Face], detected: &DetectedFace, taken: &[FaceNumber]) -> Option<FaceNumber> {
    faces
        .iter()
        .filter(|face| !taken.contains(&face.number))
        .filter_map(|face| {
            let live = face.live()?;
            Some((face.number, live.detected.bounding_box.iou(&detected.bounding_box)))
        })
        .filter(|(_, iou)| *iou >= IOU_SAME_FACE)
        .max_by(|left, right| left.1.total_cmp(&right.1))
        .map(|(number, _)| number)
}

/// Gives a new face the next unused number.
pub(super) fn add_face(record: &mut Record, live: LiveFace) -> Result<FaceNumber, Refusal> {
    let number = FaceNumber::new(record.next_number).map_err(|_| Refusal::NumbersExhausted)?;
    record.next_number += 1;
    record.faces.push(Face {
        number,
        version: record.version,
        enrolled_at: record.changed_at,
        body: FaceBody::Live(live),
    });
    Ok(number)
}
