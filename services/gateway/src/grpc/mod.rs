//! The public gRPC service: the operations of AWS-JSON with the same messages, and those that have no twin there. Also health and
//! reflection, which show nothing of any tenant and ask for no key.

mod access;
mod bulk;
mod deadline;
mod faces;
mod status;
mod streams;

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use futures::FutureExt;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, StatusCode};
use tonic::Status;
use tonic::server::NamedService;
use tower::Service;
use tracing::Instrument;
use vidimus_proto::api;
use vidimus_proto::api::faces_server::FacesServer;
use vidimus_runtime::transport::Health;

use crate::admission::Permit;
use crate::body;
use crate::config::{BODY_BYTES_MAX, BULK_ROOM_BYTES};
use crate::error::ApiError;
use crate::gateway::{Gateway, Inner, Note, SUCCEEDED, retry_id};
use crate::options::Options;
use crate::services::Context;
use deadline::deadline;
use faces::Door;

/// The method's label where a path names none of ours.
const NO_METHOD: &str = "none";

/// A call that was let in, as its handler finds it among the request's extensions. Streams hold on to it.
#[derive(Clone)]
pub(crate) struct Call {
    inner: Arc<Inner>,
    context: Arc<Context>,
    /// The outcome where it is not success, for the line in the log.
    refused: Arc<OnceLock<&'static str>>,
    _room: Arc<(Permit, Permit)>,
}

/// Those of which health is told: the whole, and the one service.
pub(crate) const SERVICES: &[&str] = &["", <FacesServer<Door> as NamedService>::NAME];

/// The gRPC services' routes.
pub(crate) fn routes(health: &Health) -> Router<Gateway> {
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(api::DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let mut router = Router::new()
        .route("/vidimus.v1.Faces/{method}", axum::routing::post(answer))
        .route_service("/grpc.health.v1.Health/{method}", health.service());
    if let Ok(service) = reflection().build_v1() {
        router = router.route_service("/grpc.reflection.v1.ServerReflection/{method}", service);
    }
    if let Ok(service) = reflection().build_v1alpha() {
        router = router.route_service("/grpc.reflection.v1alpha.ServerReflection/{method}", service);
    }
    router
}

/// Answers one call. A panic on the way fails this call and no other.
async fn answer(State(gateway): State<Gateway>, request: Request) -> Response {
    let inner = gateway.into_inner();
    let _in_flight = inner.metrics.began();
    let mut note = inner.begin(method(request.uri().path()), request.headers());
    let span = note.span.clone();
    let processing = process(&inner, request, &mut note).instrument(span);
    let outcome = AssertUnwindSafe(processing).catch_unwind().await;
    let result = outcome.unwrap_or_else(|_| {
        tracing::error!(request_id = note.request_id, operation = note.operation, "a handler panicked");
        Err(ApiError::internal())
    });
    let (mut response, refused) = match result {
        Ok((response, refused)) => (response, refused),
        Err(error) => (refusal(&error, &note.request_id), Some(error.error_type.on_the_wire().0)),
    };
    inner.note(&note, refused.map_or(SUCCEEDED, |refused| (refused, StatusCode::OK)));
    if let Ok(id) = HeaderValue::from_str(&note.request_id) {
        response.headers_mut().insert("x-amzn-requestid", id);
    }
    response
}

fn refusal(error: &ApiError, request_id: &str) -> Response {
    status::status(error, request_id).into_http::<Body>()
}

async fn process(
    inner: &Arc<Inner>,
    request: Request,
    note: &mut Note,
) -> Result<(Response, Option<&'static str>), ApiError> {
    let (head, body) = request.into_parts();
    let caller_waits = deadline(&head.headers)?.map(|waits| Instant::now() + waits);
    // No longer than the caller waits.
    let within = |own: Duration| {
        caller_waits.map_or(own, |until| own.min(until.saturating_duration_since(Instant::now())))
    };
    let timeout = inner.config.body_read_timeout;
    let admitted = tokio::time::timeout(within(inner.config.call_timeout), access::admit(inner, &head)).await;
    let access = match admitted.unwrap_or_else(|_| Err(deadline::exceeded())) {
        Ok(access) => access,
        Err(refusal) => {
            body::drain(body, timeout).await;
            return Err(refusal);
        }
    };
    note.tenant = Some(Arc::clone(&access));
    let admission = inner.admission.tenant(access.tenant.id);
    let permit = admission.request()?;
    let (body, room) = if note.operation == bulk::METHOD {
        (body, admission.bytes(BULK_ROOM_BYTES)?)
    } else {
        let held = body::read(body, &admission, within(timeout)).await?;
        note.body_bytes = held.bytes.len();
        inner.metrics.body_read(held.bytes.len());
        (Body::from(held.bytes), held.room)
    };
    let context = Context {
        request_id: note.request_id.clone(),
        access,
        region: "local".to_owned(),
        retry_id: retry_id(&head),
        options: Options::read(&head.headers)?,
        admission,
    };
    let call = Call {
        inner: Arc::clone(inner),
        context: Arc::new(context),
        refused: Arc::default(),
        _room: Arc::new((permit, room)),
    };
    let refused = Arc::clone(&call.refused);
    let patience = within(inner.config.call_timeout);
    let answering = serve(head, body, call);
    let answering = vidimus_runtime::deadline::within(patience, answering);
    let response = tokio::time::timeout(patience, answering).await.map_err(|_| deadline::exceeded())?;
    Ok((response, refused.get().copied()))
}

/// Has the generated service read the message and call its method.
async fn serve(head: Parts, body: Body, call: Call) -> Response {
    let mut request = Request::from_parts(head, body);
    request.extensions_mut().insert(call);
    let mut server = FacesServer::new(Door).max_decoding_message_size(BODY_BYTES_MAX);
    match server.call(request).await {
        Ok(response) => response.map(Body::new),
        Err(never) => match never {},
    }
}

/// The method's name as metrics show it: only names that there are.
fn method(path: &str) -> &'static str {
    let name = path.rsplit('/').next().unwrap_or_default();
    faces::METHODS.into_iter().find(|method| *method == name).unwrap_or(NO_METHOD)
}

impl Call {
    /// The call of a request that came through the door.
    fn of<T>(request: &tonic::Request<T>) -> Result<Self, Status> {
        request.extensions().get::<Self>().cloned().ok_or_else(|| Status::internal("no call"))
    }

    /// An error as this call's status; its name goes into the log.
    fn refuse(&self, error: &ApiError) -> Status {
        let _ = self.refused.set(error.error_type.on_the_wire().0);
        status::status(error, &self.context.request_id)
    }
}

/// A header's text.
fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}
