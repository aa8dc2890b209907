//! Photos a second on one thread: decode, detect, align, embed.
//!
//! `photos_per_second PHOTOS REPEATS` takes a photo or a folder of them (with its folders), encodes all of them REPEATS times and
//! prints JSON: `photos`, `faces`, `seconds`, `photos_per_second`. `bench/photos.py` does the same steps with OpenCV and ONNX
//! Runtime in Python. Models are read from `VIDIMUS_MODELS`.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::Instant;
use std::{env, fs, io};

use vidimus_onnx::{ModelStore, OnnxRuntime, Pipeline};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args_os().skip(1);
    let place = arguments.next().ok_or("photos_per_second PHOTOS REPEATS")?;
    let repeats: usize = arguments.next().and_then(|it| it.to_str()?.parse().ok()).unwrap_or(1);
    let store =
        ModelStore::new(PathBuf::from(env::var_os("VIDIMUS_MODELS").ok_or("VIDIMUS_MODELS is not set")?));
    let runtime = OnnxRuntime::load(&store.verify_runtime()?)?;
    let mut pipeline = Pipeline::new(&runtime, &store.load("sface-2021dec")?)?;
    let mut paths = Vec::new();
    files(Path::new(&place), &mut paths)?;
    paths.sort();
    let first = paths.first().ok_or("no photo")?;
    pipeline.encode(&fs::read(first)?)?;
    let begun = Instant::now();
    let mut faces = 0;
    for path in (0..repeats).flat_map(|_| &paths) {
        faces += pipeline.encode(&fs::read(path)?)?.faces.len();
    }
    let seconds = begun.elapsed().as_secs_f64();
    let photos = paths.len() * repeats;
    let answer = serde_json::json!({
        "photos": photos, "faces": faces, "seconds": seconds, "photos_per_second": photos as f64 / seconds,
    });
    serde_json::to_writer(io::stdout(), &answer)?;
    Ok(())
}

fn files(place: &Path, found: &mut Vec<PathBuf>) -> io::Result<()> {
    if place.is_file() {
        found.push(place.to_owned());
        return Ok(());
    }
    for entry in fs::read_dir(place)? {
        files(&entry?.path(), found)?;
    }
    Ok(())
}
