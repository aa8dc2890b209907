//! A move to another face model: whether it can be done, and what it leaves in the records.

use futures::stream::{self, StreamExt, TryStreamExt};
use vidimus_domain::blob_key::BlobPrefix;
use vidimus_domain::event::Change;
use vidimus_domain::record::{Record, WantedModels, Write, with_models};
use vidimus_domain::{ErrorCode, Failure, ImageId};
use vidimus_ports::PortResult;
use vidimus_runtime::errors::failure_from_port;
use vidimus_runtime::records::{Read, Written};

use super::{Driven, Mover, given_up};
use crate::reconcile::{CONCURRENT_READS, image_of, is_unreadable};
use crate::retries::persist;

/// Records that are read before the catalog is asked once for all of them.
const RECORDS_PER_LOOK: usize = 128;
/// How often a record is read anew that others change.
const ATTEMPTS_MAX: usize = 32;

impl Mover {
    /// Gives the move up where some face has no photo that its template could be made of.
    pub(super) async fn check_photos(&self, driven: &Driven<'_>) -> Result<(), Failure> {
        let prefix = BlobPrefix::records(&driven.collection.part());
        let (mut after, mut without) = (None, Without::default());
        loop {
            let page = self.reconciler.next_page(&prefix, &mut after).await.map_err(failure_from_port)?;
            if page.is_empty() {
                return self.refuse_where_photos_are_gone(driven, &without).await;
            }
            let images = page.iter().map(image_of).collect::<Result<Vec<_>, _>>()?;
            self.check_under_way(driven).await?;
            self.look_for_photos(driven, &images, &mut without).await?;
        }
    }

    /// The same for these records.
    pub(super) async fn check_photos_of(
        &self,
        driven: &Driven<'_>,
        images: &[ImageId],
    ) -> Result<(), Failure> {
        let mut without = Without::default();
        self.look_for_photos(driven, images, &mut without).await?;
        self.refuse_where_photos_are_gone(driven, &without).await
    }

    async fn look_for_photos(
        &self,
        driven: &Driven<'_>,
        images: &[ImageId],
        without: &mut Without,
    ) -> Result<(), Failure> {
        let now = self.deps.clock.now();
        let (cutoffs, horizon) = (driven.collection.retention.cutoffs(now), driven.collection.horizon(now));
        for read in self.read_all(driven, images).await? {
            let Some(record) = read.record.filter(|record| record.photo_kept(cutoffs).is_none()) else {
                continue;
            };
            let lacking = record.lacking(&driven.moving.face_model);
            without.add(&record, lacking.filter(|(face, _)| face.live_at(horizon).is_some()).count());
        }
        Ok(())
    }

    async fn refuse_where_photos_are_gone(
        &self,
        driven: &Driven<'_>,
        without: &Without,
    ) -> Result<(), Failure> {
        let Some(first) = without.first else { return Ok(()) };
        let part = driven.collection.part();
        let catalog = &self.deps.catalog;
        if !persist!(self.retries, catalog.cancel_move(&part, driven.moving))? {
            // An earlier try may have done it, or another process.
            let now = self.see(&part).await?.placements.clone();
            if now.moving.is_some() || now.read != driven.collection.placements.read {
                return Err(given_up());
            }
        }
        persist!(self.retries, self.clear_later(&part))?;
        let message = format!(
            "{} faces of {} records have no photo to embed them anew from, as those of {first}: their retention rule has let it go, \
             or they came as templates. The collection stays with its face model",
            without.faces, without.records
        );
        Err(Failure::new(ErrorCode::InvalidParameter, message))
    }

    /// Takes the templates of the face model that is being left out of the records.
    pub(super) async fn settle(&self, driven: &Driven<'_>) -> Result<(), Failure> {
        let prefix = BlobPrefix::records(&driven.collection.part());
        let mut after = None;
        loop {
            let page = self.reconciler.next_page(&prefix, &mut after).await.map_err(failure_from_port)?;
            if page.is_empty() {
                return Ok(());
            }
            let images = page.iter().map(image_of).collect::<Result<Vec<_>, _>>()?;
            for some in images.chunks(RECORDS_PER_LOOK) {
                let mut left = some.to_vec();
                for _ in 0..ATTEMPTS_MAX {
                    left = self.settle_some(driven, &left).await?;
                }
            }
        }
    }

    /// Of records that were read before it is seen that the move goes on: what they have was made for it or before it, and whatever
    /// a later one has made loses them to no writer who slept. Returns those that others were faster with.
    async fn settle_some(&self, driven: &Driven<'_>, images: &[ImageId]) -> Result<Vec<ImageId>, Failure> {
        if images.is_empty() {
            return Ok(Vec::new());
        }
        let reads = self.read_all(driven, images).await?;
        self.check_under_way(driven).await?;
        let settling: Vec<_> = reads.into_iter().map(|read| self.settle_one(driven, read)).collect();
        let settling = stream::iter(settling).buffer_unordered(CONCURRENT_READS);
        let left: Vec<Option<ImageId>> = settling.try_collect().await.map_err(failure_from_port)?;
        Ok(left.into_iter().flatten().collect())
    }

    /// Returns the image where others were faster.
    async fn settle_one(&self, driven: &Driven<'_>, read: Read) -> PortResult<Option<ImageId>> {
        let Some(before) = &read.record else { return Ok(None) };
        let now = self.deps.clock.now();
        let own = driven.collection.face_model().clone();
        let only = WantedModels { own, other: None, made_for: None };
        let cutoffs = driven.collection.retention.cutoffs(now);
        let write = Write { now, nonce: self.deps.random.nonce(), cutoffs };
        let Some(after) = with_models(before, &only, None, write) else { return Ok(None) };
        if persist!(self.retries, self.records.write(&after, &read))? == Written::ReadAgain {
            return Ok(Some(before.origin.image));
        }
        let erased = |record: &Record| record.faces.iter().filter(|face| face.live().is_none()).count();
        // What has expired was erased with it.
        if erased(&after) > erased(before) {
            let (part, image) = (after.origin.part, after.origin.image);
            let change = Change { part, image, seen: Vec::new(), at: now };
            persist!(self.retries, self.changes.append(&change))?;
        }
        Ok(None)
    }

    async fn read_all(&self, driven: &Driven<'_>, images: &[ImageId]) -> Result<Vec<Read>, Failure> {
        let part = driven.collection.part();
        let read = async |image: ImageId| match persist!(self.retries, self.records.read(&part, image)) {
            // The comparison refuses to switch where there is one; after it there is no way back.
            Err(error) if is_unreadable(&error) => {
                tracing::error!(%error, %image, "a record cannot be read, and the move passes by it");
                Ok(None)
            }
            read => read.map(Some),
        };
        let reads: Vec<_> = images.iter().map(|image| read(*image)).collect();
        let reading = stream::iter(reads).buffer_unordered(CONCURRENT_READS);
        let read: Vec<Option<Read>> = reading.try_collect().await.map_err(failure_from_port)?;
        Ok(read.into_iter().flatten().collect())
    }
}

/// Faces that cannot be embedded anew.
#[derive(Default)]
struct Without {
    faces: u64,
    records: u64,
    first: Option<ImageId>,
}

impl Without {
    fn add(&mut self, record: &Record, faces: usize) {
        if faces > 0 {
            self.faces += faces as u64;
            self.records += 1;
            self.first.get_or_insert(record.origin.image);
        }
    }
}
