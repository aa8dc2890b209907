//! The sweep: finds what has expired, through the index and by the days of the photos, and has it erased in small batches.
//!
//! The index only says where to look. What is erased is decided on the record as it is then, by the collection's rule as
//! the catalog has it then. Between two batches the sweep rests for as long as the last one took, so that searches have
//! at least half of what the stores can do. Erased faces leave the index by the log, as every change does; where that
//! fails, reconciling finds it.

mod faces;
mod photos;

use std::sync::Arc;

use vidimus_domain::catalog::Collection;
use vidimus_domain::{Failure, Part, UnixMillis};
use vidimus_ports::PortResult;
use vidimus_runtime::records::Records;

use crate::LedgerDeps;
use crate::expiry::{Due, Erased, Expirer};
use crate::metrics::Metrics;
use crate::overdue::Overdue;

/// Faces, or photos, of one batch.
const BATCH: usize = 64;
/// Records that are worked on at a time.
const CONCURRENT_RECORDS: usize = 4;

/// What a sweep did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Faces whose time had come and that are erased.
    pub erased_faces: u64,
    /// Photos whose time had come and that are removed, with their last face or before.
    pub erased_photos: u64,
    /// Faces and photos whose time has come and that could not be erased yet.
    pub overdue: u64,
}

/// Does the sweeps.
pub(crate) struct Sweeper {
    deps: LedgerDeps,
    records: Records,
    expirer: Arc<Expirer>,
    overdue: Overdue,
}

/// A collection as it was read, and when the reading began.
struct Seen {
    collection: Arc<Collection>,
    at: UnixMillis,
}

impl Seen {
    fn due(&self) -> Due<'_> {
        Due { collection: &self.collection, cutoffs: self.collection.retention.cutoffs(self.at) }
    }
}

/// What came of a batch.
#[derive(Default)]
struct Outcome {
    erased: Erased,
    /// Faces or photos whose record could not be read or written.
    failed: u64,
}

impl Outcome {
    /// Counts one record that holds `listed` faces or photos of the batch.
    fn count(&mut self, erased: PortResult<Erased>, listed: u64) {
        match erased {
            Ok(erased) => {
                self.erased.faces += erased.faces;
                self.erased.photos += erased.photos;
            }
            Err(error) => {
                tracing::warn!(%error, "something that has expired could not be erased; it is tried again");
                self.failed += listed;
            }
        }
    }
}

impl Sweeper {
    pub(crate) fn new(deps: LedgerDeps, expirer: Arc<Expirer>, metrics: Arc<Metrics>) -> Self {
        let records = Records::new(Arc::clone(&deps.blobs), Arc::clone(&deps.clock));
        Self { deps, records, expirer, overdue: Overdue::new(metrics) }
    }

    /// Sweeps every collection. What fails in one keeps no other from being swept.
    pub(crate) async fn run(&mut self) -> Result<Swept, Failure> {
        let mut swept = Swept::default();
        let mut failed = None;
        let mut parts = Vec::new();
        for tenant in self.deps.catalog.tenants().await? {
            let collections = match self.deps.catalog.all_collections(tenant.id).await {
                Ok(collections) => collections,
                Err(failure) => {
                    failed = Some(failure);
                    continue;
                }
            };
            for collection in collections {
                let part = collection.part();
                parts.push(part);
                failed = self.sweep(&part, &mut swept).await.err().or(failed);
            }
        }
        self.overdue.keep(&parts, self.deps.clock.now());
        swept.overdue = self.overdue.count();
        failed.map_or(Ok(swept), Err)
    }

    async fn sweep(&mut self, part: &Part, swept: &mut Swept) -> Result<(), Failure> {
        self.sweep_faces(part, swept).await?;
        self.sweep_photos(part, swept).await
    }

    /// The collection as the catalog has it now; none where it is gone.
    async fn see(&self, part: &Part) -> Result<Option<Seen>, Failure> {
        let at = self.deps.clock.now();
        Ok(self.deps.catalog.read_by_part(part).await?.map(|collection| Seen { collection, at }))
    }

    /// Leaves the stores to others for as long as the work since then took.
    async fn rest(&self, since: UnixMillis) {
        self.deps.clock.sleep(self.deps.clock.now().since(since)).await;
    }
}

impl Swept {
    fn add(&mut self, outcome: &Outcome) {
        self.erased_faces += outcome.erased.faces;
        self.erased_photos += outcome.erased.photos;
    }
}
