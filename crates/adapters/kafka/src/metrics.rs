//! What is counted.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;
use vidimus_ports::Topic;

/// The metrics of a log on Kafka. Clones count together.
#[derive(Clone, Debug, Default)]
pub struct KafkaMetrics {
    skips: Family<Skip, Counter>,
    damages: Family<Damage, Counter>,
    fenced: Counter,
    producers: Counter,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Skip {
    topic: &'static str,
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Damage {
    topic: &'static str,
}

impl KafkaMetrics {
    /// Registers them.
    #[must_use]
    pub fn new(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register(
            "vidimus_log_skips",
            "Times that a consumer could not go on at its commit: the log was trimmed past it, or begun anew",
            metrics.skips.clone(),
        );
        registry.register(
            "vidimus_log_damages",
            "Times that a consumer met records that cannot be read, and began again at its commit a while later",
            metrics.damages.clone(),
        );
        registry.register(
            "vidimus_log_commits_ignored",
            "Commits of partitions that had become another consumer's",
            metrics.fenced.clone(),
        );
        registry.register(
            "vidimus_log_producers_replaced",
            "Producers that had failed for good and were replaced",
            metrics.producers.clone(),
        );
        metrics
    }

    /// A consumer went on elsewhere than at its commit.
    pub(crate) fn skipped(&self, topic: Topic, reason: &'static str) {
        self.skips.get_or_create(&Skip { topic: topic.name(), reason }).inc();
    }

    /// A consumer met records that cannot be read.
    pub(crate) fn damaged(&self, topic: Topic) {
        self.damages.get_or_create(&Damage { topic: topic.name() }).inc();
    }

    /// A commit had no effect.
    pub(crate) fn commit_ignored(&self) {
        self.fenced.inc();
    }

    /// A producer was replaced.
    pub(crate) fn producer_replaced(&self) {
        self.producers.inc();
    }
}
