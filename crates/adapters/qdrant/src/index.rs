//! The port over the calls.

use std::sync::Arc;

use async_trait::async_trait;
use vidimus_domain::point::{Gallery, Point};
use vidimus_domain::{FaceId, Placement, UnixMillis};
use vidimus_ports::{FaceIndex, Hits, IndexSearch, ListedPoint, Listing, PortResult, RemoveIf};

use crate::address::Address;
use crate::config::{GraphShape, QdrantConfig};
use crate::connection::Connections;
pub use crate::connection::QdrantDeps;
use crate::counts::Counts;
use crate::durability::Durability;
use crate::effort::SearchEffort;
use crate::error::QdrantResult;
use crate::layout::Layout;
use crate::reads::Page;

/// A [`FaceIndex`] on a Qdrant server or several. See the crate's documentation.
pub struct QdrantIndex {
    pub(crate) config: QdrantConfig,
    pub(crate) connections: Arc<Connections>,
    pub(crate) layout: Layout,
    pub(crate) counts: Counts,
    durability: Durability,
}

impl QdrantIndex {
    /// Makes an index of the servers at `address`, for collections of up to so many faces: the shape of the graphs of
    /// placements that are made follows. The servers need not be there yet. Called within a runtime.
    ///
    /// # Errors
    /// Where the configuration cannot be, or a file that it names cannot be read.
    pub async fn open(
        address: &Address,
        config: QdrantConfig,
        largest_part_faces: u64,
        deps: QdrantDeps,
    ) -> PortResult<Self> {
        let connections = Connections::open(address, config.clone(), deps).await;
        let connections = Arc::new(connections.map_err(|error| error.during("open index"))?);
        let shape = GraphShape::for_largest_part(largest_part_faces);
        let layout = Layout::new(Arc::clone(&connections), config.clone(), shape);
        let durability = Durability::new(config.durable_after);
        Ok(Self { config, connections, layout, counts: Counts::default(), durability })
    }

    /// Looks at every collection of this index that is there: for the start of a service, and for `doctor`.
    ///
    /// # Errors
    /// Where the servers are away, or a collection is set up otherwise; the message says which and how.
    pub async fn check(&self) -> PortResult<()> {
        self.layout.check_all().await.map_err(|error| error.during("check index"))
    }

    /// A search with an effort of the caller's choice: for measurements.
    ///
    /// # Errors
    /// As [`FaceIndex::search`].
    pub async fn search_with(&self, search: IndexSearch, effort: SearchEffort) -> PortResult<Hits> {
        self.search_by(&search, Some(effort)).await
    }

    /// Whether writes replace their own version too.
    pub(crate) fn is_recovering(&self) -> bool {
        self.durability.is_recovering(self.connections.losses())
    }

    async fn search_by(&self, search: &IndexSearch, effort: Option<SearchEffort>) -> PortResult<Hits> {
        let found = Box::pin(self.search_points(search, effort)).await;
        let nothing = Hits { candidates: Vec::new(), gallery_faces: 0 };
        self.or_absent(&search.gallery, found, nothing).map_err(|error| error.during("search index"))
    }

    /// Where there is no collection there is nothing; and what was known of it is not known any more.
    fn or_absent<T>(&self, gallery: &Gallery, outcome: QdrantResult<T>, nothing: T) -> QdrantResult<T> {
        match outcome {
            Err(error) if error.is_absence() => {
                self.layout.forget(&gallery.placement);
                Ok(nothing)
            }
            Err(error) if error.is_missing_vector() => {
                self.layout.forget(&gallery.placement);
                Err(error)
            }
            outcome => outcome,
        }
    }

    /// A change, after which faces are counted anew, whatever became of it.
    fn changed(&self, gallery: &Gallery, outcome: QdrantResult<()>) -> QdrantResult<()> {
        self.counts.written(gallery);
        outcome
    }
}

#[async_trait]
impl FaceIndex for QdrantIndex {
    async fn write(&self, gallery: &Gallery, points: &[Point]) -> PortResult<()> {
        if points.is_empty() {
            return Ok(());
        }
        let written = self.write_points(gallery, points).await;
        self.changed(gallery, written).map_err(|error| error.during("write points"))
    }

    async fn get(&self, gallery: &Gallery, faces: &[FaceId]) -> PortResult<Vec<Point>> {
        let found = self.get_points(gallery, faces).await;
        self.or_absent(gallery, found, Vec::new()).map_err(|error| error.during("get points"))
    }

    async fn search(&self, search: IndexSearch) -> PortResult<Hits> {
        self.search_by(&search, None).await
    }

    async fn scroll(
        &self,
        gallery: &Gallery,
        listing: Listing,
        after: Option<FaceId>,
        limit: usize,
    ) -> PortResult<Vec<ListedPoint>> {
        let listed = self.scroll_points(gallery, listing, Page { after, limit }).await;
        self.or_absent(gallery, listed, Vec::new()).map_err(|error| error.during("scroll points"))
    }

    async fn count(&self, gallery: &Gallery, listing: Listing) -> PortResult<u64> {
        let counted = self.count_points(gallery, listing).await;
        self.or_absent(gallery, counted, 0).map_err(|error| error.during("count points"))
    }

    async fn remove(&self, gallery: &Gallery, points: &[RemoveIf]) -> PortResult<()> {
        let removed = self.remove_points(gallery, points).await;
        let removed = self.changed(gallery, removed);
        self.or_absent(gallery, removed, ()).map_err(|error| error.during("remove points"))
    }

    async fn remove_part(&self, gallery: &Gallery) -> PortResult<()> {
        let removed = self.remove_all(gallery).await;
        let removed = self.changed(gallery, removed);
        self.or_absent(gallery, removed, ()).map_err(|error| error.during("remove part"))
    }

    async fn drop_placement(&self, placement: &Placement) -> PortResult<bool> {
        let dropped = match self.count_everybodys(placement).await {
            Ok(0) => self.layout.drop(placement).await.map(|()| true),
            Ok(_) => Ok(false),
            Err(error) if error.is_absence() => Ok(true),
            Err(error) => Err(error),
        };
        dropped.map_err(|error| error.during("drop placement"))
    }

    /// The servers flush by themselves; this asks each whether its connection has held, which says that what was written
    /// some time ago has been flushed.
    async fn flush(&self, called_at: UnixMillis) -> PortResult<UnixMillis> {
        let proven = self.connections.prove(called_at).await;
        let proven_at = proven.map_err(|error| error.during("flush index"))?;
        Ok(self.durability.cover(proven_at, self.connections.losses()).min(called_at))
    }

    async fn flush_since(&self, called_at: UnixMillis, losses: u64) -> PortResult<Option<UnixMillis>> {
        let proven = self.connections.prove(called_at).await;
        let proven_at = proven.map_err(|error| error.during("flush index"))?;
        let covered = proven_at.map(|at| self.durability.durable_before(at).min(called_at));
        Ok(covered.filter(|_| self.connections.losses() == losses))
    }

    async fn look(&self) -> PortResult<()> {
        self.connections.look().await.map_err(|error| error.during("look for the index"))
    }

    fn losses(&self) -> u64 {
        self.connections.losses()
    }

    fn begun_again(&self, losses: u64) {
        self.durability.begin_again(losses);
    }

    fn made_good(&self, losses: u64) {
        self.durability.make_good(losses);
    }
}
