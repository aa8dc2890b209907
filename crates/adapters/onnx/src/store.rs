//! The models directory: a directory for each face model with its manifest and files, and one for ONNX Runtime.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::error::OnnxError;
use crate::manifest::{Manifest, ModelFile};
use crate::prelu::without_prelu;

/// A manifest's name in its model's directory.
pub(crate) const MANIFEST_FILE: &str = "manifest.toml";
/// The directory of ONNX Runtime.
pub(crate) const RUNTIME_DIR: &str = "onnxruntime";
/// The shared library in it.
pub(crate) const RUNTIME_FILE: &str = "libonnxruntime.so";
/// Its digest, as `sha256sum` writes it.
pub(crate) const RUNTIME_DIGEST_FILE: &str = "libonnxruntime.so.sha256";

const IMPORT_MODEL: &str = "vidimus models import --from DIR";
const IMPORT_RUNTIME: &str = "vidimus models import --onnxruntime FILE";

/// The models directory.
#[derive(Clone, Debug)]
pub struct ModelStore {
    dir: PathBuf,
}

/// A model whose files were read and found to be those of its manifest.
#[derive(Clone, Debug)]
pub struct Model {
    /// What it is.
    pub manifest: Manifest,
    pub(crate) detector: Vec<u8>,
    pub(crate) embedder: Vec<u8>,
}

impl ModelStore {
    /// The store in `dir`, which need not exist yet.
    #[must_use]
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into() }
    }

    /// Where it is.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The names of the models that are there, sorted.
    ///
    /// # Errors
    /// Where the directory cannot be read; one that does not exist holds none.
    pub fn names(&self) -> Result<Vec<String>, OnnxError> {
        let failed = |error| OnnxError::io("list", &self.dir)(error);
        let entries = match fs::read_dir(&self.dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(failed(error)),
        };
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if !name.starts_with('.') && entry.path().join(MANIFEST_FILE).is_file() {
                names.push(name);
            }
        }
        names.sort();
        Ok(names)
    }

    /// The manifest of a model; its files are not looked at.
    ///
    /// # Errors
    /// Where the model is not there, or its manifest cannot be used.
    pub fn manifest(&self, name: &str) -> Result<Manifest, OnnxError> {
        let missing = || OnnxError::MissingModel { name: name.to_owned(), dir: self.dir.clone() };
        if name.parse::<vidimus_domain::Placement>().is_err() || name.starts_with('.') {
            return Err(missing());
        }
        let path = self.dir.join(name).join(MANIFEST_FILE);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Err(missing()),
            Err(error) => return Err(OnnxError::io("read", &path)(error)),
        };
        let origin = path.display().to_string();
        let manifest = Manifest::parse(&text, &origin)?;
        if manifest.name != name {
            let reason = format!("it names the model {}", manifest.name);
            return Err(OnnxError::Manifest { origin, reason });
        }
        Ok(manifest)
    }

    /// Reads a model and checks every file's digest.
    ///
    /// # Errors
    /// Where the model or a file is missing, or a file is not the manifest's; the message names the command that mends
    /// it.
    pub fn load(&self, name: &str) -> Result<Model, OnnxError> {
        let manifest = self.manifest(name)?;
        let read = |file: &ModelFile| {
            let path = self.dir.join(name).join(&file.name);
            read_checked(&path, file.sha256.as_deref().unwrap_or_default(), IMPORT_MODEL)
        };
        let detector = read(&manifest.detector.file)?;
        let embedder = without_prelu(read(&manifest.embedder.file)?);
        Ok(Model { manifest, detector, embedder })
    }

    /// Where import puts ONNX Runtime.
    #[must_use]
    pub fn runtime_path(&self) -> PathBuf {
        self.dir.join(RUNTIME_DIR).join(RUNTIME_FILE)
    }

    /// Checks the digest of the imported ONNX Runtime and returns its path.
    ///
    /// # Errors
    /// Where it is missing or not what was imported; the message names the command that mends it.
    pub fn verify_runtime(&self) -> Result<PathBuf, OnnxError> {
        let path = self.runtime_path();
        let digest_path = self.dir.join(RUNTIME_DIR).join(RUNTIME_DIGEST_FILE);
        let line = read(&digest_path, IMPORT_RUNTIME)?;
        let line = String::from_utf8_lossy(&line);
        let wanted = line.split_whitespace().next().unwrap_or_default();
        read_checked(&path, wanted, IMPORT_RUNTIME)?;
        Ok(path)
    }
}

/// The hex SHA-256 digest of `bytes`.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

fn read_checked(path: &Path, wanted: &str, command: &'static str) -> Result<Vec<u8>, OnnxError> {
    let bytes = read(path, command)?;
    let found = sha256(&bytes);
    if found != wanted {
        return Err(OnnxError::WrongFile {
            path: path.to_owned(),
            found,
            wanted: wanted.to_owned(),
            command,
        });
    }
    Ok(bytes)
}

fn read(path: &Path, command: &'static str) -> Result<Vec<u8>, OnnxError> {
    fs::read(path).map_err(|error| match error.kind() {
        ErrorKind::NotFound => OnnxError::MissingFile { path: path.to_owned(), command },
        _ => OnnxError::io("read", path)(error),
    })
}
