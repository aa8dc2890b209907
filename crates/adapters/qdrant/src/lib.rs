//! [`FaceIndex`](vidimus_ports::FaceIndex) on Qdrant, over gRPC.
//!
//! One Qdrant collection for each placement. A face is a point whose id is the face's; a live one has the vector `face` and a
//! payload, an erased one no vector and no `part`. Every part (a tenant's collection) has an HNSW graph of its own:
//! `m = 0, payload_m > 0` and a tenant index on `part`.
//!
//! * **Writes** are conditional (I5): the server compares versions and parts. They wait until they are applied, go through the
//!   shard's leader, and count only when a majority of the replicas has them.
//! * **Reads** are what a majority of the replicas says.
//! * **The part** is put into every filter in one place, the module `filter` (I1); a point fetched by its id is checked for it.
//! * **Searches** take the effort that the part's size needs ([`SearchEffort`]); small parts are scanned. The size is counted
//!   beside the search, not before it.
//! * **Durability**: a write that returned survives `kill -9` of the server. Against power loss the server flushes on a timer
//!   that this crate sets, so a flush covers what was written some time ago ([`QdrantConfig::durable_after`]), and only while
//!   the connection to each named host has held. Every other connection than the first is a loss
//!   ([`losses`](vidimus_ports::FaceIndex::losses)): the server behind it may have come back without its tail. So the
//!   hosts are named one by one and reached directly, or through what passes connections on, never through a proxy that
//!   keeps a connection open while the server behind it changes.
//! * **Calls** go through the client's generated stubs and not through its `Qdrant` type, which reconnects and tries again without
//!   a word. Each try has a deadline, goes to the next host where one is away, and there are few of them.

mod address;
mod config;
mod connection;
mod counts;
mod durability;
mod effort;
mod error;
mod filter;
mod index;
mod layout;
mod payload;
mod reads;
mod request;
mod writes;

pub use address::Address;
pub use config::{GraphShape, QdrantConfig};
pub use effort::SearchEffort;
pub use error::QdrantError;
pub use index::{QdrantDeps, QdrantIndex};
