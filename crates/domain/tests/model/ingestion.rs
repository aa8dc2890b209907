//! Ingestion: enrols and deletes.

use std::time::Duration;

use vidimus_domain::face::DetectedFace;
use vidimus_domain::record::{
    Enrolled, Enrolment, Erasure, Origin, PhotoKey, Record, Write, enrol, erase, is_fresh, without_stale,
};
use vidimus_domain::{FaceId, FaceNumber, ImageId, RequestId};

use crate::executor::{Kind, Lost, Process};
use crate::indexing;
use crate::models::{self, by_model};
use crate::random::{hours, minutes};
use crate::records::{PutPhoto, Written};
use crate::reply::Reply;
use crate::rules::Rule;
use crate::users;
use crate::world::Cause;

/// What a client asks to enrol.
pub struct EnrolmentRequest {
    /// Its number for the auditor.
    pub number: u64,
    pub id: RequestId,
    pub origin: Origin,
    pub faces: Vec<DetectedFace>,
    pub expires_after: Option<Duration>,
}

/// The longest that an enrolment waits for its projection, as `searchable_wait_ms`.
const SEARCHABLE_WAIT: Duration = Duration::from_secs(1);

/// Enrols. On return the record is written and its change appended.
pub async fn index_faces(process: &Process, request: &EnrolmentRequest) -> Result<Vec<FaceId>, Lost> {
    let (record, faces, now) = enrolled(process, request).await?;
    if !now && !process.keeps(Rule::EnrolmentAppendsAgain) {
        return Ok(ids(&record, &faces));
    }
    process.append_change_of(&record).await?;
    // Past the wait it answers all the same: the log's consumer is the safety net.
    let _ = project_now(process, record.origin.image, SEARCHABLE_WAIT).await;
    let is_completed = process.with(|world| world.models_turn) && process.keeps(Rule::EnrolmentsAreCompleted);
    while is_completed && models::complete(process, record.origin.image).await? {
        process.append_change(record.origin.image, Vec::new()).await?;
        let _ = project_now(process, record.origin.image, SEARCHABLE_WAIT).await;
    }
    Ok(ids(&record, &faces))
}

fn ids(record: &Record, faces: &[FaceNumber]) -> Vec<FaceId> {
    faces.iter().map(|number| record.face_id(*number)).collect()
}

/// Brings the record to hold the request's faces, by compare-and-swap, and says whether it did so now.
async fn enrolled(
    process: &Process,
    request: &EnrolmentRequest,
) -> Result<(Record, Vec<FaceNumber>, bool), Lost> {
    let began = process.now();
    let mut photo = None;
    loop {
        if !is_fresh(began, process.now()) && process.keeps(Rule::AttemptDeadline) {
            process.count("an attempt was too old");
            return Err(Lost);
        }
        let read = process.read_record(request.origin.image).await?;
        if let Some((record, faces)) = remembered(process, request, read.record.as_ref()) {
            process.count("a retry found its enrolment");
            return Ok((record, faces, false));
        }
        let photos_removed = process.remove_photos(read.record.as_ref()).await;
        let put = fresh_photo(process, request.origin.image, photo.take()).await?;
        let enrolment = enrolment(process, request, put.key.clone(), photos_removed);
        let write = Write { now: process.now(), nonce: process.nonce(), cutoffs: process.cutoffs() };
        let model = process.believed_placements().face_model;
        let enrolment = Enrolment { faces: by_model(&enrolment.faces, &model), ..enrolment };
        let origin = Origin { face_model: model, ..request.origin.clone() };
        let Ok(Enrolled::Changed { record, faces, photo_named }) =
            enrol(&origin, read.record.as_ref(), enrolment, write)
        else {
            return Err(Lost);
        };
        let in_time = is_fresh(put.at, process.now()) || !process.keeps(Rule::PhotoFreshness);
        let cause = Cause::Enrolment(request.number);
        if in_time && process.write_record(&record, &read, cause).await? == Written::Yes {
            if !photo_named {
                // Else the sweep removes it after a day.
                let _ = process.remove_photo(request.origin.image, &put.key).await;
            }
            return Ok((*record, faces, true));
        }
        photo = Some(put);
    }
}

fn remembered(
    process: &Process,
    request: &EnrolmentRequest,
    record: Option<&Record>,
) -> Option<(Record, Vec<FaceNumber>)> {
    let record = record.filter(|_| process.keeps(Rule::RequestMemory))?;
    let remembered = record.remembered(&request.id)?;
    Some((record.clone(), remembered.faces.clone()))
}

fn enrolment(
    process: &Process,
    request: &EnrolmentRequest,
    photo: PhotoKey,
    photos_removed: Vec<PhotoKey>,
) -> Enrolment {
    let forgotten = || process.nonce().to_string().parse().expect("a nonce is a request id");
    Enrolment {
        request: if process.keeps(Rule::RequestMemory) { request.id.clone() } else { forgotten() },
        faces: request.faces.clone(),
        photo,
        expires_at: request.expires_after.map(|after| process.now().plus(after)),
        photos_removed,
    }
}

/// The photo that was put, or another where an hour has passed since (rule 7).
async fn fresh_photo(process: &Process, image: ImageId, put: Option<PutPhoto>) -> Result<PutPhoto, Lost> {
    match put {
        Some(put) if is_fresh(put.at, process.now()) || !process.keeps(Rule::PhotoFreshness) => Ok(put),
        Some(_) => {
            process.count("a photo was put again");
            process.put_photo(image).await
        }
        None => process.put_photo(image).await,
    }
}

/// Deletes faces of one image. On return none of them matches any more.
pub async fn delete_faces(
    process: &Process,
    image: ImageId,
    faces: &[FaceNumber],
) -> Result<Vec<FaceId>, Lost> {
    let Some((record, erased, now)) = erased(process, image, faces).await? else { return Ok(Vec::new()) };
    if !now && !process.keeps(Rule::DeletionProjectsAgain) {
        return Ok(ids(&record, &erased));
    }
    process.remove_photos(Some(&record)).await;
    if process.keeps(Rule::DeletionAppends) {
        process.append_change_of(&record).await?;
    }
    if process.keeps(Rule::DeletionProjects) {
        let wait = process.with(|world| world.random.between(minutes(0), hours(1)));
        project_now(process, image, wait).await?;
    }
    Ok(ids(&record, &erased))
}

/// Brings the record to have these faces erased, by compare-and-swap, and says whether it did so now. None where there
/// is no such record.
async fn erased(
    process: &Process,
    image: ImageId,
    faces: &[FaceNumber],
) -> Result<Option<(Record, Vec<FaceNumber>, bool)>, Lost> {
    loop {
        let read = process.read_record(image).await?;
        let Some(before) = &read.record else { return Ok(None) };
        let stale = users::stale_claims(process, before, faces).await?;
        let before = &without_stale(before, faces, &stale);
        let write = Write { now: process.now(), nonce: process.nonce(), cutoffs: process.cutoffs() };
        match erase(before, faces, write) {
            Erasure { record: Some(record), erased, .. } => {
                if process.write_record(&record, &read, Cause::Deletion).await? == Written::Yes {
                    return Ok(Some((*record, erased, true)));
                }
            }
            Erasure { record: None, erased, .. } => {
                process.count("a retry found its deletion");
                return Ok(Some((before.clone(), erased, false)));
            }
        }
    }
}

/// Asks indexing to project the record now, and waits for it.
pub async fn project_now(process: &Process, image: ImageId, wait: Duration) -> Result<(), Lost> {
    let reply = Reply::default();
    let answered = reply.clone();
    process.spawn(Kind::Server, "projection", |indexing| async move {
        let epoch = indexing.with(|world| world.index.epoch);
        answered.give(indexing::project(&indexing, epoch, image, &[]).await);
    });
    reply.wait(process, wait).await
}
