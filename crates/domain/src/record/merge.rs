//! The transition of an import: what an exported state of a record knows is brought into the record as it is here.
//!
//! The two may have gone apart since the export. Erasure is for good: a face that is erased on either side is erased. Of two
//! live states of a face the later is taken. A face that never was here joins. So an import brings no face back that was deleted
//! meanwhile, and an export that was taken later brings its deletions along.

use super::{Face, FaceBody, Record, State, Write};
use crate::ids::{FaceId, Version};
use crate::limits::REQUESTS_PER_RECORD_MAX;
use crate::retention::Cutoffs;
use crate::user::Claim;

/// The record with what `imported` adds to it; none where it adds nothing, or has no templates of the record's face model. Where it names the imported photo, that is to be put
/// before it.
#[must_use]
pub fn merge(here: &Record, imported: &Record, write: Write) -> Option<Record> {
    let mut record = here.next(write);
    record.version = record.version.max(Version::new(imported.version.get() + 1));
    let mut is_changed = false;
    let mut joined = Vec::new();
    let imported = &imported.clone().only_of(&record.origin.face_model).ok()?;
    for theirs in &imported.faces {
        match record.faces.iter_mut().find(|face| face.number == theirs.number) {
            Some(ours) => is_changed |= merge_face(ours, theirs, (record.version, write)),
            None if u32::from(theirs.number.get()) >= record.next_number => {
                record.next_number = u32::from(theirs.number.get()) + 1;
                record.faces.push(Face { version: record.version, ..theirs.clone() });
                is_changed = true;
                joined.extend(theirs.live().map(|_| theirs.number));
            }
            None => {}
        }
    }
    if !is_changed {
        return None;
    }
    record.next_number = record.next_number.max(imported.next_number);
    if !joined.is_empty() {
        if record.state == State::Accepted {
            record.answer_waiting(&joined);
        }
        record.state = State::Enrolled;
        take_photo(&mut record, imported, write);
    }
    record.settle();
    remember_requests(&mut record, imported);
    Some(record)
}

/// Where the two are one face; a number that two histories gave to two faces stays the one's that is here.
fn merge_face(ours: &mut Face, theirs: &Face, (version, write): (Version, Write)) -> bool {
    if ours.enrolled_at != theirs.enrolled_at || ours.live().is_none() {
        return false;
    }
    match &theirs.body {
        FaceBody::Erased { .. } => ours.body = FaceBody::Erased { at: write.now },
        FaceBody::Live(live) if theirs.version > ours.version => {
            // One face's templates are the same on either side; which ones it needs is known here.
            let mut live = live.clone();
            if let Some(ours) = ours.live() {
                live.detected.template = ours.detected.template.clone();
                live.other_template = ours.other_template.clone();
            }
            ours.body = FaceBody::Live(live);
        }
        FaceBody::Live(_) => return false,
    }
    ours.version = version;
    true
}

/// The imported photo, where the record has none and this one was never removed from it: a key is never used again (rule 7).
fn take_photo(record: &mut Record, imported: &Record, write: Write) {
    let kept = imported.photo_kept(write.cutoffs).filter(|photo| !record.photos_to_remove.contains(photo));
    if record.photo.is_none() {
        record.photo = kept.cloned();
    }
}

fn remember_requests(record: &mut Record, imported: &Record) {
    for request in &imported.requests {
        if record.requests.len() < REQUESTS_PER_RECORD_MAX && record.remembered(&request.id).is_none() {
            record.requests.push(request.clone());
        }
    }
}

/// Takes out the claims that their users do not name: an export is not of one moment, and a claim without its user's
/// reservation could not be found by whoever deletes the user.
#[must_use]
pub fn with_named_claims(mut record: Record, is_named: impl Fn(FaceId, &Claim) -> bool) -> Record {
    let image = record.origin.image;
    for face in &mut record.faces {
        if let FaceBody::Live(live) = &mut face.body {
            live.user = live.user.take().filter(|claim| is_named(image.face(face.number), claim));
        }
    }
    record
}

/// Whether a record that is removed must be remembered as gone: an older export may have a face of it that no retention rule
/// lets go by itself.
#[must_use]
pub fn must_be_remembered(record: &Record, cutoffs: Cutoffs) -> bool {
    record.faces.iter().any(|face| cutoffs.faces.is_none_or(|cutoff| face.enrolled_at > cutoff))
}
