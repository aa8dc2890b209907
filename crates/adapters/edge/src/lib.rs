//! [`FaceIndex`](vidimus_ports::FaceIndex) on Qdrant Edge, the engine of Qdrant in process.
//!
//! One folder for each placement under a root, one engine shard in it. A face is a point whose id is the face's; a
//! live one has the vector `face` and a payload, an erased one no vector and no `part`. Every part
//! (a tenant's collection) has an HNSW graph of its own: `m = 0, payload_m > 0` and a tenant index on `part`.
//!
//! * **Writes** are conditional (I5): the engine compares versions and parts under its own lock.
//! * **Searches** take the effort that the part's size needs ([`SearchEffort`]); small parts are scanned. Scores are
//!   dot products of the stored 32-bit components, so the vector's distance is `Dot` and a template comes back
//!   as it was written, bit by bit.
//! * **Durability**: a write that returned survives `kill -9` (the engine's log is written through the page cache);
//!   against power loss it needs [`flush`](vidimus_ports::FaceIndex::flush). The engine runs nothing by itself, so
//!   whoever commits on the index's word flushes on a timer.
//! * **Optimising** (graphs, merging, vacuuming) runs on one thread of the adapter's own while reads and writes go on.
//! * **The process that opens the root** sees to it that no other does: the engine has no lock.

mod config;
mod disk;
mod effort;
mod error;
mod filter;
mod index;
mod optimizer;
mod payload;
mod reads;
mod shard;
mod writes;

pub use config::{EdgeConfig, GraphShape};
pub use effort::SearchEffort;
pub use error::EdgeError;
pub use index::EdgeIndex;
pub use shard::PlacementStatistics;
