//! Whether the index may be believed: it has all that it should, as indexing says, and it has lost nothing since indexing said so.
//!
//! Where the servers of the index go away and come back, they may lack what they were told last: a face that was deleted a moment
//! ago may match again. Whoever searches next sees so himself, before indexing does, since his own connection broke. He then
//! believes nobody for as long as indexing may take to notice; from then on what indexing says counts.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use vidimus_domain::{Failure, UnixMillis};
use vidimus_ports::{Clock, FaceIndex};

/// How long indexing may take to notice a loss and to say so: it asks the index about every second.
const NOTICED_AFTER: Duration = Duration::from_secs(5);

/// Decides it, before a search and after it.
pub(crate) struct Trust {
    index: Arc<dyn FaceIndex>,
    searchable: watch::Receiver<bool>,
    clock: Arc<dyn Clock>,
    seen: Mutex<Seen>,
}

/// What was seen of the index.
#[derive(Default)]
struct Seen {
    losses: u64,
    distrusted_until: Option<UnixMillis>,
}

impl Trust {
    pub(crate) fn new(
        index: Arc<dyn FaceIndex>,
        searchable: watch::Receiver<bool>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let seen = Mutex::new(Seen { losses: index.losses(), distrusted_until: None });
        Self { index, searchable, clock, seen }
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
            *seen = Seen { losses, distrusted_until: Some(now.plus(NOTICED_AFTER)) };
        }
        let is_distrusted = seen.distrusted_until.is_some_and(|until| now < until);
        if is_distrusted || !*self.searchable.borrow() {
            let message = "the index is catching up; try again";
            return Err(Failure::unavailable(message, Duration::from_secs(1)));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use vidimus_ports::clock::ManualClock;
    use vidimus_ports::faulty::FlushedOnly;
    use vidimus_ports::memory::MemoryFaceIndex;

    use super::*;

    #[tokio::test]
    async fn after_a_loss_nobody_is_believed_until_indexing_must_have_noticed() {
        let index = Arc::new(FlushedOnly::new(|| Arc::new(MemoryFaceIndex::new())));
        let clock = Arc::new(ManualClock::new(UnixMillis::new(1_000)));
        let (sender, searchable) = watch::channel(false);
        let trust = Trust::new(index.clone(), searchable, clock.clone());
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
}
