//! The operators' port: liveness, readiness, metrics, and administration for who has the token.

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use hyper::{HeaderMap, StatusCode, header};
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic::transport::server::TcpIncoming;
use vidimus_domain::ErrorCode;
use vidimus_runtime::shutdown::Shutdown;
use vidimus_runtime::transport::{CONNECTION_WINDOW_BYTES, FRAME_BYTES_MAX, STREAM_WINDOW_BYTES};

use crate::admin::bulk_index::service::BulkService;
use crate::admin::service::{AdminCommand, AdminService};
use crate::backup::service::BackupService;

/// What operators ask of.
#[derive(Clone)]
pub(crate) struct Operators {
    pub(crate) registry: Arc<Registry>,
    pub(crate) searchable: watch::Receiver<bool>,
    pub(crate) shutdown: Shutdown,
    pub(crate) bulk: Option<BulkService>,
    pub(crate) backup: Option<BackupService>,
    pub(crate) admin: Option<Administration>,
}

/// Administration for who has the token.
#[derive(Clone)]
pub(crate) struct Administration {
    pub(crate) service: AdminService,
    pub(crate) token: String,
}

#[derive(Clone)]
struct Shared {
    operators: Operators,
    ending: CancellationToken,
}

/// Where administration is posted to.
pub(crate) const ADMIN_PATH: &str = "/admin/v1";

/// Serves until the process ends: `/livez` and `/metrics` answer while it drains, `/readyz` says no from `ending` on.
pub(crate) async fn serve(listener: TcpListener, operators: Operators, ending: CancellationToken) {
    let router = Router::new()
        .route("/livez", get(|| async { "alive\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .route(ADMIN_PATH, post(admin))
        .merge(operators.bulk.clone().map(BulkService::router).unwrap_or_default())
        .merge(operators.backup.clone().map(BackupService::router).unwrap_or_default())
        .with_state(Shared { operators, ending });
    let serving = tonic::transport::Server::builder()
        .accept_http1(true)
        .max_frame_size(FRAME_BYTES_MAX)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .serve_with_incoming(Routes::from(router), TcpIncoming::from(listener).with_nodelay(Some(true)));
    if let Err(error) = serving.await {
        tracing::error!(%error, "the operators' port failed");
    }
}

async fn ready(State(shared): State<Shared>) -> Response {
    if shared.ending.is_cancelled() || shared.operators.shutdown.has_begun() {
        return (StatusCode::SERVICE_UNAVAILABLE, "shutting down\n").into_response();
    }
    if shared.operators.shutdown.has_lost_a_task() {
        return (StatusCode::SERVICE_UNAVAILABLE, "a task has failed; start the service anew\n")
            .into_response();
    }
    if !*shared.operators.searchable.borrow() {
        return (StatusCode::SERVICE_UNAVAILABLE, "the index is catching up with the log\n").into_response();
    }
    (StatusCode::OK, "ready\n").into_response()
}

async fn metrics(State(shared): State<Shared>) -> Response {
    let mut text = String::new();
    if prometheus_client::encoding::text::encode(&mut text, &shared.operators.registry).is_err() {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    }
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], text).into_response()
}

async fn admin(State(shared): State<Shared>, headers: HeaderMap, body: Bytes) -> Response {
    let Some(admin) = shared.operators.admin else {
        let message =
            "this process takes no commands: it has no role with a catalog, or no admin.token_file\n";
        return (StatusCode::MISDIRECTED_REQUEST, message).into_response();
    };
    let sent = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    if !is_bearer(sent, &admin.token) {
        return (StatusCode::UNAUTHORIZED, "administration needs the service's token\n").into_response();
    }
    let command = match serde_json::from_slice::<AdminCommand>(&body) {
        Ok(command) => command,
        Err(error) => return (StatusCode::BAD_REQUEST, error.to_string()).into_response(),
    };
    if admin.service.lacks(&command) {
        let message = "this process cannot do it: ask one with the ledger role\n";
        return (StatusCode::MISDIRECTED_REQUEST, message).into_response();
    }
    match admin.service.execute(command).await {
        Ok(answer) => ([(header::CONTENT_TYPE, "application/json")], answer.to_string()).into_response(),
        Err(failure) => (status(failure.code), failure.message).into_response(),
    }
}

/// Compares digests, so that the time it takes tells nothing of the token.
pub(crate) fn is_bearer(sent: Option<&str>, token: &str) -> bool {
    let sent = sent.and_then(|value| value.strip_prefix("Bearer ")).unwrap_or_default();
    blake3::hash(sent.as_bytes()) == blake3::hash(token.as_bytes())
}

pub(crate) const fn status(code: ErrorCode) -> StatusCode {
    match code {
        ErrorCode::NotFound => StatusCode::NOT_FOUND,
        ErrorCode::AlreadyExists | ErrorCode::Conflict | ErrorCode::QuotaExceeded => StatusCode::CONFLICT,
        ErrorCode::Unavailable | ErrorCode::Throttled => StatusCode::SERVICE_UNAVAILABLE,
        ErrorCode::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        _ => StatusCode::BAD_REQUEST,
    }
}
