//! Photos to faces.

use async_trait::async_trait;
use bytes::Bytes;
use vidimus_domain::FaceModelName;
use vidimus_domain::face::DetectedFace;

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
}
