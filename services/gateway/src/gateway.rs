//! The way of a request.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use bytes::Bytes;
use futures::FutureExt;
use http::request::Parts;
use http::{HeaderMap, Method, StatusCode};
use prometheus_client::registry::Registry;
use tokio::sync::watch;
use tracing::{Instrument, Span};
use vidimus_domain::RequestId;
use vidimus_domain::catalog::Secret;
use vidimus_runtime::catalog::Access;
use vidimus_runtime::deadline;
use vidimus_runtime::traces;
use vidimus_runtime::transport::Health;

use crate::admission::{Admission, TenantAdmission};
use crate::body::{self, HeldBody};
use crate::config::GatewayConfig;
use crate::error::{ApiError, ErrorType};
use crate::grpc;
use crate::metrics::Metrics;
use crate::offload::offload;
use crate::operation::{self, Answer, Row};
use crate::options::Options;
use crate::response::response;
use crate::services::{Context, GatewayDeps, Services};
use crate::sigv4::{SignedRequest, UnsignedRequest, unrecognized_client};

/// The operation's label where a request names none of ours.
const NO_OPERATION: &str = "none";

/// The gateway. Cloning it is cheap, and all clones are one.
#[derive(Clone)]
pub struct Gateway {
    inner: Arc<Inner>,
}

/// What a gateway is made of.
pub(crate) struct Inner {
    pub(crate) config: GatewayConfig,
    pub(crate) services: Services,
    pub(crate) admission: Admission,
    pub(crate) metrics: Metrics,
    health: Health,
}

/// What is known of a request for its line in the log.
pub(crate) struct Note {
    pub(crate) request_id: String,
    pub(crate) operation: &'static str,
    /// Whose request it is, once that is verified.
    pub(crate) tenant: Option<Arc<Access>>,
    pub(crate) body_bytes: usize,
    /// The request in its trace.
    pub(crate) span: Span,
    began: Instant,
}

/// A request whose head was not refused.
struct Admitted {
    unsigned: UnsignedRequest,
    access: Arc<Access>,
    admission: Arc<TenantAdmission>,
}

impl Gateway {
    /// A gateway within `config`'s limits that answers with `deps`, and whose metrics are in `registry`.
    #[must_use]
    pub fn new(config: GatewayConfig, deps: GatewayDeps, registry: &mut Registry) -> Self {
        let inner = Inner {
            health: Health::default(),
            admission: Admission::new(&config, Arc::clone(&deps.clock)),
            services: Services::new(deps),
            metrics: Metrics::new(registry),
            config,
        };
        Self { inner: Arc::new(inner) }
    }

    /// Answers every path: `POST /` is AWS-JSON, a gRPC service's path its method, all else an error in the API's own form.
    pub fn router(&self) -> Router {
        grpc::routes(&self.inner.health).fallback(answer).with_state(self.clone())
    }

    /// Says in the health of the gRPC door (`grpc.health.v1.Health`, of the whole and of `vidimus.v1.Faces`) what `is_ready` says now,
    /// until `ending`; then that it does not serve, and those that watch are let go.
    pub async fn tell_health(&self, is_ready: watch::Receiver<bool>, ending: impl Future<Output = ()>) {
        let health = &self.inner.health;
        health.follow(grpc::SERVICES, is_ready, ending).await;
        health.forget(grpc::SERVICES).await;
    }

    /// What it is made of.
    pub(crate) fn into_inner(self) -> Arc<Inner> {
        self.inner
    }

    /// Its limits.
    #[must_use]
    pub fn config(&self) -> &GatewayConfig {
        &self.inner.config
    }
}

/// Answers one request. A panic on the way fails this request and no other.
async fn answer(State(gateway): State<Gateway>, request: Request) -> Response {
    let inner = gateway.inner;
    let _in_flight = inner.metrics.began();
    let mut note = inner.begin(NO_OPERATION, request.headers());
    let span = note.span.clone();
    let processing = inner.process(request, &mut note).instrument(span);
    let outcome = AssertUnwindSafe(processing).catch_unwind().await;
    let result = outcome.unwrap_or_else(|_| {
        tracing::error!(request_id = note.request_id, operation = note.operation, "a handler panicked");
        Err(ApiError::internal())
    });
    inner.note(&note, result.as_ref().map_or_else(|error| error.error_type.on_the_wire(), |_| SUCCEEDED));
    response(&note.request_id, result)
}

/// The outcome of what succeeded.
pub(crate) const SUCCEEDED: (&str, StatusCode) = ("ok", StatusCode::OK);

impl Inner {
    /// What is known of a request that came now.
    pub(crate) fn begin(&self, operation: &'static str, headers: &HeaderMap) -> Note {
        let id = uuid::Builder::from_random_bytes(self.services.deps.random.bytes16()).into_uuid();
        let request_id = id.to_string();
        let span = traces::request(headers);
        Note { request_id, operation, tenant: None, body_bytes: 0, span, began: Instant::now() }
    }

    async fn process(&self, request: Request, note: &mut Note) -> Result<Answer, ApiError> {
        let (head, body) = request.into_parts();
        let target =
            head.headers.get("x-amz-target").and_then(|value| value.to_str().ok()).unwrap_or_default();
        let row = operation::find(target);
        note.operation = row.map_or(NO_OPERATION, |row| row.name);
        let (admitted, body) = self.read(&head, body, row).await?;
        note.body_bytes = body.bytes.len();
        self.metrics.body_read(body.bytes.len());
        let Admitted { unsigned, access, admission } = admitted;
        let _permit = admission.request()?;
        let signed = verify(unsigned, access.key.secret.clone(), body.bytes.clone()).await?;
        note.tenant = Some(Arc::clone(&access));
        let row = row.ok_or_else(|| operation::unknown(target))?;
        admission.operation(row.kind)?;
        let context = Context {
            request_id: note.request_id.clone(),
            access,
            region: signed.region,
            retry_id: retry_id(&head),
            options: Options::read(&head.headers)?,
            admission,
        };
        let HeldBody { bytes, room: _room } = body;
        let patience = self.config.call_timeout;
        let answering = deadline::within(patience, row.answer(&self.services, &context, bytes));
        tokio::time::timeout(patience, answering).await.unwrap_or_else(|_| Err(too_late()))
    }

    /// Reads the head, then the body. A body whose head is refused is thrown away, so that the client reads the refusal.
    async fn read(
        &self,
        head: &Parts,
        body: Body,
        row: Option<&Row>,
    ) -> Result<(Admitted, HeldBody), ApiError> {
        let timeout = self.config.body_read_timeout;
        let admitting = tokio::time::timeout(self.config.call_timeout, self.admit(head));
        let admitted = match admitting.await.unwrap_or_else(|_| Err(too_late())) {
            Ok(admitted) => admitted,
            Err(refusal) => {
                body::drain(body, timeout).await;
                return Err(refusal);
            }
        };
        let held =
            body::read(body, &admitted.admission, timeout).await.map_err(|error| match error.error_type {
                ErrorType::RequestEntityTooLarge if row.is_some_and(Row::takes_photo) => {
                    ApiError::image_too_large()
                }
                _ => error,
            })?;
        Ok((admitted, held))
    }

    /// What the head alone decides: the path, the form of the signature, and whether there is such a key.
    async fn admit(&self, head: &Parts) -> Result<Admitted, ApiError> {
        if head.uri.path() != "/" || head.method != Method::POST {
            return Err(ApiError::new(ErrorType::UnknownOperation, "Requests are POST /."));
        }
        let deps = &self.services.deps;
        let unsigned = UnsignedRequest::read(head, deps.clock.now())?;
        let access = deps.catalog.access_key(unsigned.access_key_id()).await?;
        let access = access.filter(|access| access.is_enabled()).ok_or_else(unrecognized_client)?;
        let admission = self.admission.tenant(access.tenant.id);
        Ok(Admitted { unsigned, access, admission })
    }

    /// Counts a request and writes its line in the log.
    pub(crate) fn note(&self, note: &Note, (outcome, status): (&'static str, StatusCode)) {
        let took = note.began.elapsed();
        self.metrics.answered(note.operation, outcome, took);
        traces::answered(&note.span, note.operation, outcome, outcome != SUCCEEDED.0);
        let tenant = note.tenant.as_ref().map(|access| access.tenant.id.to_string());
        tracing::info!(
            request_id = note.request_id,
            operation = note.operation,
            outcome,
            status = status.as_u16(),
            tenant,
            body_bytes = note.body_bytes,
            took_ms = took.as_millis() as u64,
            trace_id = note.span.in_scope(traces::current_id),
            "request"
        );
    }
}

async fn verify(unsigned: UnsignedRequest, secret: Secret, body: Bytes) -> Result<SignedRequest, ApiError> {
    offload(body.len(), move || unsigned.verify(&secret, &body)).await?
}

/// What the client's SDK keeps across its retries. It only ever makes two requests one, so it need not be signed.
pub(crate) fn retry_id(head: &Parts) -> String {
    let sent = head.headers.get("amz-sdk-invocation-id").and_then(|value| value.to_str().ok());
    let valid = sent.and_then(|text| text.parse::<RequestId>().ok());
    valid.map(|id| id.to_string()).unwrap_or_default()
}

pub(crate) fn too_late() -> ApiError {
    let error = ApiError::new(ErrorType::ServiceUnavailable, "Service Unavailable: it took too long.");
    ApiError { retry_after: Some(Duration::from_secs(1)), ..error }
}
