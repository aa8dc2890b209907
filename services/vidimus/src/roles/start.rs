//! Starting the roles of a process.

use std::sync::Arc;

use anyhow::Context;
use prometheus_client::registry::Registry;
use tokio::sync::watch;
use vidimus_embedding::{EmbeddingDeps, EmbeddingRole, EncoderElsewhere, Worker, WorkerDeps};
use vidimus_gateway::{Gateway, GatewayDeps};
use vidimus_indexing::{Indexing, IndexingDeps};
use vidimus_ingestion::{Ingestion, IngestionDeps};
use vidimus_ports::{Encoders, FaceEncoder};
use vidimus_proto::internal::v1;
use vidimus_proto::internal::v1::embedding_server::{Embedding, EmbeddingServer};
use vidimus_proto::internal::v1::indexing_server::IndexingServer;
use vidimus_proto::internal::v1::ingestion_server::IngestionServer;
use vidimus_proto::internal::v1::query_server::QueryServer;
use vidimus_query::{NOTICED_AFTER, Query, QueryDeps};
use vidimus_runtime::invariants::Invariants;
use vidimus_runtime::models::KnownModel;
use vidimus_runtime::shutdown::Shutdown;
use vidimus_runtime::transport::remote::Remote;
use vidimus_runtime::transport::{
    CallMetrics, MESSAGE_BYTES_MAX, Pool, PoolDeps, RoleServer, SEARCHABLE, follow,
};

use super::{Core, Role};
use crate::adapters::Adapters;
use crate::config::{Config, Peer};

/// What the roles are started with.
pub struct RoleParams<'a> {
    /// How they behave.
    pub config: &'a Config,
    /// Everything outside of them.
    pub adapters: &'a Adapters,
    /// What those that keep something stand on; none where embedding is alone.
    pub core: Option<Core>,
    /// Ends what they start.
    pub shutdown: &'a Shutdown,
}

/// The roles of a process, running.
pub struct Started {
    /// The tenants' door, where it is in this process.
    pub gateway: Option<Gateway>,
    /// Takes bulk jobs, here or elsewhere, where this process calls it.
    pub ingestion: Option<Arc<dyn v1::ingestion_server::Ingestion>>,
    /// What other processes call.
    pub server: RoleServer,
    /// Whether the index has all that it should; true where this process does not care.
    pub searchable: watch::Receiver<bool>,
    has_index: bool,
}

impl Started {
    /// Says in this process's health, until it ends, whether the index has all that it should: what query waits for.
    pub async fn tell_health(&self, shutdown: &Shutdown) {
        let health = self.server.health().await;
        if self.has_index {
            let (searchable, shutdown) = (self.searchable.clone(), shutdown.clone());
            tokio::spawn(async move {
                health.follow_closely(SEARCHABLE, searchable, shutdown.begun()).await;
            });
        }
    }
}

/// Starts the roles of the configuration, those that are called first.
///
/// # Errors
/// Where a certificate cannot be read; and where something is not there that the configuration's check demands.
pub fn start(params: RoleParams<'_>, registry: &mut Registry) -> anyhow::Result<Started> {
    let started = Started {
        gateway: None,
        ingestion: None,
        server: RoleServer::new(params.config.transport.clone(), registry),
        searchable: watch::channel(true).1,
        has_index: false,
    };
    let call_metrics = CallMetrics::new(registry);
    let roles = params.config.roles();
    let mut starting = Starting { params, registry, call_metrics, callees: Callees::default(), started };
    for role in Role::ALL {
        if roles.contains(&role) {
            (role.row().start)(&mut starting)?;
        }
    }
    if starting.params.config.has_workers()? {
        starting.workers()?;
    }
    Ok(starting.started)
}

/// The roles of this process that others of it call.
#[derive(Default)]
struct Callees {
    embedding: Option<Arc<EmbeddingRole>>,
    indexing: Option<Arc<Indexing>>,
    ingestion: Option<Arc<Ingestion>>,
    query: Option<Arc<Query>>,
}

/// Roles that are being started.
pub(super) struct Starting<'a> {
    params: RoleParams<'a>,
    registry: &'a mut Registry,
    call_metrics: CallMetrics,
    callees: Callees,
    started: Started,
}

impl Starting<'_> {
    pub(super) fn embedding(&mut self) -> anyhow::Result<()> {
        let encoders = self.params.adapters.encoders()?;
        let limits = &self.params.config.encoder;
        let deps = EmbeddingDeps {
            encoders,
            photos_at_once: limits.workers.get(),
            photos_waiting_max: limits.queue_photos_max.get(),
        };
        let role = Arc::new(EmbeddingRole::new(deps, self.registry));
        let server = EmbeddingServer::from_arc(Arc::clone(&role));
        self.started.server.add(server.max_decoding_message_size(MESSAGE_BYTES_MAX));
        self.callees.embedding = Some(role);
        Ok(())
    }

    pub(super) fn indexing(&mut self) -> anyhow::Result<()> {
        let core = self.core()?;
        let deps = IndexingDeps {
            blobs: core.blobs,
            log: core.log,
            index: self.params.adapters.index()?,
            catalog: core.catalog,
            baseline: core.indexed.context("indexing has no index")?.baseline(),
            clock: Arc::clone(&self.params.adapters.clock),
        };
        let config = self.params.config.indexing.clone();
        let role = Arc::new(Indexing::start(config, deps, self.params.shutdown, self.registry));
        self.started.server.add(IndexingServer::from_arc(Arc::clone(&role)));
        self.started.searchable = role.searchable();
        self.started.has_index = true;
        self.callees.indexing = Some(role);
        Ok(())
    }

    pub(super) fn ingestion(&mut self) -> anyhow::Result<()> {
        let core = self.core()?;
        let indexing: Arc<dyn v1::indexing_server::Indexing> = match self.remote(Role::Indexing)? {
            Some(remote) => Arc::new(remote),
            None => self.callees.indexing.clone().context("ingestion has no indexing to call")?,
        };
        let deps = IngestionDeps {
            blobs: core.blobs,
            log: core.log,
            embedding: self.callee_embedding()?,
            indexing,
            catalog: core.catalog,
            face_models: core.face_models,
            clock: Arc::clone(&self.params.adapters.clock),
            random: Arc::clone(&self.params.adapters.random),
        };
        let role = Arc::new(Ingestion::new(self.params.config.ingestion.clone(), deps, self.registry));
        let server = IngestionServer::from_arc(Arc::clone(&role));
        self.started.server.add(server.max_decoding_message_size(MESSAGE_BYTES_MAX));
        self.started.ingestion = Some(Arc::clone(&role) as Arc<dyn v1::ingestion_server::Ingestion>);
        self.callees.ingestion = Some(role);
        Ok(())
    }

    pub(super) fn query(&mut self) -> anyhow::Result<()> {
        let core = self.core()?;
        let (searchable, is_told_by_others) = self.searchable()?;
        let deps = QueryDeps {
            blobs: core.blobs,
            index: self.params.adapters.index()?,
            embedding: self.callee_embedding()?,
            log: core.log,
            catalog: core.catalog,
            face_models: core.face_models,
            clock: Arc::clone(&self.params.adapters.clock),
            searchable: searchable.clone(),
            is_told_by_others,
            invariants: Invariants::new(self.registry),
        };
        let role = Arc::new(Query::new(deps, self.registry));
        let server = QueryServer::from_arc(Arc::clone(&role));
        self.started.server.add(server.max_decoding_message_size(MESSAGE_BYTES_MAX));
        self.started.searchable = searchable;
        self.callees.query = Some(role);
        Ok(())
    }

    pub(super) fn ledger(&mut self) -> anyhow::Result<()> {
        let indexed = self.core()?.indexed.context("the ledger has no index")?;
        indexed.ledger.start(self.params.config.ledger.clone(), self.params.shutdown);
        Ok(())
    }

    pub(super) fn gateway(&mut self) -> anyhow::Result<()> {
        let core = self.core()?;
        let ingestion: Arc<dyn v1::ingestion_server::Ingestion> = match self.remote(Role::Ingestion)? {
            Some(remote) => Arc::new(remote),
            None => self.callees.ingestion.clone().context("the gateway has no ingestion to call")?,
        };
        let query: Arc<dyn v1::query_server::Query> = match self.remote(Role::Query)? {
            Some(remote) => Arc::new(remote),
            None => self.callees.query.clone().context("the gateway has no query to call")?,
        };
        self.started.ingestion = Some(Arc::clone(&ingestion));
        let deps = GatewayDeps {
            ingestion,
            query,
            catalog: core.catalog,
            face_models: core.face_models,
            log: core.log,
            photos: self.params.adapters.photos()?,
            clock: Arc::clone(&self.params.adapters.clock),
            random: Arc::clone(&self.params.adapters.random),
            token_key: core.token_key,
        };
        self.started.gateway = Some(Gateway::new(self.params.config.gateway.clone(), deps, self.registry));
        Ok(())
    }

    /// The workers of the bulk lane, with the encoder of this process or one elsewhere.
    fn workers(&mut self) -> anyhow::Result<()> {
        let core = self.core()?;
        let encoders = match &self.params.adapters.encoders {
            Some(encoders) => encoders.clone(),
            None => {
                let embedding = self.callee_embedding()?;
                let elsewhere = |known: &KnownModel| -> Arc<dyn FaceEncoder> {
                    let (embedding, face_model) = (Arc::clone(&embedding), known.face_model.clone());
                    Arc::new(EncoderElsewhere::new(embedding, face_model, known.dimension))
                };
                Encoders::new(core.face_models.all().map(elsewhere).collect())
            }
        };
        let deps = WorkerDeps {
            blobs: core.blobs,
            log: core.log,
            catalog: core.catalog,
            encoders,
            clock: Arc::clone(&self.params.adapters.clock),
            random: Arc::clone(&self.params.adapters.random),
        };
        Worker::start(self.params.config.worker.clone(), deps, self.params.shutdown, self.registry);
        Ok(())
    }

    fn core(&self) -> anyhow::Result<Core> {
        self.params.core.clone().context("a role that keeps something has nothing to stand on")
    }

    fn callee_embedding(&self) -> anyhow::Result<Arc<dyn Embedding>> {
        match self.remote(Role::Embedding)? {
            Some(remote) => Ok(Arc::new(remote)),
            None => Ok(self.callees.embedding.clone().context("there is no embedding to call")?),
        }
    }

    /// Whether the index has all that it should, as indexing says; and whether that is elsewhere.
    fn searchable(&self) -> anyhow::Result<(watch::Receiver<bool>, bool)> {
        let Some(pool) = self.pool(Role::Indexing)? else {
            let indexing = self.callees.indexing.as_ref();
            return Ok((indexing.context("query has no indexing to ask")?.searchable(), false));
        };
        let (known, searchable) = watch::channel(false);
        let shutdown = self.params.shutdown.clone();
        self.params.shutdown.spawn(async move {
            // Indexing may not have noticed yet what the index lost before this process was there to see it.
            tokio::select! {
                () = tokio::time::sleep(NOTICED_AFTER) => follow(pool, SEARCHABLE, known, shutdown).await,
                () = shutdown.begun() => {}
            }
        });
        Ok((searchable, true))
    }

    /// A client of the role, where it is elsewhere.
    fn remote(&self, role: Role) -> anyhow::Result<Option<Remote>> {
        Ok(self.pool(role)?.map(Remote::new))
    }

    fn pool(&self, role: Role) -> anyhow::Result<Option<Arc<Pool>>> {
        let Peer::Elsewhere(addresses) = self.params.config.peer(role) else { return Ok(None) };
        let deps = PoolDeps {
            config: self.params.config.transport.clone(),
            random: Arc::clone(&self.params.adapters.random),
            metrics: self.call_metrics.clone(),
        };
        let pool = Pool::new(role.name(), addresses, deps).with_context(|| format!("call {role}"))?;
        Ok(Some(pool))
    }
}
