//! The bulk lane's door: photos are stored and accepted here and embedded later, ready templates are enrolled at once. What
//! has come of each is read from its record.

mod photos;
mod templates;

use futures::stream::{self, StreamExt, TryStreamExt};
use vidimus_domain::catalog::Collection;
use vidimus_domain::event::{Audit, AuditedAction};
use vidimus_domain::record::{Face, LiveFace, Record, State, WantedModels};
use vidimus_domain::{ErrorCode, FaceNumber, Failure, ImageId, RequestId, UnixMillis};
use vidimus_proto::internal::v1;
use vidimus_runtime::errors::failure_from_port;
use vidimus_runtime::requests::{NamedCollection, named_collection, no_such_collection};

use crate::Ingestion;

/// Images that may be asked about at once.
const ASKED_MAX: usize = 1000;
/// Records that one answer reads at a time.
const CONCURRENT_RECORDS: usize = 8;
/// The longest that a job's id may be, and a photo's name in it.
const JOB_ID_BYTES_MAX: usize = 64;
const NAME_BYTES_MAX: usize = 1024;

impl Ingestion {
    pub(crate) async fn states(
        &self,
        request: v1::BulkStatesRequest,
    ) -> Result<v1::BulkStatesResponse, Failure> {
        let named = named_collection(request.collection.as_ref())?;
        let collection = self.live_collection(&named).await?;
        let job = job_request(&request.job_id)?;
        if request.image_ids.len() > ASKED_MAX {
            return Err(invalid("too many images were asked about"));
        }
        let images = request.image_ids.iter().map(|bytes| ImageId::from_bytes(bytes));
        let images = images.collect::<Result<Vec<_>, _>>()?;
        let states = images.into_iter().map(|image| self.state_of(&collection, image, &job));
        let states = stream::iter(states).buffered(CONCURRENT_RECORDS).try_collect().await?;
        Ok(v1::BulkStatesResponse { states })
    }

    async fn state_of(
        &self,
        collection: &Collection,
        image: ImageId,
        job: &RequestId,
    ) -> Result<v1::BulkState, Failure> {
        let read = self.records.read(&collection.part(), image).await.map_err(failure_from_port)?;
        // Looked at after the record: a move that is not known yet says this record itself.
        let believed = self.deps.catalog.collection_by_part(&collection.part()).await?;
        let believed = believed.ok_or_else(|| no_such_collection(&collection.name))?;
        Ok(match &read.record {
            Some(record) => state(record, job, (&believed, self.deps.clock.now())),
            None => with_outcome(image, v1::BulkOutcome::Gone),
        })
    }

    /// Says on the audit log that a job brought this image in.
    async fn audit_bulk(
        &self,
        (named, caller): (&NamedCollection, Option<&v1::Caller>),
        (job, record): (&RequestId, &Record),
        faces: Vec<FaceNumber>,
    ) -> Result<(), Failure> {
        let audit = Audit {
            part: named.part,
            collection: named.name.to_string(),
            request_id: job.to_string(),
            principal: caller.map(|caller| caller.principal.clone()).unwrap_or_default(),
            at: self.deps.clock.now(),
            what: AuditedAction::Enrolment { image: record.origin.image, faces },
        };
        self.audit.append(&audit).await.map_err(failure_from_port)?;
        Ok(())
    }
}

/// What a job is known by in the records that it touches.
fn job_request(job_id: &str) -> Result<RequestId, Failure> {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
    if job_id.is_empty() || job_id.len() > JOB_ID_BYTES_MAX || !job_id.bytes().all(is_allowed) {
        return Err(invalid("a job's id has 1 to 64 of letters, digits, `_`, `.`, `-`"));
    }
    Ok(format!("bulk-{job_id}").parse()?)
}

/// What an image without a name of its own is derived from: its name in its job.
fn name_in_job(job: &RequestId, name: &str) -> Result<String, Failure> {
    if name.is_empty() || name.len() > NAME_BYTES_MAX {
        return Err(invalid("a photo's name in its job has 1 to 1,024 bytes"));
    }
    Ok(format!("{job}:{name}"))
}

fn invalid(message: &str) -> Failure {
    Failure::new(ErrorCode::InvalidParameter, message)
}

/// What has come of the image, as its record says it to this job. A collection that turns to another face model has the photo wait for
/// its templates of both.
fn state(record: &Record, job: &RequestId, (collection, now): (&Collection, UnixMillis)) -> v1::BulkState {
    let horizon = collection.horizon(now);
    let is_whole = record.photo.is_none() || record.has_models(&WantedModels::of(&collection.placements));
    let of = |outcome| with_outcome(record.origin.image, outcome);
    let ids = |faces: Vec<(&Face, &LiveFace)>| {
        faces.iter().map(|(face, _)| record.face_id(face.number).to_bytes().to_vec()).collect()
    };
    match &record.state {
        State::Accepted if record.waits_for(job) => of(v1::BulkOutcome::Waiting),
        State::Accepted => of(v1::BulkOutcome::Gone),
        State::Refused(reason) => v1::BulkState { reason: reason.clone(), ..of(v1::BulkOutcome::Refused) },
        State::Erased => of(v1::BulkOutcome::Gone),
        State::Enrolled if !is_whole => of(v1::BulkOutcome::Waiting),
        State::Enrolled => {
            let own = record.remembered(job);
            let is_own = |number| own.is_none_or(|own| own.faces.contains(&number));
            let live = record.live_faces(horizon).filter(|(face, _)| is_own(face.number)).collect::<Vec<_>>();
            let outcome = match own {
                _ if live.is_empty() => v1::BulkOutcome::Gone,
                Some(_) => v1::BulkOutcome::Enrolled,
                None => v1::BulkOutcome::AlreadyThere,
            };
            v1::BulkState { face_ids: ids(live), ..of(outcome) }
        }
    }
}

fn with_outcome(image: ImageId, outcome: v1::BulkOutcome) -> v1::BulkState {
    v1::BulkState { image_id: image.to_bytes().to_vec(), outcome: outcome.into(), ..v1::BulkState::default() }
}
