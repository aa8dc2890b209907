//! Photos that are searched with: their faces, as embedding finds them, and which of them counts.

use bytes::Bytes;
use tonic::Request;
use vidimus_domain::codec::detected_from_proto;
use vidimus_domain::face::DetectedFace;
use vidimus_domain::quality::{QualityFilter, Reason, SizePx, refusals};
use vidimus_domain::{ErrorCode, FaceModelName, Failure, TenantId};
use vidimus_proto::internal::v1;
use vidimus_runtime::errors::failure_from_status;

use crate::Query;

impl Query {
    /// The photo's largest face that the filter lets through, which is searched for; and the others, each with the reasons why
    /// it is not. That there is none is no failure.
    pub(crate) async fn largest_and_others(
        &self,
        (tenant, face_model): (&TenantId, &FaceModelName),
        photo: Bytes,
        filter: QualityFilter,
    ) -> Result<(Option<DetectedFace>, Vec<v1::UnindexedFace>), Failure> {
        // Without a filter the largest is searched for, and no other template is needed.
        let faces_max = u32::from(filter == QualityFilter::None);
        let embedded = self.embedded((tenant, face_model), photo, faces_max).await?;
        let (mut searched, mut unsearched) = (None, Vec::new());
        for face in embedded.faces {
            let mut reasons = vec![Reason::FaceNotLargest];
            if searched.is_none() {
                let largest = read(face.clone())?;
                let size = SizePx::of(&largest.bounding_box, embedded.width_px, embedded.height_px);
                reasons = refusals(&largest, size, filter);
                if reasons.is_empty() {
                    searched = Some(largest);
                    continue;
                }
            }
            unsearched.push(v1::UnindexedFace {
                reasons: reasons.iter().map(|reason| reason.as_str().to_owned()).collect(),
                detected: Some(v1::DetectedFace { template: Vec::new(), ..face }),
            });
        }
        Ok((searched, unsearched))
    }

    /// A photo's faces, largest first, with templates of the `faces_max` largest, or of all where it is 0; and its size.
    pub(crate) async fn embedded(
        &self,
        (tenant, face_model): (&TenantId, &FaceModelName),
        photo: Bytes,
        faces_max: u32,
    ) -> Result<v1::EmbedResponse, Failure> {
        let (tenant, face_model) = (tenant.to_string(), face_model.to_string());
        let embed = v1::EmbedRequest { photo, face_model, faces_max, tenant };
        let embedded = self.deps.embedding.embed(Request::new(embed)).await;
        Ok(embedded.map_err(|status| failure_from_status(&status))?.into_inner())
    }
}

/// The faces of a photo that the filter lets through, largest first.
pub(crate) fn fit(embedded: v1::EmbedResponse, filter: QualityFilter) -> Result<Vec<DetectedFace>, Failure> {
    let mut fit = embedded.faces.into_iter().map(read).collect::<Result<Vec<_>, _>>()?;
    fit.retain(|face| {
        let size = SizePx::of(&face.bounding_box, embedded.width_px, embedded.height_px);
        refusals(face, size, filter).is_empty()
    });
    Ok(fit)
}

fn read(face: v1::DetectedFace) -> Result<DetectedFace, Failure> {
    detected_from_proto(face).map_err(|error| {
        tracing::error!(%error, "embedding answered something that is no face");
        Failure::new(ErrorCode::Internal, "internal error")
    })
}

/// There is nobody to search for.
pub(crate) fn no_face() -> Failure {
    let message = "There are no faces in the image. Should be at least 1.";
    Failure::new(ErrorCode::InvalidParameter, message)
}
