//! Large objects are put in parts. Nothing of them is to be seen before the last request, which carries the condition.

use aws_sdk_s3::operation::upload_part::UploadPartOutput;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{ChecksumAlgorithm, CompletedMultipartUpload, CompletedPart};
use futures::{StreamExt as _, TryStreamExt as _};
use vidimus_domain::limits::PHOTO_BYTES_MAX;

use crate::bucket::S3Bucket;
use crate::write::{DIGEST, NONCE, Outcome, Write, encryption};

/// Objects larger than this are put in parts.
const WHOLE_BYTES_MAX: usize = 16 << 20;
/// S3 takes parts from 5 MiB on.
const PART_BYTES: usize = 8 << 20;
/// Uploads of one object at most, where the server says 409 at the end of each.
const UPLOADS_MAX: u32 = 3;
/// Parts of one object that are on their way at a time.
const PARTS_AT_ONCE: usize = 4;

// What is left of an upload that was broken off is not an object: no deletion finds it. So what is of persons is never put
// in parts.
const _: () = assert!(PHOTO_BYTES_MAX < WHOLE_BYTES_MAX);

/// In how many parts an object of `size` bytes is put.
pub(crate) const fn parts(size: usize) -> usize {
    if size <= WHOLE_BYTES_MAX { 1 } else { size.div_ceil(PART_BYTES) }
}

/// Puts an object in parts, and from the first part on again where the server cannot decide.
pub(crate) async fn put(bucket: &S3Bucket, write: &Write) -> Outcome {
    let mut uploads = 1;
    loop {
        match put_once(bucket, write).await {
            Outcome::Undecided(_) if uploads < UPLOADS_MAX => bucket.pause(uploads).await,
            outcome => return outcome,
        }
        uploads += 1;
    }
}

/// Takes back what it has sent where that comes to nothing.
async fn put_once(bucket: &S3Bucket, write: &Write) -> Outcome {
    let upload = match begin(bucket, write).await {
        Ok(upload) => upload,
        Err(outcome) => return outcome,
    };
    let outcome = match send(bucket, write, &upload).await {
        Ok(parts) => complete(bucket, write, (&upload, parts)).await,
        Err(outcome) => outcome,
    };
    if !matches!(outcome, Outcome::Won(_)) {
        abort(bucket, write, &upload).await;
    }
    outcome
}

async fn begin(bucket: &S3Bucket, write: &Write) -> Result<String, Outcome> {
    let (encryption, kms_key) = encryption(&bucket.sse);
    let request = bucket
        .client
        .create_multipart_upload()
        .bucket(bucket.name())
        .key(&write.key)
        .checksum_algorithm(ChecksumAlgorithm::Crc32)
        .metadata(DIGEST, &write.digest)
        .metadata(NONCE, &write.nonce)
        .set_bucket_key_enabled(kms_key.is_some().then_some(true))
        .set_server_side_encryption(encryption)
        .set_ssekms_key_id(kms_key);
    let created = request.send().await.map_err(Outcome::failed)?;
    Ok(created.upload_id().unwrap_or_default().to_owned())
}

async fn send(bucket: &S3Bucket, write: &Write, upload: &str) -> Result<Vec<CompletedPart>, Outcome> {
    let numbers = 1..=i32::try_from(parts(write.bytes.len())).unwrap_or(i32::MAX);
    let sent = futures::stream::iter(numbers.map(|number| send_part(bucket, write, (upload, number))));
    sent.buffered(PARTS_AT_ONCE).try_collect().await
}

async fn send_part(
    bucket: &S3Bucket,
    write: &Write,
    (upload, number): (&str, i32),
) -> Result<CompletedPart, Outcome> {
    let start = PART_BYTES * usize::try_from(number - 1).unwrap_or_default();
    let end = write.bytes.len().min(start + PART_BYTES);
    let request = bucket
        .client
        .upload_part()
        .bucket(bucket.name())
        .key(&write.key)
        .upload_id(upload)
        .part_number(number)
        .checksum_algorithm(ChecksumAlgorithm::Crc32)
        .body(ByteStream::from(write.bytes.slice(start..end)));
    let sent = request.send().await.map_err(Outcome::failed)?;
    Ok(completed(number, sent))
}

fn completed(number: i32, sent: UploadPartOutput) -> CompletedPart {
    CompletedPart::builder()
        .part_number(number)
        .set_e_tag(sent.e_tag)
        .set_checksum_crc32(sent.checksum_crc32)
        .build()
}

async fn complete(bucket: &S3Bucket, write: &Write, (upload, parts): (&str, Vec<CompletedPart>)) -> Outcome {
    let (if_none_match, if_match) = write.conditions();
    let request = bucket
        .client
        .complete_multipart_upload()
        .bucket(bucket.name())
        .key(&write.key)
        .upload_id(upload)
        .multipart_upload(CompletedMultipartUpload::builder().set_parts(Some(parts)).build())
        .set_if_none_match(if_none_match)
        .set_if_match(if_match);
    match request.send().await {
        Ok(completed) => Outcome::won(completed.e_tag(), completed.version_id()),
        Err(error) => Outcome::refused(error, &write.condition),
    }
}

/// Best effort: a lifecycle rule removes what stays.
async fn abort(bucket: &S3Bucket, write: &Write, upload: &str) {
    let request = bucket.client.abort_multipart_upload().bucket(bucket.name()).key(&write.key);
    if let Err(error) = request.upload_id(upload).send().await {
        let failed = crate::error::Failed::from(error);
        if failed.code() != "NoSuchUpload" {
            tracing::warn!(key = write.key, cause = %failed.failure, "an upload in parts was left behind");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_of_allowed_sizes() {
        for (size, count) in
            [(0, 1), (1, 1), (WHOLE_BYTES_MAX, 1), (WHOLE_BYTES_MAX + 1, 3), (5 * PART_BYTES, 5)]
        {
            assert_eq!(parts(size), count, "{size}");
        }
        const { assert!(PART_BYTES >= 5 << 20) }
    }
}
