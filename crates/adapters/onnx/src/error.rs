//! What can go wrong with models and with ONNX Runtime.

use std::io;
use std::path::{Path, PathBuf};

use vidimus_domain::ErrorCode;
use vidimus_ports::{PortError, PortErrorKind};

/// A failure of a model, of its files or of ONNX Runtime. What an operator can mend, the message says how.
#[derive(Debug, thiserror::Error)]
pub enum OnnxError {
    /// The models directory has no such model.
    #[error("the face model {name} is not in {dir}: run `vidimus models import`")]
    MissingModel {
        /// The model's name.
        name: String,
        /// Where it was looked for.
        dir: PathBuf,
    },
    /// A file of a model, or ONNX Runtime, is not there.
    #[error("{path} is missing: run `{command}`")]
    MissingFile {
        /// The file.
        path: PathBuf,
        /// What mends it.
        command: &'static str,
    },
    /// A file is not the one that its manifest names.
    #[error("{path} has sha256 {found}, and its manifest says {wanted}: run `{command}`")]
    WrongFile {
        /// The file.
        path: PathBuf,
        /// Its digest.
        found: String,
        /// The manifest's digest.
        wanted: String,
        /// What mends it.
        command: &'static str,
    },
    /// None of the given files is the one that the manifest names.
    #[error("none of the given files is {file} (sha256 {sha256}): {hint}")]
    SourceNotGiven {
        /// Its usual name.
        file: String,
        /// Its digest.
        sha256: String,
        /// What was found instead.
        hint: String,
    },
    /// A manifest cannot be used.
    #[error("the manifest {origin} cannot be used: {reason}")]
    Manifest {
        /// The file, or "built in".
        origin: String,
        /// Why.
        reason: String,
    },
    /// A model file cannot be folded.
    #[error("the model cannot be folded: {0}")]
    Fold(String),
    /// ONNX Runtime cannot be loaded.
    #[error(
        "ONNX Runtime cannot be loaded from {path}: {reason}; run `vidimus models import --onnxruntime FILE`"
    )]
    Runtime {
        /// The library.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// ONNX Runtime refuses a model, or failed while it ran.
    #[error("ONNX Runtime: {0}")]
    Inference(String),
    /// A model's outputs are not what its manifest says.
    #[error("the model's output {name} is {reason}")]
    Outputs {
        /// The output.
        name: String,
        /// What is wrong.
        reason: &'static str,
    },
    /// A file or directory cannot be read or written.
    #[error("{what} {path}: {source}")]
    Io {
        /// The verb.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl OnnxError {
    pub(crate) fn io(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { what, path, source }
    }

    pub(crate) fn outputs(name: &str, reason: &'static str) -> Self {
        Self::Outputs { name: name.to_owned(), reason }
    }

    /// What the operator should do.
    #[must_use]
    pub const fn code(&self) -> ErrorCode {
        match self {
            Self::MissingModel { .. } | Self::MissingFile { .. } | Self::SourceNotGiven { .. } => {
                ErrorCode::NotFound
            }
            Self::Manifest { .. } | Self::Fold(_) => ErrorCode::InvalidParameter,
            Self::WrongFile { .. }
            | Self::Runtime { .. }
            | Self::Inference(_)
            | Self::Outputs { .. }
            | Self::Io { .. } => ErrorCode::Internal,
        }
    }

    /// Whether the same call may succeed later without the operator's doing.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        false
    }
}

impl<R> From<ort::Error<R>> for OnnxError {
    fn from(error: ort::Error<R>) -> Self {
        Self::Inference(error.to_string())
    }
}

impl From<OnnxError> for PortError {
    fn from(error: OnnxError) -> Self {
        Self::new(PortErrorKind::Internal, "encode photo").because(error)
    }
}
