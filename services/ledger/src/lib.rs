//! The ledger role: writes the audit log to the blob store, trims what every group has committed, erases what has
//! expired, and reconciles records with points, so that losing the log loses no face and nothing erased stays.

mod audit_batches;
mod expiry;
mod metrics;
mod moves;
mod overdue;
mod photo_keys;
mod reconcile;
mod retries;
mod sweep;
mod trim;

use std::sync::Arc;
use std::time::Duration;

use prometheus_client::registry::Registry;
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;
use vidimus_domain::{CollectionName, Failure, TenantId};
use vidimus_ports::{BlobStore, Clock, EventLog, FaceIndex, Random};
use vidimus_runtime::catalog::Catalog;
use vidimus_runtime::models::FaceModels;
use vidimus_runtime::shutdown::Shutdown;

use expiry::Expirer;
use metrics::Metrics;
use moves::Mover;
pub use moves::{Destination, Goal, MoveProgress, MoveState};
use reconcile::Reconciler;
pub use reconcile::{Reconciled, Walk};
use retries::Retries;
use sweep::Sweeper;
pub use sweep::Swept;
use trim::Trimmer;

/// How the ledger behaves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LedgerConfig {
    /// An audit batch is written when the ledger has had its oldest record for this long. Kafka hands records on every two seconds.
    #[serde(with = "humantime_serde")]
    pub audit_batch_wait: Duration,
    /// Or when it has this many records.
    pub audit_batch_records_max: usize,
    /// How often the log is trimmed.
    #[serde(with = "humantime_serde")]
    pub trim_interval: Duration,
    /// How often records and points are compared.
    #[serde(with = "humantime_serde")]
    pub reconcile_interval: Duration,
    /// How often what has expired is erased. It does not match from the moment of its expiry, whenever that is.
    #[serde(with = "humantime_serde")]
    pub sweep_interval: Duration,
}

impl Default for LedgerConfig {
    fn default() -> Self {
        Self {
            audit_batch_wait: Duration::from_secs(10),
            audit_batch_records_max: 1000,
            trim_interval: Duration::from_secs(10),
            reconcile_interval: Duration::from_secs(600),
            sweep_interval: Duration::from_secs(60),
        }
    }
}

/// What the ledger stands on.
#[derive(Clone)]
pub struct LedgerDeps {
    /// Records, photos and audit batches.
    pub blobs: Arc<dyn BlobStore>,
    /// Audit records and changes.
    pub log: Arc<dyn EventLog>,
    /// Read only: the ledger never writes points, but for removing dead collections.
    pub index: Arc<dyn FaceIndex>,
    /// Tenants and collections.
    pub catalog: Arc<Catalog>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Nonces of its writes.
    pub random: Arc<dyn Random>,
    /// So many changes may wait to be projected while a move says a collection's records: tenants' own enrolments are not refused for
    /// its sake.
    pub waiting_changes_max: u64,
    /// The same for photos that wait to be embedded.
    pub waiting_photos_max: u64,
    /// The face models that collections can turn to.
    pub face_models: Arc<FaceModels>,
}

/// The role.
pub struct Ledger {
    deps: LedgerDeps,
    metrics: Arc<Metrics>,
    reconciler: Mutex<Reconciler>,
    sweeper: Mutex<Sweeper>,
    mover: Arc<Mover>,
}

impl Ledger {
    /// A role that stands on `deps` and does nothing by itself yet: see [`Ledger::start`].
    #[must_use]
    pub fn new(deps: LedgerDeps, registry: &mut Registry) -> Arc<Self> {
        let metrics = Arc::new(Metrics::new(registry));
        let expirer = Arc::new(Expirer::new(deps.clone(), Arc::clone(&metrics)));
        let reconciler = || Reconciler::new(deps.clone(), Arc::clone(&expirer), Arc::clone(&metrics));
        let comparing = reconciler().trying_again(Retries::persistent(&deps));
        let reconciler = reconciler();
        let mover = Mover::new(deps.clone(), comparing, Arc::clone(&metrics));
        let sweeper = Sweeper::new(deps.clone(), expirer, Arc::clone(&metrics));
        let (reconciler, sweeper) = (Mutex::new(reconciler), Mutex::new(sweeper));
        Arc::new(Self { deps, metrics, reconciler, sweeper, mover })
    }

    /// Starts its tasks, which run until `shutdown` begins: audit batches, trimming, moves that stand, and a sweep and a walk at
    /// once and then at intervals.
    pub fn start(self: &Arc<Self>, config: LedgerConfig, shutdown: &Shutdown) {
        self.mover.end_with(shutdown);
        let audit = audit_batches::AuditBatches {
            config: config.clone(),
            deps: self.deps.clone(),
            metrics: Arc::clone(&self.metrics),
            shutdown: shutdown.clone(),
        };
        shutdown.spawn(audit.run());
        let trimmer = Trimmer {
            deps: self.deps.clone(),
            config: config.clone(),
            metrics: Arc::clone(&self.metrics),
            shutdown: shutdown.clone(),
        };
        shutdown.spawn(trimmer.run());
        let mover = Arc::clone(&self.mover);
        shutdown.spawn(mover.take_up_for_ever(config.reconcile_interval, shutdown.clone()));
        shutdown.spawn(Arc::clone(self).sweep_for_ever(config.clone(), shutdown.clone()));
        shutdown.spawn(Arc::clone(self).reconcile_for_ever(config, shutdown.clone()));
    }

    /// Compares records with points now; one walk at a time.
    ///
    /// # Errors
    /// Where a port fails; what was found until then is said on the log already.
    pub async fn reconcile(&self, walk: Walk) -> Result<Reconciled, Failure> {
        self.reconciler.lock().await.run(walk).await
    }

    /// Erases what has expired now; one sweep at a time.
    ///
    /// # Errors
    /// Where a port fails; what was erased until then stays so.
    pub async fn sweep(&self) -> Result<Swept, Failure> {
        self.sweeper.lock().await.run().await
    }

    /// Begins to move a collection to another index collection, which is made of the records alone; or takes up the move that is under
    /// way. It goes on in the background: see [`Ledger::move_progress`].
    ///
    /// # Errors
    /// `NotFound` where there is no such collection, `InvalidParameter` where the destination is none of its face model,
    /// `AlreadyExists` where a move elsewhere is under way or the destination may not be entered now.
    pub async fn begin_move(
        &self,
        tenant: TenantId,
        name: &CollectionName,
        to: &Goal,
    ) -> Result<MoveProgress, Failure> {
        self.mover.begin((tenant, name), to).await
    }

    /// How a collection's move stands.
    ///
    /// # Errors
    /// `NotFound` where there is no such collection.
    pub async fn move_progress(
        &self,
        tenant: TenantId,
        name: &CollectionName,
    ) -> Result<MoveProgress, Failure> {
        self.mover.progress(tenant, name).await
    }

    /// Gives a move up; the collection stays where it is.
    ///
    /// # Errors
    /// `NotFound` where there is no such collection or no move of it, `Conflict` where reads have switched already.
    pub async fn cancel_move(
        &self,
        tenant: TenantId,
        name: &CollectionName,
    ) -> Result<MoveProgress, Failure> {
        self.mover.cancel(tenant, name).await
    }

    async fn sweep_for_ever(self: Arc<Self>, config: LedgerConfig, shutdown: Shutdown) {
        while !shutdown.has_begun() {
            let swept = tokio::select! {
                swept = self.sweep() => swept,
                () = shutdown.begun() => return,
            };
            match swept {
                Ok(swept) if swept == Swept::default() => {}
                Ok(swept) => tracing::info!(?swept, "swept"),
                Err(failure) => tracing::warn!(%failure, "a sweep failed; it begins again later"),
            }
            tokio::select! {
                () = self.deps.clock.sleep(config.sweep_interval) => {}
                () = shutdown.begun() => return,
            }
        }
    }

    async fn reconcile_for_ever(self: Arc<Self>, config: LedgerConfig, shutdown: Shutdown) {
        while !shutdown.has_begun() {
            let walked = tokio::select! {
                walked = self.reconcile(Walk::Changed) => walked,
                () = shutdown.begun() => return,
            };
            match walked {
                Ok(found) => tracing::info!(?found, "reconciled"),
                Err(failure) => tracing::warn!(%failure, "reconciling failed; it begins again later"),
            }
            tokio::select! {
                () = self.deps.clock.sleep(config.reconcile_interval) => {}
                () = shutdown.begun() => return,
            }
        }
    }
}
