//! What the roles ask of the outside: six traits, each with one public conformance suite that every adapter
//! passes, and faulty wrappers for the tests of the roles.
//!
//! A role takes `Arc<dyn Port>` and never names a backend. Every port is object-safe, has few methods, and its
//! errors say *kind, retry-after, source*.

pub mod blob_store;
pub mod clock;
pub mod conformance;
pub mod consumer_group;
pub mod error;
pub mod event_log;
pub mod face_encoder;
pub mod face_index;
pub mod faulty;
pub mod memory;
pub mod photo_source;
pub mod random;

pub use blob_store::{Blob, BlobEntry, BlobStore, Etag, PutCondition};
pub use clock::{Clock, ManualClock, SystemClock};
pub use error::{PortError, PortErrorKind, PortResult};
pub use event_log::{
    Append, Committed, EventLog, Header, LogRecord, Position, Subscription, Topic, TopicState,
};
pub use face_encoder::{EncodedPhoto, EncoderError, Encoders, FaceEncoder};
pub use face_index::{Candidate, FaceIndex, Hits, IndexSearch, ListedPoint, Listing, RemoveIf, StoredSearch};
pub use photo_source::{Found, PhotoSource, SourceEntry, SourceObject};
pub use random::{Random, SeededRandom, SystemRandom};
