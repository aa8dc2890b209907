//! [`BlobStore`](vidimus_ports::BlobStore) and [`EventLog`](vidimus_ports::EventLog) on a directory: what the embedded
//! mode stands on.
//!
//! [`Directory`] locks the place, so that one process at a time works in it. [`FileBlobStore`] keeps one file for each
//! object and puts by rename. [`FileEventLog`] keeps segment files for each partition. Both answer only when what they
//! did is synced, and both go through one small seam, so that their tests can cut the power.

mod blob_store;
mod directory;
mod disk;
mod error;
mod folders;
#[doc(hidden)]
pub mod fuzzing;
mod lanes;
mod layout;
mod log;
mod object;
mod photo_source;
mod photo_walk;
#[cfg(test)]
mod simulated;
mod space;
mod walk;

pub use blob_store::FileBlobStore;
pub use directory::Directory;
pub use error::OpenError;
pub use log::{FileEventLog, LogOptions};
pub use photo_source::FilePhotoSource;
