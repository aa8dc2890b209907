//! [`FaceEncoder`](vidimus_ports::FaceEncoder) on ONNX Runtime, and the models that it runs.
//!
//! A photo goes through [`Pipeline`] on a thread of the encoder: decode (`photo`), shrink (`resize`),
//! detect (`detector`), align (`align`), embed (`embedder`). The arithmetic of resizing and aligning is OpenCV's, bit by
//! bit where it can be, because the models were measured with it.
//!
//! Models lie in a [`ModelStore`]; [`import_model`] brings them there, folding weights that ONNX Runtime does not run
//! as they are published (`fold`). Their digests are checked whenever they are loaded.

mod align;
mod detector;
mod embedder;
mod encoder;
mod error;
mod fold;
#[doc(hidden)]
pub mod fuzzing;
mod import;
mod jpeg;
mod manifest;
mod onnx_format;
mod photo;
mod picture;
mod pipeline;
mod planes;
mod pose;
mod prelu;
mod quality;
mod queue;
mod resize;
mod runtime;
mod store;
mod tensor;

pub use align::LandmarkTemplate;
pub use encoder::{EncoderConfig, OnnxEncoder};
pub use error::OnnxError;
pub use fold::{DynamicAxes, fold};
pub use import::{Imported, import_model, import_runtime};
pub use manifest::{
    CalibrationManifest, ColourOrder, DetectorKind, DetectorManifest, EmbedderManifest, Layout, Manifest,
    ModelFile, Normalisation, Prepare,
};
pub use photo::decode;
pub use pipeline::Pipeline;
pub use runtime::OnnxRuntime;
pub use store::{Model, ModelStore};
