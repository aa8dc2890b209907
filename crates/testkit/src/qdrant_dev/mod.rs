//! Qdrant's gRPC API over Qdrant Edge: the server's own engine, in a process of its own.
//!
//! For the tests, the stack and CI, where no Qdrant server can be had. It is durable in a folder, writes are conditional,
//! searches walk graphs, and `kill -9` loses nothing that it said to be done: all that is the engine's. What it does not support
//! it refuses, with `Unimplemented`, before anything is done; what the real server refuses it refuses with the
//! same codes.
//!
//! One node, one shard: it takes replication factors, write orderings and read consistencies, tells them again, and shows
//! nothing of what they are for. Nor does it show what a power loss leaves.

mod collection;
mod collections_service;
mod field_index;
mod filter;
mod point;
mod points_service;
mod refusal;
mod search;
mod settings;
mod store;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result};
use qdrant_client::qdrant as api;
use qdrant_client::qdrant::collections_server::CollectionsServer;
use qdrant_client::qdrant::points_server::PointsServer;
use qdrant_client::qdrant::qdrant_server::{Qdrant, QdrantServer};
use tokio::net::TcpListener;
use tonic::codegen::InterceptedService;
use tonic::service::Interceptor;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};
use vidimus_runtime::shutdown::Shutdown;

use collections_service::CollectionsService;
use points_service::PointsService;
use refusal::Answer;
use store::Store;

/// Calls under way on one connection at a time.
const CALLS_MAX: usize = 256;
/// How long its end waits for what runs.
const PATIENCE: Duration = Duration::from_secs(10);

/// Methods that are refused, in the form that `async_trait` gives to those of a trait.
macro_rules! refuse_calls {
    ($($name:ident($request:ident) -> $response:ident;)*) => {$(
        fn $name<'life0, 'async_trait>(
            &'life0 self,
            _request: Request<api::$request>,
        ) -> std::pin::Pin<
            Box<dyn Future<Output = Result<Response<api::$response>, Status>> + Send + 'async_trait>,
        >
        where
            'life0: 'async_trait,
            Self: 'async_trait,
        {
            Box::pin(async { Err(unsupported(stringify!($name))) })
        }
    )*};
}
use refuse_calls;

/// What it is started with.
#[derive(Clone, Debug)]
pub struct QdrantDevOptions {
    /// The folder that everything lies in; made where it is missing. One process at a time.
    pub data: PathBuf,
    /// Where it listens; port 0 takes a free one.
    pub listen: SocketAddr,
    /// What every call must bring, where there is one.
    pub api_key: Option<String>,
    /// A file that is written with the address once it listens.
    pub ready_file: Option<PathBuf>,
}

/// Serves until shutdown begins, then lets what runs come to its end and flushes.
///
/// # Errors
/// Where the folder is another process's or damaged, or the address is taken.
pub async fn serve(options: QdrantDevOptions, shutdown: Shutdown) -> Result<()> {
    let store = Store::open(&options.data).await?;
    let listener = TcpListener::bind(options.listen).await;
    let listener = listener.with_context(|| format!("listen on {}", options.listen))?;
    let address = listener.local_addr()?;
    store.work_in_background(&shutdown);
    let key = RequireKey(options.api_key);
    let points = PointsServer::new(PointsService { store: store.clone() });
    let collections = CollectionsServer::new(CollectionsService { store: store.clone() });
    let until = shutdown.clone();
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    let serving = Server::builder()
        .concurrency_limit_per_connection(CALLS_MAX)
        .add_service(InterceptedService::new(points.max_decoding_message_size(usize::MAX), key.clone()))
        .add_service(InterceptedService::new(collections.max_decoding_message_size(usize::MAX), key.clone()))
        .add_service(InterceptedService::new(QdrantServer::new(Health), key))
        .serve_with_incoming_shutdown(incoming, async move { until.begun().await });
    let serving = tokio::spawn(serving);
    tracing::info!(%address, "qdrant-dev listens");
    if let Some(path) = &options.ready_file {
        say_ready(path, address)?;
    }
    shutdown.begun().await;
    // A connection that is only kept open would hold it up for ever.
    let _ = tokio::time::timeout(PATIENCE, serving).await;
    shutdown.drained(PATIENCE).await;
    store.flush().await;
    Ok(())
}

/// Whole or not at all: a reader may look at any time.
fn say_ready(path: &std::path::Path, address: SocketAddr) -> Result<()> {
    let draft = path.with_extension("new");
    std::fs::write(&draft, address.to_string())?;
    Ok(std::fs::rename(&draft, path)?)
}

/// Refuses calls without the key.
#[derive(Clone)]
struct RequireKey(Option<String>);

impl Interceptor for RequireKey {
    fn call(&mut self, request: Request<()>) -> Answer<Request<()>> {
        let Some(key) = &self.0 else { return Ok(request) };
        let given = request.metadata().get("api-key").and_then(|given| given.to_str().ok());
        if given == Some(key.as_str()) {
            return Ok(request);
        }
        Err(Status::unauthenticated("Must provide an API key or an Authorization bearer token"))
    }
}

struct Health;

#[tonic::async_trait]
impl Qdrant for Health {
    /// The version is the one whose API it speaks.
    async fn health_check(
        &self,
        _request: Request<api::HealthCheckRequest>,
    ) -> Answer<Response<api::HealthCheckReply>> {
        let (title, version) = ("qdrant-dev: Qdrant's API over Qdrant Edge".to_owned(), "1.20.0".to_owned());
        Ok(Response::new(api::HealthCheckReply { title, version, commit: None }))
    }
}
