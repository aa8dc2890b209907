//! A [`FaceEncoder`] with interference.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use vidimus_domain::geometry::Landmarks;
use vidimus_domain::{FaceModelName, Template};

use super::stage::{Interference, Moment, Stage};
use crate::face_encoder::{EncodedPhoto, EncoderError, FaceEncoder};

/// Decorates a [`FaceEncoder`].
pub struct FaultyFaceEncoder {
    inner: Arc<dyn FaceEncoder>,
    interference: Arc<dyn Interference>,
}

impl FaultyFaceEncoder {
    /// `inner`, with `interference` around its calls.
    #[must_use]
    pub fn new(inner: Arc<dyn FaceEncoder>, interference: Arc<dyn Interference>) -> Self {
        Self { inner, interference }
    }
}

#[async_trait]
impl FaceEncoder for FaultyFaceEncoder {
    fn face_model(&self) -> &FaceModelName {
        self.inner.face_model()
    }

    fn dimension(&self) -> usize {
        self.inner.dimension()
    }

    async fn encode(&self, photo: Bytes) -> Result<EncodedPhoto, EncoderError> {
        self.interference.at(Stage::Encode, Moment::Before).await?;
        let encoded = self.inner.encode(photo).await?;
        self.interference.at(Stage::Encode, Moment::After).await?;
        Ok(encoded)
    }

    async fn embed_at(
        &self,
        photo: Bytes,
        landmarks: Vec<Landmarks>,
    ) -> Result<Vec<Option<Template>>, EncoderError> {
        self.interference.at(Stage::Encode, Moment::Before).await?;
        let embedded = self.inner.embed_at(photo, landmarks).await?;
        self.interference.at(Stage::Encode, Moment::After).await?;
        Ok(embedded)
    }
}
