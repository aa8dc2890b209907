//! The invariants of ARCHITECTURE.md, watched while the service runs.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct InvariantLabel {
    id: &'static str,
}

/// Those that a running service checks.
const WATCHED: [&str; 1] = ["I6"];

/// Counts broken invariants as `vidimus_invariant_violations_total{id}`; in tests a broken one panics.
#[derive(Clone, Debug, Default)]
pub struct Invariants {
    violations: Family<InvariantLabel, Counter>,
}

impl Invariants {
    /// Registers the counter.
    #[must_use]
    pub fn new(registry: &mut Registry) -> Self {
        let invariants = Self::default();
        registry.register(
            "vidimus_invariant_violations",
            "Invariants of the architecture that were found broken",
            invariants.violations.clone(),
        );
        // Watched from the first scrape on, so that the first violation is seen to be one more.
        for id in WATCHED {
            drop(invariants.violations.get_or_create(&InvariantLabel { id }));
        }
        invariants
    }

    /// Counts and logs a violation of `id` unless `holds`.
    ///
    /// # Panics
    /// In debug builds.
    pub fn check(&self, id: &'static str, holds: bool, what: &str) {
        if !holds {
            self.violations.get_or_create(&InvariantLabel { id }).inc();
            tracing::error!(invariant = id, what, "invariant violated");
            debug_assert!(holds, "{id}: {what}");
        }
    }
}
