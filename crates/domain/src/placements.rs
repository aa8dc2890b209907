//! Where a collection's points lie, and how they come from one index collection into another while the service answers.
//!
//! A move goes through these states of the catalog, each written by compare-and-swap. One lease after a state was written every
//! process believes it or a later one; only then is it acted upon.
//!
//! | state | written to | read | what is done one lease later |
//! |---|---|---|---|
//! | none | A | A | |
//! | to B, [`MoveStage::Filling`] | A and B | A | every record is said on the log; records are compared with B; reads switch |
//! | from A, [`MoveStage::Leaving`] | B and A | B | A is left |
//! | none, A is left | B | B | A is cleared, and cleared again until nothing can come there any more |
//!
//! A and B may be of two face models: then a face has a template of each while both are written to ([`crate::record::with_models`]),
//! B is filled with those of its own, and with the reads the collection's face model switches. What the old one's templates were is
//! taken out of the records before A is left.
//!
//! The index knows no fencing: a write, or a removal, that slept may come late, by less than a day (an hour for what was read, the rest
//! for the call). So a placement that was left is cleared once more when nothing can be written there any more, and is entered
//! again only when no such clearing can be on its way. Until then a move goes elsewhere; a target needs no clearing, since it is
//! clean.

use std::time::Duration;

use crate::ids::{CollectionUid, FaceModelName, InvalidId, Placement};
use crate::time::{ERASED_KEPT, READ_FRESH, UnixMillis};

/// Placements that a collection may have left and that may not be clean yet. Past it no move begins.
pub const LEFT_MAX: usize = 8;

/// By then a call that goes by what was read before has come, or never comes: the day of a call, and the hour of a read once more
/// for clocks.
const COME: Duration = ERASED_KEPT.saturating_add(READ_FRESH);

/// The index collections of a collection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placements {
    /// The one that is searched, listed and counted.
    pub read: Placement,
    /// The face model whose templates that one holds (I7): the collection's.
    pub face_model: FaceModelName,
    /// The move under way.
    pub moving: Option<Move>,
    /// Those that it has left, where something may still come late.
    pub left: Vec<Left>,
}

/// A move under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Move {
    /// The placement that is written to besides the one that is read.
    pub other: Placement,
    /// The face model whose templates that one holds (I7).
    pub face_model: FaceModelName,
    /// How far it is.
    pub stage: MoveStage,
    /// When it began; with `other` it tells one move from the next.
    pub began_at: UnixMillis,
}

/// How far a move is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MoveStage {
    /// The other placement is the target: it is being filled.
    Filling,
    /// Reads have switched: the other placement is the one that was read before.
    Leaving,
}

/// A placement that was left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Left {
    /// Which.
    pub placement: Placement,
    /// From then on nobody began to write there.
    pub left_at: UnixMillis,
    /// When it had been cleared after the last write that could come.
    pub cleared_at: Option<UnixMillis>,
}

/// Why no move begins.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MoveRefusal {
    /// Another one is under way.
    #[error("the collection is being moved already, to or from {other}")]
    UnderWay {
        /// The placement besides the one that is read.
        other: Placement,
    },
    /// It is there.
    #[error("the collection lies in {0} already")]
    There(Placement),
    /// Something may come late there.
    #[error(
        "the collection has left {0} lately: what may come late there is cleared away first, which takes about two days"
    )]
    LeftLately(Placement),
    /// Too many are not clean yet.
    #[error(
        "the collection has left {LEFT_MAX} placements within about two days: what may come late there is cleared away first"
    )]
    LeftTooMany,
}

impl Placements {
    /// Of a collection that was never moved.
    #[must_use]
    pub const fn only(face_model: FaceModelName, read: Placement) -> Self {
        Self { read, face_model, moving: None, left: Vec::new() }
    }

    /// Those that every projection is written to, each with the face model whose templates it holds: the one that is read first.
    pub fn written(&self) -> impl Iterator<Item = (&Placement, &FaceModelName)> {
        let other = self.moving.as_ref().map(|moving| (&moving.other, &moving.face_model));
        std::iter::once((&self.read, &self.face_model)).chain(other)
    }

    /// The face models that a face needs templates of: the collection's first, and the other one's of a move.
    #[must_use]
    pub fn face_models(&self) -> Vec<&FaceModelName> {
        let mut models: Vec<_> = self.written().map(|(_, model)| model).collect();
        models.dedup();
        models
    }

    /// The face model whose templates a placement holds that is written to; the collection's for any other.
    #[must_use]
    pub fn face_model_in(&self, placement: &Placement) -> &FaceModelName {
        let written = self.written().find(|(written, _)| *written == placement);
        written.map_or(&self.face_model, |(_, model)| model)
    }

    /// Begins a move into a placement for templates of that face model: from now on both are written to.
    ///
    /// # Errors
    /// Where one is under way, or the target may not be entered now.
    pub fn begun(
        &self,
        (target, face_model): (&Placement, &FaceModelName),
        now: UnixMillis,
    ) -> Result<Self, MoveRefusal> {
        if let Some(moving) = &self.moving {
            return Err(MoveRefusal::UnderWay { other: moving.other.clone() });
        }
        if self.read == *target {
            return Err(MoveRefusal::There(target.clone()));
        }
        if self.left.iter().any(|left| left.placement == *target) {
            return Err(MoveRefusal::LeftLately(target.clone()));
        }
        if self.left.len() >= LEFT_MAX {
            return Err(MoveRefusal::LeftTooMany);
        }
        let (other, face_model) = (target.clone(), face_model.clone());
        let moving = Move { other, face_model, stage: MoveStage::Filling, began_at: now };
        Ok(Self { moving: Some(moving), ..self.clone() })
    }

    /// Switches reads to the target of this move, and to its face model; none where it is not being filled any more.
    #[must_use]
    pub fn switched(&self, of: &Move) -> Option<Self> {
        let moving = self.is_under_way(of, MoveStage::Filling)?;
        let leaving = Move {
            other: self.read.clone(),
            face_model: self.face_model.clone(),
            stage: MoveStage::Leaving,
            began_at: moving.began_at,
        };
        let (read, face_model) = (moving.other.clone(), moving.face_model.clone());
        Some(Self { read, face_model, moving: Some(leaving), left: self.left.clone() })
    }

    /// Ends this move: the placement that was read before is left. None where it is not at that stage.
    #[must_use]
    pub fn finished(&self, of: &Move, now: UnixMillis) -> Option<Self> {
        self.is_under_way(of, MoveStage::Leaving).map(|moving| self.leaving(&moving.other, now))
    }

    /// Gives this move up: its target is left. None where reads have switched.
    #[must_use]
    pub fn cancelled(&self, of: &Move, now: UnixMillis) -> Option<Self> {
        self.is_under_way(of, MoveStage::Filling).map(|moving| self.leaving(&moving.other, now))
    }

    /// Something of the collection was found where nothing should be: it is cleared as if it had been left now.
    #[must_use]
    pub fn found_in(&self, placement: &Placement, now: UnixMillis) -> Self {
        let known = self.written().any(|(written, _)| written == placement)
            || self.left.iter().any(|left| left.placement == *placement);
        if known {
            self.clone()
        } else {
            Self { moving: self.moving.clone(), ..self.leaving(placement, now) }
        }
    }

    /// Those that are to be cleared. Whoever acts upon it must have read it less than an hour ago.
    pub fn to_clear(&self) -> impl Iterator<Item = &Placement> {
        let open = self.left.iter().filter(|left| left.cleared_at.is_none());
        open.map(|left| &left.placement)
    }

    /// After a clearing of `placement` that began and succeeded at these times: none where that changes nothing, because something may
    /// yet be written there.
    #[must_use]
    pub fn cleared(&self, placement: &Placement, (began_at, now): (UnixMillis, UnixMillis)) -> Option<Self> {
        let mut after = self.clone();
        let left = after.left.iter_mut().find(|left| left.placement == *placement)?;
        let is_last = left.cleared_at.is_none() && began_at.since(left.left_at) >= COME;
        is_last.then(|| left.cleared_at = Some(now))?;
        Some(after)
    }

    /// Without those that may be entered again: no clearing of them is on its way any more. None where there is none.
    #[must_use]
    pub fn tidied(&self, now: UnixMillis) -> Option<Self> {
        let is_kept = |left: &&Left| left.cleared_at.is_none_or(|at| now.since(at) < COME);
        let left: Vec<_> = self.left.iter().filter(is_kept).cloned().collect();
        (left.len() < self.left.len()).then(|| Self { left, ..self.clone() })
    }

    fn is_under_way(&self, of: &Move, stage: MoveStage) -> Option<&Move> {
        self.moving.as_ref().filter(|moving| *moving == of && moving.stage == stage)
    }

    fn leaving(&self, placement: &Placement, now: UnixMillis) -> Self {
        let mut left = self.left.clone();
        left.push(Left { placement: placement.clone(), left_at: now, cleared_at: None });
        Self { moving: None, left, ..self.clone() }
    }
}

impl FaceModelName {
    /// The index collections that the model's collections share: `NAME` is the first, where a new collection is; then `NAME.2`, ….
    ///
    /// # Errors
    /// Where the name gets too long.
    pub fn shared_placement(&self, number: usize) -> Result<Placement, InvalidId> {
        if number <= 1 { self.as_str().parse() } else { format!("{self}.{number}").parse() }
    }

    /// The index collections for one collection alone: `NAME.UID` is the first, then `NAME.UID.2`, ….
    ///
    /// # Errors
    /// Where the name gets too long.
    pub fn own_placement(&self, uid: CollectionUid, number: usize) -> Result<Placement, InvalidId> {
        if number <= 1 { format!("{self}.{uid}").parse() } else { format!("{self}.{uid}.{number}").parse() }
    }

    /// Where a new collection's points come: into an index collection of its own where it `is_alone`, else where those of other new
    /// collections of the model do.
    ///
    /// # Errors
    /// Where the name gets too long.
    pub fn first_placement(&self, uid: CollectionUid, is_alone: bool) -> Result<Placement, InvalidId> {
        if is_alone { self.own_placement(uid, 1) } else { self.shared_placement(1) }
    }

    /// Whether the placement is named as one of this model's: an index collection holds templates of one model (I7).
    #[must_use]
    pub fn may_be_in(&self, placement: &Placement) -> bool {
        let rest = placement.as_str().strip_prefix(self.as_str());
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.') && rest.len() > 1)
    }
}

impl Placement {
    /// The collection that is alone in this placement, by its name; none for one that collections share.
    #[must_use]
    pub fn owner(&self) -> Option<CollectionUid> {
        let (rest, last) = self.as_str().rsplit_once('.')?;
        let is_number = last.bytes().all(|byte| byte.is_ascii_digit());
        let uid = if is_number { rest.rsplit_once('.')?.1 } else { last };
        uid.parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const T0: UnixMillis = UnixMillis::new(1_760_000_000_000);

    fn placement(name: &str) -> Placement {
        name.parse().unwrap()
    }

    fn model(name: &str) -> FaceModelName {
        name.parse().unwrap()
    }

    fn only(name: &str) -> Placements {
        Placements::only(model("model"), placement(name))
    }

    fn begun(placements: &Placements, target: &str) -> Result<Placements, MoveRefusal> {
        placements.begun((&placement(target), &model("model")), T0)
    }

    fn written(placements: &Placements) -> Vec<&str> {
        placements.written().map(|(placement, _)| placement.as_str()).collect()
    }

    #[test]
    fn a_move_goes_its_way() {
        let before = only("a");
        assert_eq!(written(&before), ["a"]);
        let filling = begun(&before, "b").unwrap();
        assert_eq!((filling.read.as_str(), written(&filling)), ("a", vec!["a", "b"]));
        let of_filling = filling.moving.clone().unwrap();
        assert_eq!(filling.finished(&of_filling, T0), None, "reads have not switched");
        let leaving = filling.switched(&of_filling).unwrap();
        assert_eq!((leaving.read.as_str(), written(&leaving)), ("b", vec!["b", "a"]));
        let of_leaving = leaving.moving.clone().unwrap();
        assert_eq!(leaving.switched(&of_filling), None, "it has switched already");
        assert_eq!(leaving.cancelled(&of_leaving, T0), None, "it is too late to give it up");
        let after = leaving.finished(&of_leaving, T0).unwrap();
        assert_eq!((after.read.as_str(), written(&after)), ("b", vec!["b"]));
        assert_eq!(after.to_clear().collect::<Vec<_>>(), [&placement("a")]);
    }

    #[test]
    fn face_models_switch_with_the_reads() {
        let filling = only("a").begun((&placement("b"), &model("newer")), T0).unwrap();
        assert_eq!(filling.face_models(), [&model("model"), &model("newer")]);
        assert_eq!(filling.face_model_in(&placement("b")), &model("newer"));
        let leaving = filling.switched(filling.moving.as_ref().unwrap()).unwrap();
        assert_eq!(leaving.face_models(), [&model("newer"), &model("model")]);
        assert_eq!(leaving.face_model_in(&placement("a")), &model("model"));
        let after = leaving.finished(leaving.moving.as_ref().unwrap(), T0).unwrap();
        assert_eq!(after.face_models(), [&model("newer")]);
        let given_up = filling.cancelled(filling.moving.as_ref().unwrap(), T0).unwrap();
        assert_eq!(given_up.face_models(), [&model("model")]);
        assert_eq!(begun(&only("a"), "b").unwrap().face_models(), [&model("model")], "one for both");
    }

    #[test]
    fn a_move_that_is_given_up_leaves_its_target() {
        let filling = begun(&only("a"), "b").unwrap();
        let given_up = filling.cancelled(filling.moving.as_ref().unwrap(), T0).unwrap();
        assert_eq!(written(&given_up), ["a"]);
        assert_eq!(given_up.to_clear().collect::<Vec<_>>(), [&placement("b")]);
        let again =
            filling.cancelled(&Move { began_at: T0.plus(COME), ..filling.moving.clone().unwrap() }, T0);
        assert_eq!(again, None, "that is another move");
    }

    #[test]
    fn a_placement_that_was_left_is_entered_again_only_when_nothing_can_come_late() {
        let given_up = {
            let filling = begun(&only("a"), "b").unwrap();
            filling.cancelled(filling.moving.as_ref().unwrap(), T0).unwrap()
        };
        let b = placement("b");
        assert_eq!(begun(&given_up, "b"), Err(MoveRefusal::LeftLately(b.clone())));
        assert_eq!(begun(&given_up, "a"), Err(MoveRefusal::There(placement("a"))));
        let early = T0.plus(COME).minus(Duration::from_millis(1));
        assert_eq!(given_up.cleared(&b, (early, T0.plus(COME))), None, "a write may come yet");
        let cleared_at = T0.plus(COME);
        let cleared = given_up.cleared(&b, (cleared_at, cleared_at)).unwrap();
        assert_eq!(cleared.to_clear().count(), 0);
        assert_eq!(cleared.cleared(&b, (cleared_at, cleared_at)), None, "once");
        assert_eq!(cleared.tidied(cleared_at), None, "a clearing may come yet");
        let tidied = cleared.tidied(cleared_at.plus(COME)).unwrap();
        assert!(tidied.begun((&b, &model("model")), cleared_at.plus(COME)).is_ok());
    }

    #[test]
    fn no_more_than_a_few_are_left_at_a_time() {
        let mut placements = only("a");
        for number in 0..LEFT_MAX {
            placements = placements.found_in(&placement(&format!("b{number}")), T0);
            placements = placements.found_in(&placement(&format!("b{number}")), T0);
        }
        assert_eq!(placements.left.len(), LEFT_MAX);
        assert_eq!(placements.found_in(&placement("a"), T0), placements, "there it belongs");
        assert_eq!(begun(&placements, "c"), Err(MoveRefusal::LeftTooMany));
    }

    #[test]
    fn names_of_placements_begin_with_their_models() {
        let model: FaceModelName = "sface-2021dec".parse().unwrap();
        let uid = CollectionUid::from_random([7; 16]);
        for number in [1, 2, 3] {
            let (shared, own) =
                (model.shared_placement(number).unwrap(), model.own_placement(uid, number).unwrap());
            assert!(model.may_be_in(&shared) && model.may_be_in(&own));
            assert_eq!((own.owner(), shared.owner()), (Some(uid), None));
        }
        for other in ["sface", "sface-2021dec2", "sface-2021dec.", "x.sface-2021dec"] {
            assert!(!model.may_be_in(&placement(other)), "{other}");
        }
    }
}
