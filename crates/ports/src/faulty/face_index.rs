//! A [`FaceIndex`] with interference.

use std::sync::Arc;

use async_trait::async_trait;
use vidimus_domain::point::{Gallery, Point};
use vidimus_domain::{FaceId, Placement, UnixMillis};

use super::stage::{Interference, Stage, around};
use crate::error::PortResult;
use crate::face_index::{FaceIndex, Hits, IndexSearch, ListedPoint, Listing, RemoveIf};

/// Decorates a [`FaceIndex`].
pub struct FaultyFaceIndex {
    inner: Arc<dyn FaceIndex>,
    interference: Arc<dyn Interference>,
}

impl FaultyFaceIndex {
    /// `inner`, with `interference` around its calls.
    #[must_use]
    pub fn new(inner: Arc<dyn FaceIndex>, interference: Arc<dyn Interference>) -> Self {
        Self { inner, interference }
    }
}

#[async_trait]
impl FaceIndex for FaultyFaceIndex {
    async fn write(&self, gallery: &Gallery, points: &[Point]) -> PortResult<()> {
        around(&*self.interference, Stage::IndexWrite, self.inner.write(gallery, points)).await
    }

    async fn get(&self, gallery: &Gallery, faces: &[FaceId]) -> PortResult<Vec<Point>> {
        around(&*self.interference, Stage::IndexRead, self.inner.get(gallery, faces)).await
    }

    async fn search(&self, search: IndexSearch) -> PortResult<Hits> {
        around(&*self.interference, Stage::IndexRead, self.inner.search(search)).await
    }

    async fn scroll(
        &self,
        gallery: &Gallery,
        listing: Listing,
        after: Option<FaceId>,
        limit: usize,
    ) -> PortResult<Vec<ListedPoint>> {
        let scroll = self.inner.scroll(gallery, listing, after, limit);
        around(&*self.interference, Stage::IndexRead, scroll).await
    }

    async fn count(&self, gallery: &Gallery, listing: Listing) -> PortResult<u64> {
        around(&*self.interference, Stage::IndexRead, self.inner.count(gallery, listing)).await
    }

    async fn remove(&self, gallery: &Gallery, points: &[RemoveIf]) -> PortResult<()> {
        around(&*self.interference, Stage::IndexRemove, self.inner.remove(gallery, points)).await
    }

    async fn remove_part(&self, gallery: &Gallery) -> PortResult<()> {
        around(&*self.interference, Stage::IndexRemove, self.inner.remove_part(gallery)).await
    }

    async fn drop_placement(&self, placement: &Placement) -> PortResult<bool> {
        around(&*self.interference, Stage::IndexRemove, self.inner.drop_placement(placement)).await
    }

    async fn flush(&self, called_at: UnixMillis) -> PortResult<UnixMillis> {
        around(&*self.interference, Stage::IndexFlush, self.inner.flush(called_at)).await
    }

    async fn flush_since(&self, called_at: UnixMillis, losses: u64) -> PortResult<Option<UnixMillis>> {
        around(&*self.interference, Stage::IndexFlush, self.inner.flush_since(called_at, losses)).await
    }

    async fn look(&self) -> PortResult<()> {
        self.inner.look().await
    }

    fn losses(&self) -> u64 {
        self.inner.losses()
    }

    fn begun_again(&self, losses: u64) {
        self.inner.begun_again(losses);
    }

    fn made_good(&self, losses: u64) {
        self.inner.made_good(losses);
    }
}
