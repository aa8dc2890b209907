//! What a client is told when its request fails: one table from kinds of errors to `__type` and HTTP status.

use std::time::Duration;

use http::StatusCode;
use vidimus_domain::{ErrorCode, Failure};

use crate::constraint::Refusal;

/// An error's `__type`, as the Rekognition API and AWS's protocol layer name them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorType {
    /// The caller may not.
    AccessDenied,
    /// Changed by someone else meanwhile.
    Conflict,
    /// The caller's deadline has passed.
    DeadlineExceeded,
    /// A client's token was used for another request.
    IdempotentParameterMismatch,
    /// The photo is too large.
    ImageTooLarge,
    /// The `Authorization` header is malformed.
    IncompleteSignature,
    /// A defect, or damage.
    InternalServerError,
    /// The photo cannot be read.
    InvalidImageFormat,
    /// The page token is not one of this listing's.
    InvalidPaginationToken,
    /// The request is wrong.
    InvalidParameter,
    /// The object in the bucket cannot be had.
    InvalidS3Object,
    /// The signature does not fit.
    InvalidSignature,
    /// The request is not signed.
    MissingAuthenticationToken,
    /// The tenant's rate of such requests is used up.
    ProvisionedThroughputExceeded,
    /// The body is larger than any request is.
    RequestEntityTooLarge,
    /// The body came too slowly.
    RequestTimeout,
    /// What was to be created exists.
    ResourceAlreadyExists,
    /// What is named does not exist.
    ResourceNotFound,
    /// The body cannot be read as this operation's input.
    Serialization,
    /// A quota is used up.
    ServiceQuotaExceeded,
    /// Something that is needed is away for the moment.
    ServiceUnavailable,
    /// Too much at once.
    Throttling,
    /// There is no such operation here.
    UnknownOperation,
    /// The access key is unknown or disabled.
    UnrecognizedClient,
}

impl ErrorType {
    /// Its `__type` and its HTTP status. By the error table of the Rekognition developer guide all are 400 but what is the
    /// service's own fault; `ThrottlingException` is both, and SDKs retry it either way. The two protocol errors that
    /// are no AWS exception of Rekognition's have HTTP's own status.
    #[must_use]
    pub const fn on_the_wire(self) -> (&'static str, StatusCode) {
        const BAD: StatusCode = StatusCode::BAD_REQUEST;
        match self {
            Self::AccessDenied => ("AccessDeniedException", BAD),
            Self::Conflict => ("ConflictException", BAD),
            Self::DeadlineExceeded => ("ThrottlingException", StatusCode::INTERNAL_SERVER_ERROR),
            Self::IdempotentParameterMismatch => ("IdempotentParameterMismatchException", BAD),
            Self::ImageTooLarge => ("ImageTooLargeException", BAD),
            Self::IncompleteSignature => ("IncompleteSignatureException", BAD),
            Self::InternalServerError => ("InternalServerError", StatusCode::INTERNAL_SERVER_ERROR),
            Self::InvalidImageFormat => ("InvalidImageFormatException", BAD),
            Self::InvalidPaginationToken => ("InvalidPaginationTokenException", BAD),
            Self::InvalidParameter => ("InvalidParameterException", BAD),
            Self::InvalidS3Object => ("InvalidS3ObjectException", BAD),
            Self::InvalidSignature => ("InvalidSignatureException", BAD),
            Self::MissingAuthenticationToken => ("MissingAuthenticationTokenException", BAD),
            Self::ProvisionedThroughputExceeded => ("ProvisionedThroughputExceededException", BAD),
            Self::RequestEntityTooLarge => ("RequestEntityTooLargeException", StatusCode::PAYLOAD_TOO_LARGE),
            Self::RequestTimeout => ("RequestTimeoutException", StatusCode::REQUEST_TIMEOUT),
            Self::ResourceAlreadyExists => ("ResourceAlreadyExistsException", BAD),
            Self::ResourceNotFound => ("ResourceNotFoundException", BAD),
            Self::Serialization => ("SerializationException", BAD),
            Self::ServiceQuotaExceeded => ("ServiceQuotaExceededException", BAD),
            Self::ServiceUnavailable => ("ThrottlingException", StatusCode::INTERNAL_SERVER_ERROR),
            Self::Throttling => ("ThrottlingException", BAD),
            Self::UnknownOperation => ("UnknownOperationException", BAD),
            Self::UnrecognizedClient => ("UnrecognizedClientException", BAD),
        }
    }
}

impl From<ErrorCode> for ErrorType {
    fn from(code: ErrorCode) -> Self {
        match code {
            ErrorCode::InvalidParameter => Self::InvalidParameter,
            ErrorCode::ImageTooLarge => Self::ImageTooLarge,
            ErrorCode::InvalidImageFormat => Self::InvalidImageFormat,
            ErrorCode::InvalidPageToken => Self::InvalidPaginationToken,
            ErrorCode::NotFound => Self::ResourceNotFound,
            ErrorCode::AlreadyExists => Self::ResourceAlreadyExists,
            ErrorCode::Conflict => Self::Conflict,
            ErrorCode::IdempotentParameterMismatch => Self::IdempotentParameterMismatch,
            ErrorCode::Unauthenticated => Self::UnrecognizedClient,
            ErrorCode::Denied => Self::AccessDenied,
            ErrorCode::QuotaExceeded => Self::ServiceQuotaExceeded,
            ErrorCode::Throttled => Self::Throttling,
            ErrorCode::Unavailable => Self::ServiceUnavailable,
            ErrorCode::Internal => Self::InternalServerError,
        }
    }
}

/// A request's failure as its client is told of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{error_type:?}: {message}")]
pub struct ApiError {
    /// Its kind.
    pub error_type: ErrorType,
    /// A sentence for the client: nothing of another tenant, of a photo or of the inside.
    pub message: String,
    /// When to try again, where that may help.
    pub retry_after: Option<Duration>,
    /// Members that break a constraint, each with the constraint.
    pub fields: Vec<(String, String)>,
}

impl ApiError {
    /// An error without a retry hint.
    pub fn new(error_type: ErrorType, message: impl Into<String>) -> Self {
        Self { error_type, message: message.into(), retry_after: None, fields: Vec::new() }
    }

    /// A defect; what it was is in the log only.
    #[must_use]
    pub fn internal() -> Self {
        Self::new(ErrorType::InternalServerError, "Internal server error")
    }

    /// Too much at once.
    #[must_use]
    pub fn throttled(retry_after: Duration) -> Self {
        let message = "Slow down; sudden increase in rate of requests.";
        Self { retry_after: Some(retry_after), ..Self::new(ErrorType::Throttling, message) }
    }

    /// The tenant's rate is used up.
    #[must_use]
    pub fn rate_exceeded(retry_after: Duration) -> Self {
        let message = "Provisioned Rate exceeded.";
        let error = Self::new(ErrorType::ProvisionedThroughputExceeded, message);
        Self { retry_after: Some(retry_after), ..error }
    }

    /// A photo of more bytes than are taken.
    #[must_use]
    pub fn image_too_large() -> Self {
        let max = vidimus_domain::limits::PHOTO_BYTES_MAX;
        Self::new(ErrorType::ImageTooLarge, format!("Image size is too large: at most {max} bytes."))
    }
}

impl From<Failure> for ApiError {
    fn from(failure: Failure) -> Self {
        let error_type = ErrorType::from(failure.code);
        if error_type == ErrorType::InternalServerError {
            return Self { retry_after: failure.retry_after, ..Self::internal() };
        }
        Self { retry_after: failure.retry_after, ..Self::new(error_type, failure.message) }
    }
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::WrongType(message) => Self::new(ErrorType::Serialization, message),
            Refusal::Constraints(broken) => {
                Self { fields: broken.fields, ..Self::new(ErrorType::InvalidParameter, broken.message) }
            }
            Refusal::ImageTooLarge => Self::image_too_large(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_its_type_and_status() {
        let expected = |code| match code {
            ErrorCode::InvalidParameter => ("InvalidParameterException", 400),
            ErrorCode::ImageTooLarge => ("ImageTooLargeException", 400),
            ErrorCode::InvalidImageFormat => ("InvalidImageFormatException", 400),
            ErrorCode::InvalidPageToken => ("InvalidPaginationTokenException", 400),
            ErrorCode::NotFound => ("ResourceNotFoundException", 400),
            ErrorCode::AlreadyExists => ("ResourceAlreadyExistsException", 400),
            ErrorCode::Conflict => ("ConflictException", 400),
            ErrorCode::IdempotentParameterMismatch => ("IdempotentParameterMismatchException", 400),
            ErrorCode::Unauthenticated => ("UnrecognizedClientException", 400),
            ErrorCode::Denied => ("AccessDeniedException", 400),
            ErrorCode::QuotaExceeded => ("ServiceQuotaExceededException", 400),
            ErrorCode::Throttled => ("ThrottlingException", 400),
            ErrorCode::Unavailable => ("ThrottlingException", 500),
            ErrorCode::Internal => ("InternalServerError", 500),
        };
        for code in ErrorCode::ALL {
            let (name, status) = ErrorType::from(code).on_the_wire();
            assert_eq!((name, status.as_u16()), expected(code), "{code:?}");
        }
    }

    #[test]
    fn internals_are_masked_and_the_rest_is_told() {
        let defect = Failure::new(ErrorCode::Internal, "shard 7 of /var/lib is damaged");
        assert_eq!(ApiError::from(defect), ApiError::internal());
        let away = Failure::unavailable("the index is starting", Duration::from_secs(2));
        let told = ApiError::from(away);
        assert_eq!(told.message, "the index is starting");
        assert_eq!(told.retry_after, Some(Duration::from_secs(2)));
    }
}
