//! Import, listing and verification of models.

#![expect(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a test fails by panicking and says what it measured"
)]

mod common;

use std::fs;
use std::path::Path;

use vidimus_onnx::{
    DynamicAxes, EncoderConfig, Imported, Manifest, ModelStore, OnnxEncoder, OnnxError, OnnxRuntime, Prepare,
    fold, import_model, import_runtime,
};
use vidimus_ports::FaceEncoder;

fn empty_store() -> (tempfile::TempDir, ModelStore) {
    let dir = tempfile::tempdir().unwrap();
    let store = ModelStore::new(dir.path().join("models"));
    (dir, store)
}

fn entries(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// The sizes are those measured on the same files folded by other means.
#[test]
fn folding_is_reproducible() {
    let file = |name: &str| fs::read(common::asset("models-source").join(name)).unwrap();
    let manifest = Manifest::builtin().unwrap();
    for (name, axes, length) in [
        (&manifest.detector.file.source_name, DynamicAxes::BatchHeightWidth, 230_974),
        (&manifest.embedder.file.source_name, DynamicAxes::Batch, 38_689_358),
    ] {
        let folded = fold(&file(name), axes).unwrap();
        println!("{name}: {} bytes", folded.len());
        assert!(folded.len().abs_diff(length) < 20_000, "{name}: {} bytes", folded.len());
        assert_eq!(fold(&folded, axes).unwrap(), folded, "folding what is folded changes nothing");
    }
}

#[test]
fn an_import_is_listed_and_verified_and_repeats() {
    let (_dir, store) = empty_store();
    let manifest = Manifest::builtin().unwrap();
    assert_eq!(store.names().unwrap(), Vec::<String>::new());
    let from = [common::asset("models-source")];
    assert_eq!(import_model(&store, &manifest, &from).unwrap(), Imported::Written);
    assert_eq!(import_model(&store, &manifest, &[]).unwrap(), Imported::AlreadyThere);
    assert_eq!(store.names().unwrap(), ["sface-2021dec"]);
    assert_eq!(store.load("sface-2021dec").unwrap().manifest, manifest);
    assert_eq!(entries(store.dir()), ["sface-2021dec"], "nothing is left behind");
}

#[test]
fn a_missing_model_names_the_command() {
    let (_dir, store) = empty_store();
    for name in ["sface-2021dec", "../sface", ".", ""] {
        let error = store.load(name).unwrap_err();
        assert!(matches!(error, OnnxError::MissingModel { .. }), "{name}: {error}");
        assert!(error.to_string().contains("vidimus models import"), "{error}");
    }
    assert!(store.verify_runtime().unwrap_err().to_string().contains("vidimus models import"));
}

#[test]
fn a_changed_file_is_found_and_import_mends_it() {
    let (_dir, store) = empty_store();
    let manifest = Manifest::builtin().unwrap();
    let from = [common::asset("models-source")];
    import_model(&store, &manifest, &from).unwrap();
    let path = store.dir().join("sface-2021dec").join(&manifest.detector.file.name);
    let mut bytes = fs::read(&path).unwrap();
    bytes[1000] ^= 1;
    fs::write(&path, bytes).unwrap();
    let error = store.load("sface-2021dec").unwrap_err();
    assert!(matches!(error, OnnxError::WrongFile { .. }), "{error}");
    assert!(error.to_string().contains("vidimus models import"), "{error}");
    fs::remove_file(&path).unwrap();
    assert!(matches!(store.load("sface-2021dec").unwrap_err(), OnnxError::MissingFile { .. }));
    assert_eq!(import_model(&store, &manifest, &from).unwrap(), Imported::Written);
    store.load("sface-2021dec").unwrap();
    assert_eq!(entries(store.dir()), ["sface-2021dec"], "nothing is left behind");
}

#[test]
fn a_file_of_that_name_with_other_contents_is_not_taken() {
    let (dir, store) = empty_store();
    let manifest = Manifest::builtin().unwrap();
    let from = dir.path().join("from");
    fs::create_dir(&from).unwrap();
    let error = import_model(&store, &manifest, std::slice::from_ref(&from)).unwrap_err();
    assert!(error.to_string().contains(&manifest.detector.file.source), "{error}");
    fs::write(from.join(&manifest.detector.file.source_name), b"another").unwrap();
    let error = import_model(&store, &manifest, &[from]).unwrap_err();
    assert!(
        matches!(error, OnnxError::SourceNotGiven { .. }) && error.to_string().contains("has sha256"),
        "{error}"
    );
    assert_eq!(store.names().unwrap(), Vec::<String>::new());
}

#[test]
fn the_runtime_is_imported_and_verified() {
    let (_dir, store) = empty_store();
    let library = common::asset("onnxruntime/libonnxruntime.so");
    assert_eq!(import_runtime(&store, &library).unwrap(), Imported::Written);
    assert_eq!(import_runtime(&store, &library).unwrap(), Imported::AlreadyThere);
    OnnxRuntime::load(&store.verify_runtime().unwrap()).unwrap();
    fs::write(store.runtime_path(), b"not a library").unwrap();
    assert!(matches!(store.verify_runtime().unwrap_err(), OnnxError::WrongFile { .. }));
    assert_eq!(import_runtime(&store, &library).unwrap(), Imported::Written);
    store.verify_runtime().unwrap();
}

/// An operator's own model: here the folded files as they are, under another name, with the digests left open.
#[test]
fn an_operators_own_manifest_is_imported() {
    let (_dir, store) = empty_store();
    let mut manifest = common::store().manifest("sface-2021dec").unwrap();
    manifest.name = "own-arcface".to_owned();
    for file in [&mut manifest.detector.file, &mut manifest.embedder.file] {
        file.source_sha256 = file.sha256.take().unwrap();
        file.prepare = Prepare::Keep;
    }
    let from = [common::store().dir().join("sface-2021dec")];
    assert_eq!(import_model(&store, &manifest, &from).unwrap(), Imported::Written);
    assert_eq!(import_model(&store, &manifest, &from).unwrap(), Imported::AlreadyThere);
    let model = store.load("own-arcface").unwrap();
    let (runtime, _) = common::loaded();
    let encoder = OnnxEncoder::new(&EncoderConfig::default(), &runtime, &model).unwrap();
    assert_eq!((encoder.face_model().as_str(), encoder.dimension()), ("own-arcface", 128));
}
