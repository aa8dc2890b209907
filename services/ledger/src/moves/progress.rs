//! How far a move is, for administrators.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use vidimus_domain::catalog::Collection;
use vidimus_domain::placements::MoveStage;
use vidimus_domain::{ErrorCode, Failure, ImageId};

use super::destination;
use crate::retries::MayPass;

/// Whether a move goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MoveState {
    /// This process drives it.
    UnderWay,
    /// It has come to its end.
    Done,
    /// It was given up, and the collection stays where it is: `failure` says why, where nobody asked for it.
    GivenUp,
    /// It stopped; begun again, it is taken up where it stands. Where something was away, that is done later by itself.
    Stopped,
    /// The catalog has it, and this process does not drive it: another one does, or this one takes it up soon after its start.
    Standing,
    /// There is none.
    None,
}

/// What is being done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MoveStep {
    /// Waiting until every process writes to both placements.
    Beginning,
    /// Looking whether there is a photo of every face that is to be embedded anew.
    Checking,
    /// Photos are said on the log, and embedded anew.
    Embedding,
    /// Records are said on the log.
    Saying,
    /// Indexing projects what was said.
    Projecting,
    /// Records are compared with the target's points.
    Comparing,
    /// Reads have switched; waiting until nobody reads what was.
    Leaving,
}

/// How far a move is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MoveProgress {
    /// Whether it goes on.
    pub state: MoveState,
    /// What is being done, or was last.
    pub step: MoveStep,
    /// Where the collection was.
    pub from: String,
    /// Where it goes.
    pub to: String,
    /// The face model that it had.
    #[serde(default)]
    pub from_model: String,
    /// The face model that it will have.
    #[serde(default)]
    pub to_model: String,
    /// Records that were said on the log, those that were said again too.
    pub said_records: u64,
    /// Records that were compared with the target's points.
    pub compared_records: u64,
    /// Records that differed after the first projection and were said again.
    pub differences: u64,
    /// Why it stopped; empty where it did not.
    #[serde(default)]
    pub failure: String,
}

impl MoveProgress {
    /// Of the move that the catalog has.
    pub(super) fn standing(collection: &Collection) -> Self {
        let placements = &collection.placements;
        let read = (&placements.read, &placements.face_model);
        let (state, step, from, to) = match &placements.moving {
            None => (MoveState::None, MoveStep::Beginning, read, read),
            Some(moving) => {
                let other = (&moving.other, &moving.face_model);
                let from = if moving.stage == MoveStage::Filling { read } else { other };
                (MoveState::Standing, step_of(moving.stage), from, destination(collection, moving))
            }
        };
        Self {
            state,
            step,
            from: from.0.to_string(),
            to: to.0.to_string(),
            from_model: from.1.to_string(),
            to_model: to.1.to_string(),
            said_records: 0,
            compared_records: 0,
            differences: 0,
            failure: String::new(),
        }
    }
}

const fn step_of(stage: MoveStage) -> MoveStep {
    match stage {
        MoveStage::Filling => MoveStep::Beginning,
        MoveStage::Leaving => MoveStep::Leaving,
    }
}

/// Counts while a move is driven.
pub(crate) struct Counts {
    progress: Mutex<MoveProgress>,
    /// The records that the comparison under way found to differ.
    differing: Mutex<Vec<ImageId>>,
    /// It stopped because something was away.
    may_pass: AtomicBool,
}

impl Counts {
    pub(super) fn new(standing: MoveProgress) -> Self {
        let progress = Mutex::new(MoveProgress { state: MoveState::UnderWay, ..standing });
        Self { progress, differing: Mutex::default(), may_pass: AtomicBool::new(false) }
    }

    fn locked(&self) -> MutexGuard<'_, MoveProgress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn progress(&self) -> MoveProgress {
        self.locked().clone()
    }

    pub(super) fn at(&self, stage: MoveStage) {
        self.step(step_of(stage));
    }

    pub(super) fn step(&self, step: MoveStep) {
        self.locked().step = step;
    }

    pub(super) fn said(&self, records: u64) {
        self.locked().said_records += records;
    }

    pub(crate) fn compared(&self, records: u64) {
        self.locked().compared_records += records;
    }

    pub(crate) fn differed(&self, image: ImageId) {
        self.locked().differences += 1;
        self.differing.lock().unwrap_or_else(PoisonError::into_inner).push(image);
    }

    pub(crate) fn take_differing(&self) -> Vec<ImageId> {
        std::mem::take(&mut *self.differing.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether it stopped because something was away, which may be over by now.
    pub(super) fn may_pass(&self) -> bool {
        self.may_pass.load(Ordering::Relaxed)
    }

    pub(super) fn end(&self, driven: Result<(), Failure>) {
        let mut progress = self.locked();
        match driven {
            Ok(()) => progress.state = MoveState::Done,
            Err(failure) => {
                // What cannot be done was given up.
                let is_refused = failure.code == ErrorCode::InvalidParameter;
                progress.state = if is_refused { MoveState::GivenUp } else { MoveState::Stopped };
                self.may_pass.store(failure.may_pass(), Ordering::Relaxed);
                progress.failure = failure.message;
            }
        }
    }
}
