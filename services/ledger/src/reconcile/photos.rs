//! Photos that no record names: an attempt that put one and died, or lost its race.

use futures::stream::{self, StreamExt, TryStreamExt};
use vidimus_domain::Nonce;
use vidimus_domain::blob_key::BlobPrefix;
use vidimus_domain::record::Record;
use vidimus_domain::time::ERASED_KEPT;
use vidimus_ports::{BlobEntry, PortResult};

use crate::photo_keys::{day_of, named};

use super::differences::is_unreadable;
use super::{CONCURRENT_READS, PAGE, Reconciled, Reconciler, Scope};

impl Reconciler {
    /// Removes photos that are older than a day and that no record names.
    pub(super) async fn sweep_photos(&self, scope: &Scope<'_>, found: &mut Reconciled) -> PortResult<()> {
        let prefix = BlobPrefix::photos(&scope.collection.part());
        let last_day_swept = scope.now.minus(ERASED_KEPT).day();
        let mut after = None;
        loop {
            let page = self.next_page(&prefix, &mut after).await?;
            let is_past = |entry: &BlobEntry| day_of(entry) > last_day_swept.as_str();
            let old: Vec<_> = page.iter().take_while(|entry| !is_past(entry)).collect();
            let is_last = page.len() < PAGE || old.len() < page.len();
            let sweeps: Vec<_> = old.into_iter().map(|entry| self.sweep_photo(scope, entry)).collect();
            let sweeping = stream::iter(sweeps).buffer_unordered(CONCURRENT_READS);
            let removed: Vec<bool> = sweeping.try_collect().await?;
            found.removed_photos += removed.into_iter().filter(|removed| *removed).count() as u64;
            if is_last {
                return Ok(());
            }
        }
    }

    /// Whether it was removed.
    async fn sweep_photo(&self, scope: &Scope<'_>, entry: &BlobEntry) -> PortResult<bool> {
        let old = scope.now.since(entry.modified_at) >= ERASED_KEPT;
        // What was old enough at the last walk was looked at then.
        let looked_at = scope.since.is_some_and(|since| entry.modified_at < since.minus(ERASED_KEPT));
        let Some((image, nonce)) = named(entry).filter(|_| old && !looked_at) else {
            return Ok(false);
        };
        let read = self.records.read(&scope.collection.part(), image).await;
        let record = match read {
            Ok(read) => read.record,
            // It may name the photo; comparing has said that it cannot be read.
            Err(error) if is_unreadable(&error) => return Ok(false),
            Err(error) => return Err(error),
        };
        if record.is_some_and(|record| names(&record, &nonce)) {
            return Ok(false);
        }
        self.deps.blobs.delete(&entry.key).await?;
        self.metrics.removed.inc();
        Ok(true)
    }
}

fn names(record: &Record, nonce: &Nonce) -> bool {
    record.photo.as_ref().is_some_and(|photo| photo.nonce == *nonce)
}
