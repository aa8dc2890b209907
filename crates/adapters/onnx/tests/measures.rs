//! Pose and quality of real portraits move the right way when these are turned, mirrored, darkened and blurred.

#![expect(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a test fails by panicking and says what it measured"
)]

mod common;

use std::fs;
use std::io::Cursor;

use image::imageops::{blur, flip_horizontal};
use image::{ImageFormat, Rgb, RgbImage};
use vidimus_domain::face::{DetectedFace, Pose, Quality};
use vidimus_domain::geometry::BoundingBox;
use vidimus_onnx::{Pipeline, decode};

const PORTRAITS: [&str; 3] = ["obama.jpg", "biden.jpg", "astronaut.png"];

fn pipeline() -> Pipeline {
    let (runtime, model) = common::loaded();
    Pipeline::new(&runtime, &model).unwrap()
}

fn portrait(name: &str) -> RgbImage {
    decode(&fs::read(common::asset("photos").join(name)).unwrap()).unwrap()
}

/// The largest face of a picture.
fn face(pipeline: &mut Pipeline, picture: &RgbImage) -> DetectedFace {
    let mut bytes = Cursor::new(Vec::new());
    picture.write_to(&mut bytes, ImageFormat::Png).unwrap();
    pipeline.encode(&bytes.into_inner()).unwrap().faces.swap_remove(0)
}

fn pose(pipeline: &mut Pipeline, picture: &RgbImage) -> Pose {
    face(pipeline, picture).pose.unwrap()
}

fn quality(pipeline: &mut Pipeline, picture: &RgbImage) -> Quality {
    face(pipeline, picture).quality.unwrap()
}

/// The face at `shape` in the middle of a square, half as wide as it, turned clockwise.
fn turned(picture: &RgbImage, shape: &BoundingBox, degrees: f32) -> RgbImage {
    const SIDE_PX: u32 = 480;
    let (width, height) = (picture.width() as f32, picture.height() as f32);
    let middle = [(shape.left + shape.width / 2.0) * width, (shape.top + shape.height / 2.0) * height];
    let scale = 2.0 * (shape.height * height) / SIDE_PX as f32;
    let (sine, cosine) = degrees.to_radians().sin_cos();
    RgbImage::from_fn(SIDE_PX, SIDE_PX, |x, y| {
        let [x, y] = [x, y].map(|at| (at as f32 - SIDE_PX as f32 / 2.0) * scale);
        let from = [x * cosine + y * sine + middle[0], y * cosine - x * sine + middle[1]];
        let inside = from[0] >= 0.0 && from[1] >= 0.0;
        let pixel = picture.get_pixel_checked(from[0] as u32, from[1] as u32).filter(|_| inside);
        pixel.copied().unwrap_or(Rgb([0; 3]))
    })
}

/// The formula is exact, and this detector is not: its landmarks follow a tilt of 20 degrees by 12 to 23, and of small faces by less.
#[test]
fn roll_follows_the_turn_of_the_picture() {
    let mut pipeline = pipeline();
    for name in PORTRAITS {
        let picture = portrait(name);
        let shape = face(&mut pipeline, &picture).bounding_box;
        let mut roll = |degrees| pose(&mut pipeline, &turned(&picture, &shape, degrees)).roll;
        let upright = roll(0.0);
        for degrees in [-20.0, 20.0] {
            let moved = roll(degrees) - upright;
            assert!((moved - degrees).abs() < 10.0, "{name}, turned by {degrees}: {moved}");
        }
    }
}

#[test]
fn a_mirror_turns_yaw_and_roll_round_and_leaves_pitch() {
    let mut pipeline = pipeline();
    for name in PORTRAITS {
        let picture = portrait(name);
        let (seen, mirrored) =
            (pose(&mut pipeline, &picture), pose(&mut pipeline, &flip_horizontal(&picture)));
        assert!((seen.yaw + mirrored.yaw).abs() < 6.0, "{name}: {seen:?} and {mirrored:?}");
        assert!((seen.roll + mirrored.roll).abs() < 8.0, "{name}: {seen:?} and {mirrored:?}");
        assert!((seen.pitch - mirrored.pitch).abs() < 10.0, "{name}: {seen:?} and {mirrored:?}");
        if seen.yaw.abs() > 8.0 {
            assert!(seen.yaw * mirrored.yaw < 0.0, "{name}: {seen:?} and {mirrored:?}");
        }
    }
}

#[test]
fn a_darkened_face_is_less_bright() {
    let mut pipeline = pipeline();
    for name in PORTRAITS {
        let mut picture = portrait(name);
        let mut brightness = vec![quality(&mut pipeline, &picture).brightness];
        for _ in 0..2 {
            picture.iter_mut().for_each(|sample| *sample = (u16::from(*sample) * 6 / 10) as u8);
            brightness.push(quality(&mut pipeline, &picture).brightness);
        }
        for pair in brightness.windows(2) {
            assert!((pair[1] / pair[0] - 0.6).abs() < 0.06, "{name}: {brightness:?}");
        }
    }
}

#[test]
fn a_blurred_face_is_less_sharp() {
    let mut pipeline = pipeline();
    for name in PORTRAITS {
        let picture = portrait(name);
        let side_px = face(&mut pipeline, &picture).bounding_box.width * picture.width() as f32;
        let mut sharpness = vec![quality(&mut pipeline, &picture).sharpness];
        for share in [0.01, 0.02, 0.04] {
            sharpness.push(quality(&mut pipeline, &blur(&picture, side_px * share)).sharpness);
        }
        assert!(sharpness.windows(2).all(|pair| pair[1] < 0.9 * pair[0]), "{name}: {sharpness:?}");
    }
}
