//! The encoder against OpenCV's FaceDetectorYN and FaceRecognizerSF on the same files.

#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test fails by panicking and says what it measured"
)]

#[path = "common/camera.rs"]
mod camera;
mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use image::codecs::jpeg::JpegEncoder;
use image::imageops::FilterType;
use image::metadata::Orientation;
use image::{DynamicImage, ImageFormat, RgbImage, RgbaImage};
use serde::Deserialize;
use vidimus_domain::Template;
use vidimus_domain::face::DetectedFace;
use vidimus_domain::geometry::BoundingBox;
use vidimus_onnx::{Pipeline, decode};

const COSINE_MIN: f32 = 0.9999;
const IOU_MIN: f32 = 0.95;

#[derive(Deserialize)]
struct Expected {
    width_px: u32,
    height_px: u32,
    faces: Vec<ExpectedFace>,
}

#[derive(Deserialize)]
struct ExpectedFace {
    #[serde(rename = "box")]
    shape: [f32; 4],
    landmarks: [[f32; 2]; 5],
    confidence: f32,
    template: Vec<f32>,
}

/// The Python that has OpenCV.
fn python() -> PathBuf {
    let python = common::cached("VIDIMUS_PYTHON", "venv/bin/python");
    assert!(python.exists(), "{} is missing: run `make assets`", python.display());
    python
}

/// Every photo among the assets.
fn photos() -> Vec<PathBuf> {
    let dir = common::asset("photos");
    let mut photos: Vec<PathBuf> = fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    photos.retain(|path| path.extension().is_some_and(|extension| extension == "jpg" || extension == "png"));
    photos.sort();
    assert!(photos.len() >= 7, "too few photos in {}: run `make assets`", dir.display());
    photos
}

fn expected(photos: &[PathBuf]) -> BTreeMap<PathBuf, Expected> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../tests/encoder/expected.py");
    let mut command = Command::new(python());
    command.arg(script).arg(common::asset("models-source")).args(photos);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Compares every face of every photo, and says how near the farthest came.
fn check(photos: &[PathBuf]) {
    let (faces, least_cosine) = compare_all(&expected(photos));
    println!("{} photos, {faces} faces, least cosine {least_cosine:.7}", photos.len());
    assert!(faces >= photos.len(), "every photo has a face");
    assert!(least_cosine >= COSINE_MIN, "cosine {least_cosine}");
}

/// How many faces there are, and the cosine of the template that is farthest.
fn compare_all(expected: &BTreeMap<PathBuf, Expected>) -> (usize, f32) {
    let (runtime, model) = common::loaded();
    let mut pipeline = Pipeline::new(&runtime, &model).unwrap();
    let mut faces = 0;
    let mut least_cosine = 1.0f32;
    for (path, expected) in expected {
        let encoded = pipeline.encode(&fs::read(path).unwrap()).unwrap();
        let name = path.display();
        assert_eq!((encoded.width_px, encoded.height_px), (expected.width_px, expected.height_px), "{name}");
        assert_eq!(encoded.faces.len(), expected.faces.len(), "{name}: number of faces");
        for (face, expected_face) in encoded.faces.iter().zip(&expected.faces) {
            let cosine = compare(face, expected_face, &name.to_string());
            least_cosine = least_cosine.min(cosine);
            faces += 1;
        }
    }
    (faces, least_cosine)
}

fn compare(face: &DetectedFace, expected: &ExpectedFace, name: &str) -> f32 {
    let [left, top, width, height] = expected.shape;
    let iou = face.bounding_box.iou(&BoundingBox { left, top, width, height });
    assert!(iou >= IOU_MIN, "{name}: box overlaps {iou}");
    assert!((face.confidence - expected.confidence).abs() < 0.01, "{name}: {}", face.confidence);
    for (landmark, [x, y]) in face.landmarks.iter().zip(expected.landmarks) {
        let off = (landmark.x - x).hypot(landmark.y - y);
        assert!(off < 0.01 * width.max(height), "{name}: a landmark is off by {off}");
    }
    let template = Template::normalised(expected.template.clone()).unwrap();
    let cosine = face.template.cosine(&template);
    if cosine < COSINE_MIN {
        println!("{name}: cosine {cosine}");
    }
    cosine
}

#[test]
fn real_photos() {
    check(&photos());
}

/// Writes variants of a portrait as other cameras and tools would.
fn variants(dir: &Path) -> Vec<PathBuf> {
    let portrait = decode(&fs::read(common::asset("photos/obama.jpg")).unwrap()).unwrap();
    let mut written = Vec::new();
    let mut keep = |name: String, bytes: Vec<u8>| {
        let path = dir.join(name);
        fs::write(&path, bytes).unwrap();
        written.push(path);
    };
    for orientation in 1..=8 {
        keep(format!("orientation-{orientation}.jpg"), turned(&portrait, orientation));
    }
    let whole = DynamicImage::ImageRgb8(portrait);
    let encode = |image: &DynamicImage, format| {
        let mut bytes = std::io::Cursor::new(Vec::new());
        image.write_to(&mut bytes, format).unwrap();
        bytes.into_inner()
    };
    let grey = DynamicImage::ImageLuma8(whole.to_luma8());
    keep("grey.jpg".to_owned(), encode(&grey, ImageFormat::Jpeg));
    keep("grey.png".to_owned(), encode(&grey, ImageFormat::Png));
    keep("misnamed.png".to_owned(), encode(&whole, ImageFormat::Jpeg));
    keep("misnamed.jpg".to_owned(), encode(&whole, ImageFormat::Png));
    keep(
        "alpha.png".to_owned(),
        encode(&DynamicImage::ImageRgba8(half_transparent(&whole)), ImageFormat::Png),
    );
    keep("deep.png".to_owned(), encode(&DynamicImage::ImageRgb16(whole.to_rgb16()), ImageFormat::Png));
    keep(
        "deep-grey.png".to_owned(),
        encode(&DynamicImage::ImageLumaA16(whole.to_luma_alpha16()), ImageFormat::Png),
    );
    keep("inks.jpg".to_owned(), in_inks(whole.as_rgb8().unwrap()));
    keep("small.jpg".to_owned(), encode(&whole.thumbnail(150, 150), ImageFormat::Jpeg));
    for (name, width, height) in
        [("large.jpg", 2_001, 2_501), ("larger.jpg", 2_728, 3_408), ("largest.jpg", 4_800, 6_000)]
    {
        let enlarged = whole.resize_exact(width, height, FilterType::CatmullRom);
        keep(name.to_owned(), encode(&enlarged, ImageFormat::Jpeg));
    }
    let small_face = placed(&whole, 4_032, 3_024);
    keep("small-face.jpg".to_owned(), encode(&small_face, ImageFormat::Jpeg));
    let larger = whole.resize_exact(2_728, 3_408, FilterType::CatmullRom).into_rgb8();
    for orientation in 2..=8 {
        keep(format!("larger-orientation-{orientation}.jpg"), turned(&larger, orientation));
    }
    written
}

/// The portrait with each other column transparent.
fn half_transparent(portrait: &DynamicImage) -> RgbaImage {
    let mut picture = portrait.to_rgba8();
    for (x, _, pixel) in picture.enumerate_pixels_mut() {
        pixel.0[3] = if x % 2 == 0 { 0 } else { 255 };
    }
    picture
}

/// The portrait as a JPEG in cyan, magenta, yellow and black, inverted as Adobe's programs store them.
fn in_inks(portrait: &RgbImage) -> Vec<u8> {
    let samples: Vec<u8> = portrait
        .pixels()
        .flat_map(|pixel| {
            let black = pixel.0.into_iter().max().unwrap().max(1);
            let ink = |channel: usize| (u16::from(pixel.0[channel]) * 255 / u16::from(black)) as u8;
            [ink(0), ink(1), ink(2), black]
        })
        .collect();
    let mut compress = mozjpeg::Compress::new(mozjpeg::ColorSpace::JCS_CMYK);
    compress.set_size(portrait.width() as usize, portrait.height() as usize);
    compress.set_quality(90.0);
    let mut started = compress.start_compress(Vec::new()).unwrap();
    started.write_scanlines(&samples).unwrap();
    started.finish().unwrap()
}

/// The portrait in the middle of a larger grey picture.
fn placed(portrait: &DynamicImage, width: u32, height: u32) -> DynamicImage {
    let mut picture = RgbImage::from_pixel(width, height, image::Rgb([120, 125, 130]));
    let at = |room: u32, side: u32| i64::from((room - side) / 2);
    let (left, top) = (at(width, portrait.width()), at(height, portrait.height()));
    image::imageops::overlay(&mut picture, &portrait.to_rgb8(), left, top);
    DynamicImage::ImageRgb8(picture)
}

/// The portrait as a camera that was held so stores it, with the EXIF tag that says so.
fn turned(portrait: &RgbImage, orientation: u8) -> Vec<u8> {
    let inverse = match orientation {
        6 => 8,
        8 => 6,
        other => other,
    };
    let mut stored = DynamicImage::ImageRgb8(portrait.clone());
    stored.apply_orientation(Orientation::from_exif(inverse).unwrap());
    let mut bytes = Vec::new();
    let mut encoder = JpegEncoder::new_with_quality(&mut bytes, 95);
    let mut exif = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\0\0\0\0\0\0\0".to_vec();
    exif[19] = orientation;
    image::ImageEncoder::set_exif_metadata(&mut encoder, exif).unwrap();
    encoder.encode_image(&stored).unwrap();
    bytes
}

#[test]
fn variants_of_a_portrait() {
    let dir = tempfile::tempdir().unwrap();
    check(&variants(dir.path()));
}

/// With grain, as cameras write them: the pixels that are looked at are OpenCV's too.
#[test]
fn photos_of_12_megapixels() {
    let dir = tempfile::tempdir().unwrap();
    let photos = [("obama.jpg", 0), ("biden.jpg", 4), ("obama3.jpg", 15)].map(|(name, grain)| {
        let portrait = decode(&fs::read(common::asset("photos").join(name)).unwrap()).unwrap();
        let scale = (12e6 / f64::from(portrait.width() * portrait.height())).sqrt();
        let [width, height] =
            [portrait.width(), portrait.height()].map(|side| (f64::from(side) * scale) as u32);
        let mut large = image::imageops::resize(&portrait, width, height, FilterType::CatmullRom);
        camera::add_grain(&mut large, grain);
        let path = dir.path().join(name);
        fs::write(&path, camera::camera_jpeg(&large)).unwrap();
        path
    });
    check(&photos);
}
