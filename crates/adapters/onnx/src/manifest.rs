//! What Vidimus needs to know of a face model, as a TOML file beside its files.

use serde::{Deserialize, Serialize};
use vidimus_domain::FaceModelName;
use vidimus_domain::limits::TEMPLATE_DIMENSION_MAX;
use vidimus_domain::score::Calibration;

use crate::align::LandmarkTemplate;
use crate::error::OnnxError;

/// The manifest of the model that Vidimus comes with (its files are imported).
const BUILTIN: &str = include_str!("../manifests/sface-2021dec.toml");
/// The only version of the manifest's format.
const FORMAT: u32 = 1;
/// Sides of an aligned face in pixels that make sense.
const INPUT_PX: std::ops::RangeInclusive<u32> = 32..=512;
/// Longest sides of the detector's input in pixels that make sense.
const DETECTION_PX: std::ops::RangeInclusive<u32> = 64..=4096;

/// A face model: a detector, an embedder, and what its scores mean.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Version of the manifest's format.
    pub format: u32,
    /// The model's name, which is also its directory.
    pub name: String,
    /// The model's version.
    pub version: String,
    /// Finds faces.
    pub detector: DetectorManifest,
    /// Makes templates.
    pub embedder: EmbedderManifest,
    /// What scores mean.
    pub calibration: CalibrationManifest,
}

/// A file of a model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelFile {
    /// Its name in the model's directory.
    pub name: String,
    /// Hex digest of it as stored. Import fills it in where it is not known before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// The name under which it is published.
    pub source_name: String,
    /// Hex digest of it as published.
    pub source_sha256: String,
    /// What import does to it.
    #[serde(default)]
    pub prepare: Prepare,
    /// Where it is published.
    pub source: String,
    /// Its licence.
    pub licence: String,
}

/// What import does to a published file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Prepare {
    /// Nothing: it is stored as it is.
    #[default]
    Keep,
    /// Block-quantised weights become floats, and the batch axis dynamic.
    Fold,
    /// The same, and height and width become dynamic too, as YuNet needs it.
    FoldDetector,
}

/// The kinds of detector.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DetectorKind {
    /// YuNet with outputs `cls`, `obj`, `bbox`, `kps` at strides 8, 16 and 32.
    Yunet,
}

/// The detector.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DetectorManifest {
    /// How its input and outputs are read.
    pub kind: DetectorKind,
    /// Photos are shrunk until their longest side is this, in pixels.
    pub side_px_max: u32,
    /// Least confidence of a detection, 0 to 1.
    pub confidence_min: f32,
    /// Two detections that overlap by more (IoU, 0 to 1) are one.
    pub overlap_max: f32,
    /// Its model.
    pub file: ModelFile,
}

/// The order of colour channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ColourOrder {
    /// Red, green, blue.
    Rgb,
    /// Blue, green, red.
    Bgr,
}

/// The order of axes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Layout {
    /// Batch, channel, row, column.
    Nchw,
    /// Batch, row, column, channel.
    Nhwc,
}

/// What is done to the embedder's output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Normalisation {
    /// Scaled to unit length.
    L2,
}

/// The embedder.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EmbedderManifest {
    /// Components of a template.
    pub dimension: usize,
    /// Side of an aligned face in pixels.
    pub input_px: u32,
    /// Order of the input's channels.
    pub colours: ColourOrder,
    /// Order of the input's axes.
    pub layout: Layout,
    /// Subtracted from each channel (of 0 to 255), in the input's order.
    pub mean: [f32; 3],
    /// What is left is multiplied by this, in the input's order.
    pub scale: [f32; 3],
    /// What is done to the output.
    pub normalisation: Normalisation,
    /// Where left eye, right eye, nose, left and right mouth corner lie in an aligned face, in pixels.
    pub landmarks: LandmarkTemplate,
    /// Its model.
    pub file: ModelFile,
}

/// Measured points; see [`Calibration`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CalibrationManifest {
    /// What they were measured on.
    pub measured_on: String,
    /// Cosine and false match rate.
    pub false_match_rates: Vec<(f64, f64)>,
    /// Cosine and similarity, 0 to 100.
    pub similarities: Vec<(f64, f64)>,
}

impl Manifest {
    /// The manifest of the model that Vidimus comes with.
    ///
    /// # Errors
    /// Never for a build that passed its tests.
    pub fn builtin() -> Result<Self, OnnxError> {
        Self::parse(BUILTIN, "built in")
    }

    /// Reads and checks a manifest; `origin` is what errors call it.
    ///
    /// # Errors
    /// Where it is no TOML, has fields that are missing or not known, or values that make no sense.
    pub fn parse(text: &str, origin: &str) -> Result<Self, OnnxError> {
        let refused = |reason: String| OnnxError::Manifest { origin: origin.to_owned(), reason };
        let manifest: Self = toml::from_str(text).map_err(|error| refused(error.to_string()))?;
        manifest.check().map_err(refused)?;
        Ok(manifest)
    }

    /// As TOML.
    ///
    /// # Errors
    /// Never for a manifest that was parsed.
    pub fn to_toml(&self) -> Result<String, OnnxError> {
        toml::to_string(self)
            .map_err(|error| OnnxError::Manifest { origin: self.name.clone(), reason: error.to_string() })
    }

    /// Its name: whose templates collections hold.
    ///
    /// # Errors
    /// Never for a manifest that was parsed.
    pub fn face_model(&self) -> Result<FaceModelName, OnnxError> {
        self.name.parse().map_err(|error: vidimus_domain::ids::InvalidId| OnnxError::Manifest {
            origin: self.name.clone(),
            reason: error.to_string(),
        })
    }

    /// What scores mean.
    ///
    /// # Errors
    /// Never for a manifest that was parsed.
    pub fn calibration(&self) -> Result<Calibration, OnnxError> {
        let points = &self.calibration;
        Calibration::new(points.false_match_rates.clone(), points.similarities.clone())
            .map_err(|error| OnnxError::Manifest { origin: self.name.clone(), reason: error.to_string() })
    }

    /// Its files: the detector's, then the embedder's.
    #[must_use]
    pub const fn files(&self) -> [&ModelFile; 2] {
        [&self.detector.file, &self.embedder.file]
    }

    fn check(&self) -> Result<(), String> {
        let detector = &self.detector;
        let embedder = &self.embedder;
        let ratios = [detector.confidence_min, detector.overlap_max];
        let inside = |value: f32| value >= 0.0 && value < embedder.input_px as f32;
        let rules = [
            (self.format == FORMAT, "format must be 1"),
            (!self.name.starts_with('.') && self.name != "onnxruntime", "name is reserved"),
            (DETECTION_PX.contains(&detector.side_px_max), "side_px_max must be 64 to 4096"),
            (
                ratios.iter().all(|ratio| (0.0..=1.0).contains(ratio)),
                "confidence_min and overlap_max must be 0 to 1",
            ),
            ((1..=TEMPLATE_DIMENSION_MAX).contains(&embedder.dimension), "dimension must be 1 to 2048"),
            (INPUT_PX.contains(&embedder.input_px), "input_px must be 32 to 512"),
            (embedder.scale.iter().all(|scale| scale.is_normal()), "scale must not be zero"),
            (
                embedder.landmarks.iter().flatten().all(|value| inside(*value)),
                "landmarks must lie in the face",
            ),
            (
                self.files().iter().all(|file| file.is_plain()),
                "a file's name must be a plain name and its sha256 64 hex digits",
            ),
            (detector.file.name != embedder.file.name, "two files have one name"),
        ];
        if let Some((_, reason)) = rules.iter().find(|(holds, _)| !holds) {
            return Err((*reason).to_owned());
        }
        self.face_model().map_err(|error| error.to_string())?;
        self.calibration().map_err(|error| error.to_string())?;
        Ok(())
    }
}

impl ModelFile {
    fn is_plain(&self) -> bool {
        let plain = |name: &str| {
            name.ends_with(".onnx") && name.parse::<FaceModelName>().is_ok() && !name.starts_with('.')
        };
        let digest = |text: &str| {
            text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        };
        plain(&self.name) && self.sha256.as_deref().is_none_or(digest) && digest(&self.source_sha256)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_builtin_manifest_is_the_documented_model() {
        let manifest = Manifest::builtin().unwrap();
        assert_eq!(manifest.face_model().unwrap().as_str(), "sface-2021dec");
        assert_eq!((manifest.embedder.dimension, manifest.embedder.input_px), (128, 112));
        let calibration = manifest.calibration().unwrap();
        for (cosine, similarity, rate) in [(0.424, 80.0, 1e-4), (0.488, 95.0, 1e-5), (0.554, 99.0, 1e-6)] {
            assert!((calibration.similarity(cosine) - similarity).abs() < 1e-3);
            assert!((calibration.false_match_rate(cosine).rate / rate - 1.0).abs() < 1e-3);
        }
        assert_eq!(Manifest::parse(&manifest.to_toml().unwrap(), "again").unwrap(), manifest);
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for (from, to, reason) in [
            ("format = 1", "format = 2", "format must be 1"),
            ("name = \"sface-2021dec\"", "name = \"a/x\"", "face model"),
            ("name = \"sface-2021dec\"", "name = \"onnxruntime\"", "reserved"),
            ("dimension = 128", "dimension = 0", "dimension"),
            ("dimension = 128", "dimension = 128\nfast = true", "fast"),
            ("input_px = 112", "input_px = 64", "landmarks"),
            ("colours = \"rgb\"", "colours = \"gbr\"", "gbr"),
            ("name = \"yunet-2023mar.onnx\"", "name = \"../yunet.onnx\"", "plain name"),
            ("[0.424, 1e-4]", "[0.324, 1e-4]", "order"),
        ] {
            assert!(BUILTIN.contains(from), "{from}");
            let error = Manifest::parse(&BUILTIN.replacen(from, to, 1), "test").unwrap_err();
            assert!(error.to_string().contains(reason), "{to}: {error}");
        }
    }
}
