//! Reconciling compares records with points. It never writes points itself: it reads each difference once more and says a
//! change on the log, which indexing projects. It says photos again that have waited for long. It also removes what has no use any more: husks, photos that no record
//! names, and what lies under dead collections.

mod dead;
mod differences;
mod photos;
mod target;
mod tokens;
mod waiting;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use vidimus_domain::blob_key::{BlobKey, BlobPrefix};
use vidimus_domain::catalog::Collection;
use vidimus_domain::point::Gallery;
use vidimus_domain::record::WantedModels;
use vidimus_domain::{Failure, Part, UnixMillis};
use vidimus_ports::{BlobEntry, PortResult};
use vidimus_runtime::accepted_photos::AcceptedPhotos;
use vidimus_runtime::changes::Changes;
use vidimus_runtime::errors::failure_from_port;
use vidimus_runtime::records::Records;

use crate::LedgerDeps;
use crate::expiry::Expirer;
use crate::metrics::Metrics;
use crate::moves::Counts;
use crate::retries::{Retries, persist};
pub(crate) use differences::{image_of, is_unreadable};

/// Objects or points that are read as a page.
pub(crate) const PAGE: usize = 1000;
/// Records that are read at a time: over S3 each takes tens of milliseconds.
pub(crate) const CONCURRENT_READS: usize = 16;
/// A walk begins this much before the last one, for clocks and writes under way.
const OVERLAP: Duration = Duration::from_secs(3600);

/// What a walk looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Walk {
    /// Records that have changed since the last walk (minus an hour) or lack their points.
    Changed,
    /// Everything.
    Full,
}

/// What a walk found and did.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Reconciled {
    /// Collections that were walked.
    pub collections: u64,
    /// Records that were compared with their points.
    pub compared_records: u64,
    /// Records that could not be compared: they are damaged, or a newer version has written them.
    pub unreadable_records: u64,
    /// Differences that were said on the log.
    pub differences: u64,
    /// Photos that were accepted long ago and were said on the log again.
    pub waiting_photos: u64,
    /// Records of which something was erased because its time had come.
    pub expired_records: u64,
    /// Husks that were removed.
    pub removed_husks: u64,
    /// Photos that no record names and that were removed.
    pub removed_photos: u64,
    /// Dead collections under which something was found and removed.
    pub cleared_collections: u64,
}

/// Does the walks.
pub(crate) struct Reconciler {
    deps: LedgerDeps,
    records: Records,
    changes: Changes,
    accepted_photos: AcceptedPhotos,
    expirer: Arc<Expirer>,
    metrics: Arc<Metrics>,
    /// Of pages and records.
    retries: Retries,
    /// When the last complete walk began; none before the first, which looks at everything.
    walked_at: Option<UnixMillis>,
    /// Dead collections and when they were first seen dead.
    seen_dead: HashMap<Part, UnixMillis>,
    /// Clearings after which nothing can come, and that may not be durable yet.
    clearings: Mutex<HashMap<Gallery, target::Clearing>>,
}

/// One walk of one collection.
struct Scope<'a> {
    collection: &'a Collection,
    /// Whose points are compared: the one that is read, or a move's target.
    gallery: Gallery,
    /// Records and photos that were put before this are taken as compared already; none: everything is looked at.
    since: Option<UnixMillis>,
    now: UnixMillis,
    /// The face models that records need templates of.
    wanted: WantedModels,
    /// How long an accepted photo may wait before it is said again.
    patience: Duration,
    /// Where a move's target is compared: its counts, which collect the records that differ.
    counts: Option<&'a Counts>,
}

impl Reconciled {
    /// What was found and done besides.
    fn add(&mut self, other: &Self) {
        self.collections += other.collections;
        self.compared_records += other.compared_records;
        self.unreadable_records += other.unreadable_records;
        self.differences += other.differences;
        self.waiting_photos += other.waiting_photos;
        self.expired_records += other.expired_records;
        self.removed_husks += other.removed_husks;
        self.removed_photos += other.removed_photos;
        self.cleared_collections += other.cleared_collections;
    }
}

impl Scope<'_> {
    fn is_recent(&self, entry: &BlobEntry) -> bool {
        self.since.is_none_or(|since| entry.modified_at >= since)
    }
}

impl Reconciler {
    pub(crate) fn new(deps: LedgerDeps, expirer: Arc<Expirer>, metrics: Arc<Metrics>) -> Self {
        Self {
            records: Records::new(Arc::clone(&deps.blobs), Arc::clone(&deps.clock)),
            changes: Changes::new(Arc::clone(&deps.log)),
            accepted_photos: AcceptedPhotos::new(Arc::clone(&deps.log)),
            retries: Retries::none(&deps),
            deps,
            expirer,
            metrics,
            walked_at: None,
            seen_dead: HashMap::new(),
            clearings: Mutex::default(),
        }
    }

    /// One that tries pages and records again so.
    pub(crate) fn trying_again(self, retries: Retries) -> Self {
        Self { retries, ..self }
    }

    pub(crate) async fn run(&mut self, walk: Walk) -> Result<Reconciled, Failure> {
        let now = self.deps.clock.now();
        let since = match walk {
            Walk::Changed => self.walked_at.map(|at| at.minus(OVERLAP)),
            Walk::Full => None,
        };
        let patience = self.patience().await.map_err(failure_from_port)?;
        let mut found = Reconciled::default();
        let mut failed = None;
        let mut moving = 0;
        for tenant in self.deps.catalog.tenants().await? {
            let collections = match self.deps.catalog.all_collections(tenant.id).await {
                Ok(collections) => collections,
                Err(failure) => {
                    failed = Some(failure);
                    continue;
                }
            };
            for collection in collections {
                let gallery = collection.gallery();
                // What a move's target needs is compared by whoever drives the move.
                let own = collection.face_model().clone();
                let wanted = WantedModels { own, other: None, made_for: None };
                let counts = None;
                let scope = Scope { collection: &collection, gallery, since, now, wanted, patience, counts };
                failed = self.walk(&scope, &mut found).await.err().or(failed);
                if !collection.placements.left.is_empty() {
                    failed = self.clear_left(&collection.part()).await.err().or(failed);
                }
                moving += i64::from(collection.placements.moving.is_some());
            }
            failed = self.clear_dead(&tenant, &mut found).await.err().or(failed);
        }
        self.metrics.moving_collections.set(moving);
        if let Some(failure) = failed {
            return Err(failure);
        }
        self.walked_at = Some(now);
        Ok(found)
    }

    /// Walks one collection. What fails there keeps no other from being walked.
    async fn walk(&self, scope: &Scope<'_>, found: &mut Reconciled) -> Result<(), Failure> {
        self.compare(scope, found).await?;
        self.sweep_photos(scope, found).await.map_err(failure_from_port)?;
        self.sweep_tokens(scope).await.map_err(failure_from_port)?;
        found.collections += 1;
        Ok(())
    }

    /// The next page of a listing; `after` moves on.
    pub(crate) async fn next_page(
        &self,
        prefix: &BlobPrefix,
        after: &mut Option<BlobKey>,
    ) -> PortResult<Vec<BlobEntry>> {
        let page = persist!(self.retries, self.deps.blobs.list(prefix, after.as_ref(), PAGE))?;
        if let Some(last) = page.last() {
            *after = Some(last.key.clone());
        }
        Ok(page)
    }
}
