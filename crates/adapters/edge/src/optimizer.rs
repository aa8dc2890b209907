//! The thread that keeps shards in shape. The engine does nothing by itself, and one optimisation cannot be cut off.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use vidimus_domain::Placement;

use crate::error::{EdgeError, EdgeResult};
use crate::shard::Shard;

/// Optimises shards some time after they were written, one after the other.
pub struct Optimizer {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    wake: Condvar,
    idle: watch::Sender<bool>,
    after: Duration,
}

#[derive(Default)]
struct State {
    /// Written since they were last optimised.
    waiting: BTreeMap<Placement, Arc<Shard>>,
    /// When the first of those was.
    since: Option<Instant>,
    /// Whether someone waits.
    is_urged: bool,
    is_running: bool,
    is_stopping: bool,
    /// What the last optimisation of a placement failed with.
    failures: BTreeMap<Placement, String>,
}

impl Optimizer {
    /// Starts the thread. `after`: how long it waits after a write, so that many writes are one optimisation.
    ///
    /// # Errors
    /// Where no thread can be started.
    pub fn start(after: Duration) -> EdgeResult<Self> {
        let (idle, _) = watch::channel(true);
        let shared = Arc::new(Shared { state: Mutex::default(), wake: Condvar::new(), idle, after });
        let own = Arc::clone(&shared);
        thread::Builder::new()
            .name("edge-optimizer".to_owned())
            .spawn(move || own.run())
            .map_err(|error| EdgeError::Thread(error.to_string()))?;
        Ok(Self { shared })
    }

    /// Says that the shard was written or has just been opened. After [`Optimizer::stop`] it says nothing.
    pub fn mark(&self, shard: &Arc<Shard>) {
        let mut state = self.shared.lock();
        if state.is_stopping {
            return;
        }
        state.since.get_or_insert_with(Instant::now);
        state.waiting.entry(shard.placement().clone()).or_insert_with(|| Arc::clone(shard));
        self.shared.tell(&state);
    }

    /// Says that the placement is to be dropped: what was to be done there is not.
    pub fn unmark(&self, placement: &Placement) {
        let mut state = self.shared.lock();
        state.waiting.remove(placement);
        state.failures.remove(placement);
        if state.waiting.is_empty() {
            state.since = None;
        }
        self.shared.tell(&state);
    }

    /// Waits until nothing is left to do, at once and not after the usual time. While others go on writing that may
    /// be never.
    ///
    /// # Errors
    /// What the last optimisation of a placement failed with, if it did.
    pub async fn settled(&self) -> EdgeResult<()> {
        let mut idle = self.shared.idle.subscribe();
        {
            let mut state = self.shared.lock();
            state.is_urged = true;
            self.shared.tell(&state);
        }
        // The sender lives as long as `self`.
        let _ = idle.wait_for(|is_idle| *is_idle).await;
        match self.shared.lock().failures.values().next() {
            Some(failure) => Err(EdgeError::Thread(failure.clone())),
            None => Ok(()),
        }
    }

    /// Begins nothing more, and waits for at most `patience` for what runs. Past it the optimisation is left behind; if the
    /// process ends before it does, it is done again some other time.
    pub async fn stop(&self, patience: Duration) {
        let mut idle = self.shared.idle.subscribe();
        self.stop_soon();
        let stopped = tokio::time::timeout(patience, idle.wait_for(|is_idle| *is_idle)).await;
        if stopped.is_err() {
            tracing::info!("an optimisation of the index is left behind unfinished");
        }
    }

    fn stop_soon(&self) {
        let mut state = self.shared.lock();
        state.is_stopping = true;
        state.waiting.clear();
        self.shared.tell(&state);
    }
}

impl Drop for Optimizer {
    fn drop(&mut self) {
        self.stop_soon();
    }
}

impl Shared {
    /// No invariant of the state can be broken half-way, so a poisoned lock is as good as another.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, state: &State) {
        self.idle.send_replace(state.waiting.is_empty() && !state.is_running);
        self.wake.notify_one();
    }

    fn run(&self) {
        while let Some((placement, shard)) = self.next() {
            let outcome = catch_unwind(AssertUnwindSafe(|| shard.optimize()))
                .unwrap_or_else(|_| Err(EdgeError::Thread("an optimisation panicked".to_owned())));
            drop(shard);
            let mut state = self.lock();
            state.is_running = false;
            match outcome {
                Ok(_) => state.failures.remove(&placement),
                Err(error) => {
                    tracing::warn!(%placement, %error, "the index was not optimised; searches go on, slower");
                    state.failures.insert(placement, error.to_string())
                }
            };
            self.tell(&state);
        }
    }

    /// The next shard to optimise, when it is due; none where the thread is to end.
    fn next(&self) -> Option<(Placement, Arc<Shard>)> {
        let mut state = self.lock();
        loop {
            if state.is_stopping {
                return None;
            }
            let waited = state.since.map_or(Duration::ZERO, |since| since.elapsed());
            if state.waiting.is_empty() {
                state.is_urged = false;
                state = self.wake.wait(state).unwrap_or_else(PoisonError::into_inner);
            } else if state.is_urged || waited >= self.after {
                state.is_running = true;
                let next = state.waiting.pop_first();
                if state.waiting.is_empty() {
                    state.since = None;
                }
                return next;
            } else {
                let rest = self.after - waited;
                state = self.wake.wait_timeout(state, rest).unwrap_or_else(PoisonError::into_inner).0;
            }
        }
    }
}
