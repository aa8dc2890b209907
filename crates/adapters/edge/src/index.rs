//! The port over the shards: opens them, and has no call hold up the runtime's other tasks.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::{RwLock, Semaphore};
use tokio::task::{block_in_place, spawn_blocking};
use vidimus_domain::point::{Gallery, Point};
use vidimus_domain::{FaceId, Placement, TenantId, UnixMillis};
use vidimus_ports::{FaceIndex, Hits, IndexSearch, ListedPoint, Listing, PortResult, RemoveIf, StoredSearch};
use vidimus_runtime::turns::Turns;

use crate::config::EdgeConfig;
use crate::effort::SearchEffort;
use crate::error::{EdgeError, EdgeResult};
use crate::filter::Replace;
use crate::optimizer::Optimizer;
use crate::reads::Page;
use crate::shard::{PlacementStatistics, Shard, folder, placement_of, remove_discarded};

/// Reads that wait at most: more than any gateway lets in by default.
const READS_WAITING_MAX: usize = 4096;

/// Those that are open.
type Shards = HashMap<Placement, Arc<Shard>>;

/// A [`FaceIndex`] in folders under one root. See the crate's documentation.
pub struct EdgeIndex {
    config: EdgeConfig,
    shards: Arc<RwLock<Shards>>,
    optimizer: Optimizer,
    /// Whether a write also replaces its own version: see [`EdgeIndex::recovered`].
    recovering: AtomicBool,
    /// Reads at a time: each takes a thread. Tenants take turns.
    reads: Turns<TenantId>,
    /// Writes at a time. The engine takes one by one, so more would only hold threads.
    writes: Arc<Semaphore>,
}

impl EdgeIndex {
    /// Opens every placement under the configured root, which is made where it is missing. The engine's log is replayed,
    /// so that this may take seconds.
    ///
    /// # Errors
    /// `Corrupt` with the path where a placement's folder is damaged.
    pub async fn open(config: EdgeConfig) -> PortResult<Self> {
        let context = "open index";
        let optimizer = Optimizer::start(config.optimize_after).map_err(|error| error.during(context))?;
        let index = Self {
            shards: Arc::default(),
            optimizer,
            recovering: AtomicBool::new(false),
            reads: Turns::new(config.reads_max, READS_WAITING_MAX),
            writes: Arc::new(Semaphore::new(1)),
            config,
        };
        let config = index.config.clone();
        let placements =
            blocking(move || placements(&config)).await.map_err(|error| error.during(context))?;
        index.recovering.store(!placements.is_empty(), Ordering::Relaxed);
        for placement in placements {
            index.shard_or_new(&placement).await.map_err(|error| error.during(context))?;
        }
        Ok(index)
    }

    /// A search with an effort of the caller's choice: for measurements.
    ///
    /// # Errors
    /// As [`FaceIndex::search`].
    pub async fn search_with(&self, search: IndexSearch, effort: SearchEffort) -> PortResult<Hits> {
        self.search_by(search, Some(effort)).await
    }

    /// How each placement stands.
    ///
    /// # Errors
    /// Where the engine fails.
    pub async fn statistics(&self) -> PortResult<Vec<PlacementStatistics>> {
        let mut statistics = Vec::new();
        for shard in self.shards().await {
            let one = blocking(move || shard.statistics()).await;
            statistics.push(one.map_err(|error| error.during("read index statistics"))?);
        }
        statistics.sort_by(|left, right| left.placement.cmp(&right.placement));
        Ok(statistics)
    }

    /// Says that everything has been written again that was written since the last flush before this opening.
    ///
    /// A process that is killed while it flushes leaves payloads, their indexes, vectors and versions of different moments. The
    /// engine replays its log over them, but conditions that are looked up there may not hold, and then a point keeps a part
    /// of its past. So from opening on a write replaces its own version too, which mends the point, until this is called.
    pub fn recovered(&self) {
        self.recovering.store(false, Ordering::Relaxed);
    }

    /// Waits until no optimisation is pending: for tests, measurements and `doctor`.
    ///
    /// # Errors
    /// Where the last optimisation of a placement failed.
    pub async fn optimized(&self) -> PortResult<()> {
        self.optimizer.settled().await.map_err(|error| error.during("optimise index"))
    }

    /// Begins no more optimisations, waits for at most `patience` for the one that runs, and flushes. Calls after it still
    /// work.
    ///
    /// # Errors
    /// Where the flush fails.
    pub async fn close(&self, patience: Duration) -> PortResult<()> {
        self.optimizer.stop(patience).await;
        self.flush_all().await.map_err(|error| error.during("close index"))
    }

    async fn flush_all(&self) -> EdgeResult<()> {
        for shard in self.shards().await {
            blocking(move || shard.flush()).await?;
        }
        Ok(())
    }

    async fn shards(&self) -> Vec<Arc<Shard>> {
        self.shards.read().await.values().cloned().collect()
    }

    async fn shard(&self, placement: &Placement) -> Option<Arc<Shard>> {
        self.shards.read().await.get(placement).cloned()
    }

    async fn shard_or_new(&self, placement: &Placement) -> EdgeResult<Arc<Shard>> {
        if let Some(shard) = self.shard(placement).await {
            return Ok(shard);
        }
        let mut shards = self.shards.write().await;
        if let Some(shard) = shards.get(placement) {
            return Ok(Arc::clone(shard));
        }
        let (config, name) = (self.config.clone(), placement.clone());
        let shard = Arc::new(blocking(move || open_or_create(&config, &name)).await?);
        shards.insert(placement.clone(), Arc::clone(&shard));
        self.optimizer.mark(&shard);
        Ok(shard)
    }

    /// Drops a shard that holds nothing and that nobody is at. Whoever calls it may go away: it is done or left alone as a whole.
    async fn drop_empty(&self, placement: &Placement) -> EdgeResult<bool> {
        let mut shards = Arc::clone(&self.shards).write_owned().await;
        self.optimizer.unmark(placement);
        let (root, name) = (self.config.root.clone(), placement.clone());
        let is_dropped = blocking(move || {
            let is_dropped = discard_empty(&mut shards, &name, &root)?;
            drop(shards);
            if let Err(error) = remove_discarded(&root) {
                tracing::warn!(%error, "files of a dropped index collection are left until the next start");
            }
            Ok(is_dropped)
        })
        .await?;
        if !is_dropped && let Some(shard) = self.shard(placement).await {
            self.optimizer.mark(&shard);
        }
        Ok(is_dropped)
    }

    /// Runs a read; nothing where the placement is not there.
    async fn read<T, F>(&self, gallery: &Gallery, context: &'static str, read: F) -> PortResult<T>
    where
        T: Default + Send + 'static,
        F: FnOnce(&Shard) -> EdgeResult<T> + Send + 'static,
    {
        let Some(shard) = self.shard(&gallery.placement).await else { return Ok(T::default()) };
        let turn = self.reads.take(gallery.part.tenant).await;
        let turn = turn.map_err(|_| EdgeError::Busy.during(context))?;
        let run = move || {
            let _turn = turn;
            read(&shard)
        };
        here(run).await.map_err(|error| error.during(context))
    }

    /// Runs a write, and has the optimiser look at the shard later. A write whose caller went away is finished all the
    /// same.
    async fn change<F>(&self, shard: Arc<Shard>, context: &'static str, change: F) -> PortResult<()>
    where
        F: FnOnce(&Shard) -> EdgeResult<()> + Send + 'static,
    {
        let permit = Arc::clone(&self.writes).acquire_owned().await;
        let changed = Arc::clone(&shard);
        let run = move || {
            let _permit = permit;
            change(&shard)
        };
        let result = blocking(run).await.map_err(|error| error.during(context));
        self.optimizer.mark(&changed);
        result
    }

    async fn search_by(&self, search: IndexSearch, effort: Option<SearchEffort>) -> PortResult<Hits> {
        let gallery = search.gallery.clone();
        let found =
            self.read(&gallery, "search index", move |shard| shard.search(&search, effort).map(Some)).await?;
        Ok(found.unwrap_or(Hits { candidates: Vec::new(), gallery_faces: 0 }))
    }
}

#[async_trait]
impl FaceIndex for EdgeIndex {
    async fn write(&self, gallery: &Gallery, points: &[Point]) -> PortResult<()> {
        if points.is_empty() {
            return Ok(());
        }
        let context = "write points";
        let shard = self.shard_or_new(&gallery.placement).await.map_err(|error| error.during(context))?;
        let (part, points) = (gallery.part, points.to_vec());
        let recovering = self.recovering.load(Ordering::Relaxed);
        let replace = if recovering { Replace::NotNewer } else { Replace::Older };
        self.change(shard, context, move |shard| shard.write(&part, &points, replace)).await
    }

    async fn get(&self, gallery: &Gallery, faces: &[FaceId]) -> PortResult<Vec<Point>> {
        let (part, faces) = (gallery.part, faces.to_vec());
        self.read(gallery, "get points", move |shard| shard.get(&part, &faces)).await
    }

    async fn search(&self, search: IndexSearch) -> PortResult<Hits> {
        self.search_by(search, None).await
    }

    async fn search_stored(&self, search: StoredSearch) -> PortResult<Option<Hits>> {
        let gallery = search.gallery.clone();
        self.read(&gallery, "search index", move |shard| shard.search_stored(search)).await
    }

    async fn scroll(
        &self,
        gallery: &Gallery,
        listing: Listing,
        after: Option<FaceId>,
        limit: usize,
    ) -> PortResult<Vec<ListedPoint>> {
        let (part, page) = (gallery.part, Page { after, limit });
        self.read(gallery, "scroll points", move |shard| shard.scroll(&part, listing, page)).await
    }

    async fn count(&self, gallery: &Gallery, listing: Listing) -> PortResult<u64> {
        let part = gallery.part;
        self.read(gallery, "count points", move |shard| shard.count(&part, listing)).await
    }

    async fn remove(&self, gallery: &Gallery, points: &[RemoveIf]) -> PortResult<()> {
        let Some(shard) = self.shard(&gallery.placement).await else { return Ok(()) };
        let (part, points) = (gallery.part, points.to_vec());
        self.change(shard, "remove points", move |shard| shard.remove(&part, &points)).await
    }

    async fn remove_part(&self, gallery: &Gallery) -> PortResult<()> {
        let Some(shard) = self.shard(&gallery.placement).await else { return Ok(()) };
        let part = gallery.part;
        self.change(shard, "remove part", move |shard| shard.remove_part(&part)).await
    }

    async fn drop_placement(&self, placement: &Placement) -> PortResult<bool> {
        self.drop_empty(placement).await.map_err(|error| error.during("drop placement"))
    }

    async fn flush(&self, called_at: UnixMillis) -> PortResult<UnixMillis> {
        self.flush_all().await.map_err(|error| error.during("flush index"))?;
        Ok(called_at)
    }

    /// The engine dies with this process, and with nothing else.
    fn losses(&self) -> u64 {
        0
    }

    /// Its recovery ends when everything was compared: see [`EdgeIndex::recovered`].
    fn begun_again(&self, _losses: u64) {}

    fn made_good(&self, _losses: u64) {}
}

/// The placements that have a folder.
fn placements(config: &EdgeConfig) -> EdgeResult<Vec<Placement>> {
    let io = |error| EdgeError::io(&config.root)(error);
    std::fs::create_dir_all(&config.root).map_err(io)?;
    remove_discarded(&config.root)?;
    let mut placements = Vec::new();
    for entry in std::fs::read_dir(&config.root).map_err(io)? {
        let name = entry.map_err(io)?.file_name();
        placements.extend(name.to_str().and_then(placement_of));
    }
    Ok(placements)
}

/// Takes a shard out and removes it; false where it holds a point, or somebody is at it.
fn discard_empty(shards: &mut Shards, placement: &Placement, root: &Path) -> EdgeResult<bool> {
    let Some(shard) = shards.remove(placement) else { return Ok(true) };
    let (kept, outcome) = match Arc::try_unwrap(shard) {
        Err(shared) => (shared, Ok(false)),
        Ok(shard) => match shard.is_empty() {
            Ok(true) => match shard.discard(root) {
                Ok(()) => return Ok(true),
                Err(failed) => {
                    let (shard, error) = *failed;
                    (Arc::new(shard), Err(error))
                }
            },
            has_points => (Arc::new(shard), has_points),
        },
    };
    shards.insert(placement.clone(), kept);
    outcome
}

fn open_or_create(config: &EdgeConfig, placement: &Placement) -> EdgeResult<Shard> {
    if folder(&config.root, placement).exists() {
        Shard::open(config, placement)
    } else {
        Shard::create(config, placement)
    }
}

async fn blocking<T, F>(run: F) -> EdgeResult<T>
where
    T: Send + 'static,
    F: FnOnce() -> EdgeResult<T> + Send + 'static,
{
    spawn_blocking(run).await.unwrap_or_else(|error| Err(EdgeError::Thread(error.to_string())))
}

/// Runs a read where the caller is: its thread leaves the runtime's other tasks to another one for as long. A search takes about as
/// long as it takes to wake a thread and be woken by it ten times, and it is what an answer waits for.
async fn here<T, F>(run: F) -> EdgeResult<T>
where
    T: Send + 'static,
    F: FnOnce() -> EdgeResult<T> + Send + 'static,
{
    if Handle::current().runtime_flavor() == RuntimeFlavor::CurrentThread {
        return blocking(run).await;
    }
    let done = block_in_place(|| catch_unwind(AssertUnwindSafe(run)));
    done.unwrap_or_else(|_| Err(EdgeError::Thread("it panicked".to_owned())))
}
