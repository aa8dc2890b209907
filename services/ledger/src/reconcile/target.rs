//! The target of a move, compared with the records; and what a collection has left, cleared.

use std::sync::PoisonError;

use futures::stream::{self, StreamExt, TryStreamExt};
use vidimus_domain::catalog::Collection;
use vidimus_domain::point::Gallery;
use vidimus_domain::record::{WantedModels, is_fresh};
use vidimus_domain::{ErrorCode, Failure, ImageId, Part, Placement, UnixMillis};
use vidimus_ports::PortResult;
use vidimus_runtime::errors::failure_from_port;

use super::{CONCURRENT_READS, PAGE, Reconciled, Reconciler, Scope};
use crate::moves::Counts;
use crate::retries::persist;

/// A clearing of a placement that was left.
#[derive(Clone, Copy)]
pub(super) struct Clearing {
    began_at: UnixMillis,
    done_at: UnixMillis,
    /// What the index had lost before.
    losses: u64,
}

impl Reconciler {
    /// Compares all of the collection's records with the points of another placement, and says what differs. Returns the records that
    /// do.
    pub(crate) async fn compare_target(
        &self,
        collection: &Collection,
        target: &Placement,
        counts: &Counts,
    ) -> Result<Vec<ImageId>, Failure> {
        let scope = self.scope_of(collection, target, Some(counts)).await?;
        let mut found = Reconciled::default();
        self.compare(&scope, &mut found).await?;
        if found.unreadable_records > 0 {
            // Their points are where they are read now, and would be left there.
            let message = format!(
                "{} records cannot be read, and their faces would be lost: mend or delete them first",
                found.unreadable_records
            );
            return Err(Failure::new(ErrorCode::Internal, message));
        }
        Ok(counts.take_differing())
    }

    /// Which of these records' points in the placement are not yet what the records say.
    pub(crate) async fn still_differing(
        &self,
        collection: &Collection,
        target: &Placement,
        images: &[ImageId],
    ) -> Result<Vec<ImageId>, Failure> {
        let scope = self.scope_of(collection, target, None).await?;
        let look = async |image: ImageId| {
            let differs = persist!(self.retries, self.still_differs(&scope, image))?;
            PortResult::Ok(differs.then_some(image))
        };
        let mut differing = Vec::new();
        for some in images.chunks(PAGE) {
            let looks: Vec<_> = some.iter().map(|image| look(*image)).collect();
            let looking = stream::iter(looks).buffer_unordered(CONCURRENT_READS);
            let looked_at: Vec<Option<ImageId>> = looking.try_collect().await.map_err(failure_from_port)?;
            differing.extend(looked_at.into_iter().flatten());
        }
        Ok(differing)
    }

    async fn scope_of<'a>(
        &self,
        collection: &'a Collection,
        target: &Placement,
        counts: Option<&'a Counts>,
    ) -> Result<Scope<'a>, Failure> {
        let patience = persist!(self.retries, self.patience()).map_err(failure_from_port)?;
        let gallery: Gallery = collection.gallery_in(target);
        let now = self.deps.clock.now();
        let wanted = WantedModels::of(&collection.placements);
        Ok(Scope { collection, gallery, since: None, now, wanted, patience, counts })
    }

    /// Clears the placements that the collection has left, as long as something may come there; remembers those that are clean.
    pub(crate) async fn clear_left(&self, part: &Part) -> Result<(), Failure> {
        let read_at = self.deps.clock.now();
        let Some(collection) = self.deps.catalog.read_by_part(part).await? else { return Ok(()) };
        for placement in collection.placements.to_clear() {
            let began_at = self.deps.clock.now();
            // It may be entered again some time after it is clean: what was read long ago says nothing of it.
            if !is_fresh(read_at, began_at) {
                return Ok(());
            }
            let gallery = collection.gallery_in(placement);
            let losses = self.deps.index.losses();
            let is_gone = self.clear(&gallery).await.map_err(failure_from_port)?;
            let done_at = self.deps.clock.now();
            if is_gone && collection.placements.cleared(placement, (began_at, done_at)).is_some() {
                let clearing = Clearing { began_at, done_at, losses };
                self.remember_clean(gallery, clearing).await?;
            }
        }
        if collection.placements.tidied(read_at).is_some() {
            self.deps.catalog.cleared(part, None).await?;
        }
        Ok(())
    }

    /// Removes what a gallery has that nothing is read from any more; with it goes a placement of its collection's own. False where that
    /// is still there, because something has just come late: the next walk clears it again.
    pub(super) async fn clear(&self, gallery: &Gallery) -> PortResult<bool> {
        self.deps.index.remove_part(gallery).await?;
        if gallery.placement.owner() != Some(gallery.part.collection) {
            return Ok(true);
        }
        self.deps.index.drop_placement(&gallery.placement).await
    }

    /// Remembers in the catalog that the placement is clean, once the first clearing after which nothing could come is durable: what
    /// a power loss could bring back is not gone. Until then the next walk clears it again.
    async fn remember_clean(&self, gallery: Gallery, clearing: Clearing) -> Result<(), Failure> {
        let first = {
            let mut clearings = self.clearings.lock().unwrap_or_else(PoisonError::into_inner);
            let known = clearings.entry(gallery.clone()).or_insert(clearing);
            if known.losses != clearing.losses {
                *known = clearing;
            }
            *known
        };
        let flushed = self.deps.index.flush_since(self.deps.clock.now(), first.losses).await;
        if flushed.map_err(failure_from_port)?.is_none_or(|durable_before| durable_before < first.done_at) {
            return Ok(());
        }
        self.deps.catalog.cleared(&gallery.part, Some((&gallery.placement, first.began_at))).await?;
        self.clearings.lock().unwrap_or_else(PoisonError::into_inner).remove(&gallery);
        Ok(())
    }
}
