//! What a worker counts.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabel {
    outcome: &'static str,
}

/// Photos of bulk jobs.
#[derive(Default)]
pub(super) struct Metrics {
    photos: Family<OutcomeLabel, Counter>,
    /// Tries that failed and were followed by another.
    pub(super) retries: Counter,
    /// Photos that were not done when last looked at.
    pub(super) lag: Gauge,
}

impl Metrics {
    pub(super) fn new(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register(
            "vidimus_bulk_photos",
            "Photos of bulk jobs that are done with, by outcome; alarm when DEAD grows",
            metrics.photos.clone(),
        );
        registry.register(
            "vidimus_bulk_photo_retries",
            "Photos of bulk jobs that could not be embedded and were tried again; alarm when it keeps growing",
            metrics.retries.clone(),
        );
        registry.register(
            "vidimus_photos_uncommitted",
            "Photos of bulk jobs that are not done with yet",
            metrics.lag.clone(),
        );
        metrics
    }

    pub(super) fn photo(&self, outcome: &'static str) {
        self.photos.get_or_create(&OutcomeLabel { outcome }).inc();
    }
}
