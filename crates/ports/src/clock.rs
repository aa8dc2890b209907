//! Time as a port.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use tokio::sync::watch;
use vidimus_domain::UnixMillis;

/// Tells the time and waits. Implementations MUST never go back within one process.
#[async_trait]
pub trait Clock: Send + Sync {
    /// Now.
    fn now(&self) -> UnixMillis;

    /// Returns after `duration`.
    async fn sleep(&self, duration: Duration);
}

/// The latest time that any [`SystemClock`] of this process told: the wall clock may be set back, what it told may
/// not.
static LATEST_MS: AtomicI64 = AtomicI64::new(i64::MIN);

/// The machine's clock. Where it is set back, time stands still until it has caught up.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

#[async_trait]
impl Clock for SystemClock {
    fn now(&self) -> UnixMillis {
        #[expect(clippy::disallowed_methods, reason = "this is the port's own reading of the time")]
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let read_ms = i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX);
        let latest_before_ms = LATEST_MS.fetch_max(read_ms, Ordering::Relaxed);
        UnixMillis::new(read_ms.max(latest_before_ms))
    }

    async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }
}

/// A clock that a test sets: it stands still until it is moved, and whoever sleeps wakes when it is moved far enough.
#[derive(Debug)]
pub struct ManualClock {
    now: watch::Sender<UnixMillis>,
}

impl ManualClock {
    /// A clock that stands at `now`.
    #[must_use]
    pub fn new(now: UnixMillis) -> Self {
        Self { now: watch::Sender::new(now) }
    }

    /// Moves the clock to `time`; of no effect where that has passed.
    pub fn set(&self, time: UnixMillis) {
        self.now.send_if_modified(|now| {
            let moves = time > *now;
            *now = time.max(*now);
            moves
        });
    }

    /// Moves the clock on by `duration`.
    pub fn advance(&self, duration: Duration) {
        self.now.send_modify(|now| *now = now.plus(duration));
    }

    /// How many calls of [`Clock::sleep`] are waiting: a test waits for them before it moves the clock.
    #[must_use]
    pub fn sleepers(&self) -> usize {
        self.now.receiver_count()
    }
}

#[async_trait]
impl Clock for ManualClock {
    fn now(&self) -> UnixMillis {
        *self.now.borrow()
    }

    async fn sleep(&self, duration: Duration) {
        let mut time = self.now.subscribe();
        let wake_at = time.borrow().plus(duration);
        // An error means that the clock is gone, which cannot be while it is borrowed here.
        let _ = time.wait_for(|now| *now >= wake_at).await;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn the_system_clock_tells_this_century_and_never_goes_back() {
        let first = SystemClock.now();
        assert!(first > UnixMillis::new(1_700_000_000_000));
        let readings: Vec<_> = (0..1000).map(|_| SystemClock.now()).collect();
        assert!(readings.is_sorted() && readings[0] >= first);
    }

    #[tokio::test]
    async fn sleepers_wake_when_the_manual_clock_has_moved_far_enough() {
        let clock = Arc::new(ManualClock::new(UnixMillis::new(5)));
        let sleeper = tokio::spawn({
            let clock = clock.clone();
            async move {
                clock.sleep(Duration::from_millis(10)).await;
                clock.now()
            }
        });
        while clock.sleepers() == 0 {
            tokio::task::yield_now().await;
        }
        clock.set(UnixMillis::new(2));
        assert_eq!(clock.now(), UnixMillis::new(5), "it does not go back");
        clock.advance(Duration::from_millis(9));
        tokio::task::yield_now().await;
        assert!(!sleeper.is_finished());
        clock.advance(Duration::from_millis(1));
        assert_eq!(sleeper.await.unwrap(), UnixMillis::new(15));
    }
}
