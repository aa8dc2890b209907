//! ONNX Runtime, loaded from a shared library at run time.

use std::path::Path;
use std::sync::{Mutex, PoisonError};

use ort::environment::Environment;
use ort::session::Session;

use crate::error::OnnxError;

/// ONNX Runtime allows one environment a process, so the process keeps the one that was loaded first.
static LOADED: Mutex<Option<Environment>> = Mutex::new(None);

/// ONNX Runtime, ready to load models. Cheap to clone.
#[derive(Clone, Debug)]
pub struct OnnxRuntime(Environment);

impl OnnxRuntime {
    /// Loads the shared library at `path`. A process loads it once: a later call returns what the first one loaded,
    /// whatever its path.
    ///
    /// # Errors
    /// Where the file is missing, is no ONNX Runtime, or is one older than 1.31.
    pub fn load(path: &Path) -> Result<Self, OnnxError> {
        let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(environment) = loaded.as_ref() {
            return Ok(Self(environment.clone()));
        }
        let failed = |reason: String| OnnxError::Runtime { path: path.to_owned(), reason };
        let library = path.canonicalize().map_err(|error| failed(error.to_string()))?;
        let environment = ort::init_from(&library)
            .map_err(|error| failed(error.to_string()))?
            .with_name("vidimus")
            .with_telemetry(false)
            .build()
            .map_err(|error| failed(error.to_string()))?;
        *loaded = Some(environment.clone());
        Ok(Self(environment))
    }

    /// A session of the model in `bytes` that computes on the thread that calls it, and on no other.
    ///
    /// # Errors
    /// Where ONNX Runtime refuses the model.
    pub fn session(&self, bytes: &[u8]) -> Result<Session, OnnxError> {
        let session = Session::builder(&self.0)?
            .with_intra_threads(1)?
            .with_inter_threads(1)?
            .commit_from_memory(bytes)?;
        Ok(session)
    }
}
