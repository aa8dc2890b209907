//! What can be set.

use std::path::PathBuf;
use std::time::Duration;

use qdrant_client::qdrant::quantization_config::Quantization;
use qdrant_client::qdrant::{
    HnswConfigDiff, Memory, OptimizersConfigDiff, QuantizationConfig, QuantizationType, ScalarQuantization,
};
use serde::{Deserialize, Serialize};

use crate::error::{QdrantError, QdrantResult};

/// Unindexed faces of a segment are indexed once they take this much; until then they are scanned. A server makes all segments of a shard
/// at once and fills them evenly, so that is when the shard has 10,000 faces of 128 components (qdrant-dev has one segment then: 3,333).
const INDEXING_THRESHOLD_KB: u64 = 5_000 / SEGMENTS;
/// In a segment, parts below this are scanned: 2,500 faces of 128 components. It is far below
/// [`SearchEffort::EXACT_BELOW_FACES`](crate::SearchEffort), since a part may lie in several segments.
const FULL_SCAN_THRESHOLD_KB: u64 = 1_250;
/// Segments do not grow past this: 8 million faces of 128 components.
const SEGMENT_MAX_KB: u64 = 4_000_000;
/// Segments of a shard, the one that takes writes among them: each is searched, so few.
const SEGMENTS: u64 = 3;
/// How often the server flushes what it was told.
pub const FLUSH_INTERVAL: Duration = Duration::from_secs(5);

/// Settings of a [`QdrantIndex`](crate::QdrantIndex), besides its [`Address`](crate::Address).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct QdrantConfig {
    /// What the names of Qdrant's collections begin with; the placement follows.
    pub collection_prefix: String,
    /// The file that has the API key; without one none is sent.
    pub api_key_file: Option<PathBuf>,
    /// Certificates that servers are trusted by, in PEM; without them the machine's. Of use with `qdrants://` alone.
    pub ca_file: Option<PathBuf>,
    /// Shards of a collection that is made; without it Qdrant's own choice, one for each node.
    pub shards: Option<u32>,
    /// Replicas of each shard. A write counts when a majority of them has it.
    pub replication_factor: u32,
    /// How long making a connection may take.
    #[serde(with = "humantime_serde")]
    pub connect_timeout: Duration,
    /// How long one try of a call may take.
    #[serde(with = "humantime_serde")]
    pub try_timeout: Duration,
    /// How long one try of removing a whole part may take.
    #[serde(with = "humantime_serde")]
    pub removal_timeout: Duration,
    /// Tries of a call, the first one among them.
    pub tries_max: u32,
    /// Calls under way at a time; more wait, for at most `try_timeout`.
    pub calls_max: usize,
    /// After which time a write counts as durable against power loss: several of the server's flushes.
    #[serde(with = "humantime_serde")]
    pub durable_after: Duration,
}

impl Default for QdrantConfig {
    fn default() -> Self {
        Self {
            collection_prefix: "vidimus-".to_owned(),
            api_key_file: None,
            ca_file: None,
            shards: None,
            replication_factor: 1,
            connect_timeout: Duration::from_secs(2),
            try_timeout: Duration::from_secs(5),
            removal_timeout: Duration::from_secs(60),
            tries_max: 3,
            calls_max: 256,
            durable_after: Duration::from_secs(30),
        }
    }
}

impl QdrantConfig {
    /// Says what cannot be, before anything is connected to.
    ///
    /// # Errors
    /// [`QdrantError::Config`] with the setting.
    pub fn check(&self) -> QdrantResult<()> {
        let refuse = |what: &str| Err(QdrantError::Config(what.to_owned()));
        let is_name = |character: char| character.is_ascii_alphanumeric() || "-_.".contains(character);
        if self.collection_prefix.is_empty() || !self.collection_prefix.chars().all(is_name) {
            return refuse("collection_prefix must be of letters, digits, '-', '_' and '.'");
        }
        if self.replication_factor == 0 || self.shards == Some(0) {
            return refuse("replication_factor and shards must be 1 or more");
        }
        if self.tries_max == 0 || self.calls_max == 0 {
            return refuse("tries_max and calls_max must be 1 or more");
        }
        if [self.connect_timeout, self.try_timeout, self.removal_timeout].iter().any(Duration::is_zero) {
            return refuse("timeouts must be longer than nothing");
        }
        if self.durable_after < 2 * FLUSH_INTERVAL {
            return refuse("durable_after must be 10s or more: the server flushes every 5s");
        }
        Ok(())
    }

    /// Replicas that must have a write.
    #[must_use]
    pub const fn write_consistency_factor(&self) -> u32 {
        self.replication_factor / 2 + 1
    }
}

/// The shape of the parts' graphs. One for all placements of an index: Qdrant has it for a collection, not for a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GraphShape {
    /// Links of a face, up to twice as many on the lowest level. Some 2 to 4 bytes each.
    pub payload_m: u64,
    /// Beam width while building.
    pub ef_construct: u64,
}

impl GraphShape {
    /// The shape for parts of up to so many faces, as with Qdrant Edge: the smaller one is for parts that are scanned anyway.
    #[must_use]
    pub const fn for_largest_part(faces: u64) -> Self {
        if faces <= 10_000 {
            Self { payload_m: 16, ef_construct: 128 }
        } else {
            Self { payload_m: 32, ef_construct: 256 }
        }
    }

    pub(crate) fn hnsw(self) -> HnswConfigDiff {
        HnswConfigDiff {
            m: Some(0),
            payload_m: Some(self.payload_m),
            ef_construct: Some(self.ef_construct),
            full_scan_threshold: Some(FULL_SCAN_THRESHOLD_KB),
            ..HnswConfigDiff::default()
        }
    }
}

pub fn optimizers() -> OptimizersConfigDiff {
    OptimizersConfigDiff {
        default_segment_number: Some(SEGMENTS),
        max_segment_size: Some(SEGMENT_MAX_KB),
        indexing_threshold: Some(INDEXING_THRESHOLD_KB),
        flush_interval_sec: Some(FLUSH_INTERVAL.as_secs()),
        ..OptimizersConfigDiff::default()
    }
}

/// Graphs walk int8 components that stay in memory: a quarter of the templates' size.
pub fn int8() -> QuantizationConfig {
    let mut scalar = ScalarQuantization { quantile: Some(0.99), ..ScalarQuantization::default() };
    scalar.set_type(QuantizationType::Int8);
    scalar.set_memory(Memory::Pinned);
    QuantizationConfig { quantization: Some(Quantization::Scalar(scalar)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_majority_of_the_replicas_must_have_a_write() {
        for (replication_factor, expected) in [(1, 1), (2, 2), (3, 2), (5, 3)] {
            let config = QdrantConfig { replication_factor, ..QdrantConfig::default() };
            assert_eq!(config.write_consistency_factor(), expected);
        }
    }

    #[test]
    fn what_cannot_be_is_refused() {
        QdrantConfig::default().check().unwrap();
        for wrong in [
            QdrantConfig { collection_prefix: "a/b".to_owned(), ..QdrantConfig::default() },
            QdrantConfig { replication_factor: 0, ..QdrantConfig::default() },
            QdrantConfig { shards: Some(0), ..QdrantConfig::default() },
            QdrantConfig { tries_max: 0, ..QdrantConfig::default() },
            QdrantConfig { try_timeout: Duration::ZERO, ..QdrantConfig::default() },
            QdrantConfig { durable_after: Duration::from_secs(9), ..QdrantConfig::default() },
        ] {
            assert!(wrong.check().is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn unknown_settings_are_refused() {
        let known: QdrantConfig = serde_json::from_str(r#"{"durable_after": "1m", "shards": 2}"#).unwrap();
        assert_eq!((known.durable_after, known.shards), (Duration::from_secs(60), Some(2)));
        assert!(serde_json::from_str::<QdrantConfig>(r#"{"durable": "1m"}"#).is_err());
    }
}
