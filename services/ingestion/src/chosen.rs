//! Which of a photo's faces are enrolled, and why the others are not.

use std::cmp::Reverse;

use vidimus_domain::codec::detected_to_proto;
use vidimus_domain::face::DetectedFace;
use vidimus_domain::quality::{QualityFilter, Reason, SizePx, grade, refusals};
use vidimus_proto::internal::v1;

/// What embedding found, largest first.
pub(crate) struct Embedded {
    pub(crate) faces: Vec<DetectedFace>,
    pub(crate) width_px: u32,
    pub(crate) height_px: u32,
}

/// The faces to enrol, largest first, and those that are left out, each with the reasons.
pub(crate) struct Chosen {
    pub(crate) faces: Vec<DetectedFace>,
    left_out: Vec<(DetectedFace, Vec<Reason>)>,
}

impl Chosen {
    /// Leaves out what the request's filter refuses, and then, where more faces are left than it wants, those of the lowest
    /// grade, and of one grade the smallest.
    pub(crate) fn of(embedded: Embedded, request: &v1::IndexFacesRequest) -> Self {
        let filter = QualityFilter::from(request.quality_filter());
        let size =
            |face: &DetectedFace| SizePx::of(&face.bounding_box, embedded.width_px, embedded.height_px);
        let judged: Vec<_> = embedded.faces.iter().map(|face| refusals(face, size(face), filter)).collect();
        let mut best: Vec<usize> = (0..judged.len()).filter(|index| judged[*index].is_empty()).collect();
        // Stable: faces of one grade stay largest first.
        best.sort_by_key(|index| Reverse(grade(&embedded.faces[*index], size(&embedded.faces[*index]))));
        let wanted = if request.faces_max == 0 { best.len() } else { request.faces_max as usize };
        best.truncate(wanted);
        let mut chosen = Self { faces: Vec::new(), left_out: Vec::new() };
        for (index, (face, reasons)) in embedded.faces.into_iter().zip(judged).enumerate() {
            match reasons.is_empty() {
                true if best.contains(&index) => chosen.faces.push(face),
                true => chosen.left_out.push((face, vec![Reason::ExceedsMaxFaces])),
                false => chosen.left_out.push((face, reasons)),
            }
        }
        chosen
    }

    pub(crate) fn unindexed(&self) -> Vec<v1::UnindexedFace> {
        let unindexed = |(face, reasons): &(DetectedFace, Vec<Reason>)| v1::UnindexedFace {
            reasons: reasons.iter().map(|reason| reason.as_str().to_owned()).collect(),
            detected: Some(detected_to_proto(face, false)),
        };
        self.left_out.iter().map(unindexed).collect()
    }
}

#[cfg(test)]
mod tests {
    use vidimus_domain::Template;
    use vidimus_domain::face::{Pose, Quality};
    use vidimus_domain::geometry::{BoundingBox, Landmarks};

    use super::*;

    /// A face whose box is `width` of a photo of 1,000 × 1,000, turned by `yaw` degrees.
    fn face(width: f32, yaw: f32) -> DetectedFace {
        DetectedFace {
            bounding_box: BoundingBox { left: 0.0, top: 0.0, width, height: width },
            landmarks: Landmarks::default(),
            confidence: 0.95,
            pose: Some(Pose { roll: 0.0, yaw, pitch: 0.0 }),
            quality: Some(Quality { brightness: 50.0, sharpness: 50.0 }),
            template: Template::normalised(vec![1.0]).unwrap(),
        }
    }

    fn chosen(
        faces: &[DetectedFace],
        filter: v1::QualityFilter,
        faces_max: u32,
    ) -> (Vec<f32>, Vec<(f32, String)>) {
        let embedded = Embedded { faces: faces.to_vec(), width_px: 1_000, height_px: 1_000 };
        let request = v1::IndexFacesRequest {
            quality_filter: filter.into(),
            faces_max,
            ..v1::IndexFacesRequest::default()
        };
        let chosen = Chosen::of(embedded, &request);
        let width = |face: &DetectedFace| face.bounding_box.width;
        let reasons = chosen.unindexed().into_iter().map(|face| face.reasons.join(" "));
        let left_out = chosen.left_out.iter().map(|(face, _)| width(face)).zip(reasons).collect();
        (chosen.faces.iter().map(width).collect(), left_out)
    }

    #[test]
    fn what_the_filter_refuses_is_left_out_with_its_reasons() {
        let faces = [face(0.3, 0.0), face(0.2, 80.0), face(0.01, 0.0)];
        let (taken, left_out) = chosen(&faces, v1::QualityFilter::Auto, 0);
        assert_eq!(taken, [0.3]);
        let expected = [(0.2, "EXTREME_POSE".to_owned()), (0.01, "SMALL_BOUNDING_BOX".to_owned())];
        assert_eq!(left_out, expected);
        for filter in [v1::QualityFilter::Unspecified, v1::QualityFilter::None] {
            assert_eq!(chosen(&faces, filter, 0), (vec![0.3, 0.2, 0.01], Vec::new()));
        }
    }

    /// The largest face is turned away: it goes first. Of those that are alike the smallest goes.
    #[test]
    fn the_lowest_quality_is_dropped_first_and_then_the_smallest() {
        let faces = [face(0.4, 50.0), face(0.3, 0.0), face(0.2, 0.0), face(0.1, 0.0)];
        for (faces_max, expected) in
            [(4, vec![0.4, 0.3, 0.2, 0.1]), (3, vec![0.3, 0.2, 0.1]), (2, vec![0.3, 0.2]), (1, vec![0.3])]
        {
            let (taken, left_out) = chosen(&faces, v1::QualityFilter::None, faces_max);
            assert_eq!(taken, expected);
            assert_eq!(left_out.len(), 4 - expected.len());
            assert!(left_out.iter().all(|(_, reasons)| reasons == "EXCEEDS_MAX_FACES"), "{left_out:?}");
        }
    }

    #[test]
    fn where_every_face_is_refused_none_is_left() {
        let (taken, left_out) = chosen(&[face(0.4, 80.0), face(0.3, -80.0)], v1::QualityFilter::High, 1);
        assert!(taken.is_empty());
        assert!(left_out.iter().all(|(_, reasons)| reasons == "EXTREME_POSE"), "{left_out:?}");
    }
}
