//! One table between [`ErrorCode`] and gRPC, and from the ports' failures to it.

use std::time::Duration;

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};
use vidimus_domain::{ErrorCode, Failure};
use vidimus_ports::{PortError, PortErrorKind};

/// The domain of Vidimus's `ErrorInfo`.
const ERROR_DOMAIN: &str = "vidimus";

/// The gRPC code of each error code.
#[must_use]
pub const fn grpc_code(code: ErrorCode) -> Code {
    match code {
        ErrorCode::InvalidParameter
        | ErrorCode::ImageTooLarge
        | ErrorCode::InvalidImageFormat
        | ErrorCode::InvalidPageToken
        | ErrorCode::IdempotentParameterMismatch => Code::InvalidArgument,
        ErrorCode::NotFound => Code::NotFound,
        ErrorCode::AlreadyExists => Code::AlreadyExists,
        ErrorCode::Conflict => Code::Aborted,
        ErrorCode::Unauthenticated => Code::Unauthenticated,
        ErrorCode::Denied => Code::PermissionDenied,
        ErrorCode::QuotaExceeded => Code::FailedPrecondition,
        ErrorCode::Throttled => Code::ResourceExhausted,
        ErrorCode::Unavailable => Code::Unavailable,
        ErrorCode::Internal => Code::Internal,
    }
}

/// A failure as a status: the code's name as `ErrorInfo.reason`, the hint as `RetryInfo`.
#[must_use]
pub fn status_from_failure(failure: &Failure) -> Status {
    let mut details = ErrorDetails::new();
    details.set_error_info(
        failure.code.as_str(),
        ERROR_DOMAIN,
        std::collections::HashMap::<String, String>::new(),
    );
    if let Some(wait) = failure.retry_after {
        details.set_retry_info(Some(wait));
    }
    Status::with_error_details(grpc_code(failure.code), failure.message.clone(), details)
}

/// The failure that a role meant by a status; a status of somebody else's by its gRPC code.
#[must_use]
pub fn failure_from_status(status: &Status) -> Failure {
    let details = status.get_error_details();
    let named = details.error_info().and_then(|info| ErrorCode::from_name(&info.reason));
    let retry_after = details.retry_info().and_then(|info| info.retry_delay);
    let code = named.unwrap_or_else(|| code_of_foreign(status.code()));
    let away = named.is_none() && code == ErrorCode::Unavailable;
    let retry_after = retry_after.or(away.then_some(Duration::from_secs(1)));
    let message =
        if named.is_some() { status.message().to_owned() } else { "the service cannot answer".to_owned() };
    Failure { code, message, retry_after }
}

const fn code_of_foreign(code: Code) -> ErrorCode {
    match code {
        Code::InvalidArgument | Code::OutOfRange => ErrorCode::InvalidParameter,
        Code::NotFound => ErrorCode::NotFound,
        Code::AlreadyExists => ErrorCode::AlreadyExists,
        Code::Aborted => ErrorCode::Conflict,
        Code::Unauthenticated => ErrorCode::Unauthenticated,
        Code::PermissionDenied => ErrorCode::Denied,
        Code::FailedPrecondition => ErrorCode::QuotaExceeded,
        Code::ResourceExhausted => ErrorCode::Throttled,
        Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled => ErrorCode::Unavailable,
        _ => ErrorCode::Internal,
    }
}

/// A port's failure as a role answers it. What is inside is logged here, once, and masked from the caller.
#[must_use]
pub fn failure_from_port(error: PortError) -> Failure {
    let retry_after = error.retry_hint();
    let (code, message) = match error.kind() {
        PortErrorKind::Conflict => (ErrorCode::Conflict, "it was changed at the same time; try again"),
        PortErrorKind::Unavailable => {
            (ErrorCode::Unavailable, "a part of the service is not available; try again")
        }
        PortErrorKind::TooNew => {
            (ErrorCode::Unavailable, "it was stored by a newer version of the service; try again")
        }
        PortErrorKind::Full => {
            (ErrorCode::Unavailable, "no room is left to store anything new; try again later")
        }
        PortErrorKind::Invalid
        | PortErrorKind::NotFound
        | PortErrorKind::Corrupt
        | PortErrorKind::Internal => (ErrorCode::Internal, "internal error"),
    };
    if code == ErrorCode::Internal {
        tracing::error!(%error, "a port failed");
    } else {
        tracing::warn!(%error, "a port failed");
    }
    let full = (error.kind() == PortErrorKind::Full).then_some(Duration::from_secs(30));
    Failure { code, message: message.to_owned(), retry_after: full.or(retry_after) }
}

/// A port's failure as a status.
#[must_use]
pub fn status_from_port(error: PortError) -> Status {
    status_from_failure(&failure_from_port(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_survive_the_way_through_a_status() {
        for code in ErrorCode::ALL {
            let failure = Failure {
                code,
                message: format!("{code:?}"),
                retry_after: Some(Duration::from_millis(1500)),
            };
            assert_eq!(failure_from_status(&status_from_failure(&failure)), failure);
        }
    }

    #[test]
    fn foreign_statuses_are_masked() {
        let failure = failure_from_status(&Status::internal("stack trace"));
        assert_eq!(failure.code, ErrorCode::Internal);
        assert!(!failure.message.contains("stack"));
        assert_eq!(failure.retry_after, None);
        let away = failure_from_status(&Status::unavailable("connection refused"));
        assert_eq!(away.retry_after, Some(Duration::from_secs(1)), "who is away may be back");
    }
}
