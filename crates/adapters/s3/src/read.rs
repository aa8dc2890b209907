//! Reading an object whole, and telling whether it is as it was written.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use aws_sdk_s3::config::Builder;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::operation::get_object::GetObjectOutput;
use bytes::{Bytes, BytesMut};
use tokio::time::{Instant, timeout};
use vidimus_ports::{PortError, PortErrorKind, PortResult};

use crate::bucket::S3Bucket;
use crate::error::{Failed, chain};
use crate::multipart::parts;
use crate::write::DIGEST;

/// Memory that is set aside on a server's word alone.
const ROOM_MAX: usize = 16 << 20;

/// An object that was asked for.
pub(crate) enum Fetched {
    /// What the server says of it, and its content.
    Object(Box<GetObjectOutput>, Bytes),
    /// It is larger than was asked for.
    TooLarge,
}

/// Why there is none.
pub(crate) enum Unfetched {
    /// The server said so, or did not answer.
    Refused(Failed),
    /// The connection broke in the middle of it, again and again, or there was no end in time.
    Broken(String),
}

impl Unfetched {
    pub(crate) fn into_port_error(self, doing: &'static str) -> PortError {
        match self {
            Self::Refused(failed) => failed.into_port_error(doing),
            Self::Broken(cause) => PortError::new(PortErrorKind::Unavailable, doing).because(cause),
        }
    }
}

/// Reads an object of at most `bytes_max` bytes, within the time of a call. The client tries requests again, but not once the
/// answer has begun: an answer that breaks off is asked for again here, as long as attempts are left.
pub(crate) async fn fetch(
    bucket: &S3Bucket,
    key: &str,
    version: Option<&str>,
    bytes_max: u64,
) -> Result<Fetched, Unfetched> {
    let began = Instant::now();
    let mut limit = bucket.timeouts.call;
    let attempts = Arc::new(AtomicU32::new(0));
    loop {
        let asking = ask(bucket, (key, version), &attempts);
        let asked = timeout(limit.saturating_sub(began.elapsed()), asking).await;
        let late = |_| Unfetched::Broken(format!("no end in {limit:?}"));
        let mut output = asked.map_err(late)?.map_err(Unfetched::Refused)?;
        let told = output.content_length().and_then(|length| usize::try_from(length).ok());
        limit = bucket.limit(told.unwrap_or_default());
        let left = limit.saturating_sub(began.elapsed());
        let cause = match read_in_time(bucket, &mut output, (bytes_max, left)).await {
            Body::Whole(bytes) => return Ok(Fetched::Object(Box::new(output), bytes)),
            Body::TooLarge => return Ok(Fetched::TooLarge),
            Body::Broken(cause) => cause,
        };
        if attempts.load(Ordering::Relaxed) >= bucket.attempts_max.get() {
            return Err(Unfetched::Broken(cause));
        }
    }
}

/// Asks for an object with as many attempts as are left, and counts them.
async fn ask(
    bucket: &S3Bucket,
    (key, version): (&str, Option<&str>),
    attempts: &Arc<AtomicU32>,
) -> Result<GetObjectOutput, Failed> {
    let made = attempts.load(Ordering::Relaxed);
    if let Some(pauses) = made.checked_sub(1) {
        bucket.pause(pauses).await;
    }
    let left = bucket.attempts_max.get().saturating_sub(made);
    let retries = Builder::new().retry_config(RetryConfig::standard().with_max_attempts(left));
    let counted = Arc::clone(attempts);
    let request = bucket.client.get_object().bucket(bucket.name()).key(key);
    let request = request.set_version_id(version.map(str::to_owned)).customize().config_override(retries);
    // It is called for each attempt.
    let request = request.mutate_request(move |_| {
        counted.fetch_add(1, Ordering::Relaxed);
    });
    request.send().await.map_err(Failed::from)
}

/// Reads a body as long as an attempt may take, for each of its parts, and no longer than is `left`.
async fn read_in_time(
    bucket: &S3Bucket,
    output: &mut GetObjectOutput,
    (bytes_max, left): (u64, Duration),
) -> Body {
    let told = output.content_length().and_then(|length| usize::try_from(length).ok());
    let parts = u32::try_from(parts(told.unwrap_or_default())).unwrap_or(u32::MAX);
    let limit = bucket.timeouts.attempt.saturating_mul(parts).min(left);
    match timeout(limit, read_body(output, bytes_max)).await {
        Ok(body) => body,
        Err(_elapsed) => Body::Broken(format!("the answer did not end within {limit:?}")),
    }
}

/// What was read of a body.
#[derive(Debug, PartialEq, Eq)]
enum Body {
    /// All of it.
    Whole(Bytes),
    /// It is longer than was asked for.
    TooLarge,
    /// The connection broke on the way: it may be read again.
    Broken(String),
}

/// Reads a body of at most `bytes_max` bytes.
async fn read_body(output: &mut GetObjectOutput, bytes_max: u64) -> Body {
    let told = output.content_length().and_then(|length| u64::try_from(length).ok());
    if told.is_some_and(|length| length > bytes_max) {
        return Body::TooLarge;
    }
    let room = told.map_or(0, |length| usize::try_from(length).unwrap_or(usize::MAX)).min(ROOM_MAX);
    let mut bytes = BytesMut::with_capacity(room);
    loop {
        match output.body.try_next().await {
            Ok(Some(chunk)) => bytes.extend_from_slice(&chunk),
            Ok(None) => break,
            Err(error) => return Body::Broken(chain(&error)),
        }
        if bytes.len() as u64 > bytes_max {
            return Body::TooLarge;
        }
    }
    match told {
        Some(length) if bytes.len() as u64 != length => {
            Body::Broken(format!("{} of {length} bytes came", bytes.len()))
        }
        _ => Body::Whole(bytes.freeze()),
    }
}

/// The digest that is put beside an object.
pub(crate) fn digest(bytes: &[u8]) -> String {
    blake3::hash(bytes).to_hex().to_string()
}

/// Whether the object is as it was written. One without a digest was not put by this service (somebody has copied it back,
/// for instance): there is nothing to check it against but what it says itself.
pub(crate) fn verify(output: &GetObjectOutput, bytes: &[u8], key: &str) -> PortResult<()> {
    let written = output.metadata().and_then(|metadata| metadata.get(DIGEST));
    match written {
        Some(written) if *written != digest(bytes) => {
            let damaged = format!("{key} is not what was written: its digest differs");
            Err(PortError::new(PortErrorKind::Corrupt, "get object").because(damaged))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use aws_sdk_s3::primitives::ByteStream;

    use super::*;

    fn output(content: &'static [u8], length: Option<i64>) -> GetObjectOutput {
        let body = ByteStream::from_static(content);
        GetObjectOutput::builder().body(body).set_content_length(length).build()
    }

    #[tokio::test]
    async fn bodies_are_whole_or_not() {
        let whole = Body::Whole(Bytes::from_static(b"photo"));
        assert_eq!(read_body(&mut output(b"photo", Some(5)), 5).await, whole);
        assert_eq!(read_body(&mut output(b"photo", None), 5).await, whole);
        assert_eq!(read_body(&mut output(b"photo", Some(5)), 4).await, Body::TooLarge);
        assert_eq!(read_body(&mut output(b"photo", None), 4).await, Body::TooLarge);
        let short = read_body(&mut output(b"phot", Some(5)), 5).await;
        assert_eq!(short, Body::Broken("4 of 5 bytes came".to_owned()));
    }

    #[test]
    fn damage_is_told_by_name() {
        let with = |digest: String| {
            GetObjectOutput::builder().metadata(DIGEST, digest).body(ByteStream::from_static(b"")).build()
        };
        verify(&with(digest(b"photo")), b"photo", "a/b").unwrap();
        let damaged = verify(&with(digest(b"photo")), b"phot0", "a/b").unwrap_err();
        assert_eq!(damaged.kind(), PortErrorKind::Corrupt);
        assert!(damaged.to_string().contains("a/b"), "{damaged}");
        verify(&output(b"", None), b"photo", "a/b").unwrap();
    }
}
