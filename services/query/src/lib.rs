//! The query role: probe → template → candidates → audit record → answer.
//!
//! What an answer shows of a face comes from its point, not from its record. An answer whose audit record could not be
//! appended is not given (I8).

mod compare;
mod listing;
mod metrics;
mod photo;
mod probe;
mod search;
mod trust;
mod users;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use prometheus_client::registry::Registry;
use tokio::sync::watch;
use tonic::{Request, Response, Status};
use vidimus_domain::Failure;
use vidimus_domain::catalog::Collection;
use vidimus_domain::point::Gallery;
use vidimus_domain::score::Calibration;
use vidimus_ports::{BlobStore, Clock, EventLog, FaceIndex, PortResult};
use vidimus_proto::internal::v1;
use vidimus_proto::internal::v1::embedding_server::Embedding;
use vidimus_runtime::audit::AuditLog;
use vidimus_runtime::catalog::Catalog;
use vidimus_runtime::errors::{failure_from_port, status_from_failure};
use vidimus_runtime::invariants::Invariants;
use vidimus_runtime::models::FaceModels;
use vidimus_runtime::records::Records;
use vidimus_runtime::requests::{NamedCollection, named_collection, no_such_collection};
use vidimus_runtime::traces;
use vidimus_runtime::users::Users;

use metrics::Metrics;
pub use trust::NOTICED_AFTER;
use trust::Trust;

/// How often the index is asked while a collection moves: reads switch once in a move, and a move takes seconds at least.
const LOOKS_MAX: usize = 3;

/// The message of a look that came too late for the face model that it was made for.
const TURNED: &str = "the collection has turned to another face model; try again";

/// What query stands on.
#[derive(Clone)]
pub struct QueryDeps {
    /// Records, photos and users.
    pub blobs: Arc<dyn BlobStore>,
    /// What is searched.
    pub index: Arc<dyn FaceIndex>,
    /// Turns probe photos into templates.
    pub embedding: Arc<dyn Embedding>,
    /// Takes the audit records.
    pub log: Arc<dyn EventLog>,
    /// Collections.
    pub catalog: Arc<Catalog>,
    /// What scores mean.
    pub face_models: Arc<FaceModels>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Whether the index has all that it should; searches wait for it.
    pub searchable: watch::Receiver<bool>,
    /// Whether other processes say so, again and again for as long as any of them is there.
    pub is_told_by_others: bool,
    /// Counts what must not happen.
    pub invariants: Invariants,
}

/// The role.
pub struct Query {
    deps: QueryDeps,
    records: Records,
    users: Users,
    audit: AuditLog,
    trust: Trust,
    metrics: Metrics,
}

impl Query {
    /// A role that stands on `deps`.
    #[must_use]
    pub fn new(deps: QueryDeps, registry: &mut Registry) -> Self {
        let audit = AuditLog::new(Arc::clone(&deps.log));
        let records = Records::new(Arc::clone(&deps.blobs), Arc::clone(&deps.clock));
        let users = Users::new(Arc::clone(&deps.blobs), Arc::clone(&deps.clock));
        let trust = Trust::new(&deps);
        Self { audit, records, users, trust, metrics: Metrics::new(registry), deps }
    }

    /// The collection that a request names, once the index has all that it should.
    async fn searchable_collection(
        &self,
        collection: Option<&v1::CollectionRef>,
    ) -> Result<(NamedCollection, Arc<Collection>), Failure> {
        self.trust.check()?;
        let named = named_collection(collection)?;
        let live = self.deps.catalog.collection_by_part(&named.part).await?;
        let live = live.ok_or_else(|| no_such_collection(&named.name))?;
        // What scores mean is known of the running models alone (I7).
        self.deps.face_models.of(live.face_model())?;
        Ok((named, live))
    }

    /// What scores in the collection mean.
    fn calibration(&self, collection: &Collection) -> Result<&Calibration, Failure> {
        Ok(&self.deps.face_models.of(collection.face_model())?.calibration)
    }

    /// Does it anew where the collection has turned to another face model meanwhile: nothing that was made by one is compared with
    /// what the other has made (I7).
    async fn in_one_model<R: Clone, T, F: Future<Output = Result<T, Failure>> + Send>(
        &self,
        request: R,
        act: impl Fn(R) -> F + Send,
    ) -> Result<T, Failure> {
        for _ in 1..LOOKS_MAX {
            match act(request.clone()).await {
                Err(failure) if failure.message == TURNED => {}
                acted => return acted,
            }
        }
        act(request).await
    }

    /// Reads from the index where the collection lies, unless it has turned to another face model: that fails as [`TURNED`]. Whoever slept while it moved may have looked into a placement that was cleared
    /// meanwhile: the catalog is asked again after the index has answered, and the index again where reads have switched.
    async fn looked_up<T, F: Future<Output = PortResult<T>> + Send>(
        &self,
        collection: &Collection,
        look: impl Fn(Gallery) -> F + Send + Sync,
    ) -> Result<T, Failure> {
        let mut gallery = collection.gallery();
        for _ in 0..LOOKS_MAX {
            let found = look(gallery.clone()).await;
            let now = self.deps.catalog.collection_by_part(&gallery.part).await?;
            let now = now.ok_or_else(|| no_such_collection(&collection.name))?;
            if now.placements.read == gallery.placement {
                return found.map_err(failure_from_port);
            }
            if now.face_model() != collection.face_model() {
                return Err(Failure::unavailable(TURNED, Duration::from_secs(1)));
            }
            gallery = now.gallery();
        }
        Err(Failure::unavailable("the collection moves; try again", Duration::from_secs(1)))
    }

    /// What was found in the index, unless the index lost something meanwhile: then it is not told.
    fn trusted<T>(&self, found: Result<T, Failure>) -> Result<T, Failure> {
        found.and_then(|found| self.trust.check().map(|()| found))
    }
}

/// A role's answer on the wire.
fn answer<T>(result: Result<T, Failure>) -> Result<Response<T>, Status> {
    result.map(Response::new).map_err(|failure| status_from_failure(&failure))
}

#[async_trait]
impl v1::query_server::Query for Query {
    async fn search_faces(
        &self,
        request: Request<v1::SearchFacesRequest>,
    ) -> Result<Response<v1::SearchResponse>, Status> {
        let result = self.trusted(
            traces::step(
                "search",
                self.in_one_model(request.into_inner(), |asked| self.search_by_face(asked)),
            )
            .await,
        );
        self.metrics.search("face", result.as_ref().err());
        answer(result)
    }

    async fn search_faces_by_image(
        &self,
        request: Request<v1::SearchFacesByImageRequest>,
    ) -> Result<Response<v1::SearchResponse>, Status> {
        let result = self.trusted(
            traces::step(
                "search",
                self.in_one_model(request.into_inner(), |asked| self.search_by_photo(asked)),
            )
            .await,
        );
        self.metrics.search("photo", result.as_ref().err());
        answer(result)
    }

    async fn list_faces(
        &self,
        request: Request<v1::ListFacesRequest>,
    ) -> Result<Response<v1::ListFacesResponse>, Status> {
        answer(self.trusted(self.in_one_model(request.into_inner(), |asked| self.list(asked)).await))
    }

    async fn count_faces(
        &self,
        request: Request<v1::CountFacesRequest>,
    ) -> Result<Response<v1::CountFacesResponse>, Status> {
        answer(self.trusted(self.in_one_model(request.into_inner(), |asked| self.count(asked)).await))
    }

    async fn search_users(
        &self,
        request: Request<v1::SearchUsersRequest>,
    ) -> Result<Response<v1::SearchUsersResponse>, Status> {
        let result = self.trusted(
            traces::step(
                "search",
                self.in_one_model(request.into_inner(), |asked| self.search_users_by_stored(asked)),
            )
            .await,
        );
        self.metrics.search("stored, for users", result.as_ref().err());
        answer(result)
    }

    async fn search_users_by_image(
        &self,
        request: Request<v1::SearchUsersByImageRequest>,
    ) -> Result<Response<v1::SearchUsersResponse>, Status> {
        let result = self.trusted(
            traces::step(
                "search",
                self.in_one_model(request.into_inner(), |asked| self.search_users_by_photo(asked)),
            )
            .await,
        );
        self.metrics.search("photo, for users", result.as_ref().err());
        answer(result)
    }

    async fn list_users(
        &self,
        request: Request<v1::ListUsersRequest>,
    ) -> Result<Response<v1::ListUsersResponse>, Status> {
        answer(self.list_live_users(request.into_inner()).await)
    }

    async fn detect_faces(
        &self,
        request: Request<v1::DetectFacesRequest>,
    ) -> Result<Response<v1::DetectFacesResponse>, Status> {
        answer(self.detect(request.into_inner()).await)
    }

    async fn compare_faces(
        &self,
        request: Request<v1::CompareFacesRequest>,
    ) -> Result<Response<v1::CompareFacesResponse>, Status> {
        answer(self.compare(request.into_inner()).await)
    }

    async fn get_photo(
        &self,
        request: Request<v1::GetPhotoRequest>,
    ) -> Result<Response<v1::GetPhotoResponse>, Status> {
        answer(self.photo(request.into_inner()).await)
    }
}
