//! Refusing new work while the log is too far behind (I10).

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use vidimus_domain::{Failure, UnixMillis};
use vidimus_ports::consumer_group::lag;
use vidimus_ports::{Clock, EventLog, PortResult, Topic};

use crate::errors::failure_from_port;

/// How long a measurement is believed.
const MEASUREMENT_MAX_AGE: Duration = Duration::from_secs(1);

/// When who was refused may try again.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// Watches how many records of a topic wait for the slowest of its groups.
pub struct Backlog {
    log: Arc<dyn EventLog>,
    clock: Arc<dyn Clock>,
    limit: BacklogLimit,
    measured: Mutex<Option<(UnixMillis, u64)>>,
}

/// How far behind a topic may be.
#[derive(Clone, Copy, Debug)]
pub struct BacklogLimit {
    /// The topic.
    pub topic: Topic,
    /// Its records that may wait.
    pub records_max: u64,
    /// What is said where more do.
    pub message: &'static str,
}

impl Backlog {
    /// Refuses past `limit`.
    #[must_use]
    pub fn new(log: Arc<dyn EventLog>, clock: Arc<dyn Clock>, limit: BacklogLimit) -> Self {
        Self { log, clock, limit, measured: Mutex::new(None) }
    }

    /// Passes unless the backlog is over its limit.
    ///
    /// # Errors
    /// `Unavailable` with a retry hint where it is, or where the log does not say.
    pub async fn check(&self) -> Result<(), Failure> {
        let waiting = self.waiting().await.map_err(failure_from_port)?;
        if waiting > self.limit.records_max {
            return Err(Failure::unavailable(self.limit.message, RETRY_AFTER));
        }
        Ok(())
    }

    async fn waiting(&self) -> PortResult<u64> {
        let now = self.clock.now();
        let recent = *self.measured.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, waiting)) = recent.filter(|(at, _)| now.since(*at) < MEASUREMENT_MAX_AGE) {
            return Ok(waiting);
        }
        let waiting = uncommitted(&*self.log, self.limit.topic).await?;
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
        most = most.max(lag(&state, &committed).iter().map(|(_, records)| records).sum());
    }
    Ok(most)
}
