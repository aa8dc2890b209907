//! Client tokens are removed when their day, and the one after it, have passed.

use vidimus_domain::blob_key::BlobPrefix;
use vidimus_domain::time::ERASED_KEPT;
use vidimus_ports::{BlobEntry, PortResult};

use super::{PAGE, Reconciler, Scope};

impl Reconciler {
    /// Removes tokens that no request can be told by any more. They are listed oldest day first.
    pub(super) async fn sweep_tokens(&self, scope: &Scope<'_>) -> PortResult<()> {
        let prefix = BlobPrefix::client_tokens(&scope.collection.part());
        let first_day_kept = scope.now.minus(ERASED_KEPT).day();
        let mut after = None;
        loop {
            let page = self.next_page(&prefix, &mut after).await?;
            for entry in &page {
                if day_of(entry) >= first_day_kept.as_str() {
                    return Ok(());
                }
                self.deps.blobs.delete(&entry.key).await?;
                self.metrics.removed.inc();
            }
            if page.len() < PAGE {
                return Ok(());
            }
        }
    }
}

/// The day of a token's key, `…/tokens/{yyyy-mm-dd}/{hash}`.
fn day_of(entry: &BlobEntry) -> &str {
    entry.key.as_str().rsplit('/').nth(1).unwrap_or_default()
}
