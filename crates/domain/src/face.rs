//! A face as the encoder sees it.

use crate::geometry::{BoundingBox, Landmarks};
use crate::template::Template;

/// Rotation of the head in degrees, each −180 to 180.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Pose {
    /// About the axis towards the viewer: positive is clockwise in the image.
    pub roll: f32,
    /// To the side: positive looks to the right of the image.
    pub yaw: f32,
    /// Up and down: positive looks up.
    pub pitch: f32,
}

/// What makes a face fit to enrol; each 0 to 100.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Quality {
    /// Mean luma of the aligned face.
    pub brightness: f32,
    /// How much fine detail the aligned face has.
    pub sharpness: f32,
}

/// A detected face with its template.
#[derive(Clone, Debug, PartialEq)]
pub struct DetectedFace {
    /// Where it is.
    pub bounding_box: BoundingBox,
    /// Five landmarks.
    pub landmarks: Landmarks,
    /// The detector's confidence, 0 to 1.
    pub confidence: f32,
    /// Head pose, where the encoder measures it.
    pub pose: Option<Pose>,
    /// Quality, where the encoder measures it.
    pub quality: Option<Quality>,
    /// The embedding.
    pub template: Template,
}
