//! Photos to faces.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use vidimus_domain::face::DetectedFace;
use vidimus_domain::geometry::Landmarks;
use vidimus_domain::{FaceModelName, Template};

use crate::error::PortError;

/// A photo's faces.
#[derive(Clone, Debug, PartialEq)]
pub struct EncodedPhoto {
    /// Largest first, at most [`vidimus_domain::limits::FACES_PER_PHOTO_MAX`].
    pub faces: Vec<DetectedFace>,
    /// Width after EXIF orientation.
    pub width_px: u32,
    /// Height after EXIF orientation.
    pub height_px: u32,
}

/// Why a photo has no encoding.
#[derive(Debug, thiserror::Error)]
pub enum EncoderError {
    /// Not a JPEG or PNG that can be decoded.
    #[error("the bytes are not a JPEG or PNG that can be read: {0}")]
    NotAPhoto(String),
    /// More pixels than [`vidimus_domain::limits::PHOTO_PIXELS_MAX`]; nothing was decoded.
    #[error("the photo has {width_px} × {height_px} pixels, more than is read")]
    TooManyPixels {
        /// Width as the header says.
        width_px: u32,
        /// Height as the header says.
        height_px: u32,
    },
    /// A side under [`vidimus_domain::limits::PHOTO_SIDE_PX_MIN`].
    #[error("the photo has {width_px} × {height_px} pixels; each side needs 80")]
    TooSmall {
        /// Width.
        width_px: u32,
        /// Height.
        height_px: u32,
    },
    /// The queue is full: try again.
    #[error("the encoder is busy")]
    Busy,
    /// The encoder failed.
    #[error("the encoder failed: {0}")]
    Failed(#[from] PortError),
}

/// Finds, aligns and embeds the faces of photos.
#[async_trait]
pub trait FaceEncoder: Send + Sync {
    /// The face model version's name.
    fn face_model(&self) -> &FaceModelName;

    /// Components of its templates.
    fn dimension(&self) -> usize;

    /// The photo's faces. MUST check the limits before it decodes, MUST NOT block the caller's thread, MUST refuse with
    /// `Busy` rather than queue without bound, MUST survive any bytes (a panic on one photo fails that photo), and a
    /// call that was dropped before its turn MUST NOT run.
    async fn encode(&self, photo: Bytes) -> Result<EncodedPhoto, EncoderError>;

    /// The templates of faces of the photo that were found before, in the order of their landmarks (ratios of its sides); none for one
    /// that cannot be aligned. Nothing is detected. As [`FaceEncoder::encode`] otherwise.
    async fn embed_at(
        &self,
        photo: Bytes,
        landmarks: Vec<Landmarks>,
    ) -> Result<Vec<Option<Template>>, EncoderError>;
}

/// The encoders of a process, one for each face model.
#[derive(Clone)]
pub struct Encoders(Vec<Arc<dyn FaceEncoder>>);

impl Encoders {
    /// These, each of a face model of its own.
    #[must_use]
    pub const fn new(encoders: Vec<Arc<dyn FaceEncoder>>) -> Self {
        Self(encoders)
    }

    /// The encoder of that face model.
    #[must_use]
    pub fn of(&self, face_model: &FaceModelName) -> Option<&Arc<dyn FaceEncoder>> {
        self.0.iter().find(|encoder| encoder.face_model() == face_model)
    }

    /// The face models, for people.
    #[must_use]
    pub fn names(&self) -> String {
        let names: Vec<_> = self.0.iter().map(|encoder| encoder.face_model().as_str()).collect();
        names.join(", ")
    }

    /// Each of them changed: wrapped by a test.
    #[must_use]
    pub fn map(self, change: impl FnMut(Arc<dyn FaceEncoder>) -> Arc<dyn FaceEncoder>) -> Self {
        Self(self.0.into_iter().map(change).collect())
    }
}
