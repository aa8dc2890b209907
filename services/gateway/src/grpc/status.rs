//! Errors as statuses with details (`google.rpc`, AIP-193).

use std::collections::HashMap;

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use crate::error::{ApiError, ErrorType};

/// The domain of `ErrorInfo`.
const DOMAIN: &str = "vidimus.v1";

/// An error as a status: the AWS exception's name as `ErrorInfo.reason`, members that break a constraint as `BadRequest`, when to
/// try again as `RetryInfo`, the request's id as `RequestInfo`.
pub(super) fn status(error: &ApiError, request_id: &str) -> Status {
    let mut details = ErrorDetails::new();
    let (reason, _) = error.error_type.on_the_wire();
    details.set_error_info(reason, DOMAIN, HashMap::<String, String>::new());
    details.set_request_info(request_id, "");
    for (field, constraint) in &error.fields {
        details.add_bad_request_violation(field, constraint);
    }
    if let Some(wait) = error.retry_after {
        details.set_retry_info(Some(wait));
    }
    Status::with_error_details(code(error.error_type), error.message.clone(), details)
}

/// The gRPC code of each kind of error.
const fn code(error_type: ErrorType) -> Code {
    match error_type {
        ErrorType::AccessDenied => Code::PermissionDenied,
        ErrorType::Conflict | ErrorType::IdempotentParameterMismatch => Code::Aborted,
        ErrorType::DeadlineExceeded | ErrorType::RequestTimeout => Code::DeadlineExceeded,
        ErrorType::InternalServerError => Code::Internal,
        ErrorType::IncompleteSignature
        | ErrorType::InvalidSignature
        | ErrorType::MissingAuthenticationToken
        | ErrorType::UnrecognizedClient => Code::Unauthenticated,
        ErrorType::ImageTooLarge
        | ErrorType::InvalidImageFormat
        | ErrorType::InvalidPaginationToken
        | ErrorType::InvalidParameter
        | ErrorType::InvalidS3Object
        | ErrorType::RequestEntityTooLarge
        | ErrorType::Serialization => Code::InvalidArgument,
        ErrorType::ProvisionedThroughputExceeded | ErrorType::Throttling => Code::ResourceExhausted,
        ErrorType::ResourceAlreadyExists => Code::AlreadyExists,
        ErrorType::ResourceNotFound => Code::NotFound,
        ErrorType::ServiceQuotaExceeded => Code::FailedPrecondition,
        ErrorType::ServiceUnavailable => Code::Unavailable,
        ErrorType::UnknownOperation => Code::Unimplemented,
    }
}
