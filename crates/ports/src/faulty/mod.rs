//! Wrappers that fail, for the tests of the roles: delay, error, crash before or after the effect, a write that is lost
//! unless flushed, a writer that sleeps.
//!
//! Each port has one decorator. It names the [`Stage`] of every call to an [`Interference`] twice, before and after
//! the effect, and does as it says: a [`FaultPlan`] delays, fails or holds calls, by script or by seed; a [`StageHook`]
//! tells the test, which may note the stage or kill the process there. [`FlushedOnly`] is an index that loses power.

mod blob_store;
mod event_log;
mod face_encoder;
mod face_index;
mod flushed_only;
mod plan;
mod stage;

pub use blob_store::FaultyBlobStore;
pub use event_log::FaultyEventLog;
pub use face_encoder::FaultyFaceEncoder;
pub use face_index::FaultyFaceIndex;
pub use flushed_only::FlushedOnly;
pub use plan::{Fault, FaultPlan, FaultRates, Gate};
pub use stage::{BlobKind, Interference, Moment, Stage, StageHook};

#[cfg(test)]
mod tests;
