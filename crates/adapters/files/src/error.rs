//! What can be wrong with a directory, and how a failed system call becomes a port's error.

use std::io;
use std::path::PathBuf;

use vidimus_ports::{PortError, PortErrorKind};

/// Why a directory, or a store in it, cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process works in it.
    #[error("{} is in use by process {pid}: stop that one first, or choose another directory", path.display())]
    InUse {
        /// The directory.
        path: PathBuf,
        /// The other process's id, as it wrote it into the lock file.
        pid: String,
    },
    /// A newer version of the program wrote it.
    #[error("{} has format {found}, and this version knows formats up to {known}", path.display())]
    NewerFormat {
        /// The directory.
        path: PathBuf,
        /// Its format.
        found: u32,
        /// The newest format that can be read.
        known: u32,
    },
    /// A version of the program from before the first release wrote it.
    #[error("{} has format {found}, which this version cannot read: begin anew in another directory", path.display())]
    OlderFormat {
        /// The directory.
        path: PathBuf,
        /// Its format.
        found: u32,
    },
    /// It holds other things.
    #[error("{} has files in it but no format marker: it is not one of ours", path.display())]
    Foreign {
        /// The directory.
        path: PathBuf,
    },
    /// A file is damaged. It is left as it is.
    #[error("{} is damaged at byte {position}: {reason}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where in it.
        position: u64,
        /// What is wrong.
        reason: &'static str,
    },
    /// The system refused.
    #[error("{doing} {}: {source}", path.display())]
    Io {
        /// What was done, as a bare verb.
        doing: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
}

impl OpenError {
    /// Wraps a failed call, for `map_err`.
    pub(crate) fn io(doing: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { doing, path, source }
    }
}

/// Wraps a failed call, for `map_err`: no room is `Full`, a name that cannot be is `Invalid`, and what remains may
/// pass (`Unavailable`).
pub(crate) fn port_error(context: &'static str) -> impl Fn(io::Error) -> PortError {
    move |error| {
        let kind = match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => PortErrorKind::Full,
            io::ErrorKind::InvalidFilename => PortErrorKind::Invalid,
            io::ErrorKind::InvalidData => PortErrorKind::Corrupt,
            _ => PortErrorKind::Unavailable,
        };
        PortError::new(kind, context).because(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_room_is_full_and_the_rest_may_pass() {
        for (error, kind) in [
            (rustix::io::Errno::NOSPC, PortErrorKind::Full),
            (rustix::io::Errno::DQUOT, PortErrorKind::Full),
            (rustix::io::Errno::NAMETOOLONG, PortErrorKind::Invalid),
            (rustix::io::Errno::IO, PortErrorKind::Unavailable),
        ] {
            assert_eq!(port_error("put object")(error.into()).kind(), kind, "{error:?}");
        }
    }
}
