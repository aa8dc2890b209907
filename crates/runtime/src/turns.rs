//! Turns at something scarce: so many at once, and where more want it, those who want it take turns.
//!
//! Requests queue for each key (a tenant), and the keys take turns in a circle (round robin; Nagle, "On Packet Switches with
//! Infinite Storage", RFC 970, 1985). So whoever asks for one thing at a time waits for about one turn of each other key, however many
//! requests these have waiting.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

/// Why there is no turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many wait for a turn")]
pub struct Full;

/// Gives turns. Cloning it is cheap, and all clones are one.
#[derive(Debug)]
pub struct Turns<K: Key> {
    shared: Arc<Shared<K>>,
}

/// What turns are taken by.
pub trait Key: Clone + Eq + Hash + Send + 'static {}

impl<K: Clone + Eq + Hash + Send + 'static> Key for K {}

/// A turn; over when it is dropped.
#[derive(Debug)]
pub struct Turn<K: Key> {
    /// None where the turn went to somebody else.
    shared: Option<Arc<Shared<K>>>,
}

#[derive(Debug)]
struct Shared<K: Key> {
    state: Mutex<State<K>>,
    waiting_max: usize,
}

#[derive(Debug)]
struct State<K: Key> {
    free: usize,
    /// Whoever waits, by key; no queue is empty.
    queues: HashMap<K, VecDeque<oneshot::Sender<Turn<K>>>>,
    /// The keys of the queues, whose turn is next first.
    circle: VecDeque<K>,
}

impl<K: Key> Clone for Turns<K> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<K: Key> Turns<K> {
    /// `at_once` turns (at least one) at a time; at most `waiting_max` wait, of all keys together.
    #[must_use]
    pub fn new(at_once: usize, waiting_max: usize) -> Self {
        let state = State { free: at_once.max(1), queues: HashMap::new(), circle: VecDeque::new() };
        Self { shared: Arc::new(Shared { state: Mutex::new(state), waiting_max }) }
    }

    /// Waits for a turn. A caller that goes away gives its place up.
    ///
    /// # Errors
    /// [`Full`] where too many wait. What counts is whose they are: where another key has more waiting than this one, its latest is
    /// refused instead.
    pub async fn take(&self, key: K) -> Result<Turn<K>, Full> {
        let waiting = {
            let mut state = self.shared.lock();
            if state.free > 0 {
                state.free -= 1;
                return Ok(Turn { shared: Some(Arc::clone(&self.shared)) });
            }
            state.make_room(&key, self.shared.waiting_max)?;
            state.enqueue(key)
        };
        // The sender is dropped where the place is given to another.
        waiting.await.map_err(|_| Full)
    }
}

impl<K: Key> Shared<K> {
    fn lock(&self) -> MutexGuard<'_, State<K>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Key> State<K> {
    fn enqueue(&mut self, key: K) -> oneshot::Receiver<Turn<K>> {
        let (sender, receiver) = oneshot::channel();
        let queue = self.queues.entry(key.clone()).or_insert_with(|| {
            self.circle.push_back(key);
            VecDeque::new()
        });
        queue.push_back(sender);
        receiver
    }

    /// Room for one more of `key`: those who have gone leave theirs, then the longest queue gives up its latest.
    fn make_room(&mut self, key: &K, waiting_max: usize) -> Result<(), Full> {
        if self.waiting() < waiting_max {
            return Ok(());
        }
        for queue in self.queues.values_mut() {
            queue.retain(|waiting| !waiting.is_closed());
        }
        self.forget_empty_queues();
        if self.waiting() < waiting_max {
            return Ok(());
        }
        let own = self.queues.get(key).map_or(0, VecDeque::len);
        let longest = self.queues.iter_mut().max_by_key(|(_, queue)| queue.len());
        let (_, queue) = longest.filter(|(_, queue)| queue.len() > own + 1).ok_or(Full)?;
        queue.pop_back();
        Ok(())
    }

    fn waiting(&self) -> usize {
        self.queues.values().map(VecDeque::len).sum()
    }

    fn forget_empty_queues(&mut self) {
        self.queues.retain(|_, queue| !queue.is_empty());
        self.circle.retain(|key| self.queues.contains_key(key));
    }

    /// Whose turn it is; its key goes to the end of the circle.
    fn next(&mut self) -> Option<oneshot::Sender<Turn<K>>> {
        let key = self.circle.pop_front()?;
        let queue = self.queues.get_mut(&key)?;
        let next = queue.pop_front();
        if queue.is_empty() {
            self.queues.remove(&key);
        } else {
            self.circle.push_back(key);
        }
        next
    }
}

impl<K: Key> Drop for Turn<K> {
    fn drop(&mut self) {
        let Some(shared) = self.shared.take() else { return };
        loop {
            let next = {
                let mut state = shared.lock();
                let Some(next) = state.next() else {
                    state.free += 1;
                    return;
                };
                next
            };
            let turn = Self { shared: Some(Arc::clone(&shared)) };
            match next.send(turn) {
                Ok(()) => return,
                // Its caller has gone; the turn is the next one's.
                Err(mut refused) => refused.shared = None,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use futures::FutureExt as _;

    use super::*;

    /// Whose turns come in which order, when each ends before the next begins.
    #[tokio::test]
    async fn keys_take_turns() {
        let turns = Turns::new(1, 100);
        let first = turns.take("flood").await.unwrap();
        let order = Arc::new(Mutex::new(Vec::new()));
        let mut asked = Vec::new();
        for key in ["flood", "flood", "flood", "flood", "other", "third", "other"] {
            let (turns, order) = (turns.clone(), Arc::clone(&order));
            let mut asking = Box::pin(async move {
                let _turn = turns.take(key).await.unwrap();
                order.lock().unwrap().push(key);
            });
            assert_eq!(asking.as_mut().now_or_never(), None, "{key} has to wait");
            asked.push(asking);
        }
        drop(first);
        futures::future::join_all(asked).await;
        let expected = ["flood", "other", "third", "flood", "other", "flood", "flood"];
        assert_eq!(*order.lock().unwrap(), expected);
    }

    #[tokio::test]
    async fn as_many_run_at_once_as_are_told() {
        let turns = Turns::new(2, 10);
        let (first, second) = (turns.take(1).await.unwrap(), turns.take(1).await.unwrap());
        let mut third = pin!(turns.take(2));
        assert!(third.as_mut().now_or_never().is_none());
        drop(second);
        let third = third.await.unwrap();
        assert!(turns.take(3).now_or_never().is_none());
        drop((first, third));
        assert!(turns.take(3).now_or_never().unwrap().is_ok());
    }

    #[tokio::test]
    async fn whoever_goes_away_loses_no_turn() {
        let turns = Turns::new(1, 10);
        let running = turns.take(1).await.unwrap();
        let mut gone = Box::pin(turns.take(1));
        assert!(gone.as_mut().now_or_never().is_none());
        let mut given = Box::pin(turns.take(2));
        assert!(given.as_mut().now_or_never().is_none());
        drop(gone);
        drop(running);
        // It has the turn by now, and goes away without having looked.
        drop(given);
        assert!(turns.take(3).now_or_never().unwrap().is_ok());
    }

    #[tokio::test]
    async fn when_it_is_full_the_longest_queue_gives_way() {
        let turns = Turns::new(1, 3);
        let running = turns.take("flood").await.unwrap();
        let mut flood: Vec<_> = (0..3).map(|_| Box::pin(turns.take("flood"))).collect();
        for asking in &mut flood {
            assert!(asking.as_mut().now_or_never().is_none());
        }
        assert_eq!(turns.take("flood").await.unwrap_err(), Full);
        let mut other = Box::pin(turns.take("other"));
        assert!(other.as_mut().now_or_never().is_none());
        assert_eq!(flood.pop().unwrap().await.unwrap_err(), Full, "its latest was refused");
        // Now both would have as many: nobody gives way.
        let mut second = Box::pin(turns.take("other"));
        assert_eq!(second.as_mut().now_or_never().unwrap().unwrap_err(), Full);
        drop(flood);
        assert!(turns.take("other").now_or_never().is_none(), "those who went left room");
        drop(running);
        assert!(other.await.is_ok());
    }
}
