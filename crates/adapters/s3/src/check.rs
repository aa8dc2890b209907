//! Trying a bucket out before anything relies on it.

use std::fmt;

use aws_sdk_s3::types::BucketVersioningStatus;
use bytes::Bytes;
use vidimus_domain::blob_key::BlobKey;
use vidimus_ports::{BlobStore, Etag, PortError, PortErrorKind, PortResult, PutCondition};

use crate::blob_store::S3BlobStore;
use crate::bucket::S3Bucket;
use crate::error::{Failed, S3Error, port_error};
use crate::listing::Listing;
use crate::versions;

/// Whether a bucket keeps what was put over and deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Versioning {
    /// It never has.
    Never,
    /// It does.
    Enabled,
    /// It has, and may hold what it kept then.
    Suspended,
    /// The server has no such thing.
    Unsupported,
}

impl fmt::Display for Versioning {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Never | Self::Unsupported => "no versions",
            Self::Enabled => "versions",
            Self::Suspended => "versions suspended",
        })
    }
}

/// What was seen of a bucket that can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BucketReport {
    /// Whether it keeps versions.
    pub versioning: Versioning,
}

/// Why the tried object is not as it must be: the server's failure, or what it does wrong.
enum Wrong {
    Failed(PortError),
    Unfit(&'static str),
}

impl From<PortError> for Wrong {
    fn from(error: PortError) -> Self {
        match error.kind() {
            PortErrorKind::Corrupt => Self::Unfit("what is read is not what was written"),
            _ => Self::Failed(error),
        }
    }
}

/// Puts, reads, lists and deletes an object of its own in every way that the store relies on.
pub(crate) async fn check(store: &S3BlobStore, bucket: &S3Bucket) -> Result<BucketReport, S3Error> {
    let name = || bucket.name().to_owned();
    let failed = |source| S3Error::Check { bucket: name(), source };
    let trial = format!("checks/{}", bucket.random.nonce());
    let key = BlobKey::listed(&trial)
        .map_err(|error| failed(PortError::new(PortErrorKind::Internal, "name the trial").because(error)))?;
    match checked(store, bucket, &key).await {
        Ok(versioning) => Ok(BucketReport { versioning }),
        Err(Wrong::Failed(source)) => Err(failed(source)),
        Err(Wrong::Unfit(reason)) => Err(S3Error::Unfit { bucket: name(), reason: reason.to_owned() }),
    }
}

async fn checked(store: &S3BlobStore, bucket: &S3Bucket, key: &BlobKey) -> Result<Versioning, Wrong> {
    let versioning = versioning(bucket, key).await?;
    store.note(versioning);
    let tried = try_out(store, bucket, key).await;
    // It is of no use to anybody, whatever was found.
    let removed = store.delete(key).await;
    tried?;
    removed?;
    is_gone(bucket, key, versioning).await?;
    Ok(versioning)
}

/// Whether the bucket keeps versions. A server that has not the calls for it knows of none, but what keeps them must list them:
/// no deletion would find them otherwise.
async fn versioning(bucket: &S3Bucket, key: &BlobKey) -> Result<Versioning, Wrong> {
    let told = told_versioning(bucket).await?;
    match (versions::list(bucket, &bucket.key(key)).await, told) {
        (Ok(_), told) => Ok(told),
        (Err(failed), Versioning::Never) if failed.is_unimplemented() => Ok(Versioning::Unsupported),
        (Err(failed), _) if failed.is_unimplemented() => {
            Err(Wrong::Unfit("it keeps versions, and does not list them"))
        }
        (Err(failed), _) => Err(Wrong::Failed(failed.into_port_error("list versions"))),
    }
}

async fn told_versioning(bucket: &S3Bucket) -> PortResult<Versioning> {
    let request = bucket.client.get_bucket_versioning().bucket(bucket.name());
    let status = match request.send().await.map_err(Failed::from) {
        Ok(answer) => answer.status,
        Err(failed) if failed.is_unimplemented() => None,
        Err(failed) => return Err(failed.into_port_error("ask for versioning")),
    };
    Ok(match status {
        None => Versioning::Never,
        Some(BucketVersioningStatus::Suspended) => Versioning::Suspended,
        Some(_) => Versioning::Enabled,
    })
}

async fn try_out(store: &S3BlobStore, bucket: &S3Bucket, key: &BlobKey) -> Result<(), Wrong> {
    if store.get(key).await?.is_some() {
        return Err(Wrong::Unfit("it has an object of a name that nobody had"));
    }
    let first = store.put(key, trial(bucket), PutCondition::IfAbsent).await?;
    let again = store.put(key, trial(bucket), PutCondition::IfAbsent).await;
    refused(again, "it ignores If-None-Match: a put over an object was not refused")?;
    let second = store.put(key, trial(bucket), PutCondition::IfMatch(first.clone())).await?;
    let stale = store.put(key, trial(bucket), PutCondition::IfMatch(first)).await;
    refused(stale, "it ignores If-Match: a put over a state that has gone was not refused")?;
    let read = store.get(key).await?.ok_or(Wrong::Unfit("what was put cannot be read"))?;
    if read.etag != second {
        return Err(Wrong::Unfit("the ETag of a put is not that of the object"));
    }
    let head = bucket.client.head_object().bucket(bucket.name()).key(bucket.key(key)).send().await;
    let head = head.map_err(port_error("read back object"))?;
    let is_marked = head.metadata().is_some_and(|metadata| metadata.contains_key(crate::write::NONCE));
    if !is_marked {
        return Err(Wrong::Unfit("it loses the metadata of objects"));
    }
    if listed(bucket, key).await? != 1 {
        return Err(Wrong::Unfit("it does not list what was put"));
    }
    Ok(())
}

/// A content that no other put has.
fn trial(bucket: &S3Bucket) -> Bytes {
    Bytes::copy_from_slice(&bucket.random.bytes16())
}

fn refused(put: PortResult<Etag>, otherwise: &'static str) -> Result<(), Wrong> {
    match put {
        Ok(_) => Err(Wrong::Unfit(otherwise)),
        Err(error) if error.kind() == PortErrorKind::Conflict => Ok(()),
        Err(error) => Err(Wrong::Failed(error)),
    }
}

async fn listed(bucket: &S3Bucket, key: &BlobKey) -> PortResult<usize> {
    let mut listing = Listing::new(bucket, bucket.key(key), None);
    Ok(listing.page(2).await?.map_or(0, |page| page.len()))
}

/// Whether nothing of a deleted object is left.
async fn is_gone(bucket: &S3Bucket, key: &BlobKey, versioning: Versioning) -> Result<(), Wrong> {
    if listed(bucket, key).await? != 0 {
        return Err(Wrong::Unfit("it lists what was deleted"));
    }
    if versioning == Versioning::Unsupported {
        return Ok(());
    }
    let left = versions::list(bucket, &bucket.key(key)).await;
    let left = left.map_err(|failed| failed.into_port_error("list versions"))?;
    // A suspended bucket's marker of no version may stay: it holds nothing.
    if left.iter().any(|version| version.id != "null" || !version.is_latest) {
        return Err(Wrong::Unfit("it keeps versions of what was deleted"));
    }
    Ok(())
}
