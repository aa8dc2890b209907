//! Moves between index collections as messages.

use vidimus_proto::internal::v1;
use vidimus_proto::internal::v1::r#move::Stage;

use super::DecodeError;
use crate::ids::FaceModelName;
use crate::placements::{Left, Move, MoveStage};
use crate::time::UnixMillis;

/// A move as it is written, of a collection of that face model.
pub(super) fn move_to_proto(moving: &Move, face_model: &FaceModelName) -> v1::Move {
    let stage = match moving.stage {
        MoveStage::Filling => Stage::Filling,
        MoveStage::Leaving => Stage::Leaving,
    };
    let other_model = Some(&moving.face_model).filter(|other| *other != face_model);
    v1::Move {
        other: moving.other.to_string(),
        stage: stage.into(),
        began_at_ms: moving.began_at.get(),
        face_model: other_model.map(ToString::to_string).unwrap_or_default(),
    }
}

pub(super) fn move_from_proto(proto: v1::Move, face_model: &FaceModelName) -> Result<Move, DecodeError> {
    let stage = match proto.stage() {
        Stage::Unspecified => return Err(DecodeError::Field("stage")),
        Stage::Filling => MoveStage::Filling,
        Stage::Leaving => MoveStage::Leaving,
    };
    let is_same = proto.face_model.is_empty();
    Ok(Move {
        other: proto.other.parse()?,
        face_model: if is_same { face_model.clone() } else { proto.face_model.parse()? },
        stage,
        began_at: UnixMillis::new(proto.began_at_ms),
    })
}

pub(super) fn left_to_proto(left: &Left) -> v1::LeftPlacement {
    v1::LeftPlacement {
        placement: left.placement.to_string(),
        left_at_ms: left.left_at.get(),
        cleared_at_ms: left.cleared_at.map(UnixMillis::get),
    }
}

pub(super) fn left_from_proto(proto: v1::LeftPlacement) -> Result<Left, DecodeError> {
    Ok(Left {
        placement: proto.placement.parse()?,
        left_at: UnixMillis::new(proto.left_at_ms),
        cleared_at: proto.cleared_at_ms.map(UnixMillis::new),
    })
}
