//! What can be set, and what the engine is told.

use std::num::NonZero;
use std::path::PathBuf;
use std::thread::available_parallelism;
use std::time::Duration;

use qdrant_edge::{
    EdgeConfig as EngineConfig, EdgeOptimizersConfig, HnswIndexConfig, Memory, QuantizationConfig,
    ScalarQuantizationConfig, ScalarType,
};

/// Unindexed faces are indexed once they take this much: 10,000 of 128 components. Until then they are scanned.
const INDEXING_THRESHOLD_KB: usize = 5_000;
/// In a segment, parts below this are scanned: 2,500 faces of 128 components. It is far below
/// [`SearchEffort::EXACT_BELOW_FACES`](crate::SearchEffort), since a part may lie in several segments.
const FULL_SCAN_THRESHOLD_KB: usize = 1_250;
/// Segments do not grow past this: 8 million faces of 128 components.
const SEGMENT_MAX_KB: usize = 4_000_000;
/// Segments of a shard, the one that takes writes among them: each is searched, so few. With a third one, new faces are
/// merged into the smaller of the two graphs and the larger one is left alone.
const SEGMENTS: usize = 3;

/// Settings of an [`EdgeIndex`](crate::EdgeIndex).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EdgeConfig {
    /// The folder of the placements' folders; made where it is missing. One process at a time.
    pub root: PathBuf,
    /// The most faces that one collection is expected to have: the shape of all graphs follows
    /// ([`GraphShape::for_largest_part`]). Raising it rebuilds what is there, once.
    pub largest_part_faces: u64,
    /// Reads (searches, listings, counts) at a time; more wait. Each runs on one thread.
    pub reads_max: usize,
    /// Threads that build graphs, at low priority. One graph's build takes the longer the fewer there are.
    pub indexing_threads: usize,
    /// How long after a write the optimiser looks whether there is something to do.
    pub optimize_after: Duration,
    /// Enrolments are refused where less than this is free on the disk; deletions where less than a quarter of it is.
    /// The engine writes through memory maps: a disk that is quite full would end the process.
    pub free_bytes_min: u64,
}

impl EdgeConfig {
    /// Defaults for placements under `root`: collections of up to a million faces, one search for each core, graphs built on
    /// half of the cores, 256 MiB kept free.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        let cores = available_parallelism().map_or(1, NonZero::get);
        Self {
            root: root.into(),
            largest_part_faces: 1_000_000,
            reads_max: cores,
            indexing_threads: (cores / 2).max(1),
            optimize_after: Duration::from_millis(500),
            free_bytes_min: 256 << 20,
        }
    }

    /// What the engine is told. The vector is added when the first template is written, for its dimension.
    pub(crate) fn engine(&self) -> EngineConfig {
        let shape = GraphShape::for_largest_part(self.largest_part_faces);
        let hnsw = HnswIndexConfig {
            m: 0,
            payload_m: Some(shape.payload_m),
            ef_construct: shape.ef_construct,
            full_scan_threshold: FULL_SCAN_THRESHOLD_KB,
            max_indexing_threads: self.indexing_threads,
            ..HnswIndexConfig::default()
        };
        let optimizers = EdgeOptimizersConfig {
            default_segment_number: Some(SEGMENTS),
            max_segment_size: Some(SEGMENT_MAX_KB),
            indexing_threshold: Some(INDEXING_THRESHOLD_KB),
            ..EdgeOptimizersConfig::default()
        };
        EngineConfig::builder()
            .hnsw_config(hnsw)
            .quantization_config(int8())
            .optimizers(optimizers)
            // One search runs on its caller's thread; several run beside each other.
            .max_search_threads(1)
            .build()
    }
}

/// Graphs walk int8 components that stay in memory: a quarter of the templates' size.
#[expect(deprecated, reason = "the engine's struct has a deprecated field and no constructor")]
fn int8() -> QuantizationConfig {
    let scalar = ScalarQuantizationConfig {
        r#type: ScalarType::Int8,
        quantile: Some(0.99),
        always_ram: None,
        memory: Some(Memory::Pinned),
    };
    scalar.into()
}

/// The shape of the parts' graphs. One for all placements of an index: the engine has it for a shard, not for a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GraphShape {
    /// Links of a face, up to twice as many on the lowest level. Some 2 to 4 bytes each.
    pub payload_m: usize,
    /// Beam width while building.
    pub ef_construct: usize,
}

impl GraphShape {
    /// The shape for parts of up to so many faces.
    ///
    /// At 20,000 faces and `ef` 256, recall@10 of strangers is 0.99 with the smaller shape and 1.00 with the larger; at a
    /// million the smaller one leaves mates (0.7 %) that are never found, at any effort, and the larger one leaves
    /// none. It takes three times as long to build (1 ms a face on one core, a fiftieth of what embedding a face takes) and
    /// twice the links, so the smaller one is for parts that are scanned anyway.
    #[must_use]
    pub const fn for_largest_part(faces: u64) -> Self {
        if faces <= 10_000 {
            Self { payload_m: 16, ef_construct: 128 }
        } else {
            Self { payload_m: 32, ef_construct: 256 }
        }
    }
}
