//! Moves of collections between index collections, and so rebuilding an index from the records alone
//! ([`vidimus_domain::placements`] tells the states).
//!
//! Whoever drives a move writes no points: it says every record on the log, as reconciling says a difference, and indexing writes to both
//! placements. Then records and the target's points are compared, and what differs is said again, until nothing does. All that a move
//! needs stands in the catalog: whoever drives it may die anywhere, and another one takes it up.
//!
//! Where the target is of another face model, workers of the bulk lane embed the stored photos anew first, at the landmarks that the
//! records have, so that every face keeps its id.

mod choice;
mod fill;
mod models;
mod progress;
mod take_up;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use vidimus_domain::catalog::Collection;
use vidimus_domain::placements::{Move, MoveStage};
use vidimus_domain::{CollectionName, ErrorCode, FaceModelName, Failure, Part, Placement, TenantId};
use vidimus_ports::Topic;
use vidimus_runtime::accepted_photos::AcceptedPhotos;
use vidimus_runtime::changes::Changes;
use vidimus_runtime::records::Records;
use vidimus_runtime::shutdown::Shutdown;

use crate::LedgerDeps;
use crate::metrics::Metrics;
use crate::reconcile::Reconciler;
use crate::retries::{Retries, persist};
use choice::check_goal;
pub use choice::{Destination, Goal};
pub(crate) use progress::Counts;
pub use progress::{MoveProgress, MoveState};

/// Drives moves, each in a task of its own.
pub(crate) struct Mover {
    deps: LedgerDeps,
    records: Records,
    changes: Changes,
    accepted_photos: AcceptedPhotos,
    /// Compares; its walks are not the ledger's.
    reconciler: Reconciler,
    metrics: Arc<Metrics>,
    retries: Retries,
    /// The last move of each collection that was driven here.
    driven: Mutex<HashMap<Part, Arc<Counts>>>,
    /// Ends what it drives.
    shutdown: OnceLock<Shutdown>,
}

impl Mover {
    pub(crate) fn new(deps: LedgerDeps, reconciler: Reconciler, metrics: Arc<Metrics>) -> Arc<Self> {
        let records = Records::new(Arc::clone(&deps.blobs), Arc::clone(&deps.clock));
        let changes = Changes::new(Arc::clone(&deps.log));
        let accepted_photos = AcceptedPhotos::new(Arc::clone(&deps.log));
        let retries = Retries::persistent(&deps);
        let (driven, shutdown) = (Mutex::default(), OnceLock::new());
        Arc::new(Self {
            deps,
            records,
            changes,
            accepted_photos,
            reconciler,
            metrics,
            retries,
            driven,
            shutdown,
        })
    }

    /// What it drives ends where `shutdown` begins.
    pub(crate) fn end_with(&self, shutdown: &Shutdown) {
        // Called once; were it called again, the first would do.
        let _ = self.shutdown.set(shutdown.clone());
    }

    /// Begins a move, or takes up the one that is under way, and drives it in the background.
    pub(crate) async fn begin(
        self: &Arc<Self>,
        (tenant, name): (TenantId, &CollectionName),
        to: &Goal,
    ) -> Result<MoveProgress, Failure> {
        if let Some(face_model) = to.face_model()? {
            self.deps.face_models.of(&face_model)?;
        }
        let collection = self.deps.catalog.read_collection(tenant, name).await?;
        if collection.placements.moving.is_some() {
            return self.take_up(&collection, to);
        }
        match self.begin_anew(&collection, to).await {
            Ok(begun) => Ok(self.drive_in_background(&begun)),
            Err(refusal) => {
                // Somebody else may have begun one at the same time.
                let now = self.deps.catalog.read_collection(tenant, name).await?;
                if now.placements.moving.is_some() { self.take_up(&now, to) } else { Err(refusal) }
            }
        }
    }

    fn take_up(self: &Arc<Self>, collection: &Collection, to: &Goal) -> Result<MoveProgress, Failure> {
        if let Some(moving) = &collection.placements.moving {
            check_goal(collection, moving, to)?;
        }
        Ok(self.drive_in_background(collection))
    }

    /// How the collection's move stands.
    pub(crate) async fn progress(
        &self,
        tenant: TenantId,
        name: &CollectionName,
    ) -> Result<MoveProgress, Failure> {
        let collection = self.deps.catalog.read_collection(tenant, name).await?;
        let driven = self.driven().get(&collection.part()).map(|counts| counts.progress());
        let standing = MoveProgress::standing(&collection);
        // What was driven here may be long over, and another move be driven elsewhere.
        let is_of_this = |driven: &MoveProgress| match driven.state {
            MoveState::UnderWay => true,
            MoveState::Stopped | MoveState::GivenUp => {
                driven.to == standing.to || standing.state == MoveState::None
            }
            _ => standing.state == MoveState::None && driven.to == standing.to,
        };
        Ok(driven.filter(is_of_this).unwrap_or(standing))
    }

    /// Gives up a move whose target nobody reads yet.
    pub(crate) async fn cancel(
        &self,
        tenant: TenantId,
        name: &CollectionName,
    ) -> Result<MoveProgress, Failure> {
        let collection = self.deps.catalog.read_collection(tenant, name).await?;
        let part = collection.part();
        let Some(moving) = &collection.placements.moving else {
            return Err(Failure::new(
                ErrorCode::NotFound,
                format!("the collection {name} is not being moved"),
            ));
        };
        if !self.deps.catalog.cancel_move(&part, moving).await? {
            let message = "reads have switched already: begin it again, and it comes to its end";
            return Err(Failure::new(ErrorCode::Conflict, message));
        }
        self.clear_later(&part).await?;
        let cancelled = MoveProgress::standing(&collection);
        Ok(MoveProgress { state: MoveState::GivenUp, ..cancelled })
    }

    fn drive_in_background(self: &Arc<Self>, collection: &Collection) -> MoveProgress {
        let part = collection.part();
        let mut driven = self.driven();
        let standing = MoveProgress::standing(collection);
        // One that was cancelled meanwhile, and has not seen it yet, is another.
        let is_this = |at: &MoveProgress| at.state == MoveState::UnderWay && at.to == standing.to;
        if let Some(at) = driven.get(&part).map(|counts| counts.progress()).filter(is_this) {
            return at;
        }
        let counts = Arc::new(Counts::new(standing));
        driven.insert(part, Arc::clone(&counts));
        drop(driven);
        let progress = counts.progress();
        let mover = Arc::clone(self);
        let drive = async move {
            let driven = match mover.shutdown.get() {
                Some(shutdown) => {
                    tokio::select! {
                        driven = mover.drive(&part, &counts) => driven,
                        () = shutdown.begun() => Err(Failure::new(ErrorCode::Unavailable, "the service ends")),
                    }
                }
                None => mover.drive(&part, &counts).await,
            };
            if let Err(failure) = &driven {
                tracing::error!(%failure, %part, "a move stopped; begun again, it is taken up where it stands");
            }
            counts.end(driven);
        };
        match self.shutdown.get() {
            Some(shutdown) => shutdown.spawn(drive),
            None => drop(tokio::spawn(drive)),
        }
        progress
    }

    /// Takes a move from where it stands to its end. Other processes may drive it too: whoever is first writes the next state.
    async fn drive(&self, part: &Part, counts: &Counts) -> Result<(), Failure> {
        let reached = loop {
            let collection = self.see(part).await?;
            let Some(moving) = collection.placements.moving.clone() else {
                break collection.placements.read.clone();
            };
            // Whoever wrote this may have died at once: others may believe what was before.
            counts.at(moving.stage);
            self.deps.catalog.until_believed().await;
            let driven = Driven { collection: &collection, moving: &moving, counts };
            match self.go_on(&driven).await {
                Err(failure) if failure.code == ErrorCode::Conflict && self.has_gone_on(&driven).await? => {}
                went_on => went_on?,
            }
        };
        persist!(self.retries, self.clear_later(part))?;
        if counts.progress().to == reached.as_str() { Ok(()) } else { Err(given_up()) }
    }

    /// Does what the stage asks for, and writes the next one.
    async fn go_on(&self, driven: &Driven<'_>) -> Result<(), Failure> {
        let (catalog, part, moving) = (&self.deps.catalog, driven.collection.part(), driven.moving);
        let written = match moving.stage {
            MoveStage::Filling => {
                self.fill(driven).await?;
                persist!(self.retries, catalog.switch_move(&part, moving))?
            }
            MoveStage::Leaving => {
                if driven.is_turning() {
                    self.settle(driven).await?;
                }
                persist!(self.retries, catalog.finish_move(&part, moving))?
            }
        };
        if written {
            tracing::info!(%part, placement = %moving.other, stage = ?moving.stage, "a move went on");
        }
        Ok(())
    }

    /// Whether another process has brought this move further, or to an end.
    async fn has_gone_on(&self, driven: &Driven<'_>) -> Result<bool, Failure> {
        let now = self.see(&driven.collection.part()).await?;
        let moving = driven.moving;
        let is_this_later = |now: &Move| now.began_at == moving.began_at && now.stage != moving.stage;
        Ok(now.placements.moving.as_ref().is_none_or(is_this_later))
    }

    /// Clears what was left, once nobody believes any more that it is written to.
    async fn clear_later(&self, part: &Part) -> Result<(), Failure> {
        self.deps.catalog.until_believed().await;
        self.reconciler.clear_left(part).await
    }

    /// The collection as the catalog has it now.
    async fn see(&self, part: &Part) -> Result<Arc<Collection>, Failure> {
        let gone = || Failure::new(ErrorCode::NotFound, "the collection was deleted meanwhile");
        persist!(self.retries, self.deps.catalog.read_by_part(part))?.ok_or_else(gone)
    }

    /// Fails where the move is not under way any more.
    async fn check_under_way(&self, driven: &Driven<'_>) -> Result<(), Failure> {
        if self.see(&driven.collection.part()).await?.placements.moving.as_ref() == Some(driven.moving) {
            return Ok(());
        }
        Err(given_up())
    }

    fn driven(&self) -> MutexGuard<'_, HashMap<Part, Arc<Counts>>> {
        self.driven.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A move that is being driven.
struct Driven<'a> {
    collection: &'a Collection,
    moving: &'a Move,
    counts: &'a Counts,
}

impl Driven<'_> {
    /// Whether the collection turns to another face model.
    fn is_turning(&self) -> bool {
        self.moving.face_model != *self.collection.face_model()
    }

    /// Where its records are said.
    fn topic(&self) -> Topic {
        if self.is_turning() { Topic::Photos } else { Topic::Changes }
    }
}

fn given_up() -> Failure {
    Failure::new(ErrorCode::Conflict, "the move was given up, or another process has taken it on")
}

/// Where a move goes to, and to which face model.
fn destination<'a>(collection: &'a Collection, moving: &'a Move) -> (&'a Placement, &'a FaceModelName) {
    match moving.stage {
        MoveStage::Filling => (&moving.other, &moving.face_model),
        MoveStage::Leaving => (&collection.placements.read, collection.face_model()),
    }
}
