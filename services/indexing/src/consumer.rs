//! The consumer of the changes: the safety net that projects whatever a call did not.
//!
//! It has no dead letters: what cannot be projected is tried again, with a growing pause, and counted; what cannot be
//! projected at all, since its record is damaged or there is no room, is left to reconciling, so that it holds up no other.
//! What a newer version of the program has written holds this process up: it leaves the group for a while, so that a process
//! that can read it is given it, and skips nothing.
//! It commits only what a flush of the index has covered, so that a power loss cannot lose a projection that was committed. Where
//! the index says that it may have lost something, it begins again at its commit, and searches wait until it is there again.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use vidimus_domain::event::Change;
use vidimus_domain::{Nonce, UnixMillis};
use vidimus_ports::{LogRecord, PortError, PortErrorKind, PortResult, Position, Subscription, Topic};
use vidimus_runtime::backlog::uncommitted;
use vidimus_runtime::shutdown::Shutdown;
use vidimus_runtime::{stored, traces};

use crate::metrics::Metrics;
use crate::projector::Projector;
use crate::{IndexingConfig, IndexingDeps};

/// The consumer group.
const GROUP: &str = "indexing";
/// How long one wait for changes lasts at most.
const WAIT: Duration = Duration::from_millis(200);
/// In a pause it is looked so often whether the index has lost something: whoever searches counts on it being said soon.
const LOOK: Duration = Duration::from_millis(500);
/// The pauses between tries grow from the first to the last.
const PAUSE_FIRST: Duration = Duration::from_millis(100);
const PAUSE_LAST: Duration = Duration::from_secs(10);

pub(crate) struct Consumer {
    pub(crate) config: IndexingConfig,
    pub(crate) deps: IndexingDeps,
    pub(crate) projector: Arc<Projector>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) caught_up: watch::Sender<bool>,
    pub(crate) shutdown: Shutdown,
    /// What the index had lost when it was looked at last.
    pub(crate) seen_losses: Arc<AtomicU64>,
}

/// Whether the same may go well later, here or elsewhere.
fn is_for_later(error: &PortError) -> bool {
    matches!(error.kind(), PortErrorKind::Unavailable | PortErrorKind::TooNew)
}

/// How far the consumer is.
struct Progress {
    /// What the index had lost until the start.
    losses: u64,
    /// The life of the log that is projected.
    incarnation: Nonce,
    /// Where the log ended at the start, by partition, as long as that is not projected.
    ends_at_start: BTreeMap<u32, u64>,
    /// Whether all that was said.
    is_caught_up: bool,
    /// Of each partition, oldest first, what is projected but not committed.
    uncommitted: BTreeMap<u32, VecDeque<Stretch>>,
    flushed_at: UnixMillis,
}

/// A stretch of one partition that was projected within about a second.
struct Stretch {
    next_offset: u64,
    began_at: UnixMillis,
    projected_at: UnixMillis,
}

/// What is projected later begins another stretch: so a steady stream has something to commit at any time.
const STRETCH: Duration = Duration::from_secs(1);

impl Consumer {
    /// Runs until shutdown; begins anew, at its commit, after any failure of the log.
    pub(crate) async fn run(self) {
        let mut pause = PAUSE_FIRST;
        while !self.shutdown.has_begun() {
            match self.consume(&mut pause).await {
                Ok(()) => {}
                Err(error) => {
                    tracing::error!(%error, "consuming changes failed; it begins again at its commit");
                    if error.kind() == PortErrorKind::TooNew {
                        // Long enough for a process that can read it to be given the partition.
                        pause = PAUSE_LAST;
                    }
                    self.pause(&mut pause).await;
                }
            }
        }
    }

    async fn consume(&self, pause: &mut Duration) -> PortResult<()> {
        let losses = self.look_for_losses();
        let incarnation = self.deps.baseline.ensure().await?;
        let mut subscription = self.deps.log.subscribe(Topic::Changes, GROUP).await?;
        if subscription.incarnation() != incarnation {
            let reason = "the log was lost and begun anew since the index was compared";
            return Err(PortError::new(PortErrorKind::Unavailable, "consume changes").because(reason));
        }
        self.deps.index.begun_again(losses);
        let mut progress = self.begin(losses, incarnation).await?;
        while !self.shutdown.has_begun() {
            let records = self.next(&mut *subscription).await?;
            if !records.is_empty() {
                traces::consuming(Topic::Changes, &records, self.project_until_done(&records)).await?;
                progress.projected(&records, self.deps.clock.now());
                self.metrics.changes.inc_by(records.len() as u64);
            }
            self.say_when_caught_up(&mut progress).await?;
            if self.deps.clock.now().since(progress.flushed_at) >= self.config.flush_interval {
                self.flush_and_commit(&mut *subscription, &mut progress).await?;
                self.see_what_others_did(&mut progress).await?;
                *pause = PAUSE_FIRST;
            }
            if self.deps.index.losses() != progress.losses {
                return Ok(());
            }
        }
        self.flush_and_commit(&mut *subscription, &mut progress).await
    }

    /// What the index has lost so far. Where that is more than was seen, searches wait from now on, however the last try to consume ended.
    fn look_for_losses(&self) -> u64 {
        let losses = self.deps.index.losses();
        if self.seen_losses.load(Ordering::Acquire) != losses {
            self.metrics.losses.inc();
            // This first: whoever knows the losses is to know that they are not made good.
            self.caught_up.send_replace(false);
            self.seen_losses.store(losses, Ordering::Release);
            tracing::warn!("the index may have lost what it was told last; it is told again");
        }
        losses
    }

    fn has_lost(&self) -> bool {
        self.deps.index.losses() != self.seen_losses.load(Ordering::Acquire)
    }

    /// Waits for changes; returns early, with none, when shutdown begins.
    async fn next(&self, subscription: &mut dyn Subscription) -> PortResult<Vec<LogRecord>> {
        tokio::select! {
            records = subscription.next(self.config.batch_changes_max, WAIT) => records,
            () = self.shutdown.begun() => Ok(Vec::new()),
        }
    }

    async fn begin(&self, losses: u64, incarnation: Nonce) -> PortResult<Progress> {
        let state = self.deps.log.state(Topic::Changes).await?;
        let committed = self.deps.log.committed(Topic::Changes, GROUP).await?;
        let mut ends_at_start = BTreeMap::new();
        for partition in state {
            // A commit past the end is of records that were lost.
            let is_here = |place: &&Position| {
                place.partition == partition.partition && place.offset <= partition.next_offset
            };
            let place = committed.iter().find(is_here);
            let next = place.map_or(partition.first_offset, |place| place.offset);
            if next < partition.next_offset {
                ends_at_start.insert(partition.partition, partition.next_offset);
            }
        }
        let flushed_at = self.deps.clock.now();
        Ok(Progress {
            losses,
            incarnation,
            ends_at_start,
            is_caught_up: false,
            uncommitted: BTreeMap::new(),
            flushed_at,
        })
    }

    /// Partitions of other processes of the group are projected when their commit says so.
    async fn see_what_others_did(&self, progress: &mut Progress) -> PortResult<()> {
        if progress.ends_at_start.is_empty() {
            return Ok(());
        }
        let committed = self.deps.log.committed(Topic::Changes, GROUP).await?;
        for place in committed {
            if progress.ends_at_start.get(&place.partition).is_some_and(|end| place.offset >= *end) {
                progress.ends_at_start.remove(&place.partition);
            }
        }
        Ok(())
    }

    /// Projects a batch, again and again until it is done or shutdown begins: then it is left uncommitted. So it is where something
    /// of it is too new for this process, once the rest is done.
    async fn project_until_done(&self, records: &[LogRecord]) -> PortResult<()> {
        let (mut changes, too_new) = self.decode_all(records);
        let mut pause = PAUSE_FIRST;
        loop {
            let error = match traces::step("project records", self.projector.project_changes(&changes)).await
            {
                Ok(()) => {
                    self.note_lag(&changes);
                    return too_new.map_or(Ok(()), Err);
                }
                Err(error) => error,
            };
            self.metrics.retries.inc();
            tracing::error!(%error, changes = changes.len(), "changes could not be projected; trying again");
            if error.kind() != PortErrorKind::Unavailable {
                changes = self.project_each(changes).await;
            }
            if error.kind() == PortErrorKind::TooNew || self.shutdown.has_begun() || self.has_lost() {
                return Err(error);
            }
            self.pause(&mut pause).await;
        }
    }

    fn note_lag(&self, changes: &[Change]) {
        let now = self.deps.clock.now();
        for change in changes {
            self.metrics.lag_seconds.observe(now.since(change.at).as_secs_f64());
        }
    }

    /// Projects changes one by one, so that one that cannot be projected (its record is damaged, there is no room) holds up no
    /// other. Such a one is left to reconciling, which says it again as long as record and points differ. Returns those that
    /// only have to be tried again.
    async fn project_each(&self, changes: Vec<Change>) -> Vec<Change> {
        let mut again = Vec::new();
        for change in changes {
            match self.projector.project_changes(std::slice::from_ref(&change)).await {
                Ok(()) => {}
                Err(error) if is_for_later(&error) => again.push(change),
                Err(error) => {
                    self.metrics.left_behind.inc();
                    tracing::error!(%error, image = %change.image, "a change is left to reconciling");
                }
            }
        }
        again
    }

    /// The changes, and the error of one that is too new, where there is such. A damaged one is left to reconciling too.
    fn decode_all(&self, records: &[LogRecord]) -> (Vec<Change>, Option<PortError>) {
        let (mut changes, mut too_new) = (Vec::new(), None);
        for record in records {
            match stored::decode("read change", &record.payload) {
                Ok(change) => changes.push(change),
                Err(error) if error.kind() == PortErrorKind::TooNew => too_new = Some(error),
                Err(error) => {
                    self.metrics.left_behind.inc();
                    tracing::error!(%error, position = ?record.position, "a change cannot be read");
                }
            }
        }
        (changes, too_new)
    }

    /// Ends early where the index has lost something.
    async fn pause(&self, pause: &mut Duration) {
        let mut left = *pause;
        while !left.is_zero() && !self.has_lost() && !self.shutdown.has_begun() {
            tokio::select! {
                () = self.deps.clock.sleep(left.min(LOOK)) => {}
                () = self.shutdown.begun() => {}
            }
            left = left.saturating_sub(LOOK);
        }
        *pause = (*pause * 2).min(PAUSE_LAST);
    }

    async fn say_when_caught_up(&self, progress: &mut Progress) -> PortResult<()> {
        if !progress.ends_at_start.is_empty() || progress.is_caught_up {
            return Ok(());
        }
        self.deps.index.made_good(progress.losses);
        self.deps.baseline.reached(&progress.incarnation).await?;
        tracing::info!("the index has all that the log had at the start");
        progress.is_caught_up = true;
        self.caught_up.send_replace(true);
        Ok(())
    }

    /// Flushes the index and commits what the flush has covered.
    async fn flush_and_commit(
        &self,
        subscription: &mut dyn Subscription,
        progress: &mut Progress,
    ) -> PortResult<()> {
        let now = self.deps.clock.now();
        progress.flushed_at = now;
        if progress.uncommitted.is_empty() && !self.deps.baseline.is_elsewhere() {
            return Ok(());
        }
        let durable_before = self.deps.index.flush(now).await?;
        if self.deps.index.losses() != progress.losses {
            return Ok(());
        }
        for next in progress.take_durable(durable_before) {
            subscription.commit(next).await?;
            self.metrics.commits.inc();
        }
        let lag = uncommitted(&*self.deps.log, Topic::Changes).await?;
        self.metrics.lag.set(i64::try_from(lag).unwrap_or(i64::MAX));
        Ok(())
    }
}

impl Progress {
    fn projected(&mut self, records: &[LogRecord], now: UnixMillis) {
        for LogRecord { position, .. } in records {
            let next_offset = position.offset + 1;
            let stretches = self.uncommitted.entry(position.partition).or_default();
            match stretches.back_mut().filter(|last| now.since(last.began_at) < STRETCH) {
                Some(last) => (last.next_offset, last.projected_at) = (next_offset, now),
                None => stretches.push_back(Stretch { next_offset, began_at: now, projected_at: now }),
            }
            if self.ends_at_start.get(&position.partition).is_some_and(|end| next_offset >= *end) {
                self.ends_at_start.remove(&position.partition);
            }
        }
    }

    /// The places that were reached before `durable_before`.
    fn take_durable(&mut self, durable_before: UnixMillis) -> Vec<Position> {
        let mut durable = Vec::new();
        for (partition, stretches) in &mut self.uncommitted {
            let covered =
                stretches.iter().take_while(|stretch| stretch.projected_at <= durable_before).count();
            let last = stretches.drain(..covered).next_back();
            durable.extend(last.map(|last| Position { partition: *partition, offset: last.next_offset }));
        }
        self.uncommitted.retain(|_, stretches| !stretches.is_empty());
        durable
    }
}
