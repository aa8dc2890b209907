//! The running service's side of exports and imports, on the operators' port, for who has the administration's token.

use std::convert::Infallible;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use futures::{StreamExt, stream};
use hyper::{HeaderMap, StatusCode, header};
use tokio::sync::mpsc;
use vidimus_domain::Failure;

use super::export::Exporter;
use super::format::Reader;
use super::import::Importer;
use super::{BackupDeps, Scope};
use crate::operators::{is_bearer, status};

/// Says whether a process takes exports and imports.
pub(crate) const CHECK_PATH: &str = "/admin/v1/backup";
/// Where a [`Scope`] is posted to; the answer is the export.
pub(crate) const EXPORT_PATH: &str = "/admin/v1/export";
/// Where an export is posted to; the answer is what came of it.
pub(crate) const IMPORT_PATH: &str = "/admin/v1/import";

/// Entries that are made before somebody takes them.
pub(crate) const CHUNKS_AHEAD: usize = 4;
/// How long the rest of a refused import is read, so that its sender hears why.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(30);

/// Exports and imports for administrators.
#[derive(Clone)]
pub struct BackupService {
    /// The service's stores.
    pub deps: BackupDeps,
    /// What callers must have.
    pub token: String,
}

impl BackupService {
    /// Its routes, to be merged with the others of the port.
    pub(crate) fn router<S: Clone + Send + Sync + 'static>(self) -> Router<S> {
        Router::new()
            .route(CHECK_PATH, get(check))
            .route(EXPORT_PATH, post(export))
            .route(IMPORT_PATH, post(import))
            .with_state(self)
    }

    fn refusal(&self, headers: &HeaderMap) -> Option<Response> {
        let sent = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let message = "administration needs the service's token\n";
        (!is_bearer(sent, &self.token)).then(|| (StatusCode::UNAUTHORIZED, message).into_response())
    }
}

async fn check(State(service): State<BackupService>, headers: HeaderMap) -> Response {
    service.refusal(&headers).unwrap_or_else(|| "it does\n".into_response())
}

async fn export(State(service): State<BackupService>, headers: HeaderMap, body: Bytes) -> Response {
    if let Some(refusal) = service.refusal(&headers) {
        return refusal;
    }
    let scope = match serde_json::from_slice::<Scope>(&body) {
        Ok(scope) => scope,
        Err(error) => return (StatusCode::BAD_REQUEST, error.to_string()).into_response(),
    };
    let exporter = Exporter::new(service.deps);
    let plan = match exporter.plan(scope).await {
        Ok(plan) => plan,
        Err(failure) => return refused(failure),
    };
    let (sender, receiver) = mpsc::channel(CHUNKS_AHEAD);
    tokio::spawn(async move { exporter.run(plan, sender).await });
    let chunks = stream::unfold(receiver, async |mut receiver| {
        let chunk = receiver.recv().await?;
        Some((Ok::<_, Infallible>(chunk), receiver))
    });
    ([(header::CONTENT_TYPE, "application/octet-stream")], Body::from_stream(chunks)).into_response()
}

async fn import(State(service): State<BackupService>, headers: HeaderMap, body: Body) -> Response {
    if let Some(refusal) = service.refusal(&headers) {
        return refusal;
    }
    let chunks = body.into_data_stream().map(|chunk| chunk.map_err(std::io::Error::other));
    let mut reader = Reader::new(chunks);
    match Importer::new(service.deps).run(&mut reader).await {
        Ok(imported) => match serde_json::to_vec(&imported) {
            Ok(answer) => ([(header::CONTENT_TYPE, "application/json")], answer).into_response(),
            Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
        },
        Err(failure) => {
            let mut rest = reader.into_chunks();
            let drain = async { while let Some(Ok(_)) = rest.next().await {} };
            let _ = tokio::time::timeout(DRAIN_TIMEOUT, drain).await;
            refused(failure)
        }
    }
}

fn refused(failure: Failure) -> Response {
    (status(failure.code), failure.message).into_response()
}
