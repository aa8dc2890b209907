//! What the ledger counts.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::Registry;

/// Batches and differences.
#[derive(Default)]
pub(crate) struct Metrics {
    /// Audit records written to batches.
    pub(crate) audited: Counter,
    /// Audit batches written.
    pub(crate) batches: Counter,
    /// Differences between records and points that were said on the log.
    pub(crate) differences: Counter,
    /// Objects removed: photos that no record names, husks, what lay under dead collections.
    pub(crate) removed: Counter,
}

impl Metrics {
    pub(crate) fn new(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        let mut counter =
            |name: &str, help: &str, counter: &Counter| registry.register(name, help, counter.clone());
        counter("vidimus_audit_records_stored", "Audit records written to the blob store", &metrics.audited);
        counter("vidimus_audit_batches", "Audit batches written to the blob store", &metrics.batches);
        counter(
            "vidimus_reconcile_differences",
            "Differences between records and points that were found and said on the log",
            &metrics.differences,
        );
        counter(
            "vidimus_reconcile_removed_objects",
            "Photos that no record names, husks, and what lay under dead collections, removed",
            &metrics.removed,
        );
        metrics
    }
}
