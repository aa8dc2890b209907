//! The workers of the bulk lane: embed what was accepted, at full use of the encoder.
//!
//! A worker has so many photos with the encoder that each of its threads finds the next one at hand, and reads others ahead, so that
//! a store that is slow to answer keeps none of them waiting. What was encoded is written five times a second. A photo is committed only
//! when its record says what came of it and that is said on the log, so a worker may die anywhere: what it is given again it finds done.
//! What is away is waited for; a photo that fails time and again is set aside and named in the dead letters, so that it holds up no other.

mod elsewhere;
mod metrics;
mod photo;
mod progress;

use std::num::NonZeroUsize;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use prometheus_client::registry::Registry;
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;
use tokio::task::{JoinError, JoinSet};
use tracing::{Instrument, Span};
use vidimus_ports::{
    BlobStore, Clock, Encoders, EventLog, LogRecord, PortError, PortErrorKind, PortResult, Position, Random,
    Subscription, Topic,
};
use vidimus_runtime::backlog::uncommitted;
use vidimus_runtime::catalog::Catalog;
use vidimus_runtime::changes::Changes;
use vidimus_runtime::completion::Completion;
use vidimus_runtime::records::Records;
use vidimus_runtime::shutdown::Shutdown;
use vidimus_runtime::traces;

pub use elsewhere::EncoderElsewhere;
use metrics::Metrics;
use photo::Ended;
use progress::Progress;

/// The consumer group.
const GROUP: &str = "embedding";
/// How long one wait for photos lasts at most.
const WAIT: Duration = Duration::from_millis(200);
/// How soon more photos are asked for while some are in flight and there is room.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// The pauses between tries grow from the first to the last.
const PAUSE_FIRST: Duration = Duration::from_millis(100);
const PAUSE_LAST: Duration = Duration::from_secs(10);
/// Photos with the encoder for each core by default: one is encoded, the others are next.
const IN_FLIGHT_PER_CORE: NonZeroUsize = NonZeroUsize::new(3).unwrap();
/// Photos read ahead for each core by default, what a core encodes in a third of a second; and by a process.
const READ_AHEAD_PER_CORE: NonZeroUsize = NonZeroUsize::new(12).unwrap();
const READ_AHEAD_MOST: NonZeroUsize = NonZeroUsize::new(64).unwrap();
/// What was encoded is written at every multiple of this, so that much is written together, for fewer syncs.
const WRITTEN_EVERY: Duration = Duration::from_millis(200);
/// Photos of which what was encoded waits to be written or is, for each that may be in flight.
const WRITTEN_PER_IN_FLIGHT: usize = 8;

/// How a worker behaves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WorkerConfig {
    /// Photos that are with the encoder at a time. More than it has threads keep it busy; many more make photos that are enrolled
    /// one by one wait.
    pub photos_in_flight_max: NonZeroUsize,
    /// Photos besides that are read, or have been read and wait for the encoder: no more are encoded in the time that the blob store takes
    /// for a record and a photo. Each takes up to 15 MiB of memory, as a photo with the encoder does.
    pub photos_read_ahead_max: NonZeroUsize,
    /// How often what is done is committed.
    #[serde(with = "humantime_serde")]
    pub commit_interval: Duration,
    /// How often a photo may fail before it is set aside.
    pub tries_max: NonZeroUsize,
}

impl Default for WorkerConfig {
    fn default() -> Self {
        let cores = thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        Self {
            photos_in_flight_max: cores.saturating_mul(IN_FLIGHT_PER_CORE),
            photos_read_ahead_max: cores.saturating_mul(READ_AHEAD_PER_CORE).min(READ_AHEAD_MOST),
            commit_interval: Duration::from_secs(1),
            tries_max: NonZeroUsize::MIN.saturating_add(2),
        }
    }
}

/// What a worker stands on.
#[derive(Clone)]
pub struct WorkerDeps {
    /// Records and photos.
    pub blobs: Arc<dyn BlobStore>,
    /// Photos to embed, changes and dead letters.
    pub log: Arc<dyn EventLog>,
    /// Collections.
    pub catalog: Arc<Catalog>,
    /// Encode photos, each for a face model.
    pub encoders: Encoders,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Nonces.
    pub random: Arc<dyn Random>,
}

/// A worker.
pub struct Worker {
    config: WorkerConfig,
    deps: WorkerDeps,
    records: Records,
    completion: Completion,
    changes: Changes,
    metrics: Metrics,
    shutdown: Shutdown,
    /// Who may read a photo and hold it: until the encoder takes it, or, where it is embedded anew, to the end.
    reading: Semaphore,
    /// Who may have the encoder work.
    encoding: Semaphore,
}

impl Worker {
    /// Starts a worker, which runs until `shutdown` begins, and ends what it has in flight before it ends itself.
    pub fn start(config: WorkerConfig, deps: WorkerDeps, shutdown: &Shutdown, registry: &mut Registry) {
        let records = Records::new(Arc::clone(&deps.blobs), Arc::clone(&deps.clock));
        let completion = Completion::new(&deps.blobs, &deps.catalog, &deps.clock, &deps.random);
        let worker = Self {
            records,
            completion,
            changes: Changes::new(Arc::clone(&deps.log)),
            metrics: Metrics::new(registry),
            shutdown: shutdown.clone(),
            reading: Semaphore::new(config.photos_read_ahead_max.get()),
            encoding: Semaphore::new(config.photos_in_flight_max.get()),
            config,
            deps,
        };
        shutdown.spawn(Arc::new(worker).run());
    }

    /// Begins anew, at its commit, after any failure of the log.
    async fn run(self: Arc<Self>) {
        let mut pause = PAUSE_FIRST;
        while !self.shutdown.has_begun() {
            match self.consume(&mut pause).await {
                Ok(()) => return,
                Err(error) => {
                    tracing::error!(%error, "consuming photos failed; it begins again at its commit");
                    if error.kind() == PortErrorKind::TooNew {
                        // Long enough for a process that can read it to be given the partition.
                        pause = PAUSE_LAST;
                    }
                    self.pause(&mut pause).await;
                }
            }
        }
    }

    async fn consume(self: &Arc<Self>, pause: &mut Duration) -> PortResult<()> {
        let mut subscription = self.deps.log.subscribe(Topic::Photos, GROUP).await?;
        let mut progress = Progress::default();
        // Each in a task of its own, so that none waits for the log to be read or a commit.
        let mut in_flight = JoinSet::new();
        let mut committed_at = self.deps.clock.now();
        let most = self.config.photos_read_ahead_max.get()
            + self.config.photos_in_flight_max.get() * (1 + WRITTEN_PER_IN_FLIGHT);
        loop {
            let is_ending = self.shutdown.has_begun();
            if is_ending && in_flight.is_empty() {
                return self.commit(&mut *subscription, &mut progress).await;
            }
            let free = if is_ending { 0 } else { most - in_flight.len() };
            for record in self.take(&mut *subscription, free, in_flight.is_empty()).await? {
                progress.taken(record.position);
                in_flight.spawn(Arc::clone(self).in_flight(record));
            }
            tokio::select! {
                Some(joined) = in_flight.join_next() => {
                    let (position, ended) = outcome(joined)?;
                    progress.ended(position, ended);
                    if ended == Ended::TooNew {
                        self.commit(&mut *subscription, &mut progress).await?;
                        return Err(PortError::new(PortErrorKind::TooNew, "work on photo"));
                    }
                }
                () = self.deps.clock.sleep(LOOK_AGAIN), if free > 0 && !in_flight.is_empty() => {}
                else => {}
            }
            if self.deps.clock.now().since(committed_at) >= self.config.commit_interval {
                self.commit(&mut *subscription, &mut progress).await?;
                committed_at = self.deps.clock.now();
                *pause = PAUSE_FIRST;
            }
        }
    }

    /// Up to `free` photos. Waits for them only where nothing is in flight.
    async fn take(
        &self,
        subscription: &mut dyn Subscription,
        free: usize,
        is_idle: bool,
    ) -> PortResult<Vec<LogRecord>> {
        if free == 0 {
            return Ok(Vec::new());
        }
        let wait = if is_idle { WAIT } else { Duration::ZERO };
        subscription.next(free, wait).await
    }

    async fn in_flight(self: Arc<Self>, record: LogRecord) -> (Position, Ended) {
        let position = record.position;
        let span = traces::consumed(Topic::Photos, &record).unwrap_or_else(Span::none);
        (position, self.work(record).instrument(span).await)
    }

    /// Commits what is done; of each partition what everything before it is done too.
    async fn commit(&self, subscription: &mut dyn Subscription, progress: &mut Progress) -> PortResult<()> {
        for next in progress.take_done() {
            subscription.commit(next).await?;
        }
        let lag = uncommitted(&*self.deps.log, Topic::Photos).await?;
        self.metrics.lag.set(i64::try_from(lag).unwrap_or(i64::MAX));
        Ok(())
    }

    async fn pause(&self, pause: &mut Duration) {
        tokio::select! {
            () = self.deps.clock.sleep(*pause) => {}
            () = self.shutdown.begun() => {}
        }
        *pause = (*pause * 2).min(PAUSE_LAST);
    }
}

/// How a photo's task has ended. Its panic is the worker's.
fn outcome(joined: Result<(Position, Ended), JoinError>) -> PortResult<(Position, Ended)> {
    joined.map_err(|lost| match lost.try_into_panic() {
        Ok(panic) => resume_unwind(panic),
        Err(lost) => PortError::new(PortErrorKind::Unavailable, "work on photo").because(lost.to_string()),
    })
}
