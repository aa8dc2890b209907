//! The roles of one process, each built of ports and of the roles that it calls.
//!
//! | role | calls | stands on |
//! |---|---|---|
//! | embedding | | encoder; its workers: blobs, log |
//! | indexing | | blobs, log, index |
//! | ingestion | embedding, indexing | blobs, log |
//! | query | embedding | blobs, log, index |
//! | ledger | | blobs, log, index |
//! | gateway | ingestion, query | blobs (the catalog), log (audit), photos |
//!
//! What one role calls of another is the service trait that the `.proto` files generate: here the role itself, across
//! processes a client behind the same trait.

use std::sync::Arc;

use prometheus_client::registry::Registry;
use tokio::sync::watch;
use vidimus_embedding::{EmbeddingDeps, EmbeddingRole, Worker, WorkerDeps};
use vidimus_gateway::{Gateway, GatewayDeps};
use vidimus_indexing::{Indexing, IndexingDeps};
use vidimus_ingestion::{Ingestion, IngestionDeps};
use vidimus_ledger::{Ledger, LedgerDeps};
use vidimus_proto::internal::v1::embedding_server::Embedding;
use vidimus_proto::internal::v1::ingestion_server::Ingestion as IngestionService;
use vidimus_query::{Query, QueryDeps};
use vidimus_runtime::catalog::{Catalog, CatalogDeps};
use vidimus_runtime::invariants::Invariants;
use vidimus_runtime::models::FaceModels;
use vidimus_runtime::shutdown::Shutdown;

use crate::adapters::Adapters;
use crate::config::Config;

/// What the roles need besides the adapters.
pub struct RoleParams<'a> {
    /// How they behave.
    pub config: &'a Config,
    /// Tenants, keys, collections.
    pub catalog: Arc<Catalog>,
    /// The ledger, to be started.
    pub ledger: Arc<Ledger>,
    /// What is known of the face model.
    pub face_models: Arc<FaceModels>,
    /// Seals page tokens.
    pub token_key: [u8; 32],
    /// Ends what they start.
    pub shutdown: &'a Shutdown,
}

/// The roles, running.
pub struct Roles {
    /// The tenants' door.
    pub gateway: Gateway,
    /// Takes bulk jobs.
    pub ingestion: Arc<dyn IngestionService>,
    /// Reconciles on demand.
    pub ledger: Arc<Ledger>,
    /// Whether the index has all that it should.
    pub searchable: watch::Receiver<bool>,
}

/// The catalog of these adapters. There is no other process that reads it, so nothing waits for a lease.
#[must_use]
pub fn catalog(adapters: &Adapters) -> Arc<Catalog> {
    let deps = CatalogDeps {
        blobs: Arc::clone(&adapters.blobs),
        clock: Arc::clone(&adapters.clock),
        random: Arc::clone(&adapters.random),
    };
    Arc::new(Catalog::new(deps, None))
}

/// The ledger of these adapters; it is started with the other roles.
#[must_use]
pub fn ledger(adapters: &Adapters, catalog: &Arc<Catalog>, registry: &mut Registry) -> Arc<Ledger> {
    let deps = LedgerDeps {
        blobs: Arc::clone(&adapters.blobs),
        log: Arc::clone(&adapters.log),
        index: Arc::clone(&adapters.index),
        catalog: Arc::clone(catalog),
        clock: Arc::clone(&adapters.clock),
        random: Arc::clone(&adapters.random),
    };
    Ledger::new(deps, registry)
}

/// Builds and starts all roles in this process.
#[must_use]
pub fn start_all(adapters: &Adapters, params: RoleParams<'_>, registry: &mut Registry) -> Roles {
    let Adapters { blobs, log, index, photos, encoder, clock, random } = adapters.clone();
    let RoleParams { config, catalog, ledger, face_models, token_key, shutdown } = params;
    let invariants = Invariants::new(registry);
    let deps = WorkerDeps {
        blobs: Arc::clone(&blobs),
        log: Arc::clone(&log),
        catalog: Arc::clone(&catalog),
        encoder: Arc::clone(&encoder),
        clock: Arc::clone(&clock),
        random: Arc::clone(&random),
    };
    Worker::start(config.worker.clone(), deps, shutdown, registry);
    let embedding: Arc<dyn Embedding> = Arc::new(EmbeddingRole::new(EmbeddingDeps { encoder }, registry));

    let deps = IndexingDeps {
        blobs: Arc::clone(&blobs),
        log: Arc::clone(&log),
        index: Arc::clone(&index),
        catalog: Arc::clone(&catalog),
        clock: Arc::clone(&clock),
    };
    let indexing = Arc::new(Indexing::start(config.indexing.clone(), deps, shutdown, registry));
    let searchable = indexing.searchable();

    let deps = IngestionDeps {
        blobs: Arc::clone(&blobs),
        log: Arc::clone(&log),
        embedding: Arc::clone(&embedding),
        indexing,
        catalog: Arc::clone(&catalog),
        face_models: Arc::clone(&face_models),
        clock: Arc::clone(&clock),
        random: Arc::clone(&random),
    };
    let ingestion: Arc<dyn IngestionService> =
        Arc::new(Ingestion::new(config.ingestion.clone(), deps, registry));

    let deps = QueryDeps {
        blobs,
        index,
        embedding,
        log: Arc::clone(&log),
        catalog: Arc::clone(&catalog),
        face_models: Arc::clone(&face_models),
        clock: Arc::clone(&clock),
        searchable: searchable.clone(),
        invariants,
    };
    let query = Arc::new(Query::new(deps, registry));

    ledger.start(config.ledger.clone(), shutdown);

    let deps = GatewayDeps {
        ingestion: Arc::clone(&ingestion),
        query,
        catalog,
        face_models,
        log,
        photos,
        clock,
        random,
        token_key,
    };
    let gateway = Gateway::new(config.gateway.clone(), deps, registry);
    Roles { gateway, ingestion, ledger, searchable }
}
