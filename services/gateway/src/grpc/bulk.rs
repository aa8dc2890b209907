//! BulkIndex: a job's photos as one stream, and what comes of each as another.
//!
//! No body is read ahead: the stream's own flow control holds a client back that sends faster than photos are accepted. Its
//! room among the bodies is taken once, for the photos that it may have in hand.

use std::sync::Arc;

use futures::stream::{self, StreamExt};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};
use vidimus_domain::limits::PHOTO_BYTES_MAX;
use vidimus_domain::{ErrorCode, FaceId, Failure, ImageId};
use vidimus_proto::api;
use vidimus_proto::internal::v1;
use vidimus_runtime::bulk::{BulkJob, JobAnswer, JobAnswers, JobPhoto};

use super::Call;
use super::streams::Stream;
use crate::error::{ApiError, ErrorType};
use crate::listener::Ending;
use crate::services::collection_ref;

/// The method's name.
pub(super) const METHOD: &str = "BulkIndex";

/// An open stream of answers.
struct Open {
    answers: JobAnswers,
    call: Call,
    ending: CancellationToken,
    has_failed: bool,
}

pub(super) async fn index(
    request: Request<Streaming<api::BulkIndexRequest>>,
) -> Result<Response<Stream<api::BulkIndexResponse>>, Status> {
    let call = Call::of(&request)?;
    let ending = request.extensions().get::<Ending>().cloned().unwrap_or_default().0;
    let mut messages = request.into_inner();
    let begun = begin(&call, &mut messages).await.map_err(|error| call.refuse(&error))?;
    let (job, first) = begun;
    let first = stream::iter(first.photo.map(|photo| Ok(Some(job_photo(photo)))));
    let more = messages.map(|message| match message {
        Ok(message) => Ok(message.photo.map(job_photo)),
        Err(_) => Err(broken_off()),
    });
    let answers = job.run(first.chain(Box::pin(more)));
    let open = Open { answers, call, ending, has_failed: false };
    Ok(Response::new(stream::unfold(open, next).boxed()))
}

/// Reads the first message, which names collection and job.
async fn begin(
    call: &Call,
    messages: &mut Streaming<api::BulkIndexRequest>,
) -> Result<(BulkJob, api::BulkIndexRequest), ApiError> {
    let silence_max = call.inner.config.body_read_timeout;
    let first = tokio::time::timeout(silence_max, messages.message()).await;
    let first = first.map_err(|_| ApiError::new(ErrorType::RequestTimeout, "No first message has come."))?;
    let first = first.map_err(|_| ApiError::from(broken_off()))?;
    let first = first.ok_or_else(|| wrong("the stream has no message."))?;
    let services = &call.inner.services;
    let collection = services.collection(&call.context, &first.collection_id).await?;
    if first.job_id.is_empty() {
        return Err(wrong("the first message needs a job_id."));
    }
    call.context.admission.operation(crate::operation::Kind::Enrolment)?;
    let job = BulkJob {
        ingestion: Arc::clone(&services.deps.ingestion),
        clock: Arc::clone(&services.deps.clock),
        random: Arc::clone(&services.deps.random),
        collection: collection_ref(&collection),
        caller: call.context.caller(),
        job_id: first.job_id.clone(),
        silence_max,
    };
    Ok((job, first))
}

/// The next answer; a failure ends the stream.
async fn next(mut open: Open) -> Option<(Result<api::BulkIndexResponse, Status>, Open)> {
    if open.has_failed {
        return None;
    }
    let answer = tokio::select! {
        answer = open.answers.recv() => answer?,
        () = open.ending.cancelled() => Err(Failure::unavailable(
            "the service is shutting down: begin the job again",
            std::time::Duration::from_secs(5),
        )),
    };
    let answer = answer.map_err(ApiError::from).and_then(response);
    open.has_failed = answer.is_err();
    let answer = answer.map_err(|error| open.call.refuse(&error));
    Some((answer, open))
}

fn job_photo(photo: api::BulkPhoto) -> JobPhoto {
    let bytes = if photo.bytes.len() > PHOTO_BYTES_MAX {
        let message = format!("the photo has more than {PHOTO_BYTES_MAX} bytes");
        Err(Failure::new(ErrorCode::ImageTooLarge, message))
    } else {
        Ok(photo.bytes)
    };
    let external_image_id = photo.external_image_id.unwrap_or_default();
    JobPhoto { name: photo.name, external_image_id, photo: bytes }
}

fn response(answer: JobAnswer) -> Result<api::BulkIndexResponse, ApiError> {
    let empty = api::BulkIndexResponse { name: answer.name, ..api::BulkIndexResponse::default() };
    let state = match answer.state {
        Ok(state) => state,
        Err(failure) => {
            let outcome = if failure.is_retryable() { "FAILED" } else { "REFUSED" };
            return Ok(api::BulkIndexResponse {
                outcome: outcome.to_owned(),
                reason: ApiError::from(failure).message,
                ..empty
            });
        }
    };
    let malformed = |_| ApiError::internal();
    let ids = state.face_ids.iter().map(|id| FaceId::from_bytes(id).map(|id| id.to_string()));
    Ok(api::BulkIndexResponse {
        outcome: outcome_name(state.outcome()).to_owned(),
        image_id: ImageId::from_bytes(&state.image_id).map_err(malformed)?.to_string(),
        reason: state.reason,
        face_ids: ids.collect::<Result<_, _>>().map_err(malformed)?,
        ..empty
    })
}

/// A photo is answered only when it does not wait any more.
const fn outcome_name(outcome: v1::BulkOutcome) -> &'static str {
    match outcome {
        v1::BulkOutcome::Enrolled => "ENROLLED",
        v1::BulkOutcome::AlreadyThere => "ALREADY_THERE",
        v1::BulkOutcome::Refused => "REFUSED",
        v1::BulkOutcome::Gone => "GONE",
        v1::BulkOutcome::Waiting | v1::BulkOutcome::Unspecified => "FAILED",
    }
}

fn broken_off() -> Failure {
    Failure::new(ErrorCode::InvalidParameter, "the stream broke off: begin the job again")
}

fn wrong(message: &str) -> ApiError {
    ApiError::new(ErrorType::InvalidParameter, format!("Request has invalid parameters: {message}"))
}
