//! What the tests of the encoder share: real models, ONNX Runtime and photos.

use std::env;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use tempfile::TempDir;
use vidimus_onnx::{Manifest, Model, ModelStore, OnnxRuntime, import_model, import_runtime};

/// The directory under the user's cache, or where `variable` says.
pub fn cached(variable: &str, below: &str) -> PathBuf {
    env::var_os(variable).map_or_else(
        || Path::new(&env::var_os("HOME").expect("HOME is set")).join(".cache/vidimus").join(below),
        PathBuf::from,
    )
}

/// A file or directory of the test assets.
pub fn asset(path: &str) -> PathBuf {
    let whole = cached("VIDIMUS_ASSETS", "assets").join(path);
    assert!(whole.exists(), "{} is missing: run `make assets`", whole.display());
    whole
}

/// A store with the model and the runtime imported, once for each test binary.
pub fn store() -> &'static ModelStore {
    static STORE: OnceLock<(TempDir, ModelStore)> = OnceLock::new();
    let (_, store) = STORE.get_or_init(|| {
        let dir = tempfile::tempdir().unwrap();
        let store = ModelStore::new(dir.path().join("models"));
        import_model(&store, &Manifest::builtin().unwrap(), &[asset("models-source")]).unwrap();
        import_runtime(&store, &asset("onnxruntime/libonnxruntime.so")).unwrap();
        (dir, store)
    });
    store
}

/// ONNX Runtime and the model, as a service loads them.
pub fn loaded() -> (OnnxRuntime, Model) {
    let runtime = OnnxRuntime::load(&store().verify_runtime().unwrap()).unwrap();
    (runtime, store().load("sface-2021dec").unwrap())
}
