//! What the auditor knows of users.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use vidimus_domain::point::PointBody;
use vidimus_domain::retention::Horizon;
use vidimus_domain::user::{Claim, User, UserKey};
use vidimus_domain::{FaceId, UnixMillis, UserId};

use crate::audit::Invariant;
use crate::blobs::Put;
use crate::random::hours;
use crate::rules::Rule;
use crate::users::key;
use crate::world::World;

/// An effect of a request that has ended may still land for so long.
const LANDS_WITHIN: Duration = hours(10);

/// A request that takes faces from a user: all of them, or these.
struct Taking {
    user: UserId,
    faces: Option<Vec<FaceId>>,
    ended_at: Rc<Cell<Option<UnixMillis>>>,
}

/// Held by the server of such a request: it tells when the server has ended, however it did.
pub struct Ends {
    pub process: crate::executor::Process,
    pub ended_at: Rc<Cell<Option<UnixMillis>>>,
}

impl Drop for Ends {
    fn drop(&mut self) {
        // A server that dies is dropped while the world is borrowed by nobody.
        self.ended_at.set(Some(self.process.now()));
    }
}

#[derive(Default)]
pub struct UserAuditor {
    /// Generations up to which a user is gone for good: it was said to be deleted, or to be created anew.
    gone: BTreeMap<UserId, u64>,
    /// Acknowledged associations that nobody has asked to undo.
    owed: BTreeMap<FaceId, Claim>,
    takings: Vec<Taking>,
}

impl UserAuditor {
    /// Somebody asks to take faces from a user.
    pub fn taking(&mut self, user: &UserId, faces: Option<&[FaceId]>) -> Rc<Cell<Option<UnixMillis>>> {
        let takes = |face: &FaceId| faces.is_none_or(|faces| faces.contains(face));
        self.owed.retain(|face, claim| claim.0 != *user || !takes(face));
        let ended_at = Rc::new(Cell::new(None));
        let faces = faces.map(<[FaceId]>::to_vec);
        self.takings.push(Taking { user: user.clone(), faces, ended_at: Rc::clone(&ended_at) });
        ended_at
    }

    /// No face may show the user as it was up to this generation.
    pub fn gone(&mut self, user: &UserId, generation: u64) {
        let gone = self.gone.entry(user.clone()).or_default();
        *gone = generation.max(*gone);
    }

    fn associated(&mut self, claim: &Claim, faces: &[FaceId], began: UnixMillis) {
        let disturbs = |face: &FaceId, taking: &Taking| {
            let touches =
                taking.user == claim.0 && taking.faces.as_ref().is_none_or(|faces| faces.contains(face));
            touches && taking.ended_at.get().is_none_or(|at| began < at.plus(LANDS_WITHIN))
        };
        for face in faces {
            if !self.takings.iter().any(|taking| disturbs(face, taking)) {
                self.owed.insert(*face, claim.clone());
            }
        }
    }
}

impl World {
    /// Writes a user over exactly the state of that tag, or over none.
    pub fn put_user(&mut self, key: UserKey, user: &User, over: Option<u64>) -> Put {
        let put = self.blobs.put_user(key, user, over, self.keeps(Rule::CompareAndSwap));
        if put == Put::Done {
            self.check_users();
            if self.random.chance(self.faults.won_but_conflict) {
                return Put::Conflict;
            }
        }
        put
    }

    /// No claim outlives its reservation, none of a user that is gone is left, and none that is owed is missing.
    pub fn check_users(&mut self) {
        if !self.users_are_there {
            return;
        }
        let mut broken = Vec::new();
        for record in self.blobs.records() {
            for face in &record.faces {
                let id = record.face_id(face.number);
                let Some(claim) = face.live().and_then(|live| live.user.as_ref()) else { continue };
                let user = self.blobs.user(key(&claim.0)).map(|(user, _)| user);
                let names = |user: &User| user.generation == claim.1 && user.faces.contains(&id);
                if !user.as_ref().is_some_and(names) {
                    broken.push(format!("{id} is claimed for {claim:?}, which does not name it"));
                }
                if self.users.gone.get(&claim.0).is_some_and(|gone| claim.1 <= *gone) {
                    broken.push(format!("{id} is claimed for {claim:?}, which is deleted"));
                }
            }
        }
        broken.extend(self.missing_associations());
        for what in broken {
            self.audit.broken(Invariant::Users, what);
        }
    }

    fn missing_associations(&self) -> impl Iterator<Item = String> {
        let holds = |face: &FaceId| {
            let record = self.blobs.record(face.image()).map(|(record, _)| record)?;
            record.face(face.number()?)?.live_at(Horizon::without_rule(self.now))?.user.clone()
        };
        let owed = self.users.owed.iter().filter(|(face, _)| !self.audit.is_let_go(**face));
        let missing = owed.filter(move |(face, claim)| holds(face).as_ref() != Some(claim));
        missing.map(|(face, claim)| format!("{face} was associated with {claim:?} and is not its own"))
    }

    /// An association that began at `began` was acknowledged. Faces that expire by themselves are owed nothing.
    pub fn associated(&mut self, claim: &Claim, faces: &[FaceId], began: UnixMillis) {
        let lasting = faces.iter().copied().filter(|face| !self.audit.expires(*face)).collect::<Vec<_>>();
        self.users.associated(claim, &lasting, began);
        if !self.users.owed.is_empty() {
            self.count("an association was acknowledged");
        }
        self.check_users();
    }

    /// No face that a search finds shows a user that is gone.
    pub fn watch_users(&mut self) {
        let shows = |point: &&vidimus_domain::point::Point| match &point.body {
            PointBody::Live(live) => live.shown.user.as_ref().is_some_and(|(user, generation)| {
                self.users.gone.get(user).is_some_and(|gone| generation <= gone)
            }),
            PointBody::Erased { .. } => false,
        };
        let read = &self.placements.current().0.read;
        let found =
            self.index.points(read).filter(shows).map(|point| point.face).find(|face| self.matches(*face));
        if let Some(face) = found {
            self.audit.broken(Invariant::Users, format!("{face} shows a user that is deleted"));
        }
    }

    /// At rest a search shows the users that were acknowledged.
    pub fn check_shown_users(&mut self) {
        let read = &self.placements.current().0.read;
        let shown = |face: &FaceId| match &self.index.point(read, *face)?.body {
            PointBody::Live(live) => live.shown.user.clone(),
            PointBody::Erased { .. } => None,
        };
        let unlike =
            |(face, claim): &(&FaceId, &Claim)| self.matches(**face) && shown(face).as_ref() != Some(*claim);
        let found = self.users.owed.iter().find(unlike).map(|(face, claim)| (*face, claim.clone()));
        if let Some((face, claim)) = found {
            self.audit.broken(Invariant::Users, format!("{face} does not show {claim:?}"));
        }
    }
}
