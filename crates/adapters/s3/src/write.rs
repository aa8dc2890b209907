//! Conditional puts: exactly one of those over one state wins, and who has won is told so.

use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::ServerSideEncryption;
use bytes::Bytes;
use vidimus_ports::{Etag, PortError, PortErrorKind, PortResult, PutCondition};

use crate::bucket::S3Bucket;
use crate::config::Sse;
use crate::error::{Failed, port_error};
use crate::multipart;
use crate::read::digest;

/// Metadata: the digest (BLAKE3) of the content.
pub(crate) const DIGEST: &str = "vidimus-blake3";
/// Metadata: marks the put that wrote this state.
pub(crate) const NONCE: &str = "vidimus-nonce";

const DOING: &str = "put object";

/// One put, with all its attempts.
pub(crate) struct Write {
    pub(crate) key: String,
    pub(crate) bytes: Bytes,
    pub(crate) digest: String,
    /// Of this put alone: whoever finds it on the object knows that this put has won.
    pub(crate) nonce: String,
    pub(crate) condition: PutCondition,
}

/// A put that has won.
pub(crate) struct Won {
    pub(crate) etag: Etag,
    /// The bucket keeps versions.
    pub(crate) has_version: bool,
}

/// What a put's attempts have come to.
pub(crate) enum Outcome {
    Won(Won),
    /// The condition does not hold, or does not any more because an earlier attempt has won.
    Lost,
    /// The server could not decide, as somebody else is at the object.
    Undecided(PortError),
    Failed(PortError),
}

impl Write {
    pub(crate) fn new(bucket: &S3Bucket, key: String, bytes: Bytes, condition: PutCondition) -> Self {
        let nonce = bucket.random.nonce().to_string();
        Self { key, digest: digest(&bytes), bytes, nonce, condition }
    }

    /// The headers `If-None-Match` and `If-Match`.
    pub(crate) fn conditions(&self) -> (Option<String>, Option<String>) {
        match &self.condition {
            PutCondition::IfAbsent => (Some("*".to_owned()), None),
            PutCondition::IfMatch(etag) => (None, Some(format!("\"{}\"", etag.as_str()))),
        }
    }

    /// Puts the object. A server that says 412 may be speaking of an attempt of ours that has won and whose answer was lost, so
    /// then the object is looked at.
    pub(crate) async fn run(&self, bucket: &S3Bucket) -> PortResult<Won> {
        let outcome = match multipart::parts(self.bytes.len()) {
            1 => self.put_whole(bucket).await,
            _ => multipart::put(bucket, self).await,
        };
        match outcome {
            Outcome::Won(won) => Ok(won),
            Outcome::Lost => self.settle(bucket).await,
            Outcome::Undecided(error) | Outcome::Failed(error) => Err(error),
        }
    }

    async fn put_whole(&self, bucket: &S3Bucket) -> Outcome {
        let (if_none_match, if_match) = self.conditions();
        let (encryption, kms_key) = encryption(&bucket.sse);
        let request = bucket
            .client
            .put_object()
            .bucket(bucket.name())
            .key(&self.key)
            .body(ByteStream::from(self.bytes.clone()))
            .set_if_none_match(if_none_match)
            .set_if_match(if_match)
            .metadata(DIGEST, &self.digest)
            .metadata(NONCE, &self.nonce)
            .set_bucket_key_enabled(kms_key.is_some().then_some(true))
            .set_server_side_encryption(encryption)
            .set_ssekms_key_id(kms_key);
        match request.send().await {
            Ok(put) => Outcome::won(put.e_tag(), put.version_id()),
            Err(error) => Outcome::refused(error, &self.condition),
        }
    }

    /// Whether the state that is there is this put's.
    async fn settle(&self, bucket: &S3Bucket) -> PortResult<Won> {
        let lost = || PortError::new(PortErrorKind::Conflict, DOING);
        let request = bucket.client.head_object().bucket(bucket.name()).key(&self.key);
        let head = match request.send().await {
            Ok(head) => head,
            Err(error) => {
                let failed = Failed::from(error);
                // A head's answer has no body, so there is no code.
                let is_absent = failed.status() == Some(404);
                return Err(if is_absent { lost() } else { failed.into_port_error("read back object") });
            }
        };
        let nonce = head.metadata().and_then(|metadata| metadata.get(NONCE));
        if nonce != Some(&self.nonce) {
            return Err(lost());
        }
        tracing::debug!(key = self.key, "a put that had won was told that it lost");
        match Outcome::won(head.e_tag(), head.version_id()) {
            Outcome::Won(won) => Ok(won),
            _ => Err(lost()),
        }
    }
}

impl Outcome {
    pub(crate) fn won(etag: Option<&str>, version: Option<&str>) -> Self {
        match etag {
            Some(etag) => {
                Self::Won(Won { etag: Etag::new(etag.trim_matches('"')), has_version: version.is_some() })
            }
            None => Self::Failed(
                PortError::new(PortErrorKind::Internal, DOING).because("the server names no ETag"),
            ),
        }
    }

    pub(crate) fn refused<E>(error: SdkError<E, HttpResponse>, condition: &PutCondition) -> Self
    where
        E: std::error::Error + ProvideErrorMetadata + 'static,
    {
        let failed = Failed::from(error);
        match (failed.status(), failed.code()) {
            (Some(412), _) => Self::Lost,
            // Over which state it should be put is gone with the object.
            (Some(404), "NoSuchKey") if *condition != PutCondition::IfAbsent => Self::Lost,
            // The upload that was to be completed has been, by an attempt whose answer was lost.
            (Some(404), "NoSuchUpload") => Self::Lost,
            (Some(409), _) => Self::Undecided(failed.into_port_error(DOING)),
            _ => Self::Failed(failed.into_port_error(DOING)),
        }
    }

    pub(crate) fn failed<E>(error: SdkError<E, HttpResponse>) -> Self
    where
        E: std::error::Error + ProvideErrorMetadata + 'static,
    {
        Self::Failed(port_error(DOING)(error))
    }
}

/// What the server is asked to encrypt with.
pub(crate) fn encryption(sse: &Sse) -> (Option<ServerSideEncryption>, Option<String>) {
    match sse {
        Sse::None => (None, None),
        Sse::S3 => (Some(ServerSideEncryption::Aes256), None),
        Sse::Kms(key) => (Some(ServerSideEncryption::AwsKms), Some(key.clone())),
    }
}
