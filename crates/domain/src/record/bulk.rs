//! Transitions of the bulk lane: a photo is accepted first and embedded later; ready templates come without a photo.

use super::enrol::{add_face, add_faces};
use super::{LiveFace, Origin, PhotoKey, Record, Refusal, RememberedRequest, State, Write};
use crate::face::DetectedFace;
use crate::ids::{ExternalImageId, FaceModelName, RequestId};
use crate::limits::{REQUESTS_PER_RECORD_MAX, TEMPLATES_PER_RECORD_MAX};
use crate::time::UnixMillis;

/// What came of a bulk acceptance, or of an import of templates.
#[derive(Clone, Debug, PartialEq)]
pub enum Acceptance {
    /// The request is remembered: it was taken before and is not again (rule 4). The record stays as it is; what came of it
    /// then is what the record says now.
    AlreadyDone,
    /// The record is accepted or enrolled already, by another request: it stays as it is.
    AlreadyThere,
    /// The record is to be written.
    Changed(Box<Record>),
}

/// A photo that is to be accepted.
#[derive(Clone, Debug)]
pub struct BulkPhoto {
    /// What the job's photo is known by across its retries.
    pub request: RequestId,
    /// Where the photo was put.
    pub photo: PhotoKey,
    /// Photos of the record before that the writer has removed from the store.
    pub photos_removed: Vec<PhotoKey>,
}

/// A ready template with what is known of its face.
#[derive(Clone, Debug, PartialEq)]
pub struct ReadyFace {
    /// The face.
    pub detected: DetectedFace,
    /// The client's name for it.
    pub external_image_id: Option<ExternalImageId>,
}

/// Bulk acceptance: none, erased or refused → accepted, with the photo that was put. A record that is enrolled or accepted
/// already is unchanged, and reported as already there.
///
/// # Errors
/// Where the record remembers too many requests.
pub fn accept(
    origin: &Origin,
    before: Option<&Record>,
    bulk: BulkPhoto,
    write: Write,
) -> Result<Acceptance, Refusal> {
    let mut record = match begin(origin, before, &bulk.request, write)? {
        Begun::Record(record) => *record,
        Begun::Ended(acceptance) => return Ok(acceptance),
    };
    record.photos_to_remove.retain(|photo| !bulk.photos_removed.contains(photo));
    record.state = State::Accepted;
    // One that was set aside may still have its photo.
    record.photos_to_remove.extend(record.photo.replace(bulk.photo));
    record.requests.push(RememberedRequest { id: bulk.request, at: write.now, faces: Vec::new() });
    Ok(Acceptance::Changed(Box::new(record)))
}

/// Import of ready templates: none, erased or refused → enrolled, every template a new face. There is no photo, so none of
/// them is compared with another by its place.
///
/// # Errors
/// Where there are none or more than [`TEMPLATES_PER_RECORD_MAX`], or the record remembers too many requests or has given
/// every number.
pub fn import(
    origin: &Origin,
    before: Option<&Record>,
    (request, faces): (RequestId, Vec<ReadyFace>),
    write: Write,
) -> Result<Acceptance, Refusal> {
    if faces.is_empty() || faces.len() > TEMPLATES_PER_RECORD_MAX {
        return Err(Refusal::TemplatesOutOfRange);
    }
    let mut record = match begin(origin, before, &request, write)? {
        Begun::Record(record) => *record,
        Begun::Ended(acceptance) => return Ok(acceptance),
    };
    record.join_model(&origin.face_model)?;
    let mut numbers = Vec::with_capacity(faces.len());
    for ReadyFace { detected, external_image_id } in faces {
        let live = LiveFace { external_image_id, ..LiveFace::new(detected) };
        numbers.push(add_face(&mut record, live)?);
    }
    record.state = State::Enrolled;
    record.photos_to_remove.extend(record.photo.take());
    record.requests.push(RememberedRequest { id: request, at: write.now, faces: numbers });
    Ok(Acceptance::Changed(Box::new(record)))
}

/// Whether there is something to do.
enum Begun {
    Record(Box<Record>),
    Ended(Acceptance),
}

fn begin(
    origin: &Origin,
    before: Option<&Record>,
    request: &RequestId,
    write: Write,
) -> Result<Begun, Refusal> {
    if before.is_some_and(|record| record.remembered(request).is_some()) {
        return Ok(Begun::Ended(Acceptance::AlreadyDone));
    }
    let record = before.map_or_else(|| Record::begun(origin.clone(), write), Clone::clone).next(write);
    if matches!(record.state, State::Accepted | State::Enrolled) {
        return Ok(Begun::Ended(Acceptance::AlreadyThere));
    }
    if record.requests.len() >= REQUESTS_PER_RECORD_MAX {
        return Err(Refusal::TooManyRequests);
    }
    Ok(Begun::Record(Box::new(record)))
}

/// The embedding worker found faces, by that face model: accepted → enrolled. None where the record is no longer accepted: someone
/// else was faster.
///
/// # Errors
/// Where the record has given every number.
pub fn embedded(
    before: &Record,
    (face_model, faces): (&FaceModelName, Vec<DetectedFace>),
    expires_at: Option<UnixMillis>,
    write: Write,
) -> Result<Option<Record>, Refusal> {
    if before.state != State::Accepted {
        return Ok(None);
    }
    let mut record = before.next(write);
    // Where its photo had to go meanwhile, it stays refused.
    if record.state == State::Accepted {
        record.join_model(face_model)?;
        let numbers = add_faces(&mut record, faces, expires_at)?;
        record.state = State::Enrolled;
        record.answer_waiting(&numbers);
    }
    Ok(Some(record))
}

/// The embedding worker found no face, or no photo: accepted → refused; its photo is to be removed. None where the
/// record is no longer accepted.
#[must_use]
pub fn refuse(before: &Record, reason: &str, write: Write) -> Option<Record> {
    let mut record = set_aside(before, reason, write)?;
    record.photos_to_remove.extend(record.photo.take());
    Some(record)
}

/// The embedding worker could not say what the photo is, however often it tried: accepted → refused; its photo stays, so
/// that it can be tried again when that is mended. None where the record is no longer accepted.
#[must_use]
pub fn set_aside(before: &Record, reason: &str, write: Write) -> Option<Record> {
    if before.state != State::Accepted {
        return None;
    }
    let mut record = before.next(write);
    if record.state == State::Accepted {
        record.state = State::Refused(reason.to_owned());
        record.answer_waiting(&[]);
    }
    Some(record)
}

/// A photo that was set aside is to be tried again: refused with a photo → accepted. None from any other state.
#[must_use]
pub fn try_again(before: &Record, write: Write) -> Option<Record> {
    let mut record = before.next(write);
    if !matches!(record.state, State::Refused(_)) || record.photo.is_none() {
        return None;
    }
    record.state = State::Accepted;
    Some(record)
}
