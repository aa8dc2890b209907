//! What goes wrong, and what the caller should do about it.

use std::io;
use std::path::PathBuf;

use qdrant_edge::OperationError;
use vidimus_ports::{PortError, PortErrorKind};

/// What lies behind a failure of the index.
#[derive(Debug, thiserror::Error)]
pub enum EdgeError {
    /// A placement's folder cannot be opened: files of it are missing or damaged. It can be removed and projected again
    /// from the records.
    #[error("the index in {} cannot be opened: {reason}", path.display())]
    Damaged {
        /// The folder.
        path: PathBuf,
        /// What the engine says.
        reason: String,
    },
    /// Less is free on the disk than is kept.
    #[error("{free_bytes} bytes are free under {}, {needed_bytes} are kept", path.display())]
    DiskFull {
        /// Where.
        path: PathBuf,
        /// What there is.
        free_bytes: u64,
        /// What is kept.
        needed_bytes: u64,
    },
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
    /// The engine failed.
    #[error("{0}")]
    Engine(#[from] OperationError),
    /// The disk failed.
    #[error("{}: {source}", path.display())]
    Io {
        /// What was read or written.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// Too many reads wait.
    #[error("too many reads wait for the index")]
    Busy,
    /// A thread ended in a panic or could not be started.
    #[error("a thread of the index failed: {0}")]
    Thread(String),
}

/// The result of a blocking call.
pub type EdgeResult<T> = Result<T, EdgeError>;

impl EdgeError {
    /// What the caller should do.
    #[must_use]
    pub fn kind(&self) -> PortErrorKind {
        match self {
            Self::Damaged { .. } | Self::Payload { .. } => PortErrorKind::Corrupt,
            Self::DiskFull { .. } => PortErrorKind::Full,
            Self::Dimension { .. } | Self::Number(_) => PortErrorKind::Invalid,
            Self::Engine(error) => engine_kind(error),
            Self::Io { source, .. } if source.kind() == io::ErrorKind::StorageFull => PortErrorKind::Full,
            Self::Io { .. } | Self::Busy => PortErrorKind::Unavailable,
            Self::Thread(_) => PortErrorKind::Internal,
        }
    }

    /// The failure as the port tells it, while doing `context`.
    #[must_use]
    pub fn during(self, context: &'static str) -> PortError {
        PortError::new(self.kind(), context).because(self)
    }

    /// A failure of the disk at `path`.
    pub(crate) fn io(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { path, source }
    }
}

fn engine_kind(error: &OperationError) -> PortErrorKind {
    match error {
        OperationError::WrongVectorDimension { .. } | OperationError::ValidationError { .. } => {
            PortErrorKind::Invalid
        }
        OperationError::InconsistentStorage { .. } | OperationError::FileNotFound { .. } => {
            PortErrorKind::Corrupt
        }
        OperationError::OutOfMemory { .. }
        | OperationError::Cancelled { .. }
        | OperationError::Timeout { .. } => PortErrorKind::Unavailable,
        // The engine keeps of an error of the disk only its text.
        OperationError::ServiceError { description, .. } if description.contains("os error 28") => {
            PortErrorKind::Full
        }
        _ => PortErrorKind::Internal,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_told_as_such_wherever_it_is_met() {
        let text = io::Error::from_raw_os_error(28).to_string();
        let met_by_the_engine =
            EdgeError::from(OperationError::service_error_light(format!("write: {text}")));
        let met_here = EdgeError::io("/x")(io::Error::from_raw_os_error(28));
        for error in [met_by_the_engine, met_here] {
            assert_eq!(error.kind(), PortErrorKind::Full, "{error}");
        }
    }
}
