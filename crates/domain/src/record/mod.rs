//! The record: one object for each enrolled photo, the truth about its faces.
//!
//! It changes only by compare-and-swap, and every transition is a pure function: record × request × now → record or
//! refusal. The rules that the functions keep are those of ARCHITECTURE.md, "The record":
//!
//! * versions only grow (1), numbers are given once (2), a request that is remembered never enrols again (4);
//! * erasing removes the template and everything measured on the face (6), and the photo goes with the last face (7);
//! * what has expired counts as erased (8).

mod associate;
mod bulk;
mod enrol;
mod erase;
mod merge;
mod models;
mod projection;

use std::time::Duration;

use crate::face::DetectedFace;
use crate::ids::{
    ExternalImageId, FaceId, FaceModelName, FaceNumber, ImageId, Nonce, Part, RequestId, UserId, Version,
};
use crate::retention::{Cutoffs, Horizon};
use crate::time::{ERASED_KEPT, READ_FRESH, UnixMillis};

pub use associate::{Association, associate, disassociate, without_stale};
pub use bulk::{Acceptance, BulkPhoto, ReadyFace, accept, embedded, import, refuse, set_aside, try_again};
pub use enrol::{Enrolled, Enrolment, IOU_SAME_FACE, enrol};
pub use erase::{Erasure, erase, expire};
pub use merge::{merge, must_be_remembered, with_named_claims};
pub use models::{MadeTemplates, OtherTemplate, WantedModels, with_models};
pub use projection::{Projection, projection};

/// Why a photo is refused that no embedding worker took before its time had come.
pub const EXPIRED: &str = "its retention ended before it was embedded";

/// What a record is of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Whose it is.
    pub part: Part,
    /// Its photo's id, which names the record.
    pub image: ImageId,
    /// The face model that its faces' templates are of (I7).
    pub face_model: FaceModelName,
    /// The client's name for the photo. Where there is one, the image id can be derived again.
    pub external_image_id: Option<ExternalImageId>,
}

/// Names a photo's object. The nonce is its attempt's, so a key is never used twice (rule 7).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PhotoKey {
    /// `yyyy-mm-dd`, UTC.
    pub day: String,
    /// The attempt's.
    pub nonce: Nonce,
    /// When it was put: its retention counts from here.
    pub put_at: UnixMillis,
}

impl PhotoKey {
    /// The key of a photo that is put now.
    #[must_use]
    pub fn new(now: UnixMillis, nonce: Nonce) -> Self {
        Self { day: now.day(), nonce, put_at: now }
    }
}

/// Where a record stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// The photo is stored and waits to be embedded.
    Accepted,
    /// At least one face is live.
    Enrolled,
    /// It had no face, or was no photo; or it was set aside, and then it still has its photo.
    Refused(String),
    /// No live face is left; a husk.
    Erased,
}

/// An enrolment that this record took part in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RememberedRequest {
    /// Its id.
    pub id: RequestId,
    /// When it enrolled.
    pub at: UnixMillis,
    /// The faces that it enrolled or found; none where its photo was accepted and waits, or was refused.
    pub faces: Vec<FaceNumber>,
}

/// A face of the record.
#[derive(Clone, Debug, PartialEq)]
pub struct Face {
    /// Its number, given once.
    pub number: FaceNumber,
    /// The version at which it last changed.
    pub version: Version,
    /// When it was enrolled.
    pub enrolled_at: UnixMillis,
    /// What is left of it.
    pub body: FaceBody,
}

/// A face, or what erasure leaves.
#[derive(Clone, Debug, PartialEq)]
pub enum FaceBody {
    /// It can match until it expires.
    Live(LiveFace),
    /// It cannot match any more.
    Erased {
        /// Since when.
        at: UnixMillis,
    },
}

/// A face that is not erased.
#[derive(Clone, Debug, PartialEq)]
pub struct LiveFace {
    /// As the encoder saw it; its template is of the record's face model.
    pub detected: DetectedFace,
    /// A template of another face model, while its collection turns from one to the other.
    pub other_template: Option<OtherTemplate>,
    /// From this time on it counts as erased.
    pub expires_at: Option<UnixMillis>,
    /// The user that it is claimed for, with the user's generation.
    pub user: Option<(UserId, u64)>,
    /// The client's name for this very face, where it came as a ready template; else the record's name is its own.
    pub external_image_id: Option<ExternalImageId>,
}

/// A photo's record.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// What it is of.
    pub origin: Origin,
    /// Where it stands.
    pub state: State,
    /// The largest version given so far.
    pub version: Version,
    /// The stored photo, while the record needs it.
    pub photo: Option<PhotoKey>,
    /// Photos that are to be removed from the store.
    pub photos_to_remove: Vec<PhotoKey>,
    /// Every face ever given a number, in order.
    pub faces: Vec<Face>,
    /// The number that the next new face gets.
    pub next_number: u32,
    /// The enrolments of the last day.
    pub requests: Vec<RememberedRequest>,
    /// Marks the write that made this state (rule 5).
    pub nonce: Nonce,
    /// When it was last changed.
    pub changed_at: UnixMillis,
}

/// One write of a record: when, and how its writer knows it again.
#[derive(Clone, Copy, Debug)]
pub struct Write {
    /// Now.
    pub now: UnixMillis,
    /// Fresh for every attempt.
    pub nonce: Nonce,
    /// What has expired for its age. The rule may be older than the write: what has expired stays so.
    pub cutoffs: Cutoffs,
}

impl Write {
    /// The faces that are live for this write.
    #[must_use]
    pub const fn horizon(&self) -> Horizon {
        self.cutoffs.horizon(self.now)
    }
}

/// Why a transition is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The record remembers as many requests of the last day as it may.
    #[error("this photo was enrolled too often within a day")]
    TooManyRequests,
    /// Every number was given.
    #[error("this photo has been given every face number that there is")]
    NumbersExhausted,
    /// No template, or more than a record takes.
    #[error("an import has 1 to 1,000 templates a record")]
    TemplatesOutOfRange,
    /// The record's faces have no templates of the face model that the new ones are of (I7).
    #[error("this photo's faces are of another face model")]
    OtherFaceModel,
    /// The transition does not exist from this state.
    #[error("the record is not in a state for this")]
    WrongState,
}

impl LiveFace {
    /// A face as it was detected, of no user.
    #[must_use]
    pub const fn new(detected: DetectedFace) -> Self {
        Self { detected, other_template: None, expires_at: None, user: None, external_image_id: None }
    }
}

impl Face {
    /// The live part, whether expired or not.
    #[must_use]
    pub const fn live(&self) -> Option<&LiveFace> {
        match &self.body {
            FaceBody::Live(live) => Some(live),
            FaceBody::Erased { .. } => None,
        }
    }

    /// The live part, where it can match then.
    #[must_use]
    pub fn live_at(&self, horizon: Horizon) -> Option<&LiveFace> {
        self.live()
            .filter(|live| horizon.shows(self.enrolled_at, live.expires_at.unwrap_or(UnixMillis::NEVER)))
    }

    fn has_expired(&self, horizon: Horizon) -> bool {
        self.live().is_some() && self.live_at(horizon).is_none()
    }
}

impl Record {
    /// A record before its first write.
    fn begun(origin: Origin, write: Write) -> Self {
        Self {
            origin,
            state: State::Erased,
            version: Version::default(),
            photo: None,
            photos_to_remove: Vec::new(),
            faces: Vec::new(),
            next_number: 1,
            requests: Vec::new(),
            nonce: write.nonce,
            changed_at: write.now,
        }
    }

    /// The face of that number.
    #[must_use]
    pub fn face(&self, number: FaceNumber) -> Option<&Face> {
        self.faces.iter().find(|face| face.number == number)
    }

    /// The id of one of its faces.
    #[must_use]
    pub fn face_id(&self, number: FaceNumber) -> FaceId {
        self.origin.image.face(number)
    }

    /// The client's name for what this face came from.
    #[must_use]
    pub fn external_image_id_of<'a>(&'a self, live: &'a LiveFace) -> Option<&'a ExternalImageId> {
        live.external_image_id.as_ref().or(self.origin.external_image_id.as_ref())
    }

    /// The faces that can match then.
    pub fn live_faces(&self, horizon: Horizon) -> impl Iterator<Item = (&Face, &LiveFace)> {
        self.faces.iter().filter_map(move |face| face.live_at(horizon).map(|live| (face, live)))
    }

    /// The stored photo, unless its time has come.
    #[must_use]
    pub fn photo_kept(&self, cutoffs: Cutoffs) -> Option<&PhotoKey> {
        self.photo.as_ref().filter(|photo| !cutoffs.has_photo_expired(photo.put_at))
    }

    /// What `request` enrolled or found here, where it is remembered (rule 4).
    #[must_use]
    pub fn remembered(&self, request: &RequestId) -> Option<&RememberedRequest> {
        self.requests.iter().find(|remembered| remembered.id == *request)
    }

    /// Whether the photo waits to be embedded, as the one that `request` brought. Not where that has had its faces, which are
    /// gone, and somebody else has brought the photo in again: it would be told nothing until it is forgotten (rule 4).
    #[must_use]
    pub fn waits_for(&self, request: &RequestId) -> bool {
        let has_had_faces = self.remembered(request).is_some_and(|own| !own.faces.is_empty());
        matches!(self.state, State::Accepted) && !has_had_faces
    }

    /// Whether all that is left of it may go: it is a husk, its day has passed, no request of the day is remembered, and
    /// its image id cannot be derived again (rule 6).
    #[must_use]
    pub fn is_husk_to_remove(&self, now: UnixMillis) -> bool {
        // One that was set aside has its photo, to be tried again.
        let settled = matches!(self.state, State::Erased | State::Refused(_)) && self.photo.is_none();
        let underivable = self.origin.external_image_id.is_none();
        let quiet = now.since(self.changed_at) >= ERASED_KEPT;
        settled && underivable && quiet && self.requests_kept(now).next().is_none()
    }

    /// Those of the last day, and those that wait for the photo to be embedded, however long that takes.
    fn requests_kept(&self, now: UnixMillis) -> impl Iterator<Item = &RememberedRequest> {
        let waiting = matches!(self.state, State::Accepted);
        self.requests.iter().filter(move |request| {
            now.since(request.at) < ERASED_KEPT || (waiting && request.faces.is_empty())
        })
    }

    /// What every transition does first: the next version (rule 1), the write's mark, old requests forgotten, expired
    /// faces erased and an expired photo named for removal (rule 8).
    fn next(&self, write: Write) -> Self {
        let now_ms = u64::try_from(write.now.get()).unwrap_or(0);
        let mut next = self.clone();
        next.version = Version::new(now_ms.max(self.version.get() + 1));
        next.nonce = write.nonce;
        next.changed_at = write.now;
        next.requests = self.requests_kept(write.now).cloned().collect();
        let expired = next.faces.iter().filter(|face| face.has_expired(write.horizon()));
        for number in expired.map(|face| face.number).collect::<Vec<_>>() {
            next.erase_face(number, write.now);
        }
        next.drop_expired_photo(write.cutoffs);
        next.settle();
        next
    }

    /// Names a photo for removal whose time has come; faces that were enrolled from it stay. One that still waited to be
    /// embedded never will be.
    fn drop_expired_photo(&mut self, cutoffs: Cutoffs) {
        if self.photo.is_some() && self.photo_kept(cutoffs).is_none() {
            self.photos_to_remove.extend(self.photo.take());
            if matches!(self.state, State::Accepted) {
                self.state = State::Refused(EXPIRED.to_owned());
                self.answer_waiting(&[]);
            }
        }
    }

    /// The requests that waited for this photo have their answer now: their day counts from here.
    fn answer_waiting(&mut self, faces: &[FaceNumber]) {
        let now = self.changed_at;
        for request in self.requests.iter_mut().filter(|request| request.faces.is_empty()) {
            request.at = now;
            request.faces = faces.to_vec();
        }
    }

    /// Removes all but number, version and times of a live face.
    fn erase_face(&mut self, number: FaceNumber, now: UnixMillis) {
        let version = self.version;
        if let Some(face) = self.faces.iter_mut().find(|face| face.number == number) {
            face.version = version;
            face.body = FaceBody::Erased { at: now };
        }
    }

    /// Makes the state follow from the faces: without a live one the record is erased and its photo is to go (rule 7).
    fn settle(&mut self) {
        if matches!(self.state, State::Enrolled) && self.faces.iter().all(|face| face.live().is_none()) {
            self.state = State::Erased;
            self.photos_to_remove.extend(self.photo.take());
        }
    }
}

/// Whether a writer may still commit what it decided upon a read at `read_at` (rules 7 and 9).
#[must_use]
pub fn is_fresh(read_at: UnixMillis, now: UnixMillis) -> bool {
    // A margin for the write itself.
    now.since(read_at) < READ_FRESH.saturating_sub(Duration::from_secs(60))
}
