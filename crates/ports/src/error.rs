//! What a port can fail with.

use std::error::Error;
use std::fmt;
use std::time::Duration;

/// What the caller should do about a port's failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PortErrorKind {
    /// A condition did not hold: read again and decide again. The effect did not take place, unless a client library
    /// retried a write that had won; look for the nonce (rule 5).
    Conflict,
    /// The call is wrong: a defect of the caller.
    Invalid,
    /// What is asked for is not there, where the contract says that it must be.
    NotFound,
    /// The system is away, slow or overloaded: the effect may or may not have taken place; try again.
    Unavailable,
    /// No room is left: writes are refused, reads and deletions go on.
    Full,
    /// What was read is damaged. It is never treated as absent.
    Corrupt,
    /// What was read was written by a newer version of the program, which this one cannot read: a process of that version can.
    TooNew,
    /// A defect.
    Internal,
}

/// A port's failure: kind, when to try again, and what caused it.
#[derive(Debug)]
pub struct PortError {
    kind: PortErrorKind,
    context: &'static str,
    retry_after: Option<Duration>,
    source: Option<Box<dyn Error + Send + Sync>>,
}

/// A port's answer.
pub type PortResult<T> = Result<T, PortError>;

impl PortError {
    /// A failure of `kind` while doing `context` (a bare verb and its object, as in "read record").
    #[must_use]
    pub const fn new(kind: PortErrorKind, context: &'static str) -> Self {
        Self { kind, context, retry_after: None, source: None }
    }

    /// Adds what caused it.
    #[must_use]
    pub fn because(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Adds when to try again.
    #[must_use]
    pub const fn retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }

    /// What to do about it.
    #[must_use]
    pub const fn kind(&self) -> PortErrorKind {
        self.kind
    }

    /// When to try again, where that may help.
    #[must_use]
    pub fn retry_hint(&self) -> Option<Duration> {
        let default = matches!(self.kind, PortErrorKind::Unavailable | PortErrorKind::TooNew)
            .then_some(Duration::from_secs(1));
        self.retry_after.or(default)
    }

    /// Whether the same call may succeed later.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        matches!(self.kind, PortErrorKind::Unavailable | PortErrorKind::Full | PortErrorKind::TooNew)
    }
}

impl fmt::Display for PortError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {:?}", self.context, self.kind)?;
        if let Some(source) = &self.source {
            write!(formatter, ": {source}")?;
        }
        Ok(())
    }
}

impl Error for PortError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn Error + 'static))
    }
}
