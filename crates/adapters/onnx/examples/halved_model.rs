//! A second face model, for tests of collections that turn from one to another: SFace, its templates projected onto half as many
//! components by a matrix with orthonormal columns. It tells people apart, less well, and no template of it fits the other's.
//!
//! `halved_model MODELS OUT` takes `sface-2021dec` from the models directory and writes two model files and `manifest.toml`, for
//! `vidimus models import --from OUT --manifest OUT/manifest.toml`.

use std::error::Error;
use std::path::PathBuf;
use std::{env, fs};

use onnx_format::{ModelProto, NodeProto, TensorProto};
use prost::Message;
use sha2::{Digest, Sha256};
use vidimus_onnx::{ModelStore, Prepare};

mod onnx_format {
    include!(concat!(env!("OUT_DIR"), "/onnx.rs"));
}

const FROM: &str = "sface-2021dec";
const NAME: &str = "sface-2021dec-half";
/// `TensorProto.DataType`.
const FLOAT: i32 = 1;
const PROJECTION: &str = "vidimus_projection";

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args_os().skip(1).map(PathBuf::from);
    let usage = "halved_model MODELS OUT";
    let (models, out) = (arguments.next().ok_or(usage)?, arguments.next().ok_or(usage)?);
    let mut manifest = ModelStore::new(&models).manifest(FROM)?;
    let read = |name: &str| fs::read(models.join(FROM).join(name));
    let detector = read(&manifest.detector.file.name)?;
    let whole = manifest.embedder.dimension;
    let embedder = halved(&read(&manifest.embedder.file.name)?, whole)?;
    fs::create_dir_all(&out)?;
    manifest.name = NAME.to_owned();
    manifest.embedder.dimension = whole / 2;
    manifest.embedder.file.name = format!("{NAME}.onnx");
    for (file, bytes) in [(&mut manifest.detector.file, detector), (&mut manifest.embedder.file, embedder)] {
        fs::write(out.join(&file.name), &bytes)?;
        file.source_name = file.name.clone();
        file.source_sha256 = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        file.sha256 = None;
        file.prepare = Prepare::Keep;
    }
    fs::write(out.join("manifest.toml"), manifest.to_toml()?)?;
    Ok(())
}

/// The model with its output multiplied by the first half of the columns of a Walsh–Hadamard matrix of that order, scaled so that
/// they have unit length.
fn halved(model: &[u8], order: usize) -> Result<Vec<u8>, Box<dyn Error>> {
    let mut model = ModelProto::decode(model)?;
    let graph = model.graph.as_mut().ok_or("the model has no graph")?;
    let [output] = graph.output.as_mut_slice() else { return Err("the model has not one output".into()) };
    let (was, half) = (output.name().to_owned(), order / 2);
    let scale = 1.0 / (order as f32).sqrt();
    let value = |row: usize, column: usize| {
        if (row & column).count_ones().is_multiple_of(2) { scale } else { -scale }
    };
    let values = (0..order).flat_map(|row| (0..half).map(move |column| value(row, column)));
    graph.initializer.push(TensorProto {
        dims: vec![order as i64, half as i64],
        data_type: Some(FLOAT),
        raw_data: Some(values.flat_map(f32::to_le_bytes).collect()),
        name: Some(PROJECTION.to_owned()),
        ..TensorProto::default()
    });
    let name = format!("{was}_half");
    graph.node.push(NodeProto {
        op_type: Some("MatMul".to_owned()),
        name: Some(name.clone()),
        input: vec![was, PROJECTION.to_owned()],
        output: vec![name.clone()],
        ..NodeProto::default()
    });
    // Its shape is inferred.
    output.name = Some(name);
    output.r#type = None;
    Ok(model.encode_to_vec())
}
