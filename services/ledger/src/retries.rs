//! Trying again what a port could not do because something was away, slow or full for a while.

use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use vidimus_domain::{ErrorCode, Failure, UnixMillis};
use vidimus_ports::{Clock, PortError, PortErrorKind, Random};

use crate::LedgerDeps;

/// The pause before the second try, doubled before each next one, of which a random share of at least half is waited.
const PAUSE_FIRST: Duration = Duration::from_millis(100);
/// The longest pause.
const PAUSE_LAST: Duration = Duration::from_secs(10);
/// For so long after its first failure a step is tried.
const AWAY_MAX: Duration = Duration::from_secs(600);

/// A failure that may be over by itself.
pub(crate) trait MayPass: Display + Sync {
    /// Whether the same step may succeed later, with nobody mending anything here.
    fn may_pass(&self) -> bool;
}

impl MayPass for PortError {
    fn may_pass(&self) -> bool {
        matches!(self.kind(), PortErrorKind::Unavailable | PortErrorKind::Full)
    }
}

impl MayPass for Failure {
    fn may_pass(&self) -> bool {
        self.code == ErrorCode::Unavailable
    }
}

/// Tries steps again. A step is small (a page, a record), and succeeds or fails as a whole: what succeeded is not done again.
pub(crate) struct Retries {
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    away_max: Duration,
}

impl Retries {
    /// For who goes on for a good while before it gives up.
    pub(crate) fn persistent(deps: &LedgerDeps) -> Self {
        Self { clock: Arc::clone(&deps.clock), random: Arc::clone(&deps.random), away_max: AWAY_MAX }
    }

    /// For who begins again later anyway: each step once.
    pub(crate) fn none(deps: &LedgerDeps) -> Self {
        Self { away_max: Duration::ZERO, ..Self::persistent(deps) }
    }

    /// The tries of one step.
    pub(crate) const fn tries(&self) -> Tries<'_> {
        Tries { retries: self, pause: PAUSE_FIRST, away_since: None }
    }

    /// Between half of it and all of it.
    fn jittered(&self, pause: Duration) -> Duration {
        let share = f64::from(self.random.bytes16()[0]) / f64::from(u8::MAX);
        pause.mul_f64(0.5 + share / 2.0)
    }
}

/// The tries of one step.
pub(crate) struct Tries<'a> {
    retries: &'a Retries,
    pause: Duration,
    /// When the first one failed.
    away_since: Option<UnixMillis>,
}

impl Tries<'_> {
    /// Whether the step is to be tried again, which it is after a pause.
    pub(crate) async fn again(&mut self, failed: &impl MayPass) -> bool {
        let now = self.retries.clock.now();
        let away_since = *self.away_since.get_or_insert(now);
        if !failed.may_pass() || now.since(away_since) >= self.retries.away_max {
            return false;
        }
        if self.pause == PAUSE_FIRST {
            tracing::warn!(error = %failed, "a step failed; it is tried again");
        }
        self.retries.clock.sleep(self.retries.jittered(self.pause)).await;
        self.pause = (self.pause * 2).min(PAUSE_LAST);
        true
    }
}

/// Does a step, and does it again while what fails may pass. It fails as its last try did. (No function of a closure: the compiler does
/// not see of such a one that it may be spawned.)
macro_rules! persist {
    ($retries:expr, $step:expr) => {{
        let mut tries = $retries.tries();
        loop {
            match $step.await {
                Err(failed) if tries.again(&failed).await => {}
                ended => break ended,
            }
        }
    }};
}
pub(crate) use persist;
