//! [`BlobStore`](vidimus_ports::BlobStore) and [`PhotoSource`](vidimus_ports::PhotoSource) on S3 and on servers that speak
//! its protocol.
//!
//! [`S3Bucket`] is the connection to one bucket: time-outs, retries, credentials, encryption. [`S3BlobStore`] keeps the
//! service's objects there by conditional puts, [`S3PhotoSource`] reads what lies there. [`S3BlobStore::check`] says at the
//! start whether the server does what the store stands on.

mod blob_store;
mod bucket;
mod check;
mod client;
mod config;
mod error;
mod listing;
mod location;
mod multipart;
mod names;
mod photo_source;
mod read;
mod retry;
mod versions;
mod write;

pub use blob_store::S3BlobStore;
pub use bucket::S3Bucket;
pub use check::{BucketReport, Versioning};
pub use config::{S3Config, Sse, Timeouts};
pub use error::S3Error;
pub use location::S3Location;
pub use photo_source::S3PhotoSource;
