//! What the index holds of a face: a projection of its record.

use crate::geometry::BoundingBox;
use crate::ids::{ExternalImageId, FaceId, Part, Placement, UserId, Version};
use crate::retention::Horizon;
use crate::template::Template;
use crate::time::UnixMillis;

/// The galleries' address in the index: whose faces, and in which index collection (so of which face model, I7).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Gallery {
    /// The tenant's collection.
    pub part: Part,
    /// The index collection that holds it.
    pub placement: Placement,
}

/// A face's point. It is written only over an older version of the same part (I5).
#[derive(Clone, Debug, PartialEq)]
pub struct Point {
    /// Its id.
    pub face: FaceId,
    /// The version of the face that it shows.
    pub version: Version,
    /// What it shows.
    pub body: PointBody,
}

/// A face that can match, or the mark of one that cannot any more.
#[derive(Clone, Debug, PartialEq)]
pub enum PointBody {
    /// Searchable until it expires.
    Live(LivePoint),
    /// Without vector and part; it stays for a day, so that no late writer brings the face back.
    Erased {
        /// When the face was erased.
        erased_at: UnixMillis,
    },
}

/// The searchable form.
#[derive(Clone, Debug, PartialEq)]
pub struct LivePoint {
    /// The vector.
    pub template: Template,
    /// When the face was enrolled.
    pub enrolled_at: UnixMillis,
    /// From this time on it does not match; [`UnixMillis::NEVER`] where there is no expiry.
    pub expires_at: UnixMillis,
    /// What an answer shows of it.
    pub shown: ShownFace,
}

impl LivePoint {
    /// Whether it can match then.
    #[must_use]
    pub fn is_shown_at(&self, horizon: Horizon) -> bool {
        horizon.shows(self.enrolled_at, self.expires_at)
    }
}

/// All that an answer shows of a face, so that no answer needs its record.
#[derive(Clone, Debug, PartialEq)]
pub struct ShownFace {
    /// Where it is in its image.
    pub bounding_box: BoundingBox,
    /// The detector's confidence, 0 to 1.
    pub confidence: f32,
    /// The client's name for the image.
    pub external_image_id: Option<ExternalImageId>,
    /// The user that the face belongs to, with the user's generation.
    pub user: Option<(UserId, u64)>,
}
