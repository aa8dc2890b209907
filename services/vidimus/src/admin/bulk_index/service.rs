//! The running service's side of bulk jobs, on the operators' port, for who has the administration's token.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use futures::stream::{self, Stream, StreamExt};
use tonic::{Request, Response, Status, Streaming};
use vidimus_domain::catalog::Collection;
use vidimus_domain::limits::PHOTO_OBJECT_BYTES_MAX;
use vidimus_domain::{ErrorCode, Failure};
use vidimus_ports::{Clock, Random};
use vidimus_proto::internal::v1;
use vidimus_proto::internal::v1::bulk_administration_server::{BulkAdministration, BulkAdministrationServer};
use vidimus_proto::internal::v1::ingestion_server::Ingestion;
use vidimus_runtime::bulk::{BulkJob, JobAnswer, JobPhoto};
use vidimus_runtime::catalog::Catalog;
use vidimus_runtime::errors::status_from_failure;
use vidimus_runtime::requests::no_such_collection;

use super::MESSAGE_BYTES_MAX;
use crate::admin::collections::PRINCIPAL;
use crate::operators::is_bearer;

/// How long a job's sender may be silent while nothing is waited for.
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// Brings in what administrators send.
#[derive(Clone)]
pub struct BulkService {
    /// Takes photos and templates.
    pub ingestion: Arc<dyn Ingestion>,
    /// Tenants and collections.
    pub catalog: Arc<Catalog>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// For jitter.
    pub random: Arc<dyn Random>,
    /// What callers must have.
    pub token: String,
}

type Answers = std::pin::Pin<Box<dyn Stream<Item = Result<v1::IndexPhotosResponse, Status>> + Send>>;

impl BulkService {
    /// Its routes, to be merged with the others of the port.
    pub(crate) fn router<S: Clone + Send + Sync + 'static>(self) -> Router<S> {
        let server = BulkAdministrationServer::new(self)
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX);
        Router::new().route_service("/vidimus.internal.v1.BulkAdministration/{method}", server)
    }

    fn authorize<T>(&self, request: &Request<T>) -> Result<(), Status> {
        let sent = request.metadata().get("authorization").and_then(|value| value.to_str().ok());
        if is_bearer(sent, &self.token) {
            return Ok(());
        }
        let message = "administration needs the service's token";
        Err(status_from_failure(&Failure::new(ErrorCode::Unauthenticated, message)))
    }

    async fn collection(&self, target: &v1::BulkTarget) -> Result<Arc<Collection>, Failure> {
        let tenant = self.catalog.tenant(&target.tenant.parse()?).await?;
        let name = target.collection.parse()?;
        let found = self.catalog.collection(tenant.id, &name).await?;
        found.ok_or_else(|| no_such_collection(&name))
    }

    async fn begin(
        &self,
        messages: &mut Streaming<v1::IndexPhotosRequest>,
    ) -> Result<(BulkJob, Option<v1::JobPhoto>), Failure> {
        let missing = || Failure::new(ErrorCode::InvalidParameter, "the first message names the target");
        let first = tokio::time::timeout(SILENCE_MAX, messages.message()).await;
        let first = first.ok().and_then(Result::ok).flatten().ok_or_else(missing)?;
        let target = first.target.ok_or_else(missing)?;
        let collection = self.collection(&target).await?;
        let job = BulkJob {
            ingestion: Arc::clone(&self.ingestion),
            clock: Arc::clone(&self.clock),
            random: Arc::clone(&self.random),
            collection: reference(&collection),
            caller: caller(&target),
            job_id: target.job_id,
            silence_max: SILENCE_MAX,
        };
        Ok((job, first.photo))
    }

    async fn import(&self, request: v1::IndexTemplatesRequest) -> Result<v1::BulkState, Status> {
        let target = request.target.unwrap_or_default();
        let collection = self.collection(&target).await.map_err(|failure| status_from_failure(&failure))?;
        let import = v1::ImportTemplatesRequest {
            collection: Some(reference(&collection)),
            caller: Some(caller(&target)),
            job_id: target.job_id,
            name: request.name,
            face_model: request.face_model,
            templates: request.templates,
        };
        self.ingestion.import_templates(Request::new(import)).await.map(Response::into_inner)
    }
}

#[tonic::async_trait]
impl BulkAdministration for BulkService {
    type IndexPhotosStream = Answers;

    async fn check(&self, request: Request<v1::BulkTarget>) -> Result<Response<v1::BulkCheck>, Status> {
        self.authorize(&request)?;
        let found = self.collection(request.get_ref()).await;
        found.map(|_| Response::new(v1::BulkCheck {})).map_err(|failure| status_from_failure(&failure))
    }

    async fn index_photos(
        &self,
        request: Request<Streaming<v1::IndexPhotosRequest>>,
    ) -> Result<Response<Answers>, Status> {
        self.authorize(&request)?;
        let mut messages = request.into_inner();
        let begun = self.begin(&mut messages).await.map_err(|failure| status_from_failure(&failure))?;
        let (job, first) = begun;
        let first = stream::iter(first.map(|photo| Ok(Some(job_photo(photo)))));
        let more = messages.map(|message| match message {
            Ok(message) => Ok(message.photo.map(job_photo)),
            Err(_) => Err(Failure::new(ErrorCode::InvalidParameter, "the stream broke off")),
        });
        let answers = job.run(first.chain(Box::pin(more)));
        let next = async |mut answers: vidimus_runtime::bulk::JobAnswers| {
            let answer = answers.recv().await?;
            let answer = answer.map(response).map_err(|failure| status_from_failure(&failure));
            Some((answer, answers))
        };
        Ok(Response::new(stream::unfold(answers, next).boxed()))
    }

    async fn index_templates(
        &self,
        request: Request<v1::IndexTemplatesRequest>,
    ) -> Result<Response<v1::BulkState>, Status> {
        self.authorize(&request)?;
        self.import(request.into_inner()).await.map(Response::new)
    }
}

fn reference(collection: &Collection) -> v1::CollectionRef {
    v1::CollectionRef {
        tenant: collection.tenant.to_string(),
        uid: collection.uid.to_string(),
        name: collection.name.to_string(),
    }
}

fn caller(target: &v1::BulkTarget) -> v1::Caller {
    v1::Caller { request_id: format!("bulk-{}", target.job_id), principal: PRINCIPAL.to_owned() }
}

fn job_photo(photo: v1::JobPhoto) -> JobPhoto {
    let bytes = if photo.photo.len() > PHOTO_OBJECT_BYTES_MAX {
        let message = format!("it has more than {PHOTO_OBJECT_BYTES_MAX} bytes");
        Err(Failure::new(ErrorCode::ImageTooLarge, message))
    } else {
        Ok(photo.photo)
    };
    JobPhoto { name: photo.name, external_image_id: photo.external_image_id, photo: bytes }
}

/// A photo that could not be brought in now is one that waits; one that is refused for good says why.
fn response(answer: JobAnswer) -> v1::IndexPhotosResponse {
    let state = answer.state.unwrap_or_else(|failure| {
        let outcome =
            if failure.is_retryable() { v1::BulkOutcome::Waiting } else { v1::BulkOutcome::Refused };
        v1::BulkState { outcome: outcome.into(), reason: failure.message, ..v1::BulkState::default() }
    });
    v1::IndexPhotosResponse { name: answer.name, state: Some(state) }
}
