//! Refusing new work while the log is too far behind (I10).

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use vidimus_domain::{Failure, UnixMillis};
use vidimus_ports::{Clock, EventLog, PortResult, Topic};

use crate::errors::failure_from_port;

/// How long a measurement is believed.
const MEASUREMENT_MAX_AGE: Duration = Duration::from_secs(1);

/// Watches how many changes wait to be projected.
pub struct Backlog {
    log: Arc<dyn EventLog>,
    clock: Arc<dyn Clock>,
    changes_max: u64,
    measured: Mutex<Option<(UnixMillis, u64)>>,
}

impl Backlog {
    /// Refuses past `changes_max`.
    #[must_use]
    pub fn new(log: Arc<dyn EventLog>, clock: Arc<dyn Clock>, changes_max: u64) -> Self {
        Self { log, clock, changes_max, measured: Mutex::new(None) }
    }

    /// Passes unless the backlog is over its limit.
    ///
    /// # Errors
    /// `Unavailable` with a retry hint where it is, or where the log does not say.
    pub async fn check(&self) -> Result<(), Failure> {
        let waiting = self.waiting().await.map_err(failure_from_port)?;
        if waiting > self.changes_max {
            let message = "too many enrolments wait to become searchable; try again later";
            return Err(Failure::unavailable(message, Duration::from_secs(5)));
        }
        Ok(())
    }

    async fn waiting(&self) -> PortResult<u64> {
        let now = self.clock.now();
        let recent = *self.measured.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, waiting)) = recent.filter(|(at, _)| now.since(*at) < MEASUREMENT_MAX_AGE) {
            return Ok(waiting);
        }
        let waiting = uncommitted(&*self.log, Topic::Changes).await?;
        *self.measured.lock().unwrap_or_else(PoisonError::into_inner) = Some((now, waiting));
        Ok(waiting)
    }
}

/// Records of a topic that the slowest of its groups has not committed. A group without a commit counts as zero.
///
/// # Errors
/// Where the log fails.
pub async fn uncommitted(log: &dyn EventLog, topic: Topic) -> PortResult<u64> {
    let state = log.state(topic).await?;
    let mut most = 0;
    for group in topic.groups() {
        let committed = log.committed(topic, group).await?;
        let behind = state.iter().map(|partition| {
            let place = committed.iter().find(|place| place.partition == partition.partition);
            let offset = place.map_or(partition.first_offset, |place| place.offset);
            partition.next_offset.saturating_sub(offset)
        });
        most = most.max(behind.sum());
    }
    Ok(most)
}
