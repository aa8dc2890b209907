//! The auditor: sees every write and every answer, and knows what must never be.

use std::collections::{BTreeMap, BTreeSet};

use vidimus_domain::record::{FaceBody, IOU_SAME_FACE, Record, State};
use vidimus_domain::retention::Horizon;
use vidimus_domain::{FaceId, FaceNumber, ImageId, UnixMillis, Version};

use crate::world::Cause;

/// What can be broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Invariant {
    /// What was acknowledged becomes searchable.
    I2,
    /// What is deleted or expired never matches again, and is not enrolled again by a retry.
    I3,
    /// One record, no duplicates, compare-and-swap alone.
    I4,
    /// Versions of points only grow.
    I5,
    /// Templates of different models are never compared.
    I7,
    /// Nothing is left of what was to go.
    I9,
    /// A record's photo is there (rule 7).
    Photo,
    /// A face has one user at most, and none that is deleted.
    Users,
    /// The processes come to rest.
    Rest,
}

/// What was broken, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    pub invariant: Invariant,
    pub what: String,
}

/// What an enrolment request did.
#[derive(Default)]
struct Effect {
    enrolled: bool,
    accepted: bool,
    answered: Option<Vec<FaceId>>,
}

/// When a face was enrolled and when it expires by its own.
#[derive(Clone, Copy)]
struct Born {
    enrolled_at: UnixMillis,
    expires_at: UnixMillis,
}

#[derive(Default)]
pub struct Auditor {
    violation: Option<Violation>,
    /// Every face ever written to a record.
    born: BTreeMap<FaceId, Born>,
    /// Faces that a rule has let go which somebody was told of, and since when.
    aged: BTreeMap<FaceId, UnixMillis>,
    /// Faces that some rule has let go.
    let_go: BTreeSet<FaceId>,
    /// Acknowledged enrolments.
    acknowledged: BTreeSet<FaceId>,
    deletion_asked: BTreeSet<FaceId>,
    /// Acknowledged deletions and when.
    deleted: BTreeMap<FaceId, UnixMillis>,
    requests: BTreeMap<u64, Effect>,
    /// Images whose bulk acceptance was acknowledged, and the latest version of the record that this was said of.
    taken: BTreeMap<ImageId, Version>,
    /// Faces that a search has answered, and when first.
    found: BTreeMap<FaceId, UnixMillis>,
}

impl Auditor {
    pub fn broken(&mut self, invariant: Invariant, what: String) {
        self.violation.get_or_insert(Violation { invariant, what });
    }

    pub fn first_broken(&self) -> Option<&Violation> {
        self.violation.as_ref()
    }

    pub fn deletion_asked(&mut self, face: FaceId) {
        self.deletion_asked.insert(face);
    }

    pub fn deletion_answered(&mut self, face: FaceId, now: UnixMillis) {
        self.deleted.entry(face).or_insert(now);
    }

    /// A request that was first sent at `issued_at` is answered.
    pub fn enrolment_answered(&mut self, request: u64, issued_at: UnixMillis, faces: &[FaceId]) {
        for face in faces {
            let dead = self.dead_at(issued_at).find(|(dead, _)| dead == face).map(|(_, why)| why);
            if let Some(why) = dead {
                self.broken(
                    Invariant::I3,
                    format!("a new enrolment was answered with {face}, which {why} before"),
                );
            }
            if !self.born.contains_key(face) {
                self.broken(
                    Invariant::I2,
                    format!("an enrolment was answered with {face}, which no record has had"),
                );
            }
        }
        let answered = self.requests.entry(request).or_default().answered.replace(faces.to_vec());
        if answered.is_some_and(|answered| answered != faces) {
            self.broken(
                Invariant::I4,
                format!("enrolment {request} was answered with other faces than before"),
            );
        }
        self.acknowledged.extend(faces);
    }

    /// Somebody was told that the photo is taken: the record had it at that version.
    pub fn acceptance_answered(&mut self, image: ImageId, version: Version) {
        let latest = self.taken.entry(image).or_default();
        *latest = version.max(*latest);
    }

    /// Images of which somebody was told that they are taken.
    pub fn taken(&self) -> impl Iterator<Item = ImageId> {
        self.taken.keys().copied()
    }

    /// Whether the photo waits and somebody was told that it is taken: it may not do so for ever. Nobody may count on one
    /// that is brought in again, after all that was told, until that is told too.
    pub fn is_awaited(&self, record: &Record) -> bool {
        let told = self.taken.get(&record.origin.image);
        record.state == State::Accepted && told.is_some_and(|told| *told >= record.version)
    }

    /// A search that began then has found these faces, and no others.
    pub fn searched(&mut self, began: UnixMillis, now: UnixMillis, faces: &BTreeSet<FaceId>) {
        let dead = self.dead_at(began).find(|(face, _)| faces.contains(face));
        if let Some((face, why)) = dead {
            self.broken(Invariant::I3, format!("a search found {face}, which {why} before it began"));
        }
        let known = self.found.iter().filter(|(_, at)| **at < began).map(|(face, _)| *face);
        let stays = |face: &FaceId| {
            let expired = self.born.get(face).is_some_and(|born| born.expires_at <= now);
            !expired && !self.deletion_asked.contains(face) && !self.let_go.contains(face)
        };
        let vanished = known.filter(|face| !faces.contains(face)).find(stays);
        if let Some(face) = vanished {
            self.broken(Invariant::I2, format!("a search did not find {face}, which one before it found"));
        }
        for face in faces {
            self.found.entry(*face).or_insert(now);
        }
    }

    /// Faces that must not match at `now`, and why.
    pub fn dead_at(&self, now: UnixMillis) -> impl Iterator<Item = (FaceId, &'static str)> {
        let deleted = self.deleted.iter().filter(move |(_, at)| **at <= now);
        let expired = self.born.iter().filter(move |(_, born)| born.expires_at <= now);
        let aged = self.aged.iter().filter(move |(_, at)| **at <= now);
        let aged = aged.map(|(face, _)| (*face, "was too old"));
        let expired = expired.map(|(face, _)| (*face, "had expired"));
        deleted.map(|(face, _)| (*face, "was deleted")).chain(expired).chain(aged)
    }

    /// Acknowledged faces that nobody asked to delete and that have not expired: they must become searchable.
    pub fn owed(&self, now: UnixMillis) -> impl Iterator<Item = FaceId> {
        let wanted = self.acknowledged.difference(&self.deletion_asked).copied();
        let kept = wanted.filter(|face| !self.let_go.contains(face));
        kept.filter(move |face| self.born.get(face).is_none_or(|born| now < born.expires_at))
    }

    /// Faces enrolled at or before the first cutoff must be gone from `now` on, those up to the second one may be.
    pub fn time_passes(&mut self, now: UnixMillis, answered: Option<UnixMillis>, any: Option<UnixMillis>) {
        for (face, born) in &self.born {
            if Some(born.enrolled_at) <= answered {
                self.aged.entry(*face).or_insert(now);
            }
            if Some(born.enrolled_at) <= any {
                self.let_go.insert(*face);
            }
        }
    }

    /// Whether the face goes by itself some time.
    pub fn expires(&self, face: FaceId) -> bool {
        self.born.get(&face).is_some_and(|born| born.expires_at < UnixMillis::NEVER)
    }

    /// Whether some rule has let the face go.
    pub fn is_let_go(&self, face: FaceId) -> bool {
        self.let_go.contains(&face)
    }

    pub fn live_point_written(&mut self, face: FaceId, expires_at: UnixMillis) {
        if self.born.get(&face).is_none_or(|born| expires_at > born.expires_at) {
            self.broken(Invariant::I3, format!("the point of {face} expires later than its face"));
        }
    }

    /// A record was written over another or over none.
    pub fn record_written(&mut self, before: Option<&Record>, after: &Record, cause: Cause) {
        if let Some(before) = before {
            self.check_succession(before, after);
        }
        self.check_no_duplicates(after);
        let had = |number| before.is_some_and(|before| before.face(number).is_some());
        let new =
            after.faces.iter().map(|face| face.number).filter(|number| !had(*number)).collect::<Vec<_>>();
        self.check_births(after, &new);
        if let Cause::Acceptance(request) = cause {
            let effect = self.requests.entry(request).or_default();
            if std::mem::replace(&mut effect.accepted, true) {
                self.broken(Invariant::I3, format!("bulk acceptance {request} took effect twice"));
            }
        }
        if let Cause::Enrolment(request) = cause {
            let effect = self.requests.entry(request).or_default();
            let again = std::mem::replace(&mut effect.enrolled, true);
            if again && !new.is_empty() {
                self.broken(Invariant::I3, format!("enrolment {request} took effect twice"));
            }
        }
    }

    fn check_succession(&mut self, before: &Record, after: &Record) {
        if after.version <= before.version || after.next_number < before.next_number {
            self.broken(Invariant::I4, format!("the record {} went back", after.origin.image));
        }
        for face in &before.faces {
            let id = before.face_id(face.number);
            match after.face(face.number) {
                None => self.broken(Invariant::I4, format!("{id} vanished from its record")),
                Some(now) if now.version < face.version => {
                    self.broken(Invariant::I4, format!("{id} went back in its record"));
                }
                Some(now) if matches!(face.body, FaceBody::Erased { .. }) && now.live().is_some() => {
                    self.broken(Invariant::I3, format!("{id} was erased and lives again"));
                }
                Some(_) => {}
            }
        }
    }

    fn check_no_duplicates(&mut self, record: &Record) {
        let live = record.live_faces(Horizon::without_rule(record.changed_at)).collect::<Vec<_>>();
        for (place, (face, body)) in live.iter().enumerate() {
            for (other, other_body) in &live[place + 1..] {
                let iou = body.detected.bounding_box.iou(&other_body.detected.bounding_box);
                if iou >= IOU_SAME_FACE || face.number == other.number {
                    let what = format!("{} has one face twice", record.origin.image);
                    self.broken(Invariant::I4, what);
                }
            }
        }
    }

    fn check_births(&mut self, record: &Record, new: &[FaceNumber]) {
        for number in new {
            let id = record.face_id(*number);
            let live = record.face(*number).and_then(|face| face.live());
            let expires_at = live.and_then(|live| live.expires_at).unwrap_or(UnixMillis::NEVER);
            let enrolled_at = record.face(*number).map_or(UnixMillis::NEVER, |face| face.enrolled_at);
            if self.born.insert(id, Born { enrolled_at, expires_at }).is_some() {
                self.broken(Invariant::I3, format!("{id} came to mean another face"));
            }
        }
    }
}
