//! What embedding counts.

use std::time::Instant;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;
use vidimus_domain::Failure;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabel {
    outcome: &'static str,
}

/// Photos.
pub(crate) struct Metrics {
    photos: Family<OutcomeLabel, Counter>,
    faces: Counter,
    in_flight: Gauge,
    seconds: Histogram,
}

/// One call, from its arrival to its answer. A call that is dropped on the way counts as cancelled.
pub(crate) struct Call<'a> {
    metrics: &'a Metrics,
    begun: Instant,
    outcome: &'static str,
}

impl Metrics {
    pub(crate) fn new(registry: &mut Registry) -> Self {
        let metrics = Self {
            photos: Family::default(),
            faces: Counter::default(),
            in_flight: Gauge::default(),
            seconds: Histogram::new(exponential_buckets(0.005, 2.0, 13)),
        };
        registry.register("vidimus_photos_embedded", "Photos to embed, by outcome", metrics.photos.clone());
        registry.register("vidimus_faces_embedded", "Faces found and embedded", metrics.faces.clone());
        registry.register(
            "vidimus_photos_in_flight",
            "Photos that wait for the encoder or are being encoded",
            metrics.in_flight.clone(),
        );
        registry.register(
            "vidimus_photo_embedding_seconds",
            "Time from a photo's arrival to its answer, whatever the outcome",
            metrics.seconds.clone(),
        );
        metrics
    }

    pub(crate) fn begin(&self) -> Call<'_> {
        self.in_flight.inc();
        Call { metrics: self, begun: Instant::now(), outcome: "CANCELLED" }
    }
}

impl Call<'_> {
    pub(crate) fn encoded(mut self, faces: usize) {
        self.outcome = if faces == 0 { "NO_FACE" } else { "OK" };
        self.metrics.faces.inc_by(faces as u64);
    }

    pub(crate) fn failed(mut self, failure: &Failure) {
        self.outcome = failure.code.as_str();
    }
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        self.metrics.in_flight.dec();
        self.metrics.seconds.observe(self.begun.elapsed().as_secs_f64());
        self.metrics.photos.get_or_create(&OutcomeLabel { outcome: self.outcome }).inc();
    }
}
