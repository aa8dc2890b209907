//! Listing keys, page after page, in the server's order.

use aws_sdk_s3::types::{EncodingType, Object};
use vidimus_ports::PortResult;

use crate::bucket::S3Bucket;
use crate::error::port_error;
use crate::names::decoded;

/// What S3 lists at most in one answer.
const PAGE_MAX: usize = 1000;

/// An object as listed.
pub(crate) struct Listed {
    pub(crate) key: String,
    pub(crate) size: u64,
    pub(crate) modified_at_ms: i64,
}

/// A walk through the keys that begin with a prefix.
pub(crate) struct Listing<'a> {
    bucket: &'a S3Bucket,
    prefix: String,
    after: Option<String>,
    continuation: Option<String>,
    ended: bool,
}

impl<'a> Listing<'a> {
    /// Keys of the bucket that begin with `prefix` and come after `after`.
    pub(crate) fn new(bucket: &'a S3Bucket, prefix: String, after: Option<String>) -> Self {
        Self { bucket, prefix, after, continuation: None, ended: false }
    }

    /// About `wanted` further keys; none where there are no more.
    pub(crate) async fn page(&mut self, wanted: usize) -> PortResult<Option<Vec<Listed>>> {
        if self.ended {
            return Ok(None);
        }
        let keys_max = i32::try_from(wanted.clamp(1, PAGE_MAX)).unwrap_or(1);
        let request = self
            .bucket
            .client
            .list_objects_v2()
            .bucket(self.bucket.name())
            .prefix(&self.prefix)
            .max_keys(keys_max)
            // Keys may hold characters that XML does not have.
            .encoding_type(EncodingType::Url)
            .set_start_after(self.after.take())
            .set_continuation_token(self.continuation.take());
        let page = request.send().await.map_err(port_error("list objects"))?;
        let is_encoded = page.encoding_type() == Some(&EncodingType::Url);
        let listed = page.contents().iter().filter_map(|object| listed(object, is_encoded));
        // A server that shows what was not asked for is not followed there.
        let listed = listed.filter(|object| object.key.starts_with(&self.prefix)).collect();
        self.continuation = page.next_continuation_token().map(str::to_owned);
        self.ended = page.is_truncated() != Some(true) || self.continuation.is_none();
        Ok(Some(listed))
    }
}

fn listed(object: &Object, is_encoded: bool) -> Option<Listed> {
    let key = object.key()?;
    let key = if is_encoded { decoded(key)? } else { key.to_owned() };
    let size = object.size().and_then(|size| u64::try_from(size).ok())?;
    let modified_at_ms = object.last_modified().and_then(|at| at.to_millis().ok())?;
    Some(Listed { key, size, modified_at_ms })
}
