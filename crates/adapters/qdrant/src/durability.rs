//! What of the writes is durable, and whether the server may have lost some.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use vidimus_domain::UnixMillis;

/// Keeps what a flush may promise.
pub struct Durability {
    durable_after: Duration,
    state: Mutex<State>,
}

struct State {
    /// Of how many losses it was said last that they are made good; none from opening on.
    made_good: Option<u64>,
    /// After how many losses whoever commits has begun again last.
    begun_again: u64,
    /// Promised already.
    covered: UnixMillis,
}

impl Durability {
    /// Nothing is covered yet, and what was lost before the opening is not made good.
    pub fn new(durable_after: Duration) -> Self {
        let state = State { made_good: None, begun_again: 0, covered: UnixMillis::new(0) };
        Self { durable_after, state: Mutex::new(state) }
    }

    /// The time before which every write that had returned is durable, where servers were proven to be there at a time,
    /// and there were so many losses after that. It never falls; after a loss it stands still until whoever commits has begun again,
    /// and speaks of what was written since.
    pub fn cover(&self, proven_at: Option<UnixMillis>, losses: u64) -> UnixMillis {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let (true, Some(proven_at)) = (state.begun_again >= losses, proven_at) {
            state.covered = state.covered.max(self.durable_before(proven_at));
        }
        state.covered
    }

    /// What a server has flushed that has been there without a break until it was proven at this time.
    pub fn durable_before(&self, proven_at: UnixMillis) -> UnixMillis {
        proven_at.minus(self.durable_after)
    }

    /// Whoever commits has begun again at its commit after so many losses.
    pub fn begin_again(&self, losses: u64) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.begun_again = state.begun_again.max(losses);
    }

    /// So many losses are made good.
    pub fn make_good(&self, losses: u64) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.made_good = state.made_good.max(Some(losses));
    }

    /// Whether something that was lost is not made good, of so many losses, or of what was before the opening.
    pub fn is_recovering(&self, losses: u64) -> bool {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.made_good.is_none_or(|made_good| made_good < losses)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: fn(i64) -> UnixMillis = UnixMillis::new;

    #[test]
    fn what_was_written_some_time_ago_is_durable() {
        let durability = Durability::new(Duration::from_millis(30));
        assert_eq!(durability.cover(None, 0), AT(0), "a host that never was there");
        assert_eq!(durability.cover(Some(AT(100)), 0), AT(70));
        assert_eq!(durability.cover(Some(AT(90)), 0), AT(70), "it never falls");
        assert_eq!(durability.cover(Some(AT(140)), 0), AT(110));
    }

    #[test]
    fn after_a_loss_nothing_more_is_until_who_commits_has_begun_again() {
        let durability = Durability::new(Duration::from_millis(30));
        assert_eq!(durability.cover(Some(AT(100)), 0), AT(70));
        assert_eq!(durability.cover(Some(AT(500)), 1), AT(70));
        durability.begin_again(0);
        assert_eq!(durability.cover(Some(AT(600)), 1), AT(70), "that was of the time before");
        durability.begin_again(1);
        assert_eq!(durability.cover(Some(AT(700)), 1), AT(670));
        assert_eq!(durability.cover(Some(AT(800)), 2), AT(670), "the next one");
    }

    #[test]
    fn it_recovers_from_its_opening_and_from_each_loss() {
        let durability = Durability::new(Duration::ZERO);
        assert!(durability.is_recovering(0));
        durability.make_good(0);
        assert!(!durability.is_recovering(0));
        assert!(durability.is_recovering(1));
        durability.make_good(1);
        assert!(!durability.is_recovering(1));
    }
}
