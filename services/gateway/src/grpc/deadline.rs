//! `grpc-timeout`: how long the caller waits.

use std::time::Duration;

use http::HeaderMap;
use vidimus_runtime::deadline;

use super::text;
use crate::error::{ApiError, ErrorType};

/// The header's value, where there is one.
///
/// # Errors
/// Where it is malformed.
pub(super) fn deadline(headers: &HeaderMap) -> Result<Option<Duration>, ApiError> {
    let Some(value) = text(headers, "grpc-timeout") else { return Ok(None) };
    let wrong = || ApiError::new(ErrorType::InvalidParameter, "grpc-timeout is malformed");
    deadline::parse(value).ok_or_else(wrong).map(Some)
}

/// The caller's deadline, or the gateway's own, has passed.
pub(super) fn exceeded() -> ApiError {
    let error = ApiError::new(ErrorType::DeadlineExceeded, "The deadline has passed.");
    ApiError { retry_after: Some(Duration::from_secs(1)), ..error }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn the_header_is_read_where_it_is_there() {
        let mut headers = HeaderMap::new();
        assert_eq!(deadline(&headers), Ok(None));
        headers.insert("grpc-timeout", HeaderValue::from_static("250m"));
        assert_eq!(deadline(&headers), Ok(Some(Duration::from_millis(250))));
        headers.insert("grpc-timeout", HeaderValue::from_static("soon"));
        assert!(deadline(&headers).is_err());
    }
}
