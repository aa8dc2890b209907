//! Buckets that keep versions: removing an object, and what it was before.

use aws_sdk_s3::operation::list_object_versions::ListObjectVersionsOutput;
use futures::{StreamExt as _, TryStreamExt as _};
use vidimus_ports::{PortError, PortErrorKind, PortResult};

use crate::bucket::S3Bucket;
use crate::error::{Failed, port_error};

/// Versions that are deleted at a time.
const DELETED_AT_ONCE: usize = 8;

/// What a deletion has left in a bucket that keeps versions.
pub(crate) struct Marker {
    /// The version of the marker that hides what was there.
    pub(crate) version: String,
}

/// A version, or a marker that there is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Version {
    pub(crate) id: String,
    pub(crate) is_latest: bool,
}

/// Makes the object absent, at once for every reader. Says which marker it has left, where the bucket keeps versions.
pub(crate) async fn hide(bucket: &S3Bucket, key: &str) -> PortResult<Option<Marker>> {
    let request = bucket.client.delete_object().bucket(bucket.name()).key(key);
    let deleted = request.send().await.map_err(port_error("delete object"))?;
    let marker = deleted.delete_marker() == Some(true);
    Ok(match deleted.version_id() {
        Some(version) if marker => Some(Marker { version: version.to_owned() }),
        _ => None,
    })
}

/// Removes a marker, when nothing is left that it hides. The one named `null` stays: in a bucket whose versions were
/// suspended a later put takes its very name. It holds nothing.
pub(crate) async fn remove_marker(bucket: &S3Bucket, key: &str, marker: Marker) -> PortResult<()> {
    if marker.version == "null" {
        return Ok(());
    }
    delete_version(bucket, key, marker.version).await
}

/// Removes every state of the object but the present one. What is put meanwhile comes before all that is listed, and so is
/// left alone.
pub(crate) async fn forget_older(bucket: &S3Bucket, key: &str) -> PortResult<()> {
    let listed = list(bucket, key).await;
    let versions = listed.map_err(|failed| failed.into_port_error("list versions"))?;
    if versions.is_empty() {
        return Ok(());
    }
    if !versions.iter().any(|version| version.is_latest) {
        let unclear = PortError::new(PortErrorKind::Internal, "list versions");
        return Err(unclear.because("the server does not say which version is the latest"));
    }
    let older = versions.into_iter().filter(|version| !version.is_latest);
    let deletions = older.map(|version| delete_version(bucket, key, version.id));
    futures::stream::iter(deletions).buffer_unordered(DELETED_AT_ONCE).try_collect().await
}

async fn delete_version(bucket: &S3Bucket, key: &str, version: String) -> PortResult<()> {
    let request = bucket.client.delete_object().bucket(bucket.name()).key(key).version_id(version);
    match request.send().await {
        Ok(_) => Ok(()),
        Err(error) => {
            let failed = Failed::from(error);
            // Somebody else removes the same.
            if failed.is_absent() { Ok(()) } else { Err(failed.into_port_error("delete version")) }
        }
    }
}

/// All versions and markers of a key.
pub(crate) async fn list(bucket: &S3Bucket, key: &str) -> Result<Vec<Version>, Failed> {
    let mut versions = Vec::new();
    let mut from = (None, None);
    loop {
        let (key_marker, version_marker) = from;
        let request = bucket
            .client
            .list_object_versions()
            .bucket(bucket.name())
            .prefix(key)
            .set_key_marker(key_marker)
            .set_version_id_marker(version_marker);
        let page = request.send().await.map_err(Failed::from)?;
        versions.extend(versions_of(key, &page));
        // Keys that begin with this one come after it.
        let goes_on = page.is_truncated() == Some(true) && page.next_key_marker() == Some(key);
        if !goes_on {
            return Ok(versions);
        }
        from = (page.next_key_marker, page.next_version_id_marker);
    }
}

fn versions_of(key: &str, page: &ListObjectVersionsOutput) -> Vec<Version> {
    let version = |(listed, id, is_latest): (Option<&str>, Option<&str>, Option<bool>)| {
        let id = id.unwrap_or("null").to_owned();
        (listed == Some(key)).then(|| Version { id, is_latest: is_latest == Some(true) })
    };
    let contents = page.versions().iter().map(|one| (one.key(), one.version_id(), one.is_latest()));
    let markers = page.delete_markers().iter().map(|one| (one.key(), one.version_id(), one.is_latest()));
    contents.chain(markers).filter_map(version).collect()
}
