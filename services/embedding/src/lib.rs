//! The embedding role: photos to faces with templates, over gRPC or in process; and the workers of the bulk lane.
//!
//! It answers what its [`FaceEncoder`] finds. It keeps nothing, so that it can run any number of times.

mod metrics;
mod worker;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use prometheus_client::registry::Registry;
use tonic::{Request, Response, Status};
use vidimus_domain::codec::{detected_to_proto, landmarks_from_proto};
use vidimus_domain::{ErrorCode, Failure, Template};
use vidimus_ports::{EncodedPhoto, EncoderError, Encoders, FaceEncoder};
use vidimus_proto::internal::v1;
use vidimus_proto::internal::v1::embedding_server::Embedding;
use vidimus_runtime::errors::{failure_from_port, status_from_failure};
use vidimus_runtime::traces;
use vidimus_runtime::turns::Turns;

use metrics::Metrics;
pub use worker::{EncoderElsewhere, Worker, WorkerConfig, WorkerDeps};

/// When a caller that found the encoder busy may try again: about the time that its queue takes.
const BUSY_RETRY_AFTER: Duration = Duration::from_secs(1);

/// What embedding stands on.
#[derive(Clone)]
pub struct EmbeddingDeps {
    /// Encode photos, each for a face model.
    pub encoders: Encoders,
    /// Photos that the encoder is given at once: as many as it has threads.
    pub photos_at_once: usize,
    /// Photos that wait for it at most; past them calls are refused as busy. The longest queue of a tenant gives way first.
    pub photos_waiting_max: usize,
}

/// The role.
pub struct EmbeddingRole {
    deps: EmbeddingDeps,
    /// Tenants take turns at the encoder, so that a flood of one leaves the others' photos alone.
    turns: Turns<String>,
    metrics: Metrics,
}

impl EmbeddingRole {
    /// A role that stands on `deps`.
    #[must_use]
    pub fn new(deps: EmbeddingDeps, registry: &mut Registry) -> Self {
        let turns = Turns::new(deps.photos_at_once, deps.photos_waiting_max);
        Self { deps, turns, metrics: Metrics::new(registry) }
    }

    async fn encode(&self, request: v1::EmbedRequest) -> Result<EncodedPhoto, Failure> {
        let encoder = self.encoder(&request.face_model)?;
        let _turn = self.turns.take(request.tenant).await.map_err(|_| failure(EncoderError::Busy))?;
        encoder.encode(request.photo).await.map_err(failure)
    }

    async fn encode_at(&self, request: v1::EmbedAtRequest) -> Result<v1::EmbedAtResponse, Failure> {
        let encoder = self.encoder(&request.face_model)?;
        let landmarks = request.faces.into_iter().map(landmarks_from_proto).collect::<Result<_, _>>();
        let landmarks =
            landmarks.map_err(|error| Failure::new(ErrorCode::InvalidParameter, error.to_string()))?;
        let _turn = self.turns.take(request.tenant).await.map_err(|_| failure(EncoderError::Busy))?;
        let templates = encoder.embed_at(request.photo, landmarks).await.map_err(failure)?;
        let values = |template: Template| template.values().to_vec();
        let faces = templates.into_iter().map(|template| template.map(values).unwrap_or_default());
        Ok(v1::EmbedAtResponse { faces: faces.map(|template| v1::EmbeddedFace { template }).collect() })
    }

    fn encoder(&self, face_model: &str) -> Result<&Arc<dyn FaceEncoder>, Failure> {
        let encoders = &self.deps.encoders;
        let found = face_model.parse().ok().and_then(|face_model| encoders.of(&face_model));
        found.ok_or_else(|| {
            // Another process may run it.
            let message = format!("this process runs the face model {}, not {face_model}", encoders.names());
            Failure::unavailable(message, BUSY_RETRY_AFTER)
        })
    }
}

/// An encoder's error as the role answers it.
fn failure(error: EncoderError) -> Failure {
    let code = match error {
        EncoderError::NotAPhoto(_) => ErrorCode::InvalidImageFormat,
        EncoderError::TooManyPixels { .. } => ErrorCode::ImageTooLarge,
        EncoderError::TooSmall { .. } => ErrorCode::InvalidParameter,
        EncoderError::Busy => {
            let message = error.to_string();
            return Failure { code: ErrorCode::Throttled, message, retry_after: Some(BUSY_RETRY_AFTER) };
        }
        EncoderError::Failed(source) => return failure_from_port(source),
    };
    Failure::new(code, error.to_string())
}

/// The answer: faces past `faces_max` (0: none) go without their templates.
fn response(encoded: &EncodedPhoto, faces_max: u32) -> v1::EmbedResponse {
    let with_templates = if faces_max == 0 { usize::MAX } else { faces_max as usize };
    let faces = encoded
        .faces
        .iter()
        .enumerate()
        .map(|(index, face)| detected_to_proto(face, index < with_templates))
        .collect();
    v1::EmbedResponse { faces, width_px: encoded.width_px, height_px: encoded.height_px }
}

#[async_trait]
impl Embedding for EmbeddingRole {
    async fn embed(&self, request: Request<v1::EmbedRequest>) -> Result<Response<v1::EmbedResponse>, Status> {
        let request = request.into_inner();
        let faces_max = request.faces_max;
        let call = self.metrics.begin();
        match traces::step("embed photo", self.encode(request)).await {
            Ok(encoded) => {
                call.encoded(encoded.faces.len());
                Ok(Response::new(response(&encoded, faces_max)))
            }
            Err(failure) => {
                call.failed(&failure);
                Err(status_from_failure(&failure))
            }
        }
    }

    async fn embed_at(
        &self,
        request: Request<v1::EmbedAtRequest>,
    ) -> Result<Response<v1::EmbedAtResponse>, Status> {
        let call = self.metrics.begin();
        match traces::step("embed faces of photo", self.encode_at(request.into_inner())).await {
            Ok(answer) => {
                call.encoded(answer.faces.len());
                Ok(Response::new(answer))
            }
            Err(failure) => {
                call.failed(&failure);
                Err(status_from_failure(&failure))
            }
        }
    }
}

#[cfg(test)]
mod tests;
