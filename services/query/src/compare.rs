//! DetectFaces and CompareFaces: outside of collections; nothing is stored.

use vidimus_domain::Failure;
use vidimus_domain::codec::detected_to_proto;
use vidimus_domain::face::DetectedFace;
use vidimus_domain::quality::QualityFilter;
use vidimus_proto::internal::v1;

use crate::Query;
use crate::probe::{fit, no_face};
use crate::search::meaning;

impl Query {
    pub(crate) async fn detect(
        &self,
        request: v1::DetectFacesRequest,
    ) -> Result<v1::DetectFacesResponse, Failure> {
        // No template is needed; one is the least that can be asked for.
        let by = (&request.tenant.parse()?, &self.deps.face_models.first.face_model);
        let faces = self.embedded(by, request.photo, 1).await?.faces;
        let faces = faces.into_iter().map(|face| v1::DetectedFace { template: Vec::new(), ..face });
        Ok(v1::DetectFacesResponse { faces: faces.collect() })
    }

    /// The source's largest face against every face of the target, of those that the filter lets through.
    pub(crate) async fn compare(
        &self,
        request: v1::CompareFacesRequest,
    ) -> Result<v1::CompareFacesResponse, Failure> {
        let filter = QualityFilter::from(request.quality_filter());
        let (tenant, known) = (request.tenant.parse()?, &self.deps.face_models.first);
        let by = (&tenant, &known.face_model);
        let source = self.largest_and_others(by, request.source, filter);
        let ((source, _), target) = futures::try_join!(source, self.embedded(by, request.target, 0))?;
        let source = source.ok_or_else(no_face)?;
        let target = fit(target, filter)?;
        let calibration = &known.calibration;
        let cosine_min = calibration.cosine_of_similarity(request.threshold_similarity);
        let mut scored = Vec::with_capacity(target.len());
        for face in &target {
            scored.push((source.template.cosine(&face.template), face));
        }
        scored.sort_by(|left, right| right.0.total_cmp(&left.0));
        let (matched, unmatched): (Vec<_>, Vec<_>) =
            scored.into_iter().partition(|(cosine, _)| *cosine >= cosine_min);
        let compared = |(cosine, face): &(f32, &DetectedFace)| v1::ComparedFace {
            face: Some(detected_to_proto(face, false)),
            similarity: calibration.similarity(*cosine),
            cosine: *cosine,
            false_match_rate: calibration.false_match_rate(*cosine).rate,
        };
        Ok(v1::CompareFacesResponse {
            source: Some(detected_to_proto(&source, false)),
            matched: matched.iter().map(compared).collect(),
            unmatched: unmatched.iter().map(|(_, face)| detected_to_proto(face, false)).collect(),
            meaning: Some(meaning(calibration, cosine_min, target.len() as u64)),
        })
    }
}
