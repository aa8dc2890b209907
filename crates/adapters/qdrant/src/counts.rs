//! About how many faces parts have: each search tells it, and tries the harder the more there are. Counting before every
//! search would cost it a second way to the server, so counts are kept for a while.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use vidimus_domain::point::Gallery;

use crate::effort::SearchEffort;

/// A count is taken for true for so long.
const FRESH: Duration = Duration::from_secs(3);
/// So many counts are kept.
const COUNTS_MAX: usize = 10_000;

/// Of which faces of a gallery.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Counted {
    /// Whose.
    pub gallery: Gallery,
    /// Whether only faces that have a user count.
    pub with_user_only: bool,
}

/// What is known of a count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    /// It was counted a moment ago.
    Fresh(u64),
    /// It was so many once: good enough for the effort, to be counted again for the answer.
    Stale(u64, Writes),
    /// Nothing.
    Nothing(Writes),
}

/// How often this process had written to a gallery when its count began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Writes(u64);

/// The counts.
#[derive(Default)]
pub struct Counts {
    kept: Mutex<HashMap<Counted, Kept>>,
}

#[derive(Default)]
struct Kept {
    writes: Writes,
    last: Option<Last>,
}

struct Last {
    faces: u64,
    at: Instant,
    writes: Writes,
}

impl Counts {
    /// What is known now.
    pub fn known(&self, counted: &Counted) -> Known {
        let mut kept = self.lock();
        if kept.len() >= COUNTS_MAX && !kept.contains_key(counted) {
            kept.clear();
        }
        let entry = kept.entry(counted.clone()).or_default();
        match &entry.last {
            None => Known::Nothing(entry.writes),
            Some(last) if last.at.elapsed() < FRESH && last.is_unwritten(entry.writes) => {
                Known::Fresh(last.faces)
            }
            Some(last) => Known::Stale(last.faces, entry.writes),
        }
    }

    /// Keeps what was counted since `known` gave `writes`.
    pub fn keep(&self, counted: &Counted, faces: u64, writes: Writes) {
        if let Some(entry) = self.lock().get_mut(counted) {
            entry.last = Some(Last { faces, at: Instant::now(), writes });
        }
    }

    /// This process has written to the gallery.
    pub fn written(&self, gallery: &Gallery) {
        let mut kept = self.lock();
        for with_user_only in [false, true] {
            if let Some(entry) = kept.get_mut(&Counted { gallery: gallery.clone(), with_user_only }) {
                entry.writes.0 += 1;
            }
        }
    }

    /// No invariant can be broken half-way, so a poisoned lock is as good as another.
    fn lock(&self) -> MutexGuard<'_, HashMap<Counted, Kept>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Last {
    /// Large parts are counted again only after a while, however much is written to them: a few faces more make no
    /// difference there.
    fn is_unwritten(&self, writes: Writes) -> bool {
        self.writes == writes || self.faces >= SearchEffort::EXACT_BELOW_FACES
    }
}

#[cfg(test)]
mod tests {
    use vidimus_domain::{CollectionUid, Part, TenantId};

    use super::*;

    fn counted(byte: u8) -> Counted {
        let part = Part {
            tenant: TenantId::from_random([1; 16]),
            collection: CollectionUid::from_random([byte; 16]),
        };
        Counted { gallery: Gallery { part, placement: "p".parse().unwrap() }, with_user_only: false }
    }

    fn begun(known: Known) -> Writes {
        match known {
            Known::Stale(_, writes) | Known::Nothing(writes) => writes,
            Known::Fresh(faces) => panic!("{faces} are fresh"),
        }
    }

    #[test]
    fn a_count_is_kept_until_something_is_written() {
        let (counts, ours) = (Counts::default(), counted(1));
        let writes = begun(counts.known(&ours));
        counts.keep(&ours, 7, writes);
        assert_eq!(counts.known(&ours), Known::Fresh(7));
        counts.written(&counted(2).gallery);
        assert_eq!(counts.known(&ours), Known::Fresh(7), "another's");
        counts.written(&ours.gallery);
        assert!(matches!(counts.known(&ours), Known::Stale(7, _)));
    }

    #[test]
    fn what_is_written_while_it_is_counted_makes_it_stale() {
        let (counts, ours) = (Counts::default(), counted(1));
        let writes = begun(counts.known(&ours));
        counts.written(&ours.gallery);
        counts.keep(&ours, 7, writes);
        assert!(matches!(counts.known(&ours), Known::Stale(7, _)));
    }

    #[test]
    fn large_parts_stay_counted_for_a_while() {
        let (counts, ours) = (Counts::default(), counted(1));
        let writes = begun(counts.known(&ours));
        counts.keep(&ours, 50_000, writes);
        counts.written(&ours.gallery);
        assert_eq!(counts.known(&ours), Known::Fresh(50_000));
    }

    #[test]
    fn they_do_not_grow_without_bound() {
        let counts = Counts::default();
        for nth in 0..=COUNTS_MAX {
            let part = Part {
                tenant: TenantId::from_random((nth as u128).to_be_bytes()),
                collection: CollectionUid::from_random([1; 16]),
            };
            let gallery = Gallery { part, placement: "p".parse().unwrap() };
            counts.known(&Counted { gallery, with_user_only: false });
        }
        assert!(counts.lock().len() <= COUNTS_MAX);
    }
}
