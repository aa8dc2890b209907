//! The connection to one bucket.

use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_s3::Client;
use tokio::sync::{Semaphore, SemaphorePermit};
use vidimus_domain::blob_key::BlobKey;
use vidimus_ports::{PortError, PortErrorKind, PortResult, Random};

use crate::client;
use crate::config::{S3Config, Sse, Timeouts};
use crate::error::S3Error;
use crate::location::S3Location;
use crate::multipart;

/// When a call that was refused for want of room may come again.
const RETRY_AFTER: Duration = Duration::from_millis(200);
/// The first wait before another attempt is at most this long; each further one at most twice as long.
const FIRST_WAIT_MAX: Duration = Duration::from_millis(50);
const WAIT_MAX: Duration = Duration::from_secs(1);

/// A bucket, and how to speak to it. Clones share connections, room and credentials.
#[derive(Clone)]
pub struct S3Bucket {
    pub(crate) client: Client,
    pub(crate) location: S3Location,
    pub(crate) sse: Sse,
    pub(crate) attempts_max: NonZeroU32,
    pub(crate) timeouts: Timeouts,
    pub(crate) random: Arc<dyn Random>,
    admitted: Arc<Semaphore>,
}

impl fmt::Debug for S3Bucket {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("S3Bucket").field(&self.location).finish()
    }
}

impl S3Bucket {
    /// Sets a client up. The server is not asked yet: see [`S3BlobStore::check`](crate::S3BlobStore::check).
    ///
    /// # Errors
    /// Where the configuration cannot be used.
    pub async fn connect(
        config: &S3Config,
        location: S3Location,
        random: Arc<dyn Random>,
    ) -> Result<Self, S3Error> {
        Ok(Self {
            client: client::connect(config).await?,
            location,
            sse: config.sse.clone(),
            attempts_max: config.attempts_max,
            timeouts: config.timeouts.clone(),
            random,
            admitted: Arc::new(Semaphore::new(config.calls_max.get() as usize)),
        })
    }

    /// Where it is.
    #[must_use]
    pub const fn location(&self) -> &S3Location {
        &self.location
    }

    /// The bucket's name.
    pub(crate) fn name(&self) -> &str {
        self.location.bucket()
    }

    /// An object's key in the bucket.
    pub(crate) fn key(&self, key: &BlobKey) -> String {
        format!("{}{key}", self.location.prefix())
    }

    /// How long a call about an object of `size` bytes may take: large ones as long for each part.
    pub(crate) fn limit(&self, size: usize) -> Duration {
        let parts = u32::try_from(multipart::parts(size)).unwrap_or(u32::MAX);
        self.timeouts.call.saturating_mul(parts)
    }

    /// Room for a call, or the refusal of it.
    pub(crate) fn admit(&self, doing: &'static str) -> PortResult<SemaphorePermit<'_>> {
        let busy = |_| PortError::new(PortErrorKind::Unavailable, doing).because("too many calls");
        self.admitted.try_acquire().map_err(|error| busy(error).retry_after(RETRY_AFTER))
    }

    /// Runs a call where there is room, and ends it after `limit`: what it was about may have been done then.
    pub(crate) async fn bounded<T>(
        &self,
        doing: &'static str,
        limit: Duration,
        call: impl Future<Output = PortResult<T>> + Send,
    ) -> PortResult<T> {
        let _permit = self.admit(doing)?;
        let late =
            |_| PortError::new(PortErrorKind::Unavailable, doing).because(format!("no end in {limit:?}"));
        tokio::time::timeout(limit, call).await.map_err(late)?
    }

    /// Waits before another attempt: any time up to a limit that doubles.
    pub(crate) async fn pause(&self, attempt: u32) {
        let limit = FIRST_WAIT_MAX.saturating_mul(1 << attempt.min(10)).min(WAIT_MAX);
        let mut bytes = [0; 4];
        self.random.fill(&mut bytes);
        let share = f64::from(u32::from_le_bytes(bytes)) / f64::from(u32::MAX);
        tokio::time::sleep(limit.mul_f64(share)).await;
    }
}
