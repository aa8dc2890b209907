//! What Vidimus takes in request headers: SDKs refuse members that the Rekognition API does not have, but let headers be added.

use http::HeaderMap;

use crate::error::{ApiError, ErrorType};

/// What a request's headers ask for.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Options {
    /// `x-vidimus-target-fpir`: 0 to 1.
    pub(crate) target_fpir: Option<f64>,
    /// `x-vidimus-expires-at`: seconds since the epoch.
    pub(crate) expires_at: Option<f64>,
}

impl Options {
    pub(crate) fn read(headers: &HeaderMap) -> Result<Self, ApiError> {
        Ok(Self {
            target_fpir: number(headers, "x-vidimus-target-fpir", 1.0)?,
            expires_at: number(headers, "x-vidimus-expires-at", 253_402_300_799.0)?,
        })
    }
}

fn number(headers: &HeaderMap, name: &str, max: f64) -> Result<Option<f64>, ApiError> {
    let Some(value) = headers.get(name) else { return Ok(None) };
    let number = value.to_str().ok().and_then(|text| text.trim().parse::<f64>().ok());
    let within = number.filter(|number| (0.0..=max).contains(number));
    let message = || format!("Request has invalid parameters: {name} must be a number from 0 to {max}.");
    within.map(Some).ok_or_else(|| ApiError::new(ErrorType::InvalidParameter, message()))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn headers_are_numbers_within_bounds() {
        let read = |name: &'static str, value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(name, HeaderValue::from_str(value).unwrap());
            Options::read(&headers)
        };
        assert_eq!(Options::read(&HeaderMap::new()), Ok(Options::default()));
        assert_eq!(read("x-vidimus-target-fpir", "0.01").unwrap().target_fpir, Some(0.01));
        assert_eq!(read("x-vidimus-expires-at", " 1.8e9").unwrap().expires_at, Some(1.8e9));
        for bad in ["", "x", "-1", "2", "NaN", "inf"] {
            let refused = read("x-vidimus-target-fpir", bad).unwrap_err();
            assert_eq!(refused.error_type, ErrorType::InvalidParameter, "{bad:?}");
        }
        assert!(read("x-vidimus-expires-at", "2026-01-01").is_err());
    }
}
