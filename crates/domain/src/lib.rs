//! What Vidimus is about, as values and pure functions: ids, templates, scores, the record and its transitions,
//! limits and error codes. No IO, no clock, no randomness: whatever a function needs of these it is given.
//!
//! The rules of the record (`record`) are those that ARCHITECTURE.md numbers; the seeded model in `tests/model`
//! runs these very functions through crashes, sleeps and retries.

pub mod blob_key;
pub mod catalog;
pub mod codec;
pub mod error;
pub mod event;
pub mod face;
#[doc(hidden)]
pub mod fuzzing;
pub mod geometry;
pub mod ids;
pub mod limits;
pub mod placements;
pub mod point;
pub mod quality;
pub mod record;
pub mod retention;
pub mod score;
pub mod template;
pub mod time;
pub mod user;

pub use error::{ErrorCode, Failure};
pub use ids::{
    AccessKeyId, CollectionName, CollectionUid, ExternalImageId, FaceId, FaceModelName, FaceNumber, ImageId,
    Nonce, Part, Placement, RequestId, TenantId, TenantName, UserId, Version,
};
pub use template::Template;
pub use time::UnixMillis;
