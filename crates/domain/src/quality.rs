//! Which faces are fit to enrol or to search with: the quality filter, its thresholds and its reasons.
//!
//! Amazon Rekognition documents the names of the filters and reasons (IndexFaces, `QualityFilter` and `UnindexedFace`), and not
//! what they refuse. What they refuse here is the table below.

use vidimus_proto::internal::v1;

use crate::face::DetectedFace;
use crate::geometry::BoundingBox;

/// How much a caller asks of a face.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum QualityFilter {
    /// Nothing is refused.
    #[default]
    None,
    /// Refuses what hardly matches anything.
    Low,
    /// Refuses what matches less well.
    Medium,
    /// Keeps faces that look at the camera, lit and in focus.
    High,
}

/// Why a face is not enrolled or not searched with. The names are those of the Rekognition API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reason {
    /// More faces than the caller wants are better or larger.
    ExceedsMaxFaces,
    /// Turned to the side, up or down.
    ExtremePose,
    /// Too dark.
    LowBrightness,
    /// Blurred, or enlarged from few pixels.
    LowSharpness,
    /// The detector is not sure that it is a face.
    LowConfidence,
    /// Too few pixels.
    SmallBoundingBox,
    /// All of it together: nothing is bad enough alone.
    LowFaceQuality,
    /// Only the largest face of a photo is searched with.
    FaceNotLargest,
}

/// Width and height of a photo or of a part of it, in pixels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SizePx {
    /// Width.
    pub width: f32,
    /// Height.
    pub height: f32,
}

/// What a face must have; beyond the limit it is refused.
#[derive(Clone, Copy, Debug)]
struct Thresholds {
    /// The larger of yaw and pitch, in degrees either way. Roll does not count: alignment takes it out.
    turn_degrees_max: f32,
    brightness_min: f32,
    sharpness_min: f32,
    /// Of the detector, 0 to 1.
    confidence_min: f32,
    /// The shorter side of the bounding box in pixels.
    side_px_min: f32,
    /// [`overall`].
    overall_min: f32,
}

// Chosen on 1,556 press photos (Labeled Faces in the Wild, 250 pixels, faces of 60 to 145): LOW refuses what failed outright,
// HIGH about a quarter. Confidence told most about whether a face would match its mate, sharpness least. Photos so small and so
// alike say little of small and dark faces: there the limits are at what the photos end at, and below.
const LOW: Thresholds = Thresholds {
    turn_degrees_max: 60.0,
    brightness_min: 10.0,
    sharpness_min: 4.0,
    confidence_min: 0.7,
    side_px_min: 24.0,
    overall_min: 10.0,
};
const MEDIUM: Thresholds = Thresholds {
    turn_degrees_max: 40.0,
    brightness_min: 25.0,
    sharpness_min: 10.0,
    confidence_min: 0.85,
    side_px_min: 40.0,
    overall_min: 22.0,
};
const HIGH: Thresholds = Thresholds {
    turn_degrees_max: 30.0,
    brightness_min: 40.0,
    sharpness_min: 15.0,
    confidence_min: 0.91,
    side_px_min: 60.0,
    overall_min: 30.0,
};

impl QualityFilter {
    /// What `AUTO` stands for, the default of enrolling: a gallery should lack a face only where that face would hardly be
    /// found again.
    pub const AUTO: Self = Self::Low;

    /// All, from the one that refuses nothing to the one that refuses most.
    pub const ALL: [Self; 4] = [Self::None, Self::Low, Self::Medium, Self::High];

    /// Its name in the Rekognition API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "NONE",
            Self::Low => "LOW",
            Self::Medium => "MEDIUM",
            Self::High => "HIGH",
        }
    }

    const fn thresholds(self) -> Option<&'static Thresholds> {
        match self {
            Self::None => None,
            Self::Low => Some(&LOW),
            Self::Medium => Some(&MEDIUM),
            Self::High => Some(&HIGH),
        }
    }
}

impl From<v1::QualityFilter> for QualityFilter {
    /// What a request names; a request that names none gets none.
    fn from(named: v1::QualityFilter) -> Self {
        match named {
            v1::QualityFilter::Unspecified | v1::QualityFilter::None => Self::None,
            v1::QualityFilter::Auto => Self::AUTO,
            v1::QualityFilter::Low => Self::Low,
            v1::QualityFilter::Medium => Self::Medium,
            v1::QualityFilter::High => Self::High,
        }
    }
}

impl Reason {
    /// Its name in the Rekognition API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ExceedsMaxFaces => "EXCEEDS_MAX_FACES",
            Self::ExtremePose => "EXTREME_POSE",
            Self::LowBrightness => "LOW_BRIGHTNESS",
            Self::LowSharpness => "LOW_SHARPNESS",
            Self::LowConfidence => "LOW_CONFIDENCE",
            Self::SmallBoundingBox => "SMALL_BOUNDING_BOX",
            Self::LowFaceQuality => "LOW_FACE_QUALITY",
            Self::FaceNotLargest => "FACE_NOT_LARGEST",
        }
    }
}

impl SizePx {
    /// The size of a box in a photo of `width_px` × `height_px`.
    #[must_use]
    pub fn of(shape: &BoundingBox, width_px: u32, height_px: u32) -> Self {
        Self { width: shape.width * width_px as f32, height: shape.height * height_px as f32 }
    }
}

/// Why `filter` refuses a face whose bounding box is of `size_px`; empty where it does not.
///
/// What the encoder did not measure is not held against the face. `LOW_FACE_QUALITY` comes alone: where a single reason says it,
/// it adds nothing.
#[must_use]
pub fn refusals(face: &DetectedFace, size_px: SizePx, filter: QualityFilter) -> Vec<Reason> {
    let Some(limits) = filter.thresholds() else {
        return Vec::new();
    };
    let turned = face.pose.is_some_and(|pose| pose.yaw.abs().max(pose.pitch.abs()) > limits.turn_degrees_max);
    let below = |measured: Option<f32>, limit: f32| measured.is_some_and(|value| value < limit);
    let brightness = face.quality.map(|quality| quality.brightness);
    let sharpness = face.quality.map(|quality| quality.sharpness);
    let mut reasons: Vec<Reason> = [
        (Reason::ExtremePose, turned),
        (Reason::LowBrightness, below(brightness, limits.brightness_min)),
        (Reason::LowSharpness, below(sharpness, limits.sharpness_min)),
        (Reason::LowConfidence, face.confidence < limits.confidence_min),
        (Reason::SmallBoundingBox, size_px.width.min(size_px.height) < limits.side_px_min),
    ]
    .into_iter()
    .filter_map(|(reason, holds)| holds.then_some(reason))
    .collect();
    if reasons.is_empty() && overall(face) < limits.overall_min {
        reasons.push(Reason::LowFaceQuality);
    }
    reasons
}

/// The strictest filter that a face passes. Where not all faces are wanted, those of the lowest grade are dropped first, and of one
/// grade the smallest.
#[must_use]
pub fn grade(face: &DetectedFace, size_px: SizePx) -> QualityFilter {
    let passes = |filter: &QualityFilter| refusals(face, size_px, *filter).is_empty();
    QualityFilter::ALL.into_iter().rev().find(passes).unwrap_or_default()
}

/// One figure for a face's quality, 0 to 100: what of it is left when each shortcoming takes its share.
///
/// The product of the detector's confidence, the cosines of yaw and pitch (the share of the face that is seen), brightness as
/// far as it falls short of [`BRIGHT_ENOUGH`], and the square root of sharpness, which has the widest range. What the encoder did
/// not measure takes nothing.
#[must_use]
pub fn overall(face: &DetectedFace) -> f32 {
    let seen = face
        .pose
        .map_or(1.0, |pose| pose.yaw.to_radians().cos().max(0.0) * pose.pitch.to_radians().cos().max(0.0));
    let clear = face.quality.map_or(1.0, |quality| {
        (quality.brightness / BRIGHT_ENOUGH).min(1.0) * (quality.sharpness / 100.0).sqrt()
    });
    (100.0 * face.confidence * seen * clear).clamp(0.0, 100.0)
}

/// Brightness from which on more does not help.
const BRIGHT_ENOUGH: f32 = 30.0;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Template;
    use crate::face::{Pose, Quality};
    use crate::geometry::Landmarks;

    const LARGE: SizePx = SizePx { width: 200.0, height: 250.0 };

    fn face() -> DetectedFace {
        DetectedFace {
            bounding_box: BoundingBox { left: 0.1, top: 0.1, width: 0.5, height: 0.6 },
            landmarks: Landmarks::default(),
            confidence: 0.95,
            pose: Some(Pose { roll: 90.0, yaw: 0.0, pitch: 0.0 }),
            quality: Some(Quality { brightness: 55.0, sharpness: 60.0 }),
            template: Template::normalised(vec![1.0]).unwrap(),
        }
    }

    fn with(change: impl Fn(&mut DetectedFace)) -> DetectedFace {
        let mut changed = face();
        change(&mut changed);
        changed
    }

    #[test]
    fn each_shortcoming_has_its_reason() {
        let quality = |brightness, sharpness| {
            move |face: &mut DetectedFace| face.quality = Some(Quality { brightness, sharpness })
        };
        let turned =
            |yaw, pitch| move |face: &mut DetectedFace| face.pose = Some(Pose { roll: 0.0, yaw, pitch });
        let cases: [(DetectedFace, &[Reason]); 9] = [
            (face(), &[]),
            (with(turned(-75.0, 0.0)), &[Reason::ExtremePose]),
            (with(turned(0.0, 75.0)), &[Reason::ExtremePose]),
            (with(quality(5.0, 60.0)), &[Reason::LowBrightness]),
            (with(quality(55.0, 2.0)), &[Reason::LowSharpness]),
            (with(quality(5.0, 2.0)), &[Reason::LowBrightness, Reason::LowSharpness]),
            (with(|face| face.confidence = 0.65), &[Reason::LowConfidence]),
            (
                with(|face| {
                    turned(59.0, 59.0)(face);
                    quality(11.0, 5.0)(face);
                }),
                &[Reason::LowFaceQuality],
            ),
            (with(|face| (face.pose, face.quality) = (None, None)), &[]),
        ];
        for (face, reasons) in cases {
            assert_eq!(refusals(&face, LARGE, QualityFilter::Low), reasons, "{face:?}");
            assert!(refusals(&face, LARGE, QualityFilter::None).is_empty());
        }
        let small = SizePx { width: 20.0, height: 30.0 };
        assert_eq!(refusals(&face(), small, QualityFilter::AUTO), [Reason::SmallBoundingBox]);
    }

    #[test]
    fn a_box_has_the_pixels_of_its_share() {
        let size = SizePx::of(&face().bounding_box, 400, 300);
        assert!((size.width - 200.0).abs() < 1e-3 && (size.height - 180.0).abs() < 1e-3, "{size:?}");
    }

    proptest! {
        /// Whatever a filter refuses, every stricter one refuses too.
        #[test]
        fn stricter_filters_refuse_more(
            turn in (-90f32..90.0, -90f32..90.0), quality in (0f32..100.0, 0f32..100.0),
            confidence in 0.6f32..1.0, side in 5f32..300.0,
        ) {
            let face = with(|face| {
                face.pose = Some(Pose { roll: 0.0, yaw: turn.0, pitch: turn.1 });
                face.quality = Some(Quality { brightness: quality.0, sharpness: quality.1 });
                face.confidence = confidence;
            });
            let size = SizePx { width: side, height: side };
            let refused = QualityFilter::ALL.map(|filter| !refusals(&face, size, filter).is_empty());
            prop_assert!(refused.is_sorted(), "{refused:?}");
            let passed = QualityFilter::ALL[refused.iter().filter(|refused| !**refused).count() - 1];
            prop_assert_eq!(grade(&face, size), passed);
            prop_assert!((0.0..=100.0).contains(&overall(&face)));
        }
    }
}
