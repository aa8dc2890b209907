//! DetectFaces and CompareFaces: outside of collections; nothing is stored.

use bytes::Bytes;
use tonic::Request;
use vidimus_domain::codec::{detected_from_proto, detected_to_proto};
use vidimus_domain::face::DetectedFace;
use vidimus_domain::{ErrorCode, Failure};
use vidimus_proto::internal::v1;
use vidimus_runtime::errors::failure_from_status;

use crate::Query;
use crate::search::{meaning, no_face};

impl Query {
    pub(crate) async fn detect(
        &self,
        request: v1::DetectFacesRequest,
    ) -> Result<v1::DetectFacesResponse, Failure> {
        // No template is needed; one is the least that can be asked for.
        let faces = self.faces_of(request.photo, 1).await?;
        let faces = faces.into_iter().map(|face| v1::DetectedFace { template: Vec::new(), ..face });
        Ok(v1::DetectFacesResponse { faces: faces.collect() })
    }

    /// The source's largest face against every face of the target.
    pub(crate) async fn compare(
        &self,
        request: v1::CompareFacesRequest,
    ) -> Result<v1::CompareFacesResponse, Failure> {
        let (source, target) =
            futures::try_join!(self.faces_of(request.source, 1), self.faces_of(request.target, 0))?;
        let source = source.into_iter().next().ok_or_else(no_face)?;
        let source = read(source)?;
        let target = target.into_iter().map(read).collect::<Result<Vec<_>, _>>()?;
        let calibration = &self.deps.face_models.calibration;
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

    /// A photo's faces, largest first; templates of the `faces_max` largest, of all where it is 0.
    async fn faces_of(&self, photo: Bytes, faces_max: u32) -> Result<Vec<v1::DetectedFace>, Failure> {
        Ok(self.embedded(photo, faces_max).await?.faces)
    }

    /// As `faces_of`, with the photo's size.
    pub(crate) async fn embedded(&self, photo: Bytes, faces_max: u32) -> Result<v1::EmbedResponse, Failure> {
        let placement = self.deps.face_models.placement.to_string();
        let embed = v1::EmbedRequest { photo, placement, faces_max };
        let embedded = self.deps.embedding.embed(Request::new(embed)).await;
        Ok(embedded.map_err(|status| failure_from_status(&status))?.into_inner())
    }
}

pub(crate) fn read(face: v1::DetectedFace) -> Result<DetectedFace, Failure> {
    detected_from_proto(face).map_err(|error| {
        tracing::error!(%error, "embedding answered something that is no face");
        Failure::new(ErrorCode::Internal, "internal error")
    })
}
