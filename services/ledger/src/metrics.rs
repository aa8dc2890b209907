//! What the ledger counts.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// Who is behind, and where.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct LagLabel {
    pub(crate) topic: &'static str,
    pub(crate) group: &'static str,
    pub(crate) partition: u32,
}

/// Batches and differences.
#[derive(Default)]
pub(crate) struct Metrics {
    /// Audit records written to batches.
    pub(crate) audited: Counter,
    /// Audit batches written.
    pub(crate) batches: Counter,
    /// Damaged audit records that a batch keeps as they were.
    pub(crate) unreadable_audits: Counter,
    /// Records that could not be compared with their points.
    pub(crate) unreadable: Counter,
    /// Differences between records and points that were said on the log.
    pub(crate) differences: Counter,
    /// Accepted photos that had waited for long and were said on the log again.
    pub(crate) photos_said_again: Counter,
    /// Objects removed: photos that no record names, husks, what lay under dead collections.
    pub(crate) removed: Counter,
    /// Faces erased because their time had come.
    pub(crate) expired_faces: Counter,
    /// Photos removed because their time had come, or that of their last face.
    pub(crate) expired_photos: Counter,
    /// Faces whose time has come and that are not erased yet.
    pub(crate) overdue_faces: Gauge,
    /// Photos whose time has come and that could not be removed.
    pub(crate) overdue_photos: Gauge,
    /// For how long there has been something overdue.
    pub(crate) overdue_seconds: Gauge,
    /// Collections that are on their way to another index collection.
    pub(crate) moving_collections: Gauge,
    /// Records that were said on the log for a move.
    pub(crate) moved_records: Counter,
    /// Records that a group has not committed.
    pub(crate) lag: Family<LagLabel, Gauge>,
}

impl Metrics {
    pub(crate) fn new(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        let mut counter =
            |name: &str, help: &str, counter: &Counter| registry.register(name, help, counter.clone());
        counter("vidimus_audit_records_stored", "Audit records written to the blob store", &metrics.audited);
        counter("vidimus_audit_batches", "Audit batches written to the blob store", &metrics.batches);
        counter(
            "vidimus_audit_unreadable_records",
            "Damaged audit records that were written to the blob store as they were",
            &metrics.unreadable_audits,
        );
        counter(
            "vidimus_reconcile_differences",
            "Differences between records and points that were found and said on the log",
            &metrics.differences,
        );
        counter(
            "vidimus_reconcile_unreadable_records",
            "Records that could not be compared: damaged, or written by a newer version",
            &metrics.unreadable,
        );
        counter(
            "vidimus_reconcile_photos_said_again",
            "Photos that were accepted long ago, not embedded, and said on the log again",
            &metrics.photos_said_again,
        );
        counter(
            "vidimus_reconcile_removed_objects",
            "Photos that no record names, husks, and what lay under dead collections, removed",
            &metrics.removed,
        );
        counter(
            "vidimus_retention_erased_faces",
            "Faces that were erased because their time had come",
            &metrics.expired_faces,
        );
        counter(
            "vidimus_retention_erased_photos",
            "Photos that were removed because their time had come, or that of their last face",
            &metrics.expired_photos,
        );
        counter(
            "vidimus_moves_said_records",
            "Records that were said on the log because their collection moves to another index collection",
            &metrics.moved_records,
        );
        metrics.register_overdue(registry);
        registry.register(
            "vidimus_moving_collections",
            "Collections that were on their way to another index collection when last reconciled; alarm when it stays: all \
             their changes are written twice",
            metrics.moving_collections.clone(),
        );
        registry.register(
            "vidimus_log_lag_records",
            "Records of a partition that a group has not committed",
            metrics.lag.clone(),
        );
        metrics
    }

    fn register_overdue(&self, registry: &mut Registry) {
        let mut gauge = |name: &str, help: &str, gauge: &Gauge| registry.register(name, help, gauge.clone());
        gauge(
            "vidimus_retention_overdue_faces",
            "Faces that match no more because their time has come, and that are not erased yet",
            &self.overdue_faces,
        );
        gauge(
            "vidimus_retention_overdue_photos",
            "Photos whose time has come and that could not be removed",
            &self.overdue_photos,
        );
        gauge(
            "vidimus_retention_overdue_seconds",
            "For how long the sweep has known of the oldest that is overdue; alarm when it passes an hour",
            &self.overdue_seconds,
        );
    }
}
