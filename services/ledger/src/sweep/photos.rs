//! Photos whose own time has come, found by their days.

use std::cmp::Ordering;

use futures::stream::{self, StreamExt};
use vidimus_domain::blob_key::{BlobKey, BlobPrefix};
use vidimus_domain::{Failure, Nonce, Part, UnixMillis};
use vidimus_ports::{BlobEntry, PortResult};
use vidimus_runtime::errors::failure_from_port;

use super::{BATCH, CONCURRENT_RECORDS, Outcome, Seen, Sweeper, Swept};
use crate::expiry::Erased;
use crate::photo_keys::{day_of, named};

/// Photos that are listed at a time.
const PAGE: usize = 1000;

/// What of a listing is due.
struct Page {
    due: Vec<BlobEntry>,
    /// Where the next one begins; none where nothing older than the rule follows.
    next: Option<BlobKey>,
}

impl Sweeper {
    /// Goes once through the photos that are older than the rule.
    pub(super) async fn sweep_photos(&mut self, part: &Part, swept: &mut Swept) -> Result<(), Failure> {
        let (mut after, mut failed) = (None, 0);
        loop {
            let Some(seen) = self.see(part).await? else { return Ok(()) };
            let cutoff = seen.due().cutoffs.photos;
            let page = match cutoff {
                Some(cutoff) => self.list(part, cutoff, after).await.map_err(failure_from_port)?,
                None => Page { due: Vec::new(), next: None },
            };
            for batch in page.due.chunks(BATCH) {
                let began_at = self.deps.clock.now();
                let outcome = self.expire_photos(&seen, batch).await;
                failed += outcome.failed;
                swept.add(&outcome);
                self.rest(began_at).await;
            }
            self.overdue.photos(part, failed, seen.at);
            match page.next {
                Some(next) => after = Some(next),
                None => return Ok(()),
            }
        }
    }

    /// A page of the photos, oldest day first: those of which the record may say that their time has come.
    async fn list(&self, part: &Part, cutoff: UnixMillis, after: Option<BlobKey>) -> PortResult<Page> {
        let entries = self.deps.blobs.list(&BlobPrefix::photos(part), after.as_ref(), PAGE).await?;
        let last_day = cutoff.day();
        let is_past = entries.last().is_none_or(|last| day_of(last) > last_day.as_str());
        let next = entries.last().filter(|_| !is_past && entries.len() == PAGE).map(|last| last.key.clone());
        let is_due = |entry: &BlobEntry| may_be_due(entry, &last_day, cutoff);
        Ok(Page { due: entries.into_iter().filter(is_due).collect(), next })
    }

    async fn expire_photos(&self, seen: &Seen, batch: &[BlobEntry]) -> Outcome {
        let mut outcome = Outcome::default();
        let expiring = batch.iter().map(|entry| self.expire_photo(seen, entry)).collect::<Vec<_>>();
        let mut expiring = stream::iter(expiring).buffer_unordered(CONCURRENT_RECORDS);
        while let Some(erased) = expiring.next().await {
            outcome.count(erased, 1);
        }
        outcome
    }

    /// Has its record drop the photo. One that no record names is left to reconciling: its record may be on its way.
    async fn expire_photo(&self, seen: &Seen, entry: &BlobEntry) -> PortResult<Erased> {
        let Some((image, nonce)) = named(entry) else { return Ok(Erased::default()) };
        let read = self.records.read(&seen.collection.part(), image).await?;
        let is = |of: Nonce| of == nonce;
        match &read.record {
            Some(record) if record.photo.as_ref().is_some_and(|photo| is(photo.nonce)) => {
                self.expirer.expire(&seen.due(), &read).await
            }
            Some(record) if record.photos_to_remove.iter().any(|photo| is(photo.nonce)) => {
                self.expirer.remove_photos(record).await.map(|()| Erased::default())
            }
            _ => Ok(Erased::default()),
        }
    }
}

/// Whether the photo may have been put at the cutoff or before: by its key's day, and on the cutoff's own day by when it was written, so
/// that no sweep of that day looks at all that came later. One that was written on another day came with an import, and only its
/// record knows.
fn may_be_due(entry: &BlobEntry, last_day: &str, cutoff: UnixMillis) -> bool {
    match day_of(entry).cmp(last_day) {
        Ordering::Less => true,
        Ordering::Equal => entry.modified_at <= cutoff || entry.modified_at.day() != last_day,
        Ordering::Greater => false,
    }
}
