//! `grpc-timeout`: how long the caller waits (gRPC over HTTP/2, "Requests": up to eight digits and a unit).

use std::time::Duration;

use http::HeaderMap;

use super::text;
use crate::error::{ApiError, ErrorType};

/// The header's value, where there is one.
///
/// # Errors
/// Where it is malformed.
pub(super) fn deadline(headers: &HeaderMap) -> Result<Option<Duration>, ApiError> {
    let Some(value) = text(headers, "grpc-timeout") else { return Ok(None) };
    let wrong = || ApiError::new(ErrorType::InvalidParameter, "grpc-timeout is malformed");
    let (digits, unit) = value.split_at_checked(value.len().saturating_sub(1)).ok_or_else(wrong)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(wrong());
    }
    let amount = digits.parse::<u64>().map_err(|_| wrong())?;
    let duration = match unit {
        "H" => Duration::from_secs(amount * 3600),
        "M" => Duration::from_secs(amount * 60),
        "S" => Duration::from_secs(amount),
        "m" => Duration::from_millis(amount),
        "u" => Duration::from_micros(amount),
        "n" => Duration::from_nanos(amount),
        _ => return Err(wrong()),
    };
    Ok(Some(duration))
}

/// The caller's deadline, or the gateway's own, has passed.
pub(super) fn exceeded() -> ApiError {
    ApiError::new(ErrorType::DeadlineExceeded, "The deadline has passed.")
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn timeouts_are_read_as_the_protocol_says() {
        let read = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("grpc-timeout", HeaderValue::from_str(value).unwrap());
            deadline(&headers)
        };
        assert_eq!(deadline(&HeaderMap::new()), Ok(None));
        for (value, millis) in
            [("1S", 1000), ("250m", 250), ("2M", 120_000), ("1H", 3_600_000), ("5000u", 5), ("99999999n", 99)]
        {
            assert_eq!(read(value).unwrap().unwrap().as_millis(), millis, "{value}");
        }
        for bad in ["", "S", "1", "1s", "-1S", "123456789S", "1.5S"] {
            assert!(read(bad).is_err(), "{bad:?}");
        }
    }
}
