//! What the index has without being told again.

use async_trait::async_trait;
use vidimus_domain::Nonce;
use vidimus_ports::PortResult;

/// Knows whether the index has what the log does not say again: it was lost, or the log was, or a process ended badly.
///
/// The consumer calls [`Baseline::ensure`] before it begins at its commit, and [`Baseline::reached`] when it has projected all
/// that the log had then.
#[async_trait]
pub trait Baseline: Send + Sync {
    /// Makes sure that what the index lacks, or has too much, is on the log from the commit on. Compares everything where it is not
    /// known to be so. It may be called again whenever the consumer begins anew. Returns the life of the log of which this is so
    /// ([`EventLog::incarnation`](vidimus_ports::EventLog::incarnation)).
    ///
    /// # Errors
    /// Where the stores fail: it is called again later.
    async fn ensure(&self) -> PortResult<Nonce>;

    /// Whether the index lives elsewhere, and so may lose something while this process lives on: then it is asked, too, when there is
    /// nothing to tell it.
    fn is_elsewhere(&self) -> bool;

    /// The index has all that it should, by the log of that life: from now on this may be known.
    ///
    /// # Errors
    /// Where it cannot be remembered; it is called again later.
    async fn reached(&self, incarnation: &Nonce) -> PortResult<()>;
}
