//! Blocking work: so much at a time, so much waiting, and not more.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use vidimus_ports::{PortError, PortErrorKind, PortResult};

/// Calls that run at once: enough for the file system to share its journal's commits among them.
const RUNNING_MAX: usize = 32;
/// Calls that run or wait; more are refused.
const ADMITTED_MAX: usize = 1024;
/// When a refused call may come again.
const RETRY_AFTER: Duration = Duration::from_millis(200);

/// Runs blocking calls on threads of their own.
#[derive(Debug)]
pub(crate) struct Lanes {
    admitted: Arc<Semaphore>,
    running: Arc<Semaphore>,
}

/// Leave to run a call.
pub(crate) struct Admission {
    _admitted: tokio::sync::OwnedSemaphorePermit,
}

impl Lanes {
    pub(crate) fn new() -> Self {
        Self {
            admitted: Arc::new(Semaphore::new(ADMITTED_MAX)),
            running: Arc::new(Semaphore::new(RUNNING_MAX)),
        }
    }

    /// Admits a call, or refuses it with `Unavailable` where too many wait.
    pub(crate) fn admit(&self) -> PortResult<Admission> {
        let permit = self.admitted.clone().try_acquire_owned();
        let busy = |_| PortError::new(PortErrorKind::Unavailable, "admit call").retry_after(RETRY_AFTER);
        Ok(Admission { _admitted: permit.map_err(busy)? })
    }

    /// Runs `work` in its turn. Once it runs it runs to its end, whether or not the caller still waits.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        admission: Admission,
        work: impl FnOnce() -> PortResult<T> + Send + 'static,
    ) -> PortResult<T> {
        let turn = self.running.clone().acquire_owned().await;
        let turn =
            turn.map_err(|closed| PortError::new(PortErrorKind::Internal, "await turn").because(closed))?;
        let done = tokio::task::spawn_blocking(move || {
            let _held = (admission, turn);
            work()
        });
        done.await
            .map_err(|panicked| PortError::new(PortErrorKind::Internal, "run call").because(panicked))?
    }
}
