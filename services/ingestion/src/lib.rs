//! The ingestion role: writes records and users. It enrols photos, one by one or in bulk, deletes faces and gathers them in
//! users; the record's compare-and-swap decides, the log is told, and indexing is asked to project before the answer.

mod bulk;
mod chosen;
mod delete;
mod enrol;
mod maker;
mod metrics;
mod users;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use prometheus_client::registry::Registry;
use serde::{Deserialize, Serialize};
use tonic::{Request, Response, Status};
use vidimus_domain::event::Change;
use vidimus_domain::record::Record;
use vidimus_domain::{Failure, ImageId, Part};
use vidimus_ports::{BlobStore, Clock, EventLog, Random, Topic};
use vidimus_proto::internal::v1;
use vidimus_proto::internal::v1::embedding_server::Embedding;
use vidimus_proto::internal::v1::indexing_server::Indexing;
use vidimus_runtime::accepted_photos::AcceptedPhotos;
use vidimus_runtime::audit::AuditLog;
use vidimus_runtime::backlog::{Backlog, BacklogLimit};
use vidimus_runtime::catalog::Catalog;
use vidimus_runtime::changes::Changes;
use vidimus_runtime::client_tokens::ClientTokens;
use vidimus_runtime::completion::Completion;
use vidimus_runtime::errors::{failure_from_port, failure_from_status, status_from_failure};
use vidimus_runtime::models::FaceModels;
use vidimus_runtime::records::Records;
use vidimus_runtime::traces;
use vidimus_runtime::users::Users;

use metrics::Metrics;

/// How ingestion behaves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct IngestionConfig {
    /// How long an enrolment waits until its faces are searchable; past it, it answers all the same.
    #[serde(with = "humantime_serde")]
    pub searchable_wait: Duration,
    /// How long a deletion waits until its faces are unsearchable; past it, it answers with a retryable error.
    #[serde(with = "humantime_serde")]
    pub deletion_wait: Duration,
    /// Changes that may wait to be projected; past it, enrolments are refused.
    pub backlog_changes_max: u64,
    /// Photos of bulk jobs that may wait to be embedded; past it, jobs are told to wait.
    pub backlog_photos_max: u64,
}

impl Default for IngestionConfig {
    fn default() -> Self {
        Self {
            searchable_wait: Duration::from_secs(1),
            deletion_wait: Duration::from_secs(10),
            backlog_changes_max: 1_000_000,
            backlog_photos_max: 100_000,
        }
    }
}

/// What ingestion stands on.
#[derive(Clone)]
pub struct IngestionDeps {
    /// Records and photos.
    pub blobs: Arc<dyn BlobStore>,
    /// Changes and audit records.
    pub log: Arc<dyn EventLog>,
    /// Turns photos into faces.
    pub embedding: Arc<dyn Embedding>,
    /// Projects what was written.
    pub indexing: Arc<dyn Indexing>,
    /// Collections.
    pub catalog: Arc<Catalog>,
    /// What scores mean.
    pub face_models: Arc<FaceModels>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Nonces and ids.
    pub random: Arc<dyn Random>,
}

/// The role.
pub struct Ingestion {
    config: IngestionConfig,
    deps: IngestionDeps,
    records: Records,
    completion: Completion,
    users: Users,
    tokens: ClientTokens,
    changes: Changes,
    accepted_photos: AcceptedPhotos,
    audit: AuditLog,
    backlog: Backlog,
    photos_backlog: Backlog,
    metrics: Metrics,
}

impl Ingestion {
    /// A role that stands on `deps`.
    #[must_use]
    pub fn new(config: IngestionConfig, deps: IngestionDeps, registry: &mut Registry) -> Self {
        let records = Records::new(Arc::clone(&deps.blobs), Arc::clone(&deps.clock));
        let completion = Completion::new(&deps.blobs, &deps.catalog, &deps.clock, &deps.random);
        let backlog = |limit| Backlog::new(Arc::clone(&deps.log), Arc::clone(&deps.clock), limit);
        Self {
            backlog: backlog(BacklogLimit {
                topic: Topic::Changes,
                records_max: config.backlog_changes_max,
                message: "too many enrolments wait to become searchable; try again later",
            }),
            photos_backlog: backlog(BacklogLimit {
                topic: Topic::Photos,
                records_max: config.backlog_photos_max,
                message: "too many photos wait to be embedded; try again later",
            }),
            records,
            completion,
            users: Users::new(Arc::clone(&deps.blobs), Arc::clone(&deps.clock)),
            tokens: ClientTokens::new(Arc::clone(&deps.blobs), Arc::clone(&deps.clock)),
            changes: Changes::new(Arc::clone(&deps.log)),
            accepted_photos: AcceptedPhotos::new(Arc::clone(&deps.log)),
            audit: AuditLog::new(Arc::clone(&deps.log)),
            metrics: Metrics::new(registry),
            config,
            deps,
        }
    }

    /// Says on the log that the record has changed.
    async fn say_changed(&self, record: &Record) -> Result<(), Failure> {
        let change = Change {
            part: record.origin.part,
            image: record.origin.image,
            seen: record.faces.iter().map(|face| (face.number, face.version)).collect(),
            at: self.deps.clock.now(),
        };
        self.changes.append(&change).await.map_err(failure_from_port)?;
        Ok(())
    }

    /// Asks indexing to project these records as they are now; waits `wait` at most.
    async fn project(&self, part: &Part, images: &[ImageId], wait: Duration) -> Result<(), Failure> {
        let request = v1::ProjectRequest {
            tenant: part.tenant.to_string(),
            collection_uid: part.collection.to_string(),
            image_ids: images.iter().map(|image| image.to_bytes().to_vec()).collect(),
        };
        let projected = self.deps.indexing.project(Request::new(request));
        match tokio::time::timeout(wait, projected).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(status)) => Err(failure_from_status(&status)),
            Err(_) => Err(Failure::unavailable("the index is slow", Duration::from_secs(1))),
        }
    }
}

#[async_trait]
impl v1::ingestion_server::Ingestion for Ingestion {
    async fn index_faces(
        &self,
        request: Request<v1::IndexFacesRequest>,
    ) -> Result<Response<v1::IndexFacesResponse>, Status> {
        let answer = traces::step("enrol photo", self.enrol_photo(request.into_inner())).await;
        self.metrics.enrolment(answer.as_ref().map(|answer| answer.faces.len()));
        answer.map(Response::new).map_err(|failure| status_from_failure(&failure))
    }

    async fn delete_faces(
        &self,
        request: Request<v1::DeleteFacesRequest>,
    ) -> Result<Response<v1::DeleteFacesResponse>, Status> {
        let answer = traces::step("erase faces", self.delete(request.into_inner())).await;
        self.metrics.deletion(answer.as_ref().map(|answer| answer.deleted.len()));
        answer.map(Response::new).map_err(|failure| status_from_failure(&failure))
    }

    async fn accept_photo(
        &self,
        request: Request<v1::AcceptPhotoRequest>,
    ) -> Result<Response<v1::BulkState>, Status> {
        let answer = traces::step("accept photo", self.take_photo(request.into_inner())).await;
        self.metrics.bulk("photo", answer.as_ref().map(v1::BulkState::outcome));
        answer.map(Response::new).map_err(|failure| status_from_failure(&failure))
    }

    async fn bulk_states(
        &self,
        request: Request<v1::BulkStatesRequest>,
    ) -> Result<Response<v1::BulkStatesResponse>, Status> {
        let answer = self.states(request.into_inner()).await;
        answer.map(Response::new).map_err(|failure| status_from_failure(&failure))
    }

    async fn import_templates(
        &self,
        request: Request<v1::ImportTemplatesRequest>,
    ) -> Result<Response<v1::BulkState>, Status> {
        let answer = traces::step("import templates", self.take_templates(request.into_inner())).await;
        self.metrics.bulk("templates", answer.as_ref().map(v1::BulkState::outcome));
        answer.map(Response::new).map_err(|failure| status_from_failure(&failure))
    }

    async fn create_user(
        &self,
        request: Request<v1::CreateUserRequest>,
    ) -> Result<Response<v1::CreateUserResponse>, Status> {
        let answer = self.create_user(request.into_inner()).await;
        self.metrics.user_change("create_user", answer.as_ref().err());
        answer.map(Response::new).map_err(|failure| status_from_failure(&failure))
    }

    async fn delete_user(
        &self,
        request: Request<v1::DeleteUserRequest>,
    ) -> Result<Response<v1::DeleteUserResponse>, Status> {
        let answer = self.delete_user(request.into_inner()).await;
        self.metrics.user_change("delete_user", answer.as_ref().err());
        answer.map(Response::new).map_err(|failure| status_from_failure(&failure))
    }

    async fn associate_faces(
        &self,
        request: Request<v1::AssociateFacesRequest>,
    ) -> Result<Response<v1::AssociateFacesResponse>, Status> {
        let answer = self.associate(request.into_inner()).await;
        self.metrics.user_change("associate_faces", answer.as_ref().err());
        answer.map(Response::new).map_err(|failure| status_from_failure(&failure))
    }

    async fn disassociate_faces(
        &self,
        request: Request<v1::DisassociateFacesRequest>,
    ) -> Result<Response<v1::DisassociateFacesResponse>, Status> {
        let answer = self.disassociate(request.into_inner()).await;
        self.metrics.user_change("disassociate_faces", answer.as_ref().err());
        answer.map(Response::new).map_err(|failure| status_from_failure(&failure))
    }
}
