//! An index that loses power.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use async_trait::async_trait;
use tokio::sync::Mutex;
use vidimus_domain::point::{Gallery, Point};
use vidimus_domain::{FaceId, Placement, UnixMillis};

use crate::error::PortResult;
use crate::face_index::{FaceIndex, Hits, IndexSearch, ListedPoint, Listing, RemoveIf};

/// Makes an empty index.
type MakeIndex = Box<dyn Fn() -> Arc<dyn FaceIndex> + Send + Sync>;

/// A [`FaceIndex`] of which a power loss leaves exactly what was flushed.
///
/// It serves from an inner index and keeps every effect that had success, in order; a flush marks those so far as
/// durable. [`FlushedOnly::lose_power`] drops the others, makes a new inner index and has the durable effects take place
/// again in it. It stands for a server that comes back: each power loss is one of its losses.
pub struct FlushedOnly {
    make: MakeIndex,
    serving: RwLock<Arc<dyn FaceIndex>>,
    /// Held while an effect takes place, so that the order is theirs.
    effects: Mutex<Effects>,
    losses: AtomicU64,
    begun_again: AtomicU64,
}

#[derive(Default)]
struct Effects {
    flushed: Vec<Effect>,
    volatile: Vec<Effect>,
    covered: UnixMillis,
}

enum Effect {
    Write(Gallery, Vec<Point>),
    Remove(Gallery, Vec<RemoveIf>),
    RemovePart(Gallery),
    DropPlacement(Placement),
}

impl Effect {
    async fn take_place(&self, index: &dyn FaceIndex) -> PortResult<()> {
        match self {
            Self::Write(gallery, points) => index.write(gallery, points).await,
            Self::Remove(gallery, points) => index.remove(gallery, points).await,
            Self::RemovePart(gallery) => index.remove_part(gallery).await,
            Self::DropPlacement(placement) => index.drop_placement(placement).await.map(drop),
        }
    }
}

impl FlushedOnly {
    /// An empty index; `make` makes the inner ones.
    pub fn new(make: impl Fn() -> Arc<dyn FaceIndex> + Send + Sync + 'static) -> Self {
        let serving = RwLock::new(make());
        let (losses, begun_again) = (AtomicU64::new(0), AtomicU64::new(0));
        Self { make: Box::new(make), serving, effects: Mutex::default(), losses, begun_again }
    }

    /// Loses the power and comes back: from now on only what was flushed is there.
    ///
    /// # Errors
    /// Those of the inner index.
    pub async fn lose_power(&self) -> PortResult<()> {
        let mut effects = self.effects.lock().await;
        effects.volatile.clear();
        self.losses.fetch_add(1, Ordering::SeqCst);
        let fresh = (self.make)();
        for effect in &effects.flushed {
            effect.take_place(&*fresh).await?;
        }
        *self.serving.write().unwrap_or_else(PoisonError::into_inner) = fresh;
        Ok(())
    }

    fn serving(&self) -> Arc<dyn FaceIndex> {
        self.serving.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn perform(&self, effect: Effect) -> PortResult<()> {
        let mut effects = self.effects.lock().await;
        effect.take_place(&*self.serving()).await?;
        effects.volatile.push(effect);
        Ok(())
    }
}

#[async_trait]
impl FaceIndex for FlushedOnly {
    async fn write(&self, gallery: &Gallery, points: &[Point]) -> PortResult<()> {
        self.perform(Effect::Write(gallery.clone(), points.to_vec())).await
    }

    async fn get(&self, gallery: &Gallery, faces: &[FaceId]) -> PortResult<Vec<Point>> {
        self.serving().get(gallery, faces).await
    }

    async fn search(&self, search: IndexSearch) -> PortResult<Hits> {
        self.serving().search(search).await
    }

    async fn scroll(
        &self,
        gallery: &Gallery,
        listing: Listing,
        after: Option<FaceId>,
        limit: usize,
    ) -> PortResult<Vec<ListedPoint>> {
        self.serving().scroll(gallery, listing, after, limit).await
    }

    async fn count(&self, gallery: &Gallery, listing: Listing) -> PortResult<u64> {
        self.serving().count(gallery, listing).await
    }

    async fn remove(&self, gallery: &Gallery, points: &[RemoveIf]) -> PortResult<()> {
        self.perform(Effect::Remove(gallery.clone(), points.to_vec())).await
    }

    async fn remove_part(&self, gallery: &Gallery) -> PortResult<()> {
        self.perform(Effect::RemovePart(gallery.clone())).await
    }

    async fn drop_placement(&self, placement: &Placement) -> PortResult<bool> {
        let mut effects = self.effects.lock().await;
        let is_dropped = self.serving().drop_placement(placement).await?;
        if is_dropped {
            effects.volatile.push(Effect::DropPlacement(placement.clone()));
        }
        Ok(is_dropped)
    }

    async fn flush(&self, called_at: UnixMillis) -> PortResult<UnixMillis> {
        let mut effects = self.effects.lock().await;
        let flushed_before = self.serving().flush(called_at).await?;
        let Effects { flushed, volatile, covered } = &mut *effects;
        flushed.append(volatile);
        if self.begun_again.load(Ordering::SeqCst) >= self.losses() {
            *covered = flushed_before.max(*covered);
        }
        Ok(*covered)
    }

    async fn look(&self) -> PortResult<()> {
        self.serving().look().await
    }

    fn losses(&self) -> u64 {
        self.losses.load(Ordering::SeqCst)
    }

    fn begun_again(&self, losses: u64) {
        self.begun_again.fetch_max(losses, Ordering::SeqCst);
    }

    fn made_good(&self, _losses: u64) {}
}
