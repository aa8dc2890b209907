//! [`BlobStore`] on a bucket.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use vidimus_domain::UnixMillis;
use vidimus_domain::blob_key::{BlobKey, BlobPrefix};
use vidimus_ports::{Blob, BlobEntry, BlobStore, Etag, PortError, PortErrorKind, PortResult, PutCondition};

use crate::bucket::S3Bucket;
use crate::check::{self, BucketReport, Versioning};
use crate::error::S3Error;
use crate::listing::{Listed, Listing};
use crate::read::{Fetched, Unfetched, fetch, verify};
use crate::versions;
use crate::write::Write;

/// Objects in a bucket, under its location's prefix.
///
/// * A put carries a condition, a digest of its content and a nonce of its own. Which of two puts over one state has won is
///   the server's word (`If-None-Match`, `If-Match`); a put that won and was tried again by the client all the same finds
///   its nonce on the object.
/// * What is read is compared with the digest: a difference is damage.
/// * In a bucket that keeps versions a deletion first hides the object, and so is decided, then removes every version, and
///   last its own marker: whenever it is broken off, nothing that was deleted comes back.
///
/// Whether the server honours the conditions is not to be seen from its answers: [`S3BlobStore::check`] tries it.
#[derive(Clone)]
pub struct S3BlobStore {
    bucket: S3Bucket,
    /// The bucket may hold versions. It is taken to until [`S3BlobStore::check`] has seen that it does not.
    has_versions: Arc<AtomicBool>,
    /// The server knows nothing of versions, as [`S3BlobStore::check`] has seen, even where its answers name one.
    is_unversioned: Arc<AtomicBool>,
}

impl fmt::Debug for S3BlobStore {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("S3BlobStore").field(self.bucket.location()).finish()
    }
}

impl S3BlobStore {
    /// The store in a bucket.
    #[must_use]
    pub fn new(bucket: S3Bucket) -> Self {
        Self { bucket, has_versions: Arc::new(AtomicBool::new(true)), is_unversioned: Arc::default() }
    }

    /// Tries out, with an object of its own, whether the server does what this store stands on, and tells whether the bucket
    /// keeps versions. To be called at the start.
    ///
    /// # Errors
    /// [`S3Error::Unfit`] where the server must not be used: it ignores conditions, loses metadata, lists what is not there,
    /// keeps versions without listing them;
    /// [`S3Error::Check`] where it does not answer, or refuses.
    pub async fn check(&self) -> Result<BucketReport, S3Error> {
        check::check(self, &self.bucket).await
    }

    /// Notes what is known of the bucket's versions.
    pub(crate) fn note(&self, versioning: Versioning) {
        let has_versions = matches!(versioning, Versioning::Enabled | Versioning::Suspended);
        self.has_versions.store(has_versions, Ordering::Relaxed);
        self.is_unversioned.store(versioning == Versioning::Unsupported, Ordering::Relaxed);
    }

    /// Writes an object, and notes whether the bucket keeps versions.
    async fn write(&self, write: &Write) -> PortResult<Etag> {
        let won = write.run(&self.bucket).await?;
        if won.has_version && !self.is_unversioned.load(Ordering::Relaxed) {
            self.has_versions.store(true, Ordering::Relaxed);
        }
        Ok(won.etag)
    }

    async fn remove(&self, key: &str) -> PortResult<()> {
        let marker = versions::hide(&self.bucket, key).await?;
        if marker.is_some() || self.has_versions.load(Ordering::Relaxed) {
            versions::forget_older(&self.bucket, key).await?;
        }
        match marker {
            Some(marker) => versions::remove_marker(&self.bucket, key, marker).await,
            None => Ok(()),
        }
    }

    async fn page(
        &self,
        prefix: &BlobPrefix,
        after: Option<&BlobKey>,
        limit: usize,
    ) -> PortResult<Vec<BlobEntry>> {
        let own = self.bucket.location().prefix();
        // What comes before the prefix is skipped with it: some servers list nothing at all after such a key.
        let after = after.map(BlobKey::as_str).filter(|after| *after >= prefix.as_str());
        let start = after.map(|after| format!("{own}{after}"));
        let mut listing = Listing::new(&self.bucket, format!("{own}{}", prefix.as_str()), start);
        let mut entries: Vec<BlobEntry> = Vec::new();
        while entries.len() < limit {
            let Some(page) = listing.page(limit - entries.len()).await? else { break };
            // What has a name that no key has was not put there by us.
            let ours = page.iter().filter_map(|listed| entry(own, listed));
            entries.extend(ours.take(limit - entries.len()));
        }
        check_order(after, &entries)?;
        Ok(entries)
    }
}

fn entry(own: &str, listed: &Listed) -> Option<BlobEntry> {
    let key = BlobKey::listed(listed.key.strip_prefix(own)?).ok()?;
    Some(BlobEntry { key, size: listed.size, modified_at: UnixMillis::new(listed.modified_at_ms) })
}

/// Whoever pages relies on the order: out of it, objects would be passed over without a word.
fn check_order(after: Option<&str>, entries: &[BlobEntry]) -> PortResult<()> {
    let keys = || entries.iter().map(|entry| entry.key.as_str());
    let follows = after.is_none_or(|after| keys().next().is_none_or(|first| first > after));
    if follows && keys().is_sorted_by(|left, right| left < right) {
        return Ok(());
    }
    let disorder = PortError::new(PortErrorKind::Internal, "list objects");
    Err(disorder.because("the server does not list in the order of keys"))
}

#[async_trait]
impl BlobStore for S3BlobStore {
    async fn get(&self, key: &BlobKey) -> PortResult<Option<Blob>> {
        let _permit = self.bucket.admit("get object")?;
        let key = self.bucket.key(key);
        let (output, bytes) = match fetch(&self.bucket, &key, None, u64::MAX).await {
            Ok(Fetched::Object(output, bytes)) => (output, bytes),
            Err(Unfetched::Refused(failed)) if failed.is_absent() => return Ok(None),
            Err(error) => return Err(error.into_port_error("get object")),
            Ok(Fetched::TooLarge) => return Err(PortError::new(PortErrorKind::Internal, "get object")),
        };
        verify(&output, &bytes, &key)?;
        let unnamed =
            || PortError::new(PortErrorKind::Internal, "get object").because("the server names no ETag");
        let etag = output.e_tag().ok_or_else(unnamed)?;
        Ok(Some(Blob { bytes, etag: Etag::new(etag.trim_matches('"')) }))
    }

    async fn put(&self, key: &BlobKey, bytes: Bytes, condition: PutCondition) -> PortResult<Etag> {
        let write = Write::new(&self.bucket, self.bucket.key(key), bytes, condition);
        // The client's future is large: it is kept on the heap.
        let writing = Box::pin(self.write(&write));
        self.bucket.bounded("put object", self.bucket.limit(write.bytes.len()), writing).await
    }

    async fn delete(&self, key: &BlobKey) -> PortResult<()> {
        let key = self.bucket.key(key);
        self.bucket.bounded("delete object", self.bucket.timeouts.call, self.remove(&key)).await
    }

    async fn forget_versions(&self, key: &BlobKey) -> PortResult<()> {
        if !self.has_versions.load(Ordering::Relaxed) {
            return Ok(());
        }
        let key = self.bucket.key(key);
        let forgetting = versions::forget_older(&self.bucket, &key);
        self.bucket.bounded("forget versions", self.bucket.timeouts.call, forgetting).await
    }

    async fn list(
        &self,
        prefix: &BlobPrefix,
        after: Option<&BlobKey>,
        limit: usize,
    ) -> PortResult<Vec<BlobEntry>> {
        let listing = self.page(prefix, after, limit);
        self.bucket.bounded("list objects", self.bucket.timeouts.call, listing).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(keys: &[&str]) -> Vec<BlobEntry> {
        let entry = |key: &&str| BlobEntry {
            key: BlobKey::listed(key).unwrap(),
            size: 1,
            modified_at: UnixMillis::new(1),
        };
        keys.iter().map(entry).collect()
    }

    #[test]
    fn listings_out_of_order_are_refused() {
        check_order(None, &[]).unwrap();
        check_order(Some("a"), &entries(&["a-b/1", "a/1", "b"])).unwrap();
        for (after, keys) in
            [(None, ["a/1", "a-b/1"]), (None, ["a", "a"]), (Some("b"), ["b", "c"]), (Some("b"), ["a", "c"])]
        {
            assert!(check_order(after, &entries(&keys)).is_err(), "{after:?} {keys:?}");
        }
    }
}
