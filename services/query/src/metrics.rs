//! What query counts.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;
use vidimus_domain::Failure;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SearchLabel {
    probe: &'static str,
    outcome: &'static str,
}

/// Searches.
pub(crate) struct Metrics {
    searches: Family<SearchLabel, Counter>,
    /// Seconds that the index took.
    pub(crate) index_seconds: Histogram,
    /// Candidates in answers.
    pub(crate) candidates: Counter,
}

impl Metrics {
    pub(crate) fn new(registry: &mut Registry) -> Self {
        let metrics = Self {
            searches: Family::default(),
            index_seconds: Histogram::new(exponential_buckets(0.0002, 2.0, 16)),
            candidates: Counter::default(),
        };
        registry.register("vidimus_searches", "Searches, by probe and outcome", metrics.searches.clone());
        registry.register(
            "vidimus_index_search_seconds",
            "Time that the index took for a search",
            metrics.index_seconds.clone(),
        );
        registry.register("vidimus_candidates", "Candidates in answers", metrics.candidates.clone());
        metrics
    }

    pub(crate) fn search(&self, probe: &'static str, failure: Option<&Failure>) {
        let outcome = failure.map_or("OK", |failure| failure.code.as_str());
        self.searches.get_or_create(&SearchLabel { probe, outcome }).inc();
    }
}
