//! What goes wrong, and what the caller should do about it.

use tonic::{Code, Status};
use vidimus_ports::{PortError, PortErrorKind};

/// What lies behind a failure of the index.
#[derive(Debug, thiserror::Error)]
pub enum QdrantError {
    /// A setting cannot be.
    #[error("{0}")]
    Config(String),
    /// A collection of the server is set up otherwise than this adapter needs it.
    #[error("Qdrant's collection {collection} is set up otherwise: {what}")]
    Setup {
        /// Its name.
        collection: String,
        /// What differs.
        what: String,
    },
    /// The server refused, failed, or is away.
    #[error("Qdrant at {host}: {code:?}: {message}")]
    Server {
        /// Which one.
        host: String,
        /// What kind of failure.
        code: Code,
        /// What it says.
        message: String,
    },
    /// More calls are under way than may be, and none ended in time.
    #[error("too many calls of Qdrant are under way")]
    Busy,
    /// The server took a write and did not say in time that it is done.
    #[error("Qdrant has not carried out a write in time")]
    Unfinished,
    /// The server's answer lacks what it must have.
    #[error("Qdrant's answer lacks {0}")]
    Incomplete(&'static str),
    /// A point's payload is not what this adapter writes.
    #[error("point {point} has a payload that cannot be read: {reason}")]
    Payload {
        /// Its id.
        point: String,
        /// What is wrong with it; never its contents.
        reason: String,
    },
    /// A template has another dimension than the placement.
    #[error("a template has {given} components; those of this placement have {expected}")]
    Dimension {
        /// The placement's.
        expected: usize,
        /// The template's.
        given: usize,
    },
    /// A number cannot be kept: a version beyond 2^53, or a position or confidence that is no number.
    #[error("point {0} has a number that the index cannot keep")]
    Number(String),
}

/// The result of a call.
pub type QdrantResult<T> = Result<T, QdrantError>;

impl QdrantError {
    /// What a server answered.
    pub(crate) fn server(host: &str, status: &Status) -> Self {
        Self::Server { host: host.to_owned(), code: status.code(), message: status.message().to_owned() }
    }

    /// What the caller should do.
    ///
    /// Only what the caller got wrong is `Invalid`. Everything that an operator mends (a wrong key, a server that is too old, a
    /// collection that is set up otherwise) is `Unavailable`: what was to be written is then tried again and not left behind.
    #[must_use]
    pub fn kind(&self) -> PortErrorKind {
        match self {
            Self::Payload { .. } => PortErrorKind::Corrupt,
            Self::Dimension { .. } | Self::Number(_) => PortErrorKind::Invalid,
            // Every call names the vector, which is made with the first template; its segments have it a moment later.
            error if error.is_missing_vector() => PortErrorKind::Unavailable,
            Self::Server { code: Code::InvalidArgument, .. } => PortErrorKind::Invalid,
            Self::Server { message, .. } if is_about_the_disk(message) => PortErrorKind::Full,
            Self::Config(_)
            | Self::Setup { .. }
            | Self::Server { .. }
            | Self::Busy
            | Self::Unfinished
            | Self::Incomplete(_) => PortErrorKind::Unavailable,
        }
    }

    /// Whether the collection is not there.
    pub(crate) fn is_absence(&self) -> bool {
        matches!(self, Self::Server { code: Code::NotFound, .. })
    }

    /// Whether the collection, or a segment of it, has no vector.
    pub(crate) fn is_missing_vector(&self) -> bool {
        matches!(self, Self::Server { message, .. } if message.contains("Not existing vector name"))
    }

    /// The failure as the port tells it, while doing `context`.
    #[must_use]
    pub fn during(self, context: &'static str) -> PortError {
        PortError::new(self.kind(), context).because(self)
    }
}

/// The server has no code of its own for it.
fn is_about_the_disk(message: &str) -> bool {
    let message = message.to_ascii_lowercase();
    ["no space left on device", "os error 28", "not enough space", "exceeds available disk space"]
        .iter()
        .any(|sign| message.contains(sign))
}

/// Whether the same call may succeed at another host, or here a moment later. Every call of this adapter may be made
/// twice: writes are conditional.
pub fn is_passing(code: Code) -> bool {
    matches!(
        code,
        Code::Unavailable
            | Code::Cancelled
            | Code::Unknown
            | Code::Internal
            | Code::Aborted
            | Code::DeadlineExceeded
            | Code::ResourceExhausted
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_caller_got_wrong_is_invalid() {
        for (code, message, kind) in [
            (Code::InvalidArgument, "wrong input", PortErrorKind::Invalid),
            (
                Code::InvalidArgument,
                "Wrong input: Not existing vector name error: face",
                PortErrorKind::Unavailable,
            ),
            (Code::Unavailable, "away", PortErrorKind::Unavailable),
            (Code::Unauthenticated, "no key", PortErrorKind::Unavailable),
            (Code::PermissionDenied, "another key", PortErrorKind::Unavailable),
            (Code::Unimplemented, "too old", PortErrorKind::Unavailable),
            (Code::Internal, "wal: No space left on device (os error 28)", PortErrorKind::Full),
        ] {
            let error = QdrantError::server("a:1", &Status::new(code, message));
            assert_eq!(error.kind(), kind, "{error}");
        }
    }
}
