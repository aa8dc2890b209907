//! Ending in order (I10): not ready; refuse new work; drain what runs; flush the index; commit; flush telemetry; exit.

use std::future::Future;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Tells tasks to end and waits for them. Cheap to clone; all clones are one.
#[derive(Clone, Debug, Default)]
pub struct Shutdown {
    token: CancellationToken,
    tasks: TaskTracker,
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

    /// Runs a task that [`Shutdown::drained`] waits for. The task watches [`Shutdown::begun`] by itself.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(task);
    }

    /// Waits for every task, `patience` at most; returns whether all ended.
    pub async fn drained(&self, patience: Duration) -> bool {
        tokio::time::timeout(patience, self.tasks.wait()).await.is_ok()
    }
}
