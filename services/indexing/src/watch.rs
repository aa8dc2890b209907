//! Watches the index, beside the consumer: whether searches may count on this process's word that the index has all that it should.
//!
//! The consumer knows what it has projected, and may be at pause, or wait for an answer, while a server of the index goes and comes
//! back without its last writes. So the index is asked all the time, and where it has not answered for a while this process vouches
//! for nothing: what it says is true until the servers went, and is taken back before anybody who saw them come back believes it again.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};
use vidimus_ports::FaceIndex;
use vidimus_runtime::shutdown::Shutdown;

/// How often it is said what is known: whoever is told takes it for good for
/// [`GOOD_FOR`](vidimus_runtime::transport::GOOD_FOR).
const EVERY: Duration = Duration::from_millis(300);
/// Two ask, each so often, the second so much later: that one answer is slow or lost says nothing.
const ASKED_EVERY: Duration = Duration::from_secs(1);
const LATER: Duration = Duration::from_millis(500);
/// How long one answer is waited for.
const PATIENCE: Duration = Duration::from_secs(2);
/// For so long after an answer the index is taken to be there. Whoever searches and sees that it went believes nobody for longer.
const THERE_FOR: Duration = Duration::from_secs(3);

/// The index, the consumer's word, and what is said of both.
pub(crate) struct Watch {
    pub(crate) index: Arc<dyn FaceIndex>,
    /// Whether the consumer has projected what there was, as far as it knows.
    pub(crate) caught_up: watch::Receiver<bool>,
    /// The losses of the index that the consumer knows of.
    pub(crate) seen_losses: Arc<AtomicU64>,
    pub(crate) searchable: watch::Sender<bool>,
    pub(crate) shutdown: Shutdown,
}

impl Watch {
    /// Runs until shutdown begins.
    pub(crate) async fn run(self) {
        let (answered, answers) = watch::channel(None);
        let later = async {
            sleep(LATER).await;
            look(&*self.index, &answered).await;
        };
        tokio::select! {
            () = look(&*self.index, &answered) => {}
            () = later => {}
            () = self.say(answers) => {}
            () = self.shutdown.begun() => {}
        }
    }

    /// Says it again and again, also where it is as before: what is not said any more is not taken for good.
    async fn say(&self, mut answers: watch::Receiver<Option<Instant>>) {
        let mut caught_up = self.caught_up.clone();
        loop {
            let answered_at = *answers.borrow_and_update();
            let is_there = answered_at.is_some_and(|at| at.elapsed() < THERE_FOR);
            let is_known = self.index.losses() == self.seen_losses.load(Ordering::Acquire);
            self.searchable.send_replace(*caught_up.borrow_and_update() && is_there && is_known);
            tokio::select! {
                () = sleep(EVERY) => {}
                // Where its sender is gone, the process ends.
                Ok(()) = caught_up.changed() => {}
                Ok(()) = answers.changed() => {}
            }
        }
    }
}

/// Asks the index. An answer says that it was there when it was asked.
async fn look(index: &dyn FaceIndex, answered: &watch::Sender<Option<Instant>>) {
    loop {
        let asked_at = Instant::now();
        if matches!(timeout(PATIENCE, index.look()).await, Ok(Ok(()))) {
            answered.send_modify(|latest| *latest = (*latest).max(Some(asked_at)));
        }
        sleep(ASKED_EVERY).await;
    }
}

#[cfg(test)]
mod tests {
    use vidimus_ports::faulty::FlushedOnly;
    use vidimus_ports::memory::MemoryFaceIndex;

    use super::*;

    #[tokio::test]
    async fn what_nobody_has_noticed_yet_is_not_vouched_for() {
        let index = Arc::new(FlushedOnly::new(|| Arc::new(MemoryFaceIndex::new())));
        let seen_losses = Arc::new(AtomicU64::new(index.losses()));
        let (caught_up, word) = watch::channel(false);
        let (searchable, mut said) = watch::channel(false);
        let shutdown = Shutdown::new();
        let watch = Watch {
            index: index.clone(),
            caught_up: word,
            seen_losses: Arc::clone(&seen_losses),
            searchable,
            shutdown: shutdown.clone(),
        };
        let running = tokio::spawn(watch.run());
        caught_up.send_replace(true);
        said.wait_for(|said| *said).await.unwrap();
        // The consumer sleeps.
        index.lose_power().await.unwrap();
        said.wait_for(|said| !*said).await.unwrap();
        sleep(EVERY * 3).await;
        assert!(!*said.borrow());
        // It has noticed, and then has projected all again.
        caught_up.send_replace(false);
        seen_losses.store(index.losses(), Ordering::Release);
        sleep(EVERY).await;
        assert!(!*said.borrow());
        caught_up.send_replace(true);
        said.wait_for(|said| *said).await.unwrap();
        said.mark_unchanged();
        timeout(EVERY * 4, said.changed()).await.unwrap().unwrap();
        assert!(*said.borrow(), "it is said again and again");
        shutdown.begin();
        running.await.unwrap();
    }
}
