//! Photos a second of the encoder as a service has it: all its threads, each with a photo at hand.
//!
//! `encoder_throughput FOLDER REPEATS` encodes every photo of the folder REPEATS times and prints JSON: `threads`, `photos`, `faces`,
//! `seconds`, `photos_per_second`. Models are read from `VIDIMUS_MODELS`.

use std::error::Error;
use std::path::PathBuf;
use std::time::Instant;
use std::{env, fs, io};

use bytes::Bytes;
use futures::stream::{self, StreamExt};
use vidimus_onnx::{EncoderConfig, ModelStore, OnnxEncoder, OnnxRuntime};
use vidimus_ports::FaceEncoder;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args_os().skip(1);
    let folder = arguments.next().ok_or("encoder_throughput FOLDER REPEATS")?;
    let repeats: usize = arguments.next().and_then(|it| it.to_str()?.parse().ok()).unwrap_or(1);
    let models = PathBuf::from(env::var_os("VIDIMUS_MODELS").ok_or("VIDIMUS_MODELS is not set")?);
    let store = ModelStore::new(models);
    let runtime = OnnxRuntime::load(&store.verify_runtime()?)?;
    let config = EncoderConfig::default();
    let encoder = OnnxEncoder::new(&config, &runtime, &store.load("sface-2021dec")?)?;
    let mut photos = Vec::new();
    for entry in fs::read_dir(folder)? {
        photos.push(Bytes::from(fs::read(entry?.path())?));
    }
    let in_flight = config.queue_photos_max.get();
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    runtime.block_on(encoder.encode(photos.first().ok_or("no photo")?.clone()))?;
    let begun = Instant::now();
    let encoding = (0..repeats).flat_map(|_| photos.iter()).map(|photo| encoder.encode(photo.clone()));
    let faces = runtime.block_on(
        stream::iter(encoding)
            .buffer_unordered(in_flight)
            .map(|encoded| encoded.map_or(0, |encoded| encoded.faces.len()))
            .fold(0, async |sum, faces| sum + faces),
    );
    let seconds = begun.elapsed().as_secs_f64();
    let count = photos.len() * repeats;
    let answer = serde_json::json!({
        "threads": config.workers, "photos": count, "faces": faces, "seconds": seconds,
        "photos_per_second": count as f64 / seconds,
    });
    serde_json::to_writer(io::stdout(), &answer)?;
    Ok(())
}
