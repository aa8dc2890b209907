//! Whether the index may be believed: it has all that it should, as indexing says, and it has lost nothing since indexing said so.
//!
//! Where the servers of the index go away and come back, they may lack what they were told last: a face that was deleted a moment
//! ago may match again. Whoever searches next sees so himself, before indexing does, since his own connection broke. He then
//! believes nobody for as long as indexing may take to notice; from then on what indexing says counts: what it says then, and not what it
//! said before, since it may have gone with the index.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use vidimus_domain::{Failure, UnixMillis};
use vidimus_ports::{Clock, FaceIndex};

use crate::QueryDeps;

/// How long the word of an indexing process that has not noticed a loss may be heard: it vouches for the index for 3 s after the last
/// answer of a node, asks every node meanwhile, what it said is taken for good for another second, and what was asked 1.5 s ago says nothing. For
/// as long a process that starts must listen to nobody: it cannot know what was lost before it came.
pub const NOTICED_AFTER: Duration = Duration::from_secs(6);

/// Decides it, before a search and after it.
pub(crate) struct Trust {
    index: Arc<dyn FaceIndex>,
    searchable: watch::Receiver<bool>,
    is_told_by_others: bool,
    clock: Arc<dyn Clock>,
    seen: Mutex<Seen>,
}

/// What was seen of the index.
#[derive(Default)]
struct Seen {
    losses: u64,
    distrusted_until: Option<UnixMillis>,
    /// What indexing says is waited for on it, once it must have noticed.
    word: Option<watch::Receiver<bool>>,
}

impl Trust {
    pub(crate) fn new(deps: &QueryDeps) -> Self {
        let seen = Seen { losses: deps.index.losses(), ..Seen::default() };
        Self {
            index: Arc::clone(&deps.index),
            searchable: deps.searchable.clone(),
            is_told_by_others: deps.is_told_by_others,
            clock: Arc::clone(&deps.clock),
            seen: Mutex::new(seen),
        }
    }

    /// Passes where what the index says may be told to a client.
    ///
    /// # Errors
    /// `Unavailable` with a hint when to try again where it may not.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        let now = self.clock.now();
        let losses = self.index.losses();
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if losses != seen.losses {
            *seen = Seen { losses, distrusted_until: Some(now.plus(NOTICED_AFTER)), word: None };
        }
        if self.is_distrusted(&mut seen, now) || !*self.searchable.borrow() {
            let message = "the index is catching up; try again";
            return Err(Failure::unavailable(message, Duration::from_secs(1)));
        }
        Ok(())
    }

    /// Whether a loss was seen, and indexing has not spoken since it must have noticed.
    fn is_distrusted(&self, seen: &mut Seen, now: UnixMillis) -> bool {
        let Some(until) = seen.distrusted_until else { return false };
        if now < until {
            return true;
        }
        if self.is_told_by_others {
            let word = seen.word.get_or_insert_with(|| {
                let mut word = self.searchable.clone();
                word.mark_unchanged();
                word
            });
            if !word.has_changed().unwrap_or(false) {
                return true;
            }
        }
        (seen.distrusted_until, seen.word) = (None, None);
        false
    }
}

#[cfg(test)]
mod tests {
    use vidimus_ports::clock::ManualClock;
    use vidimus_ports::faulty::FlushedOnly;
    use vidimus_ports::memory::MemoryFaceIndex;

    use super::*;

    struct World {
        index: Arc<FlushedOnly>,
        clock: Arc<ManualClock>,
        sender: watch::Sender<bool>,
        trust: Trust,
    }

    fn world(is_told_by_others: bool) -> World {
        let index = Arc::new(FlushedOnly::new(|| Arc::new(MemoryFaceIndex::new())));
        let clock = Arc::new(ManualClock::new(UnixMillis::new(1_000)));
        let (sender, searchable) = watch::channel(false);
        let seen = Mutex::default();
        let trust = Trust { index: index.clone(), searchable, is_told_by_others, clock: clock.clone(), seen };
        World { index, clock, sender, trust }
    }

    #[tokio::test]
    async fn after_a_loss_nobody_is_believed_until_indexing_must_have_noticed() {
        let World { index, clock, sender, trust } = world(false);
        assert!(trust.check().is_err(), "indexing has not said anything yet");
        sender.send_replace(true);
        trust.check().unwrap();

        index.lose_power().await.unwrap();
        let failure = trust.check().unwrap_err();
        assert!(failure.retry_after.is_some());
        clock.advance(NOTICED_AFTER - Duration::from_millis(1));
        assert!(trust.check().is_err());
        clock.advance(Duration::from_millis(1));
        trust.check().unwrap();

        index.lose_power().await.unwrap();
        assert!(trust.check().is_err(), "the next loss");
        sender.send_replace(false);
        clock.advance(NOTICED_AFTER);
        assert!(trust.check().is_err(), "indexing has noticed and is not done");
        sender.send_replace(true);
        trust.check().unwrap();
    }

    #[tokio::test]
    async fn what_indexing_said_before_it_went_with_the_index_counts_no_more() {
        let World { index, clock, sender, trust } = world(true);
        sender.send_replace(true);
        trust.check().unwrap();
        index.lose_power().await.unwrap();
        assert!(trust.check().is_err());
        sender.send_replace(true);
        clock.advance(NOTICED_AFTER);
        assert!(trust.check().is_err(), "it was said before it must have been noticed");
        clock.advance(10 * NOTICED_AFTER);
        assert!(trust.check().is_err(), "nobody is there to say anything");
        sender.send_replace(true);
        trust.check().unwrap();
        clock.advance(NOTICED_AFTER);
        trust.check().unwrap();
    }
}
