//! Templates of faces that were found before, made by embedding.

use std::sync::Arc;
use std::time::Duration;

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

/// The pause before an encoder that was busy is asked again, and how often it is asked.
const BUSY_PAUSE: Duration = Duration::from_millis(200);
const TRIES_MAX: usize = 25;

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
        let mut tries = 1;
        // What is written already is not given up because the encoder is busy for a moment.
        let answer = loop {
            let asked = self.embedding.embed_at(Request::new(request.clone())).await;
            match asked.map_err(|status| failure_from_status(&status)) {
                Err(failure) if failure.code == ErrorCode::Throttled && tries < TRIES_MAX => {
                    tries += 1;
                    tokio::time::sleep(BUSY_PAUSE).await;
                }
                answer => break answer.map_err(NotMade)?.into_inner(),
            }
        };
        templates_from_proto(answer).map_err(|error| {
            tracing::error!(%error, "embedding answered something that is no template");
            NotMade(Failure::new(ErrorCode::Internal, "internal error"))
        })
    }
}
