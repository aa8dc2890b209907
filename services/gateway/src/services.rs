//! What the gateway answers with.

use std::sync::Arc;

use bytes::Bytes;
use vidimus_domain::catalog::Collection;
use vidimus_domain::{CollectionName, TenantId};
use vidimus_ports::{Clock, EventLog, PhotoSource, Random};
use vidimus_proto::internal::v1;
use vidimus_proto::internal::v1::ingestion_server::Ingestion;
use vidimus_proto::internal::v1::query_server::Query;
use vidimus_runtime::audit::AuditLog;
use vidimus_runtime::catalog::{Access, Catalog};
use vidimus_runtime::errors::failure_from_status;
use vidimus_runtime::models::FaceModels;
use vidimus_runtime::requests::no_such_collection;

use crate::admission::{Permit, TenantAdmission};
use crate::error::ApiError;
use crate::options::Options;
use crate::token::{Listing, PageTokens};

/// What the gateway stands on.
#[derive(Clone)]
pub struct GatewayDeps {
    /// Enrols and deletes.
    pub ingestion: Arc<dyn Ingestion>,
    /// Searches, lists and counts.
    pub query: Arc<dyn Query>,
    /// Tenants, keys, collections.
    pub catalog: Arc<Catalog>,
    /// The face model of new collections.
    pub face_models: Arc<FaceModels>,
    /// Takes audit records of what the gateway does by itself.
    pub log: Arc<dyn EventLog>,
    /// Photos that tenants name by bucket and object.
    pub photos: Arc<dyn PhotoSource>,
    /// For signatures and tokens.
    pub clock: Arc<dyn Clock>,
    /// For request ids and tokens.
    pub random: Arc<dyn Random>,
    /// Seals page tokens; the same for all gateways of a service.
    pub token_key: [u8; 32],
}

/// What handlers use.
pub(crate) struct Services {
    pub(crate) deps: GatewayDeps,
    pub(crate) audit: AuditLog,
    tokens: PageTokens,
}

/// Who asks, verified.
pub(crate) struct Context {
    pub(crate) request_id: String,
    pub(crate) access: Arc<Access>,
    pub(crate) region: String,
    /// What the client keeps across its own retries; empty: none.
    pub(crate) retry_id: String,
    /// What it asks for in headers.
    pub(crate) options: Options,
    /// Its tenant's limits.
    pub(crate) admission: Arc<TenantAdmission>,
}

/// A photo of a request, with the room that it takes where it did not come with the request.
pub(crate) struct Photo {
    pub(crate) bytes: Bytes,
    pub(crate) _room: Option<Permit>,
}

impl Services {
    pub(crate) fn new(deps: GatewayDeps) -> Self {
        let audit = AuditLog::new(Arc::clone(&deps.log));
        Self { tokens: PageTokens::new(&deps.token_key), audit, deps }
    }

    /// The caller's collection of that name.
    pub(crate) async fn collection(
        &self,
        context: &Context,
        name: &str,
    ) -> Result<Arc<Collection>, ApiError> {
        let name = collection_name(name)?;
        let found = self.deps.catalog.collection(context.tenant(), &name).await?;
        found.ok_or_else(|| no_such_collection(&name).into())
    }

    /// The token for the page after `place`.
    pub(crate) fn seal(&self, listing: &Listing, place: &[u8]) -> Result<String, ApiError> {
        self.tokens.seal(listing, place, (self.deps.clock.as_ref(), self.deps.random.as_ref()))
    }

    /// The place that a request's token holds.
    pub(crate) fn open(&self, listing: &Listing, token: Option<&str>) -> Result<Option<Vec<u8>>, ApiError> {
        token.map(|token| self.tokens.open(listing, token, self.deps.clock.now())).transpose()
    }
}

impl Context {
    pub(crate) fn tenant(&self) -> TenantId {
        self.access.tenant.id
    }

    pub(crate) fn caller(&self) -> v1::Caller {
        v1::Caller { request_id: self.request_id.clone(), principal: self.access.key.id.to_string() }
    }

    pub(crate) fn collection_arn(&self, name: &CollectionName) -> String {
        let account = &self.access.tenant.account;
        format!("arn:aws:rekognition:{}:{account}:collection/{name}", self.region)
    }
}

/// Reads a collection's name.
pub(crate) fn collection_name(name: &str) -> Result<CollectionName, ApiError> {
    name.parse::<CollectionName>().map_err(|error| vidimus_domain::Failure::from(error).into())
}

/// A collection as roles name it.
pub(crate) fn collection_ref(collection: &Collection) -> v1::CollectionRef {
    v1::CollectionRef {
        tenant: collection.tenant.to_string(),
        uid: collection.uid.to_string(),
        name: collection.name.to_string(),
    }
}

/// A role's answer as a handler uses it.
pub(crate) fn answered<T>(answer: Result<tonic::Response<T>, tonic::Status>) -> Result<T, ApiError> {
    answer.map(tonic::Response::into_inner).map_err(|status| failure_from_status(&status).into())
}
