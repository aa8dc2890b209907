//! Photos that no record names: an attempt that put one and died, or lost its race.

use vidimus_domain::Nonce;
use vidimus_domain::blob_key::BlobPrefix;
use vidimus_domain::record::Record;
use vidimus_domain::time::ERASED_KEPT;
use vidimus_ports::{BlobEntry, PortResult};

use crate::photo_keys::{day_of, named};

use super::differences::is_unreadable;
use super::{PAGE, Reconciled, Reconciler, Scope};

impl Reconciler {
    /// Removes photos that are older than a day and that no record names.
    pub(super) async fn sweep_photos(&self, scope: &Scope<'_>, found: &mut Reconciled) -> PortResult<()> {
        let prefix = BlobPrefix::photos(&scope.collection.part());
        let last_day_swept = scope.now.minus(ERASED_KEPT).day();
        let mut after = None;
        loop {
            let page = self.next_page(&prefix, &mut after).await?;
            for entry in &page {
                if day_of(entry) > last_day_swept.as_str() {
                    return Ok(());
                }
                self.sweep_photo(scope, entry, found).await?;
            }
            if page.len() < PAGE {
                return Ok(());
            }
        }
    }

    async fn sweep_photo(
        &self,
        scope: &Scope<'_>,
        entry: &BlobEntry,
        found: &mut Reconciled,
    ) -> PortResult<()> {
        let old = scope.now.since(entry.modified_at) >= ERASED_KEPT;
        // What was old enough at the last walk was looked at then.
        let looked_at = scope.since.is_some_and(|since| entry.modified_at < since.minus(ERASED_KEPT));
        let Some((image, nonce)) = named(entry).filter(|_| old && !looked_at) else {
            return Ok(());
        };
        let read = self.records.read(&scope.collection.part(), image).await;
        let record = match read {
            Ok(read) => read.record,
            // It may name the photo; comparing has said that it cannot be read.
            Err(error) if is_unreadable(&error) => return Ok(()),
            Err(error) => return Err(error),
        };
        if !record.is_some_and(|record| names(&record, &nonce)) {
            self.deps.blobs.delete(&entry.key).await?;
            self.metrics.removed.inc();
            found.removed_photos += 1;
        }
        Ok(())
    }
}

fn names(record: &Record, nonce: &Nonce) -> bool {
    record.photo.as_ref().is_some_and(|photo| photo.nonce == *nonce)
}
