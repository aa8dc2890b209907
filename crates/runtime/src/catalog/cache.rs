//! Entries that are believed for a while.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use vidimus_domain::UnixMillis;

use super::CACHE_MAX_AGE;

/// Entries at most: past it the cache begins anew.
const ENTRIES_MAX: usize = 100_000;

struct Entry<V> {
    read_at: UnixMillis,
    value: Arc<V>,
}

struct State<K, V> {
    entries: HashMap<K, Entry<V>>,
    /// Counts what was forgotten, so that a read that began before is not remembered after.
    forgotten: u64,
}

/// A cache of at most [`ENTRIES_MAX`] entries.
pub(super) struct Cache<K, V> {
    state: Mutex<State<K, V>>,
}

/// A read that has begun.
pub(super) struct Reading {
    began_at: UnixMillis,
    forgotten: u64,
}

impl<K, V> Default for Cache<K, V> {
    fn default() -> Self {
        Self { state: Mutex::new(State { entries: HashMap::new(), forgotten: 0 }) }
    }
}

impl<K: Eq + Hash, V> Cache<K, V> {
    fn state(&self) -> MutexGuard<'_, State<K, V>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The entry, where its read began less than the allowed age ago.
    pub(super) fn get(&self, key: &K, now: UnixMillis) -> Option<Arc<V>> {
        let state = self.state();
        let entry = state.entries.get(key)?;
        (now.since(entry.read_at) < CACHE_MAX_AGE).then(|| Arc::clone(&entry.value))
    }

    /// Begins a read whose result is to be remembered.
    pub(super) fn begin(&self, now: UnixMillis) -> Reading {
        Reading { began_at: now, forgotten: self.state().forgotten }
    }

    /// Remembers what was read, unless something was forgotten since the read began.
    pub(super) fn remember(&self, reading: &Reading, key: K, value: Arc<V>) {
        let mut state = self.state();
        if state.forgotten != reading.forgotten {
            return;
        }
        if state.entries.len() >= ENTRIES_MAX {
            state.entries.clear();
        }
        state.entries.insert(key, Entry { read_at: reading.began_at, value });
    }

    /// Forgets all: something has changed. Changes are rare, reads are not.
    pub(super) fn forget(&self) {
        let mut state = self.state();
        state.entries.clear();
        state.forgotten += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_believed_for_a_while_from_the_start_of_the_read() {
        let cache = Cache::default();
        let reading = cache.begin(UnixMillis::new(1_000));
        cache.remember(&reading, "a", Arc::new(1));
        assert!(cache.get(&"a", UnixMillis::new(5_999)).is_some());
        assert!(cache.get(&"a", UnixMillis::new(6_000)).is_none());
    }

    #[test]
    fn a_read_that_began_before_a_change_is_not_remembered() {
        let cache = Cache::default();
        let reading = cache.begin(UnixMillis::new(0));
        cache.forget();
        cache.remember(&reading, "a", Arc::new(1));
        assert!(cache.get(&"a", UnixMillis::new(1)).is_none());
    }
}
