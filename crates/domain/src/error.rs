//! What went wrong, said so that the caller knows what to do.

use std::time::Duration;

use crate::ids::InvalidId;
use crate::retention::InvalidRetention;

/// One code for each thing a caller can do about a failure. One table (`runtime::errors`) takes it to gRPC and
/// HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorCode {
    /// The request is wrong: mend it.
    InvalidParameter,
    /// The photo is too large: make it smaller.
    ImageTooLarge,
    /// The bytes are no photo that can be read: send JPEG or PNG.
    InvalidImageFormat,
    /// A page token is not one of this listing's: begin again.
    InvalidPageToken,
    /// What is named does not exist.
    NotFound,
    /// What was to be created exists.
    AlreadyExists,
    /// Someone else changed it meanwhile: read and decide again.
    Conflict,
    /// The client's token was used with other parameters: take a new one.
    IdempotentParameterMismatch,
    /// The caller is not who it says, or does not say.
    Unauthenticated,
    /// The caller may not.
    Denied,
    /// A quota of the tenant is used up: make room.
    QuotaExceeded,
    /// Too much at once: wait and try again.
    Throttled,
    /// It cannot be done now: wait and try again.
    Unavailable,
    /// A defect or damage: tell the operator.
    Internal,
}

impl ErrorCode {
    /// Every code.
    pub const ALL: [Self; 14] = [
        Self::InvalidParameter,
        Self::ImageTooLarge,
        Self::InvalidImageFormat,
        Self::InvalidPageToken,
        Self::NotFound,
        Self::AlreadyExists,
        Self::Conflict,
        Self::IdempotentParameterMismatch,
        Self::Unauthenticated,
        Self::Denied,
        Self::QuotaExceeded,
        Self::Throttled,
        Self::Unavailable,
        Self::Internal,
    ];

    /// Whether the same request may succeed later.
    #[must_use]
    pub const fn is_retryable(self) -> bool {
        matches!(self, Self::Throttled | Self::Unavailable | Self::Internal)
    }

    /// Its name between roles and in metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InvalidParameter => "INVALID_PARAMETER",
            Self::ImageTooLarge => "IMAGE_TOO_LARGE",
            Self::InvalidImageFormat => "INVALID_IMAGE_FORMAT",
            Self::InvalidPageToken => "INVALID_PAGE_TOKEN",
            Self::NotFound => "NOT_FOUND",
            Self::AlreadyExists => "ALREADY_EXISTS",
            Self::Conflict => "CONFLICT",
            Self::IdempotentParameterMismatch => "IDEMPOTENT_PARAMETER_MISMATCH",
            Self::Unauthenticated => "UNAUTHENTICATED",
            Self::Denied => "DENIED",
            Self::QuotaExceeded => "QUOTA_EXCEEDED",
            Self::Throttled => "THROTTLED",
            Self::Unavailable => "UNAVAILABLE",
            Self::Internal => "INTERNAL",
        }
    }

    /// The code of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|code| code.as_str() == name)
    }
}

/// A failure as a role answers it: a code, a sentence for the caller, and when to try again. It never holds
/// anything of another tenant (I1) nor of a photo.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// What the caller should do.
    pub code: ErrorCode,
    /// One sentence.
    pub message: String,
    /// How long to wait before the next try, where one may help.
    pub retry_after: Option<Duration>,
}

impl Failure {
    /// A failure without a retry hint.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), retry_after: None }
    }

    /// Something is away or overloaded: the caller may try again after `retry_after`.
    pub fn unavailable(message: impl Into<String>, retry_after: Duration) -> Self {
        Self { code: ErrorCode::Unavailable, message: message.into(), retry_after: Some(retry_after) }
    }

    /// Whether the same request may succeed later.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        self.code.is_retryable()
    }
}

impl From<InvalidId> for Failure {
    fn from(error: InvalidId) -> Self {
        Self::new(ErrorCode::InvalidParameter, error.to_string())
    }
}

impl From<InvalidRetention> for Failure {
    fn from(error: InvalidRetention) -> Self {
        Self::new(ErrorCode::InvalidParameter, error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_found_by_its_name() {
        for code in ErrorCode::ALL {
            assert_eq!(ErrorCode::from_name(code.as_str()), Some(code));
        }
        assert_eq!(ErrorCode::from_name("nothing"), None);
    }
}
