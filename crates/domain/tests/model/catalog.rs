//! The catalog: the collection's retention rule and placements as they are, and as others may still believe them to be.

use std::time::Duration;

use vidimus_domain::placements::Placements;
use vidimus_domain::retention::Retention;
use vidimus_domain::{FaceModelName, Placement, UnixMillis};

use crate::models::face_model;

/// The longest that a rule is believed after another has replaced it.
pub const LEASE: Duration = Duration::from_secs(5);

/// The same for placements. Longer than a move of a few records takes, so that whoever does not wait for it is found out.
pub const PLACEMENTS_LEASE: Duration = Duration::from_secs(60);

/// When another rule was decided upon, and when it was in the store.
#[derive(Clone, Copy)]
pub struct Replaced {
    pub decided_at: UnixMillis,
    pub at: UnixMillis,
}

/// One state of the rule.
#[derive(Default)]
struct State {
    retention: Retention,
    replaced: Option<Replaced>,
    /// Whether whoever set it was told that it holds.
    answered: bool,
}

/// The states that the rule has had, the last one in force.
pub struct Catalog(Vec<State>);

impl Default for Catalog {
    fn default() -> Self {
        Self(vec![State::default()])
    }
}

impl Catalog {
    /// The rule in force and the number of its state.
    pub fn current(&self) -> (Retention, usize) {
        let last = self.0.len() - 1;
        (self.0[last].retention, last)
    }

    /// Replaces exactly the state of that number. Returns the new one's, unless somebody else was faster.
    pub fn put(&mut self, retention: Retention, over: usize, replaced: Replaced) -> Option<usize> {
        if over + 1 != self.0.len() {
            return None;
        }
        self.0[over].replaced = Some(replaced);
        self.0.push(State { retention, ..State::default() });
        Some(over + 1)
    }

    pub fn answered(&mut self, number: usize) {
        self.0[number].answered = true;
    }

    /// Every rule that somebody may act by now.
    pub fn believed(&self, now: UnixMillis) -> impl Iterator<Item = &Retention> {
        self.believed_states(now).map(|state| &state.retention)
    }

    fn believed_states(&self, now: UnixMillis) -> impl Iterator<Item = &State> {
        self.0
            .iter()
            .filter(move |state| state.replaced.is_none_or(|replaced| now.since(replaced.at) < LEASE))
    }

    /// Faces enrolled at or before this may have gone by some rule.
    pub fn cutoff_any(&self, now: UnixMillis) -> Option<UnixMillis> {
        self.believed(now).filter_map(|retention| retention.cutoffs(now).faces).max()
    }

    /// Faces enrolled at or before this must be gone: somebody was told so. What comes after another rule was decided upon
    /// is that one's.
    pub fn cutoff_answered(&self, now: UnixMillis) -> Option<UnixMillis> {
        let answered = self.believed_states(now).filter(|state| state.answered);
        let cutoffs = answered.filter_map(|state| {
            let latest = state.replaced.map_or(UnixMillis::NEVER, |replaced| replaced.decided_at);
            state.retention.cutoffs(now).faces.map(|cutoff| cutoff.min(latest))
        });
        cutoffs.max()
    }
}

/// The states that the placements have had, the last one in force; each with the time at which another one replaced it.
pub struct PlacementHistory(Vec<(Placements, Option<UnixMillis>)>);

impl Default for PlacementHistory {
    fn default() -> Self {
        let first = "p0".parse().expect("it is a placement");
        Self(vec![(Placements::only(face_model(0), first), None)])
    }
}

impl PlacementHistory {
    /// The placements in force and the number of their state.
    pub fn current(&self) -> (&Placements, usize) {
        let last = self.0.len() - 1;
        (&self.0[last].0, last)
    }

    /// Replaces exactly the state of that number. False where somebody else was faster.
    pub fn put(&mut self, placements: Placements, over: usize, now: UnixMillis) -> bool {
        if over + 1 != self.0.len() {
            return false;
        }
        self.0[over].1 = Some(now);
        self.0.push((placements, None));
        true
    }

    /// The face model whose templates a placement holds, or held last.
    pub fn face_model_in(&self, placement: &Placement) -> Option<&FaceModelName> {
        let written = self.0.iter().rev().flat_map(|(placements, _)| placements.written());
        written.filter(|(of, _)| *of == placement).map(|(_, model)| model).next()
    }

    /// All that somebody may go by now.
    pub fn believed(&self, now: UnixMillis) -> impl Iterator<Item = &Placements> {
        self.believed_for(now, PLACEMENTS_LEASE)
    }

    /// All that somebody may go by now who believes what was read for so long.
    pub fn believed_for(&self, now: UnixMillis, lease: Duration) -> impl Iterator<Item = &Placements> {
        let is_believed = move |at: Option<UnixMillis>| at.is_none_or(|at| now.since(at) < lease);
        let believed = self.0.iter().filter(move |(_, at)| is_believed(*at));
        believed.map(|(placements, _)| placements)
    }
}
