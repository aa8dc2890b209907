//! What can go wrong with a bucket, and how a failed request becomes a port's error.

use std::error::Error;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use vidimus_ports::{PortError, PortErrorKind};

/// Characters of a server's message that are repeated.
const MESSAGE_MAX: usize = 300;

/// Why a bucket cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum S3Error {
    /// The location cannot be read.
    #[error("{uri:?} is no location: {reason}")]
    Location {
        /// What was said.
        uri: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The configuration cannot be used.
    #[error("{field}: {reason}")]
    Config {
        /// The field.
        field: &'static str,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A file that the configuration names cannot be read.
    #[error("read {}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The HTTP client cannot be made.
    #[error("set up TLS: {0}")]
    Tls(String),
    /// The server does not do what the store stands on. It must not be used.
    #[error("the bucket {bucket} cannot be used: {reason}")]
    Unfit {
        /// The bucket.
        bucket: String,
        /// What it does otherwise.
        reason: String,
    },
    /// The bucket does not answer as it should: it is away, unknown or forbidden.
    #[error("check the bucket {bucket}: {source}")]
    Check {
        /// The bucket.
        bucket: String,
        /// What happened.
        source: PortError,
    },
}

/// A request's failure without what it was sent with: neither headers nor credentials.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The server has answered that it will not.
    Refused { status: u16, code: String, message: String, request_id: String },
    /// There was no answer, or none that could be read.
    Unanswered(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused { status, code, message, request_id } => {
                write!(formatter, "status {status}")?;
                for (name, text) in [("", code), ("", message), ("request ", request_id)] {
                    if !text.is_empty() {
                        write!(formatter, ", {name}{text}")?;
                    }
                }
                Ok(())
            }
            Self::Unanswered(chain) => formatter.write_str(chain),
        }
    }
}

/// What a request's failure says, as far as the store acts upon it.
#[derive(Debug)]
pub(crate) struct Failed {
    pub(crate) failure: Failure,
    retry_after: Option<Duration>,
}

impl<E> From<SdkError<E, HttpResponse>> for Failed
where
    E: Error + ProvideErrorMetadata + 'static,
{
    fn from(error: SdkError<E, HttpResponse>) -> Self {
        let header = |name: &str| error.raw_response().and_then(|response| response.headers().get(name));
        let retry_after = header("retry-after").and_then(|seconds| seconds.parse().ok());
        let failure = match &error {
            SdkError::ServiceError(service) => Failure::Refused {
                status: service.raw().status().as_u16(),
                code: error.code().unwrap_or_default().to_owned(),
                message: error.message().unwrap_or_default().chars().take(MESSAGE_MAX).collect(),
                request_id: header("x-amz-request-id").unwrap_or_default().to_owned(),
            },
            _ => Failure::Unanswered(chain(&error)),
        };
        Self { failure, retry_after: retry_after.map(Duration::from_secs) }
    }
}

/// The messages of an error and of what caused it. `Display` alone: `Debug` would show requests.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let message = error.to_string();
        if !text.contains(&message) {
            text = format!("{text}: {message}");
        }
        cause = error.source();
    }
    text
}

impl Failed {
    /// The answer's status; none where there was no answer.
    pub(crate) const fn status(&self) -> Option<u16> {
        match &self.failure {
            Failure::Refused { status, .. } => Some(*status),
            Failure::Unanswered(_) => None,
        }
    }

    /// The answer's code; empty where there was none.
    pub(crate) fn code(&self) -> &str {
        match &self.failure {
            Failure::Refused { code, .. } => code,
            Failure::Unanswered(_) => "",
        }
    }

    /// Whether the server says that there is no such object. A mere 404 is not enough: a proxy says that too.
    pub(crate) fn is_absent(&self) -> bool {
        self.status() == Some(404) && matches!(self.code(), "NoSuchKey" | "NoSuchVersion")
    }

    /// Whether the server says that it has no such call.
    pub(crate) fn is_unimplemented(&self) -> bool {
        matches!(
            (self.status(), self.code()),
            (Some(501), _) | (_, "NotImplemented") | (Some(405), "MethodNotAllowed")
        )
    }

    /// As a port's error.
    pub(crate) fn into_port_error(self, doing: &'static str) -> PortError {
        let error = PortError::new(self.kind(), doing);
        let error = match self.retry_after {
            Some(wait) => error.retry_after(wait.min(Duration::from_secs(60))),
            None => error,
        };
        error.because(self.failure)
    }

    fn kind(&self) -> PortErrorKind {
        let Some(status) = self.status() else { return PortErrorKind::Unavailable };
        match (status, self.code()) {
            (_, "NoSuchBucket") => PortErrorKind::NotFound,
            (507, _) | (_, "QuotaExceeded" | "XMinioStorageFull" | "InsufficientStorage") => {
                PortErrorKind::Full
            }
            (412, _) => PortErrorKind::Conflict,
            // What was sent has come to harm on the way, or came too late: it may pass.
            (
                400,
                "BadDigest" | "XAmzContentChecksumMismatch" | "XAmzContentSHA256Mismatch" | "IncompleteBody",
            )
            | (400, "RequestTimeout" | "ExpiredToken" | "TokenRefreshRequired" | "RequestTimeTooSkewed") => {
                PortErrorKind::Unavailable
            }
            (400 | 411 | 413..=416, _) => PortErrorKind::Invalid,
            (501, _) => PortErrorKind::Internal,
            // 403 too: an administrator, or the next credentials, may mend it while the service runs.
            _ => PortErrorKind::Unavailable,
        }
    }
}

/// Wraps a failed request, for `map_err`.
pub(crate) fn port_error<E>(doing: &'static str) -> impl Fn(SdkError<E, HttpResponse>) -> PortError
where
    E: Error + ProvideErrorMetadata + 'static,
{
    move |error| Failed::from(error).into_port_error(doing)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(status: u16, code: &str) -> Failed {
        let failure = Failure::Refused {
            status,
            code: code.to_owned(),
            message: "no".to_owned(),
            request_id: "42".to_owned(),
        };
        Failed { failure, retry_after: None }
    }

    #[test]
    fn answers_have_their_kinds() {
        for (status, code, kind) in [
            (404, "NoSuchBucket", PortErrorKind::NotFound),
            (412, "PreconditionFailed", PortErrorKind::Conflict),
            (507, "", PortErrorKind::Full),
            (403, "QuotaExceeded", PortErrorKind::Full),
            (403, "AccessDenied", PortErrorKind::Unavailable),
            (400, "KeyTooLongError", PortErrorKind::Invalid),
            (400, "BadDigest", PortErrorKind::Unavailable),
            (400, "ExpiredToken", PortErrorKind::Unavailable),
            (409, "OperationAborted", PortErrorKind::Unavailable),
            (503, "SlowDown", PortErrorKind::Unavailable),
            (500, "", PortErrorKind::Unavailable),
            (501, "NotImplemented", PortErrorKind::Internal),
        ] {
            let error = refused(status, code).into_port_error("put object");
            assert_eq!(error.kind(), kind, "{status} {code}");
            assert!(error.to_string().contains(&format!("status {status}")), "{error}");
        }
        let away = Failed { failure: Failure::Unanswered("away".to_owned()), retry_after: None };
        assert_eq!(away.into_port_error("put object").kind(), PortErrorKind::Unavailable);
    }

    #[test]
    fn calls_that_a_server_has_not_are_told_from_those_that_it_refuses() {
        for (status, code) in
            [(501, ""), (501, "NotImplemented"), (400, "NotImplemented"), (405, "MethodNotAllowed")]
        {
            assert!(refused(status, code).is_unimplemented(), "{status} {code}");
        }
        for (status, code) in
            [(403, "AccessDenied"), (404, "NoSuchBucket"), (405, ""), (400, "InvalidRequest"), (503, "")]
        {
            assert!(!refused(status, code).is_unimplemented(), "{status} {code}");
        }
        let away = Failed { failure: Failure::Unanswered("away".to_owned()), retry_after: None };
        assert!(!away.is_unimplemented());
    }

    #[test]
    fn absence_is_the_servers_word_and_not_a_proxys() {
        assert!(refused(404, "NoSuchKey").is_absent());
        assert!(!refused(404, "").is_absent());
        assert!(!refused(404, "NoSuchBucket").is_absent());
    }
}
