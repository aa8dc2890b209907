//! The indexing role: projects records into the index. It consumes the changes, and does at once what ingestion asks for;
//! both read the record as it is now, so neither order nor number of changes matters.

mod baseline;
mod consumer;
mod metrics;
mod projector;
mod watch;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use async_trait::async_trait;
use prometheus_client::registry::Registry;
use serde::{Deserialize, Serialize};
use tokio::sync::watch::{Receiver, channel};
use tonic::{Request, Response, Status};
use vidimus_domain::{Failure, ImageId, Part};
use vidimus_ports::{BlobStore, Clock, EventLog, FaceIndex};
use vidimus_proto::internal::v1;
use vidimus_runtime::catalog::Catalog;
use vidimus_runtime::errors::{failure_from_port, status_from_failure};
use vidimus_runtime::shutdown::Shutdown;
use vidimus_runtime::traces;

pub use baseline::Baseline;
use metrics::Metrics;
use projector::Projector;

/// How indexing behaves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct IndexingConfig {
    /// Changes that are projected together at most.
    pub batch_changes_max: usize,
    /// How often the index is flushed and what that covers committed.
    #[serde(with = "humantime_serde")]
    pub flush_interval: Duration,
}

impl Default for IndexingConfig {
    fn default() -> Self {
        Self { batch_changes_max: 512, flush_interval: Duration::from_secs(1) }
    }
}

/// What indexing stands on.
#[derive(Clone)]
pub struct IndexingDeps {
    /// Records.
    pub blobs: Arc<dyn BlobStore>,
    /// Changes.
    pub log: Arc<dyn EventLog>,
    /// Where points go.
    pub index: Arc<dyn FaceIndex>,
    /// Which index collection holds which collection.
    pub catalog: Arc<Catalog>,
    /// What the index is known to have.
    pub baseline: Arc<dyn Baseline>,
    /// Time.
    pub clock: Arc<dyn Clock>,
}

/// The role.
pub struct Indexing {
    projector: Arc<Projector>,
    searchable: Receiver<bool>,
}

impl Indexing {
    /// Starts the role: its consumer runs until `shutdown` begins, and flushes and commits before it ends.
    #[must_use]
    pub fn start(
        config: IndexingConfig,
        deps: IndexingDeps,
        shutdown: &Shutdown,
        registry: &mut Registry,
    ) -> Self {
        let metrics = Arc::new(Metrics::new(registry));
        let projector = Arc::new(Projector::new(deps.clone(), Arc::clone(&metrics)));
        let (caught_up, word) = channel(false);
        let (said, searchable) = channel(false);
        let seen_losses = Arc::new(AtomicU64::new(deps.index.losses()));
        let watch = watch::Watch {
            index: Arc::clone(&deps.index),
            caught_up: word,
            seen_losses: Arc::clone(&seen_losses),
            searchable: said,
            shutdown: shutdown.clone(),
        };
        let consumer = consumer::Consumer {
            config,
            seen_losses,
            deps,
            projector: Arc::clone(&projector),
            metrics,
            caught_up,
            shutdown: shutdown.clone(),
        };
        shutdown.spawn(consumer.run());
        shutdown.spawn(watch.run());
        Self { projector, searchable }
    }

    /// Turns true once all changes that the log had at the start are projected, by this process or another one of the group; until
    /// then searches wait. Turns false where the index may have lost something, until that is made good, and where it does not answer. It is
    /// sent again and again.
    #[must_use]
    pub fn searchable(&self) -> Receiver<bool> {
        self.searchable.clone()
    }

    async fn project_request(&self, request: v1::ProjectRequest) -> Result<(), Failure> {
        let part = Part { tenant: request.tenant.parse()?, collection: request.collection_uid.parse()? };
        let images = request.image_ids.iter().map(|bytes| ImageId::from_bytes(bytes));
        let images = images.collect::<Result<Vec<_>, _>>()?;
        self.projector.project(&part, &images).await.map_err(failure_from_port)
    }
}

#[async_trait]
impl v1::indexing_server::Indexing for Indexing {
    async fn project(
        &self,
        request: Request<v1::ProjectRequest>,
    ) -> Result<Response<v1::ProjectResponse>, Status> {
        let done = traces::step("project records", self.project_request(request.into_inner())).await;
        done.map(|()| Response::new(v1::ProjectResponse {})).map_err(|failure| status_from_failure(&failure))
    }
}
