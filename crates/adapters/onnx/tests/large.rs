//! Photos of 12 megapixels, of which only the pixels that are looked at are made: they give what the whole photo gives.

#![expect(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a test fails by panicking and says what it measured"
)]

#[path = "common/camera.rs"]
mod camera;
mod common;

use std::fs;
use std::io::Cursor;

use image::imageops::{FilterType, overlay, resize};
use image::{ImageFormat, Rgb, RgbImage};
use vidimus_onnx::{Pipeline, decode};

const WIDTH: u32 = 4_000;
const HEIGHT: u32 = 3_000;
const COSINE_MIN: f32 = 0.999_99;

/// A portrait in a photo of 12 megapixels, so many pixels high, with grain of up to so much on each sample.
fn picture(name: &str, portrait_height: u32, grain: i16) -> RgbImage {
    let portrait = decode(&fs::read(common::asset("photos").join(name)).unwrap()).unwrap();
    let portrait_width = portrait_height * portrait.width() / portrait.height();
    let enlarged = resize(&portrait, portrait_width, portrait_height, FilterType::CatmullRom);
    let mut picture = RgbImage::from_pixel(WIDTH, HEIGHT, Rgb([120, 125, 130]));
    let (left, top) = ((WIDTH - portrait_width) / 3, (HEIGHT - portrait_height) / 2);
    overlay(&mut picture, &enlarged, i64::from(left), i64::from(top));
    camera::add_grain(&mut picture, grain);
    picture
}

/// The same pixels as a PNG, every pixel of which is decoded.
fn whole(jpeg: &[u8]) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    decode(jpeg).unwrap().write_to(&mut bytes, ImageFormat::Png).unwrap();
    bytes.into_inner()
}

#[test]
fn faces_are_those_of_the_whole_photo() {
    let (runtime, model) = common::loaded();
    let mut pipeline = Pipeline::new(&runtime, &model).unwrap();
    for (name, portrait_height, grain) in [
        ("obama.jpg", 3_000, 0),
        ("obama3.jpg", 3_000, 9),
        ("biden.jpg", 2_200, 20),
        ("biden.jpg", 1_500, 4),
        ("astronaut.png", 3_000, 2),
        ("astronaut.png", 900, 9),
        ("obama2.jpg", 700, 20),
    ] {
        let jpeg = camera::camera_jpeg(&picture(name, portrait_height, grain));
        let few = pipeline.encode(&jpeg).unwrap();
        let all = pipeline.encode(&whole(&jpeg)).unwrap();
        let what = format!("{name} at {portrait_height} with grain {grain}");
        assert_eq!(
            (few.width_px, few.height_px, few.faces.len()),
            (WIDTH, HEIGHT, all.faces.len()),
            "{what}"
        );
        assert!(!all.faces.is_empty(), "{what}: no face");
        for (face, same) in few.faces.iter().zip(&all.faces) {
            let cosine = face.template.cosine(&same.template);
            println!("{what}: cosine {cosine:.7}");
            assert!(cosine >= COSINE_MIN, "{what}: cosine {cosine}");
            assert_eq!(face.bounding_box, same.bounding_box, "{what}");
            assert_eq!(face.landmarks, same.landmarks, "{what}");
        }
    }
}
