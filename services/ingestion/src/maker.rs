//! Templates of faces that were found before, made by embedding.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use tonic::Request;
use vidimus_domain::codec::{landmarks_to_proto, templates_from_proto};
use vidimus_domain::geometry::Landmarks;
use vidimus_domain::{ErrorCode, FaceModelName, Failure, Template, TenantId};
use vidimus_ports::PortError;
use vidimus_proto::internal::v1;
use vidimus_proto::internal::v1::embedding_server::Embedding;
use vidimus_runtime::completion::MakeTemplates;
use vidimus_runtime::errors::{failure_from_port, failure_from_status};

/// Asks embedding, in the tenant's turn.
pub(crate) struct Maker {
    pub(crate) embedding: Arc<dyn Embedding>,
    pub(crate) tenant: TenantId,
}

/// Why templates could not be made.
pub(crate) struct NotMade(pub(crate) Failure);

impl From<PortError> for NotMade {
    fn from(error: PortError) -> Self {
        Self(failure_from_port(error))
    }
}

impl From<Failure> for NotMade {
    fn from(failure: Failure) -> Self {
        Self(failure)
    }
}

#[async_trait]
impl MakeTemplates for Maker {
    type Error = NotMade;

    async fn make(
        &self,
        photo: Bytes,
        face_model: &FaceModelName,
        landmarks: Vec<Landmarks>,
    ) -> Result<Vec<Option<Template>>, NotMade> {
        let request = v1::EmbedAtRequest {
            photo,
            face_model: face_model.to_string(),
            faces: landmarks.iter().map(landmarks_to_proto).collect(),
            tenant: self.tenant.to_string(),
        };
        let answer = self.embedding.embed_at(Request::new(request)).await;
        let answer = answer.map_err(|status| NotMade(failure_from_status(&status)))?.into_inner();
        templates_from_proto(answer).map_err(|error| {
            tracing::error!(%error, "embedding answered something that is no template");
            NotMade(Failure::new(ErrorCode::Internal, "internal error"))
        })
    }
}
