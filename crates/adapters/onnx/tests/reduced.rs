//! Photos of 12 megapixels: the reduced decode gives the templates that the whole one gives.

#![expect(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a test fails by panicking and says what it measured"
)]

mod common;

use std::fs;
use std::io::Cursor;

use image::codecs::jpeg::JpegEncoder;
use image::imageops::FilterType;
use image::{DynamicImage, ImageFormat, Rgb, RgbImage};
use vidimus_domain::face::DetectedFace;
use vidimus_onnx::{Pipeline, decode};
use vidimus_ports::EncodedPhoto;

const COSINE_MIN: f32 = 0.999;
/// The grain of a photo: each sample moves by up to this. The face model sees more of it than people do: with grain of 9, which
/// is a photo taken at night, cosines are 0.9983 to 0.9995.
const GRAIN: i16 = 2;

/// A portrait of 12 megapixels with grain, as a JPEG.
fn twelve_megapixels(name: &str) -> Vec<u8> {
    let portrait = decode(&fs::read(common::asset("photos").join(name)).unwrap()).unwrap();
    let height = (12e6 * f64::from(portrait.height()) / f64::from(portrait.width())).sqrt() as u32;
    let width = 12_000_000 / height;
    let enlarged = DynamicImage::ImageRgb8(portrait).resize_exact(width, height, FilterType::CatmullRom);
    let mut picture = enlarged.into_rgb8();
    let mut state = 0x2545_f491_4f6c_dd1du64;
    for sample in picture.iter_mut() {
        // xorshift64 (Marsaglia, Journal of Statistical Software 8, 2003).
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let grain = (state >> 32) as i16 % (GRAIN + 1);
        *sample = (i16::from(*sample) + grain).clamp(0, 255) as u8;
    }
    let mut bytes = Vec::new();
    JpegEncoder::new_with_quality(&mut bytes, 90).encode_image(&picture).unwrap();
    bytes
}

/// What a JPEG decodes to, all of it, as a PNG: every pixel of a PNG is decoded.
fn whole(jpeg: &[u8]) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    decode(jpeg).unwrap().write_to(&mut bytes, ImageFormat::Png).unwrap();
    bytes.into_inner()
}

fn only(encoded: &EncodedPhoto) -> &DetectedFace {
    assert_eq!(encoded.faces.len(), 1);
    &encoded.faces[0]
}

#[test]
fn a_reduced_decode_gives_the_template_of_the_whole_one() {
    let (runtime, model) = common::loaded();
    let mut pipeline = Pipeline::new(&runtime, &model).unwrap();
    for name in ["obama.jpg", "obama3.jpg", "biden.jpg", "astronaut.png"] {
        let jpeg = twelve_megapixels(name);
        let reduced = pipeline.encode(&jpeg).unwrap();
        let all = pipeline.encode(&whole(&jpeg)).unwrap();
        assert_eq!((reduced.width_px, reduced.height_px), (all.width_px, all.height_px));
        let (face, same) = (only(&reduced), only(&all));
        let cosine = face.template.cosine(&same.template);
        println!("{name}: {} × {}, cosine {cosine:.6}", reduced.width_px, reduced.height_px);
        assert!(cosine >= COSINE_MIN, "{name}: cosine {cosine}");
        assert!(face.bounding_box.iou(&same.bounding_box) > 0.98);
    }
}

/// A face that is small in its photo needs more pixels than the detector was given.
#[test]
fn a_small_face_of_a_large_photo_is_aligned_from_all_its_pixels() {
    let (runtime, model) = common::loaded();
    let mut pipeline = Pipeline::new(&runtime, &model).unwrap();
    let portrait = decode(&fs::read(common::asset("photos/obama.jpg")).unwrap()).unwrap();
    let alone = pipeline.encode(&whole(&jpeg(&portrait))).unwrap();
    let mut picture = RgbImage::from_pixel(4_032, 3_024, Rgb([120, 125, 130]));
    image::imageops::overlay(&mut picture, &portrait, 1_600, 800);
    let placed = pipeline.encode(&jpeg(&picture)).unwrap();
    let cosine = only(&alone).template.cosine(&only(&placed).template);
    println!("a small face: cosine {cosine:.6}");
    assert!(cosine > 0.9, "{cosine}");
    let (face, expected) = (only(&placed).bounding_box, only(&alone).bounding_box);
    let left_px = face.left * 4_032.0 - 1_600.0;
    let expected_px = expected.left * portrait.width() as f32;
    assert!((left_px - expected_px).abs() < 12.0, "{left_px} and {expected_px}");
}

fn jpeg(picture: &RgbImage) -> Vec<u8> {
    let mut bytes = Vec::new();
    JpegEncoder::new_with_quality(&mut bytes, 95).encode_image(picture).unwrap();
    bytes
}
