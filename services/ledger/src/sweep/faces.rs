//! Faces that have expired, found through the index.

use std::collections::BTreeMap;

use futures::stream::{self, StreamExt};
use vidimus_domain::{Failure, ImageId, Part};
use vidimus_ports::{ListedPoint, Listing, PortResult};
use vidimus_runtime::errors::failure_from_port;

use super::{BATCH, CONCURRENT_RECORDS, Outcome, Seen, Sweeper, Swept};
use crate::expiry::Erased;

impl Sweeper {
    /// Goes once through what the index shows as expired.
    pub(super) async fn sweep_faces(&mut self, part: &Part, swept: &mut Swept) -> Result<(), Failure> {
        let (mut after, mut waiting, mut failed) = (None, None, 0);
        while let Some(seen) = self.see(part).await? {
            let listing = Listing::ExpiredAt(seen.collection.horizon(seen.at));
            let gallery = seen.collection.gallery();
            let page = self.deps.index.scroll(&gallery, listing, after, BATCH).await;
            let page = page.map_err(failure_from_port)?;
            let is_last = page.len() < BATCH;
            let before = match waiting {
                Some(waiting) if !is_last => waiting,
                None if !is_last => {
                    self.deps.index.count(&gallery, listing).await.map_err(failure_from_port)?
                }
                _ => page.len() as u64,
            };
            self.overdue.faces(part, before + failed, seen.at);
            let outcome = self.expire_faces(&seen, &page).await;
            failed += outcome.failed;
            let left = before.saturating_sub(page.len() as u64);
            self.overdue.faces(part, left + failed, seen.at);
            swept.add(&outcome);
            self.rest(seen.at).await;
            if is_last {
                return Ok(());
            }
            (after, waiting) = (page.last().map(|point| point.face), Some(left));
        }
        Ok(())
    }

    /// Erases what the records of these points' images say has expired.
    async fn expire_faces(&self, seen: &Seen, page: &[ListedPoint]) -> Outcome {
        let mut images = BTreeMap::<ImageId, u64>::new();
        for point in page {
            *images.entry(point.face.image()).or_default() += 1;
        }
        let expiring = images.into_iter().map(|image| self.expire_image(seen, image)).collect::<Vec<_>>();
        let mut outcome = Outcome::default();
        let mut expiring = stream::iter(expiring).buffer_unordered(CONCURRENT_RECORDS);
        while let Some((erased, listed)) = expiring.next().await {
            outcome.count(erased, listed);
        }
        outcome
    }

    /// One image, of which so many points are listed.
    async fn expire_image(&self, seen: &Seen, (image, listed): (ImageId, u64)) -> (PortResult<Erased>, u64) {
        let erased = match self.records.read(&seen.collection.part(), image).await {
            Ok(read) => self.expirer.expire(&seen.due(), &read).await,
            Err(error) => Err(error),
        };
        (erased, listed)
    }
}
