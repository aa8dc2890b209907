//! Work whose time grows with the body: hashing, reading JSON, decoding base64.

use crate::error::ApiError;

/// Up to this size the work takes less than a millisecond and stays where it is.
const INLINE_BYTES_MAX: usize = 128 * 1024;

/// Does `work` on `bytes` bytes, on a thread for blocking work where they are many.
///
/// # Errors
/// `InternalServerError` where the work panicked.
pub(crate) async fn offload<T: Send + 'static>(
    bytes: usize,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, ApiError> {
    if bytes <= INLINE_BYTES_MAX {
        return Ok(work());
    }
    tokio::task::spawn_blocking(work).await.map_err(|_| ApiError::internal())
}
