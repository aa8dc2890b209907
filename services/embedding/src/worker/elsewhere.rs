//! An encoder in another process, for workers that have the stores and no model.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use tonic::Request;
use vidimus_domain::codec::{detected_from_proto, landmarks_to_proto, templates_from_proto};
use vidimus_domain::geometry::Landmarks;
use vidimus_domain::{ErrorCode, FaceModelName, Failure, Template};
use vidimus_ports::{EncodedPhoto, EncoderError, FaceEncoder, PortError, PortErrorKind};
use vidimus_proto::internal::v1;
use vidimus_proto::internal::v1::embedding_server::Embedding;
use vidimus_runtime::errors::failure_from_status;

/// Whose turn the bulk lane's photos are at the encoder: that of no tenant, but one beside them.
const TURN: &str = "bulk";

/// The embedding role elsewhere as an encoder.
pub struct EncoderElsewhere {
    embedding: Arc<dyn Embedding>,
    face_model: FaceModelName,
    dimension: usize,
}

impl EncoderElsewhere {
    /// Encodes by that service, for that face model.
    #[must_use]
    pub const fn new(embedding: Arc<dyn Embedding>, face_model: FaceModelName, dimension: usize) -> Self {
        Self { embedding, face_model, dimension }
    }
}

#[async_trait]
impl FaceEncoder for EncoderElsewhere {
    fn face_model(&self) -> &FaceModelName {
        &self.face_model
    }

    fn dimension(&self) -> usize {
        self.dimension
    }

    async fn encode(&self, photo: Bytes) -> Result<EncodedPhoto, EncoderError> {
        let request = v1::EmbedRequest {
            photo,
            face_model: self.face_model.to_string(),
            faces_max: 0,
            tenant: TURN.to_owned(),
        };
        let answer = self.embedding.embed(Request::new(request)).await;
        let answer = answer.map_err(|status| error(failure_from_status(&status)))?.into_inner();
        let faces = answer.faces.into_iter().map(detected_from_proto).collect::<Result<_, _>>();
        let faces = faces.map_err(|wrong| failed(PortErrorKind::Corrupt, wrong.to_string()))?;
        Ok(EncodedPhoto { faces, width_px: answer.width_px, height_px: answer.height_px })
    }

    async fn embed_at(
        &self,
        photo: Bytes,
        landmarks: Vec<Landmarks>,
    ) -> Result<Vec<Option<Template>>, EncoderError> {
        let request = v1::EmbedAtRequest {
            photo,
            face_model: self.face_model.to_string(),
            faces: landmarks.iter().map(landmarks_to_proto).collect(),
            tenant: TURN.to_owned(),
        };
        let answer = self.embedding.embed_at(Request::new(request)).await;
        let answer = answer.map_err(|status| error(failure_from_status(&status)))?.into_inner();
        templates_from_proto(answer).map_err(|wrong| failed(PortErrorKind::Corrupt, wrong.to_string()))
    }
}

/// What the role answered, as its encoder has said it.
fn error(failure: Failure) -> EncoderError {
    match failure.code {
        ErrorCode::Throttled => EncoderError::Busy,
        ErrorCode::InvalidImageFormat | ErrorCode::ImageTooLarge | ErrorCode::InvalidParameter => {
            EncoderError::NotAPhoto(failure.message)
        }
        ErrorCode::Unavailable | ErrorCode::Conflict => failed(PortErrorKind::Unavailable, failure.message),
        _ => failed(PortErrorKind::Internal, failure.message),
    }
}

fn failed(kind: PortErrorKind, reason: String) -> EncoderError {
    EncoderError::Failed(PortError::new(kind, "encode photo elsewhere").because(reason))
}
