//! One photo's way: decode, detect, align, embed. A pipeline belongs to one thread.

use image::RgbImage;
use vidimus_domain::face::DetectedFace;
use vidimus_ports::{EncodedPhoto, EncoderError, PortError};

use crate::align::align;
use crate::detector::{Detection, Detector};
use crate::embedder::Embedder;
use crate::error::OnnxError;
use crate::photo::decode;
use crate::quality::quality;
use crate::runtime::OnnxRuntime;
use crate::store::Model;

/// A detector and an embedder with their models loaded.
pub struct Pipeline {
    detector: Detector,
    embedder: Embedder,
}

impl Pipeline {
    /// Loads the model's files into ONNX Runtime.
    ///
    /// # Errors
    /// Where ONNX Runtime refuses one.
    pub fn new(runtime: &OnnxRuntime, model: &Model) -> Result<Self, OnnxError> {
        let manifest = &model.manifest;
        let detector = Detector::new(runtime.session(&model.detector)?, &manifest.detector);
        let embedder = Embedder::new(runtime.session(&model.embedder)?, manifest.embedder.clone());
        Ok(Self { detector, embedder })
    }

    /// The faces of a photo, largest first.
    ///
    /// # Errors
    /// As [`vidimus_ports::FaceEncoder::encode`], `Busy` aside.
    pub fn encode(&mut self, bytes: &[u8]) -> Result<EncodedPhoto, EncoderError> {
        let photo = decode(bytes)?;
        let faces = self.faces(&photo).map_err(PortError::from)?;
        Ok(EncodedPhoto { faces, width_px: photo.width(), height_px: photo.height() })
    }

    fn faces(&mut self, photo: &RgbImage) -> Result<Vec<DetectedFace>, OnnxError> {
        let detections = self.detector.detect(photo)?;
        let manifest = self.embedder.manifest();
        let (detections, aligned): (Vec<Detection>, Vec<RgbImage>) = detections
            .into_iter()
            .filter_map(|detection| {
                let face = align(photo, &detection.landmarks, &manifest.landmarks, manifest.input_px)?;
                Some((detection, face))
            })
            .unzip();
        let templates = self.embedder.embed(&aligned)?;
        let faces = detections.into_iter().zip(&aligned).zip(templates);
        let face = |((detection, aligned), template): ((Detection, &RgbImage), _)| DetectedFace {
            bounding_box: detection.bounding_box,
            landmarks: detection.landmarks,
            confidence: detection.confidence,
            pose: None,
            quality: Some(quality(aligned)),
            template,
        };
        Ok(faces.map(face).collect())
    }
}
