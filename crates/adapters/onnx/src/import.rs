//! Brings published model files and ONNX Runtime into the models directory.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::error::OnnxError;
use crate::fold::{DynamicAxes, fold};
use crate::manifest::{Manifest, ModelFile, Prepare};
use crate::runtime::OnnxRuntime;
use crate::store::{MANIFEST_FILE, ModelStore, RUNTIME_DIGEST_FILE, RUNTIME_DIR, RUNTIME_FILE, sha256};

/// What an import did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Imported {
    /// It wrote the files.
    Written,
    /// The very files were there.
    AlreadyThere,
}

/// A published file that was given.
struct Given {
    path: PathBuf,
    sha256: String,
}

/// Imports a model: finds its published files among `from` (files, or directories of them) by digest, prepares them, and
/// puts them with the manifest into the store, all at once.
///
/// # Errors
/// Where a file is not among those given, cannot be folded, or the store cannot be written.
pub fn import_model(
    store: &ModelStore,
    manifest: &Manifest,
    from: &[PathBuf],
) -> Result<Imported, OnnxError> {
    if let Ok(there) = store.load(&manifest.name)
        && is_same(manifest, &there.manifest)
    {
        return Ok(Imported::AlreadyThere);
    }
    let given = list_given(from)?;
    let mut complete = manifest.clone();
    let staged = stage(store)?;
    for file in [&mut complete.detector.file, &mut complete.embedder.file] {
        let prepared = prepare(file, &given)?;
        file.sha256 = Some(sha256(&prepared));
        write_durably(&staged.path().join(&file.name), &prepared)?;
    }
    write_durably(&staged.path().join(MANIFEST_FILE), complete.to_toml()?.as_bytes())?;
    put_in_place(staged, &store.dir().join(&manifest.name))?;
    Ok(Imported::Written)
}

/// Imports the shared library of ONNX Runtime at `library` and checks that it can be loaded.
///
/// # Errors
/// Where it cannot be read or loaded, or the store cannot be written.
pub fn import_runtime(store: &ModelStore, library: &Path) -> Result<Imported, OnnxError> {
    let bytes = fs::read(library).map_err(OnnxError::io("read", library))?;
    let digest = sha256(&bytes);
    let line = format!("{digest}  {RUNTIME_FILE}\n");
    let digest_path = store.dir().join(RUNTIME_DIR).join(RUNTIME_DIGEST_FILE);
    if store.verify_runtime().is_ok() && fs::read_to_string(digest_path).is_ok_and(|there| there == line) {
        return Ok(Imported::AlreadyThere);
    }
    OnnxRuntime::load(library)?;
    let staged = stage(store)?;
    write_durably(&staged.path().join(RUNTIME_FILE), &bytes)?;
    write_durably(&staged.path().join(RUNTIME_DIGEST_FILE), line.as_bytes())?;
    put_in_place(staged, &store.dir().join(RUNTIME_DIR))?;
    Ok(Imported::Written)
}

/// Whether what is there is what the manifest asks for, digests that it leaves open aside.
fn is_same(manifest: &Manifest, there: &Manifest) -> bool {
    let mut complete = manifest.clone();
    for (file, other) in [
        (&mut complete.detector.file, &there.detector.file),
        (&mut complete.embedder.file, &there.embedder.file),
    ] {
        file.sha256 = file.sha256.take().or_else(|| other.sha256.clone());
    }
    complete == *there
}

fn list_given(from: &[PathBuf]) -> Result<Vec<Given>, OnnxError> {
    let mut given = Vec::new();
    for path in from {
        if !path.is_dir() {
            given.push(Given::of(path)?);
            continue;
        }
        for entry in fs::read_dir(path).map_err(OnnxError::io("list", path))? {
            let inside = entry.map_err(OnnxError::io("list", path))?.path();
            if inside.extension().is_some_and(|extension| extension == "onnx") {
                given.push(Given::of(&inside)?);
            }
        }
    }
    Ok(given)
}

impl Given {
    fn of(path: &Path) -> Result<Self, OnnxError> {
        let bytes = fs::read(path).map_err(OnnxError::io("read", path))?;
        Ok(Self { path: path.to_owned(), sha256: sha256(&bytes) })
    }
}

/// The bytes to store for `file`, made from the given file that has its published digest.
fn prepare(file: &ModelFile, given: &[Given]) -> Result<Vec<u8>, OnnxError> {
    let Some(source) = given.iter().find(|source| source.sha256 == file.source_sha256) else {
        return Err(not_given(file, given));
    };
    let bytes = fs::read(&source.path).map_err(OnnxError::io("read", &source.path))?;
    let prepared = match file.prepare {
        Prepare::Keep => bytes,
        Prepare::Fold => fold(&bytes, DynamicAxes::Batch)?,
        Prepare::FoldDetector => fold(&bytes, DynamicAxes::BatchHeightWidth)?,
    };
    let found = sha256(&prepared);
    match &file.sha256 {
        Some(wanted) if *wanted != found => Err(OnnxError::Fold(format!(
            "{} became {found}, and the manifest says {wanted}",
            source.path.display()
        ))),
        _ => Ok(prepared),
    }
}

fn not_given(file: &ModelFile, given: &[Given]) -> OnnxError {
    let same_name = |source: &&Given| source.path.file_name().is_some_and(|name| *name == *file.source_name);
    let hint = match given.iter().find(same_name) {
        Some(source) => format!("{} has sha256 {}", source.path.display(), source.sha256),
        None => format!("it comes from {}", file.source),
    };
    OnnxError::SourceNotGiven { file: file.source_name.clone(), sha256: file.source_sha256.clone(), hint }
}

/// A directory in the store that is removed unless it is put in place.
fn stage(store: &ModelStore) -> Result<TempDir, OnnxError> {
    fs::create_dir_all(store.dir()).map_err(OnnxError::io("create", store.dir()))?;
    tempfile::Builder::new()
        .prefix(".import-")
        .tempdir_in(store.dir())
        .map_err(OnnxError::io("create a directory in", store.dir()))
}

fn write_durably(path: &Path, bytes: &[u8]) -> Result<(), OnnxError> {
    let write = || -> std::io::Result<()> {
        let mut file = File::create(path)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    write().map_err(OnnxError::io("write", path))
}

/// Renames the staged directory to `target`. What was there is moved aside first and removed after, so that a crash leaves
/// the old, the new or none, and never a mixture.
fn put_in_place(staged: TempDir, target: &Path) -> Result<(), OnnxError> {
    let parent = target.parent().unwrap_or(target);
    let place = || -> std::io::Result<()> {
        File::open(staged.path())?.sync_all()?;
        let aside = staged.path().with_extension("old");
        if target.exists() {
            fs::rename(target, &aside)?;
        }
        fs::rename(staged.path(), target)?;
        File::open(parent)?.sync_all()?;
        if aside.exists() {
            fs::remove_dir_all(aside)?;
        }
        Ok(())
    };
    place().map_err(OnnxError::io("put in place", target))?;
    // It is no longer where it was made, so there is nothing to remove.
    let _ = staged.keep();
    Ok(())
}
