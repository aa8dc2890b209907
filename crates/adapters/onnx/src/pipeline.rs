//! One photo's way: decode, detect, align, embed. A pipeline belongs to one thread.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use image::RgbImage;
use vidimus_domain::Template;
use vidimus_domain::face::DetectedFace;
use vidimus_domain::geometry::{Landmarks, Point};
use vidimus_ports::{EncodedPhoto, EncoderError, PortError};

use crate::align::align;
use crate::detector::{Detection, Detector};
use crate::embedder::Embedder;
use crate::error::OnnxError;
use crate::photo::Photo;
use crate::picture::Picture;
use crate::pose::pose;
use crate::quality::quality;
use crate::runtime::OnnxRuntime;
use crate::store::Model;

/// A detector and an embedder with their models loaded.
pub struct Pipeline {
    detector: Detector,
    embedder: Embedder,
    runs: Arc<AtomicU64>,
}

/// A photo is decoded for a reader of few pixels where it is this many times as long as the detector's input: below that, most
/// are looked at, and it is quicker to make all.
const TIMES_INPUT_MIN: u32 = 4;

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
    /// Of a photo much larger than the detector's input only the pixels that are looked at are made. They are those of the whole
    /// one, so the faces are too. A reduced decode, which leaves out fine grain, was tried: it saved 5 ms more of 57 for
    /// 12 megapixels, and moved landmarks, and with them templates, to cosines of 0.87 to 0.997 to those of the whole one.
    ///
    /// # Errors
    /// As [`vidimus_ports::FaceEncoder::encode`], `Busy` aside.
    pub fn encode(&mut self, bytes: &[u8]) -> Result<EncodedPhoto, EncoderError> {
        let side_px = self.detector.side_px_max().saturating_mul(TIMES_INPUT_MIN);
        let photo = Photo::open(bytes)?.picture(side_px)?;
        self.runs.fetch_add(1, Ordering::Relaxed);
        let found = self.detector.detect(&photo).map_err(PortError::from)?;
        let faces = self.embed(&photo, found).map_err(PortError::from)?;
        let [width_px, height_px] = photo.size_px();
        Ok(EncodedPhoto { faces, width_px, height_px })
    }

    /// The templates of faces that were found before, at these landmarks; none for one that cannot be aligned.
    ///
    /// # Errors
    /// As [`Pipeline::encode`].
    pub fn embed_at(
        &mut self,
        bytes: &[u8],
        landmarks: &[Landmarks],
    ) -> Result<Vec<Option<Template>>, EncoderError> {
        let side_px = self.detector.side_px_max().saturating_mul(TIMES_INPUT_MIN);
        let photo = Photo::open(bytes)?.picture(side_px)?;
        let manifest = self.embedder.manifest();
        let cut = |landmarks: &Landmarks| {
            align(&photo, &in_pixels(landmarks, photo.size_px()), &manifest.landmarks, manifest.input_px)
        };
        let aligned: Vec<_> = landmarks.iter().map(cut).collect();
        self.runs.fetch_add(aligned.iter().flatten().count() as u64, Ordering::Relaxed);
        let mut templates =
            self.embedder.embed(aligned.iter().flatten()).map_err(PortError::from)?.into_iter();
        Ok(aligned.iter().map(|aligned| aligned.as_ref().and_then(|_| templates.next())).collect())
    }

    /// The faces that can be aligned.
    fn embed(&mut self, photo: &Picture, found: Vec<Detection>) -> Result<Vec<DetectedFace>, OnnxError> {
        let manifest = self.embedder.manifest();
        let cut = |detection: Detection| {
            let landmarks_px = in_pixels(&detection.landmarks, photo.size_px());
            let aligned = align(photo, &landmarks_px, &manifest.landmarks, manifest.input_px)?;
            Some((detection, pose(&landmarks_px), aligned))
        };
        let aligned: Vec<_> = found.into_iter().filter_map(cut).collect();
        self.runs.fetch_add(aligned.len() as u64, Ordering::Relaxed);
        let templates = self.embedder.embed(aligned.iter().map(|(_, _, aligned)| aligned))?;
        let face = |((detection, pose, aligned), template): ((Detection, _, RgbImage), _)| DetectedFace {
            bounding_box: detection.bounding_box,
            landmarks: detection.landmarks,
            confidence: detection.confidence,
            pose,
            quality: Some(quality(&aligned)),
            template,
        };
        Ok(aligned.into_iter().zip(templates).map(face).collect())
    }
}

fn in_pixels(landmarks: &Landmarks, size_px: [u32; 2]) -> [[f64; 2]; 5] {
    let [width_px, height_px] = size_px.map(f64::from);
    landmarks.map(|point: Point| [f64::from(point.x) * width_px, f64::from(point.y) * height_px])
}
