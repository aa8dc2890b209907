//! What indexing counts.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

/// Changes and points.
pub(crate) struct Metrics {
    /// Changes projected by the consumer of the log.
    pub(crate) changes: Counter,
    /// Records read and projected, by whomever.
    pub(crate) projected_records: Counter,
    /// Faces that could not be written into an index collection, for want of a template of its face model.
    pub(crate) lacking: Counter,
    /// Batches that failed and were tried again.
    pub(crate) retries: Counter,
    /// Changes that could not be projected at all.
    pub(crate) left_behind: Counter,
    /// Times that the index said that it may have lost something.
    pub(crate) losses: Counter,
    /// Flushes of the index that were followed by a commit.
    pub(crate) commits: Counter,
    /// Changes that were not projected yet when last looked at.
    pub(crate) lag: Gauge,
    /// From when a change was said until the consumer had projected it.
    pub(crate) lag_seconds: Histogram,
}

impl Metrics {
    pub(crate) fn new(registry: &mut Registry) -> Self {
        let metrics = Self {
            changes: Counter::default(),
            projected_records: Counter::default(),
            lacking: Counter::default(),
            retries: Counter::default(),
            left_behind: Counter::default(),
            losses: Counter::default(),
            commits: Counter::default(),
            lag: Gauge::default(),
            // 5 ms to about three minutes.
            lag_seconds: Histogram::new(exponential_buckets(0.005, 2.0, 16)),
        };
        registry.register(
            "vidimus_changes_projected",
            "Changes that the consumer of the log has projected",
            metrics.changes.clone(),
        );
        registry.register(
            "vidimus_records_projected",
            "Records that were read and written to the index",
            metrics.projected_records.clone(),
        );
        registry.register(
            "vidimus_faces_without_template",
            "Faces that were not written to an index collection because they have no template of its face model yet; it grows while a \
             collection turns to another one",
            metrics.lacking.clone(),
        );
        registry.register(
            "vidimus_projection_retries",
            "Batches of changes that could not be projected and were tried again; alarm when it keeps growing",
            metrics.retries.clone(),
        );
        registry.register(
            "vidimus_index_losses",
            "Times that the index may have lost what it was told last, and was told again",
            metrics.losses.clone(),
        );
        registry.register(
            "vidimus_changes_left_to_reconciling",
            "Changes whose record is damaged, or for which there was no room; alarm when it grows",
            metrics.left_behind.clone(),
        );
        registry.register(
            "vidimus_changes_commits",
            "Commits of the changes topic, each after a flush of the index",
            metrics.commits.clone(),
        );
        registry.register(
            "vidimus_changes_uncommitted",
            "Changes whose projection is not known to be durable yet",
            metrics.lag.clone(),
        );
        registry.register(
            "vidimus_indexing_lag_seconds",
            "From when a change was said until the consumer of the log had projected it",
            metrics.lag_seconds.clone(),
        );
        metrics
    }
}
