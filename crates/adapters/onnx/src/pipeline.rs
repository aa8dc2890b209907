//! One photo's way: decode, detect, align, embed. A pipeline belongs to one thread.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use image::RgbImage;
use vidimus_domain::face::DetectedFace;
use vidimus_domain::geometry::{Landmarks, Point};
use vidimus_ports::{EncodedPhoto, EncoderError, PortError};

use crate::align::{align, pixels_per_aligned};
use crate::detector::{Detection, Detector};
use crate::embedder::Embedder;
use crate::error::OnnxError;
use crate::level::Level;
use crate::photo::Photo;
use crate::pose::pose;
use crate::pyramid::Pyramid;
use crate::quality::quality;
use crate::runtime::OnnxRuntime;
use crate::store::Model;

/// A detector and an embedder with their models loaded.
pub struct Pipeline {
    detector: Detector,
    embedder: Embedder,
    runs: Arc<AtomicU64>,
}

/// A face on its way from the detector to the embedder.
struct Found {
    detection: Detection,
    /// In the whole photo's pixels.
    landmarks_px: [[f64; 2]; 5],
    /// The level that it is aligned from.
    halvings: u32,
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
        Ok(Self { detector, embedder, runs: Arc::default() })
    }

    /// How often a model ran, the detector or the embedder; goes on counting.
    #[must_use]
    pub fn runs(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.runs)
    }

    /// The faces of a photo, largest first.
    ///
    /// A photo much larger than the detector's input is decoded at a reduced size. Each face is then aligned from the level
    /// that has the pixels that it needs, for which the photo is decoded once more where the first one has too few.
    ///
    /// # Errors
    /// As [`vidimus_ports::FaceEncoder::encode`], `Busy` aside.
    pub fn encode(&mut self, bytes: &[u8]) -> Result<EncodedPhoto, EncoderError> {
        let mut photo = Pyramid::new(Photo::open(bytes)?, self.detector.side_px_max())?;
        let found = self.detect(&photo).map_err(PortError::from)?;
        let halvings = || found.iter().map(|face| face.halvings);
        if let (Some(finest), Some(coarsest)) = (halvings().min(), halvings().max()) {
            photo.make(finest, coarsest)?;
        }
        let faces = self.embed(&photo, found).map_err(PortError::from)?;
        let (width_px, height_px) = photo.size_px();
        Ok(EncodedPhoto { faces, width_px, height_px })
    }

    /// The faces that can be aligned.
    fn detect(&mut self, photo: &Pyramid<'_>) -> Result<Vec<Found>, OnnxError> {
        let Some(level) = photo.first() else {
            return Ok(Vec::new());
        };
        self.runs.fetch_add(1, Ordering::Relaxed);
        let template = &self.embedder.manifest().landmarks;
        let (width_px, height_px) = photo.size_px();
        let mut found = Vec::new();
        for detection in self.detector.detect(level)? {
            let landmarks_px = in_pixels(&detection.landmarks, width_px, height_px);
            if let Some(scale) = pixels_per_aligned(&landmarks_px, template) {
                found.push(Found { detection, landmarks_px, halvings: photo.halvings_for(scale) });
            }
        }
        Ok(found)
    }

    fn embed(&mut self, photo: &Pyramid<'_>, found: Vec<Found>) -> Result<Vec<DetectedFace>, OnnxError> {
        let manifest = self.embedder.manifest();
        let cut = |face: &Found, level: &Level| {
            align(&level.image, &level.positions(&face.landmarks_px), &manifest.landmarks, manifest.input_px)
        };
        let aligned: Vec<(Found, RgbImage)> = found
            .into_iter()
            .filter_map(|face| cut(&face, photo.at(face.halvings)?).map(|aligned| (face, aligned)))
            .collect();
        self.runs.fetch_add(aligned.len() as u64, Ordering::Relaxed);
        let templates = self.embedder.embed(aligned.iter().map(|(_, aligned)| aligned))?;
        let face = |((face, aligned), template): ((Found, RgbImage), _)| DetectedFace {
            bounding_box: face.detection.bounding_box,
            landmarks: face.detection.landmarks,
            confidence: face.detection.confidence,
            pose: pose(&face.landmarks_px),
            quality: Some(quality(&aligned)),
            template,
        };
        Ok(aligned.into_iter().zip(templates).map(face).collect())
    }
}

fn in_pixels(landmarks: &Landmarks, width_px: u32, height_px: u32) -> [[f64; 2]; 5] {
    let pixels =
        |point: Point| [f64::from(point.x) * f64::from(width_px), f64::from(point.y) * f64::from(height_px)];
    landmarks.map(pixels)
}
