//! Ports in memory: fakes for the unit tests of the roles. They pass the conformance suites, are lost with the
//! process, and serve nothing else.

mod blob_store;
mod event_log;
mod face_index;
mod photo_source;

pub use blob_store::MemoryBlobStore;
pub use event_log::MemoryEventLog;
pub use face_index::MemoryFaceIndex;
pub use photo_source::MemoryPhotoSource;
