//! Ending in order (I10): not ready; refuse new work; drain what runs; flush the index; commit; flush telemetry; exit.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::FutureExt;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Tells tasks to end and waits for them. Cheap to clone; all clones are one.
#[derive(Clone, Debug, Default)]
pub struct Shutdown {
    token: CancellationToken,
    tasks: TaskTracker,
    panicked: Arc<AtomicBool>,
}

impl Shutdown {
    /// One that has not begun.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Begins it.
    pub fn begin(&self) {
        self.token.cancel();
        self.tasks.close();
    }

    /// Whether it has begun.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        self.token.is_cancelled()
    }

    /// Returns once it has begun.
    pub async fn begun(&self) {
        self.token.cancelled().await;
    }

    /// Runs a task that [`Shutdown::drained`] waits for. The task watches [`Shutdown::begun`] by itself. One that panics is
    /// remembered: see [`Shutdown::has_lost_a_task`].
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let panicked = Arc::clone(&self.panicked);
        self.tasks.spawn(async move {
            if AssertUnwindSafe(task).catch_unwind().await.is_err() {
                tracing::error!("a task of a role has panicked; the service is not ready any more");
                panicked.store(true, Ordering::Relaxed);
            }
        });
    }

    /// Whether a task has panicked: the process should be started anew.
    #[must_use]
    pub fn has_lost_a_task(&self) -> bool {
        self.panicked.load(Ordering::Relaxed)
    }

    /// Waits for every task, `patience` at most; returns whether all ended.
    pub async fn drained(&self, patience: Duration) -> bool {
        tokio::time::timeout(patience, self.tasks.wait()).await.is_ok()
    }
}
