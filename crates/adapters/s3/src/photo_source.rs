//! [`PhotoSource`] on a bucket.

use std::fmt;

use async_trait::async_trait;
use vidimus_domain::catalog::ImportPrefix;
use vidimus_ports::{Found, PhotoSource, PortResult, SourceEntry, SourceObject};

use crate::bucket::S3Bucket;
use crate::error::Failed;
use crate::listing::{Listed, Listing};
use crate::names::is_fit;
use crate::read::{Fetched, Unfetched, fetch};

/// Photos in a bucket, under its location's prefix and each tenant's own below that. Credentials that may only read serve.
///
/// Listings go by S3's order of keys; servers that keep objects in folders have another one, and keep to it.
#[derive(Clone)]
pub struct S3PhotoSource {
    bucket: S3Bucket,
}

impl fmt::Debug for S3PhotoSource {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("S3PhotoSource").field(self.bucket.location()).finish()
    }
}

impl S3PhotoSource {
    /// The photos in a bucket.
    #[must_use]
    pub const fn new(bucket: S3Bucket) -> Self {
        Self { bucket }
    }

    /// What the keys under an import prefix begin with.
    fn folder(&self, prefix: &ImportPrefix) -> String {
        format!("{}{prefix}/", self.bucket.location().prefix())
    }

    async fn page(
        &self,
        folder: &str,
        start: (&str, Option<&str>),
        limit: usize,
    ) -> PortResult<Vec<SourceEntry>> {
        let (within, after) = start;
        let after = after.map(|after| format!("{folder}{after}"));
        let mut listing = Listing::new(&self.bucket, format!("{folder}{within}"), after);
        let mut entries = Vec::new();
        while entries.len() < limit {
            let Some(page) = listing.page(limit - entries.len()).await? else { break };
            let photos = page.into_iter().filter_map(|listed| entry(folder, listed));
            entries.extend(photos.take(limit - entries.len()));
        }
        Ok(entries)
    }
}

/// A listed object that may be asked for. A key that ends in a slash is what consoles make for a folder.
fn entry(folder: &str, listed: Listed) -> Option<SourceEntry> {
    let name = listed.key.strip_prefix(folder)?;
    (is_fit(name) && !name.ends_with('/')).then(|| SourceEntry { name: name.to_owned(), size: listed.size })
}

/// Whether a name may begin so, for all that is asked for: what leads away is never sent to a server that might follow.
fn may_begin_so(within: &str) -> bool {
    let (folders, begun) = within.rsplit_once('/').unwrap_or(("", within));
    let folders_fit = folders.is_empty() || is_fit(folders);
    folders_fit && !within.starts_with('/') && begun != ".." && !begun.contains('\0') && within.len() <= 1024
}

/// Whether the answer means that there is nothing for the tenant: no such object or version, a marker of deletion, or one
/// that lies in an archive.
fn is_nothing(failed: &Failed, is_versioned: bool) -> bool {
    let version_is_wrong = matches!(
        (failed.status(), failed.code()),
        (Some(400), "InvalidArgument" | "InvalidRequest") | (Some(405), _)
    );
    failed.is_absent() || failed.code() == "InvalidObjectState" || (is_versioned && version_is_wrong)
}

#[async_trait]
impl PhotoSource for S3PhotoSource {
    async fn get(&self, object: &SourceObject, bytes_max: u64) -> PortResult<Found> {
        let key = format!("{}{}", self.folder(&object.prefix), object.name);
        if !is_fit(&key) || object.name.is_empty() || object.name.ends_with('/') {
            return Ok(Found::Nothing);
        }
        let _permit = self.bucket.admit("read photo")?;
        let version = object.version.as_deref();
        let (output, bytes) = match fetch(&self.bucket, &key, version, bytes_max).await {
            Ok(Fetched::Object(output, bytes)) => (output, bytes),
            Ok(Fetched::TooLarge) => return Ok(Found::TooLarge),
            Err(Unfetched::Refused(failed)) if is_nothing(&failed, version.is_some()) => {
                return Ok(Found::Nothing);
            }
            Err(error) => return Err(error.into_port_error("read photo")),
        };
        // A bucket without versions may answer with what there is.
        let is_it = version.is_none_or(|version| output.version_id().unwrap_or("null") == version);
        Ok(if is_it { Found::Photo(bytes) } else { Found::Nothing })
    }

    async fn list(
        &self,
        prefix: &ImportPrefix,
        within: &str,
        after: Option<&str>,
        limit: usize,
    ) -> PortResult<Vec<SourceEntry>> {
        if !may_begin_so(within) {
            return Ok(Vec::new());
        }
        // Nothing leads away after a name: what comes after it is listed all the same.
        let after = after.filter(|after| !after.is_empty() && !after.contains('\0'));
        let folder = self.folder(prefix);
        let listing = self.page(&folder, (within, after), limit);
        self.bucket.bounded("list photos", self.bucket.timeouts.call, listing).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listings_begin_within() {
        for fine in ["", "a", "a/", "2026/01/a", "a/.", ".", "日本", "...", "a/..b"] {
            assert!(may_begin_so(fine), "{fine:?}");
        }
        for wrong in ["..", "../", "../a", "a/../b", "./", "/", "/a", "a/..", "a\0", &"x".repeat(1025)] {
            assert!(!may_begin_so(wrong), "{wrong:?}");
        }
    }

    #[test]
    fn folder_markers_are_no_photos() {
        let listed = |key: &str| Listed { key: key.to_owned(), size: 3, modified_at_ms: 1 };
        let found = entry("acme/in/", listed("acme/in/a/1.jpg"));
        assert_eq!(found, Some(SourceEntry { name: "a/1.jpg".to_owned(), size: 3 }));
        for key in ["acme/in/a/", "acme/in/", "acme/out/1.jpg", "acme/in/a/../../out/1.jpg"] {
            assert_eq!(entry("acme/in/", listed(key)), None, "{key}");
        }
    }
}
