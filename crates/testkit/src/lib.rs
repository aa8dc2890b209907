//! A service whose ports are wrapped, for tests that kill it and cut its power; and what benchmarks are made of.
//!
//! `vidimus-under-test` is `vidimus serve` with three wrappers that the environment turns on:
//!
//! * [`strike`]: the process kills itself (SIGKILL) at a stage of the record's way, or notes the stage that it is at, so
//!   that a test that kills it from outside knows what it struck;
//! * [`snapshots`]: after every flush of the index its directory is copied, so that a test can put back what a power loss
//!   would have left: everything that was flushed and nothing else;
//! * [`ahead`]: the process is one format version ahead, so that a test can run two versions side by side.
//!
//! `vidimus-gallery` and `vidimus-load` are what benchmarks are made of: [`gallery`] fills a directory with synthetic faces,
//! [`load`] searches them and measures. `qdrant-dev` is a Qdrant server where there is none: [`qdrant_dev`].

pub mod ahead;
pub mod gallery;
pub mod load;
pub mod qdrant_dev;
pub mod snapshots;
pub mod strike;
