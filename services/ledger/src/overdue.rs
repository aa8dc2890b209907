//! What has expired and is not erased yet, for operators.

use std::collections::HashMap;
use std::sync::Arc;

use vidimus_domain::{Part, UnixMillis};

use crate::metrics::Metrics;

/// What is overdue, by collection.
pub(crate) struct Overdue {
    metrics: Arc<Metrics>,
    of_part: HashMap<Part, Waiting>,
}

#[derive(Clone, Copy)]
struct Waiting {
    /// When a sweep first found something overdue here; since then none has got through.
    since: UnixMillis,
    faces: u64,
    photos: u64,
}

impl Overdue {
    pub(crate) fn new(metrics: Arc<Metrics>) -> Self {
        Self { metrics, of_part: HashMap::new() }
    }

    /// So many faces of the collection are overdue.
    pub(crate) fn faces(&mut self, part: &Part, faces: u64, now: UnixMillis) {
        let waiting = self.of(part, now);
        self.set(part, Waiting { faces, ..waiting }, now);
    }

    /// So many photos of the collection are overdue.
    pub(crate) fn photos(&mut self, part: &Part, photos: u64, now: UnixMillis) {
        let waiting = self.of(part, now);
        self.set(part, Waiting { photos, ..waiting }, now);
    }

    /// Forgets the collections that are gone.
    pub(crate) fn keep(&mut self, parts: &[Part], now: UnixMillis) {
        self.of_part.retain(|part, _| parts.contains(part));
        self.show(now);
    }

    /// All that is overdue.
    pub(crate) fn count(&self) -> u64 {
        self.of_part.values().map(|waiting| waiting.faces + waiting.photos).sum()
    }

    fn of(&self, part: &Part, now: UnixMillis) -> Waiting {
        self.of_part.get(part).copied().unwrap_or(Waiting { since: now, faces: 0, photos: 0 })
    }

    fn set(&mut self, part: &Part, waiting: Waiting, now: UnixMillis) {
        if waiting.faces + waiting.photos == 0 {
            self.of_part.remove(part);
        } else {
            self.of_part.insert(*part, waiting);
        }
        self.show(now);
    }

    fn show(&self, now: UnixMillis) {
        let gauge = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        self.metrics.overdue_faces.set(gauge(self.of_part.values().map(|waiting| waiting.faces).sum()));
        self.metrics.overdue_photos.set(gauge(self.of_part.values().map(|waiting| waiting.photos).sum()));
        let oldest = self.of_part.values().map(|waiting| now.since(waiting.since)).max();
        self.metrics.overdue_seconds.set(gauge(oldest.unwrap_or_default().as_secs()));
    }
}
