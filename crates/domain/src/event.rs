//! What the log carries: ids and versions, never a template or a photo.

use std::time::Duration;

use crate::ids::{FaceId, FaceNumber, ImageId, Part, UserId, Version};
use crate::time::UnixMillis;

/// The record of an image has changed. Whoever gets it reads the record as it is now, so duplicates, replays and
/// disorder do no harm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Whose it is.
    pub part: Part,
    /// Which.
    pub image: ImageId,
    /// Faces and the versions that were seen; needed only where the record is gone.
    pub seen: Vec<(FaceNumber, Version)>,
    /// When it was said.
    pub at: UnixMillis,
}

/// A photo was accepted and waits to be embedded. Whoever gets it reads the record as it is now, so here too duplicates and
/// disorder do no harm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AcceptedPhoto {
    /// Whose it is.
    pub part: Part,
    /// Which.
    pub image: ImageId,
    /// When it was said.
    pub at: UnixMillis,
}

/// Who did what to a collection.
#[derive(Clone, Debug, PartialEq)]
pub struct Audit {
    /// Whose collection.
    pub part: Part,
    /// Its name.
    pub collection: String,
    /// The request's id, as the client was told.
    pub request_id: String,
    /// The access key's id.
    pub principal: String,
    /// When.
    pub at: UnixMillis,
    /// What.
    pub what: AuditedAction,
}

/// What was done.
#[derive(Clone, Debug, PartialEq)]
pub enum AuditedAction {
    /// A search, with all that its answer named (I8).
    Search {
        /// What was searched for.
        probe: Probe,
        /// Candidates had at least this cosine.
        threshold_cosine: f32,
        /// Candidates at most.
        faces_max: u32,
        /// Faces in the collection then.
        gallery_faces: u64,
        /// The answer's candidates with their cosines.
        candidates: Vec<(FaceId, f32)>,
    },
    /// An enrolment.
    Enrolment {
        /// The photo's id.
        image: ImageId,
        /// The faces that it enrolled or found.
        faces: Vec<FaceNumber>,
    },
    /// A deletion.
    Deletion {
        /// The faces that are erased.
        faces: Vec<FaceId>,
    },
    /// Somebody was given the photo of a face.
    PhotoRead {
        /// The face.
        face: FaceId,
    },
    /// A user was changed.
    UserChange {
        /// How.
        change: UserChange,
        /// The user.
        user: UserId,
        /// The faces that are concerned.
        faces: Vec<FaceId>,
    },
    /// The collection's retention rule was changed to this.
    RetentionChange {
        /// How long faces are kept; none: until they are deleted.
        faces_kept: Option<Duration>,
        /// How long photos are kept; none: as long as their faces.
        photos_kept: Option<Duration>,
    },
    /// The ledger erased faces, or a photo, because their time had come.
    Expiry {
        /// The faces that are erased.
        faces: Vec<FaceId>,
        /// Where only the photo went: its image.
        photo_of: Option<ImageId>,
    },
    /// A search for users, with all that its answer named (I8).
    UserSearch(UserSearch),
}

/// What was done to a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UserChange {
    /// It was made.
    Created,
    /// It was deleted.
    Deleted,
    /// Faces were given to it.
    Associated,
    /// Faces were taken from it.
    Disassociated,
}

/// A search for users.
#[derive(Clone, Debug, PartialEq)]
pub struct UserSearch {
    /// What was searched for.
    pub probe: UserProbe,
    /// Candidates had at least this cosine.
    pub threshold_cosine: f32,
    /// Users at most.
    pub users_max: u32,
    /// Faces that were searched then: those of the collection that have a user.
    pub gallery_faces: u64,
    /// The answer's users.
    pub candidates: Vec<UserCandidate>,
}

/// What a search for users was for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UserProbe {
    /// A stored face.
    Face(FaceId),
    /// Every face of a user.
    User(UserId),
    /// A photo, by its BLAKE3 digest.
    Photo([u8; 32]),
}

/// A user that an answer named.
#[derive(Clone, Debug, PartialEq)]
pub struct UserCandidate {
    /// Its id.
    pub user: UserId,
    /// Its face that scored best.
    pub face: FaceId,
    /// That face's cosine.
    pub cosine: f32,
}

/// What a search was for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probe {
    /// A stored face.
    Face(FaceId),
    /// A photo, by its BLAKE3 digest.
    Photo([u8; 32]),
}
