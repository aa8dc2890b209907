use image::Rgb;
use proptest::prelude::*;

use super::*;

const UNIT: Extent = Extent { width: 1.0, height: 1.0 };

fn at(left: f32, top: f32, side: f32, confidence: f32) -> Detection {
    Detection {
        bounding_box: BoundingBox { left, top, width: side, height: side },
        landmarks: Landmarks::default(),
        confidence,
    }
}

#[test]
fn photos_are_only_ever_shrunk() {
    for (width, height, expected) in [
        (640, 480, [640, 480]),
        (100, 90, [100, 90]),
        (1280, 640, [640, 320]),
        (910, 1137, [512, 640]),
        (100_000, 80, [640, 1]),
    ] {
        assert_eq!(shrunk([width, height], 640), expected);
    }
}

#[test]
fn the_input_is_blue_green_red_and_padded() {
    let input = Input::of(&RgbImage::from_pixel(33, 2, Rgb([1, 2, 3])));
    assert_eq!((input.width, input.height), (64, 32));
    let plane = 64 * 32;
    for (channel, value) in [3.0, 2.0, 1.0].into_iter().enumerate() {
        assert_eq!(input.values[channel * plane + 32], value);
        assert_eq!(input.values[channel * plane + 33], 0.0, "right of the image");
        assert_eq!(input.values[channel * plane + 2 * 64], 0.0, "below the image");
    }
}

/// One cell at column 2, row 1 of a grid of 3 by 2 at stride 8, worked out by hand from the published formulas.
#[test]
fn a_cell_is_decoded_as_published() {
    let cell = 5;
    let mut class = [0.0; 6];
    let mut object = [0.0; 6];
    (class[cell], object[cell]) = (0.81, 1.7);
    (class[0], object[0]) = (0.5, 0.5);
    let mut boxes = [0.0; 24];
    boxes[cell * 4..].copy_from_slice(&[0.5, 0.25, 2f32.ln(), 4f32.ln()]);
    let mut landmarks = [0.0; 60];
    for (index, value) in landmarks[cell * 10..].iter_mut().enumerate() {
        *value = index as f32 / 10.0;
    }
    let level = Grid {
        stride: 8.0,
        columns: 3,
        class: &class,
        object: &object,
        boxes: &boxes,
        landmarks: &landmarks,
    };
    let mut found = Vec::new();
    level.decode(0.6, UNIT, &mut found);
    let [face] = found.as_slice() else { panic!("{found:?}") };
    assert!((face.confidence - 0.9).abs() < 1e-6, "the object score is clamped to 1");
    let shape = face.bounding_box;
    for (value, expected) in
        [(shape.left, 12.0), (shape.top, -6.0), (shape.width, 16.0), (shape.height, 32.0)]
    {
        assert!((value - expected).abs() < 1e-4, "{shape:?}");
    }
    assert!((face.landmarks[2].x - (0.4 + 2.0) * 8.0).abs() < 1e-4);
    assert!((face.landmarks[2].y - (0.5 + 1.0) * 8.0).abs() < 1e-4);
}

#[test]
fn of_two_that_overlap_the_better_stays() {
    let found = vec![at(0.0, 0.0, 1.0, 0.7), at(0.1, 0.0, 1.0, 0.9), at(3.0, 0.0, 1.0, 0.6)];
    let kept = without_overlaps(found, 0.3);
    assert_eq!(kept.iter().map(|face| face.confidence).collect::<Vec<_>>(), [0.9, 0.6]);
}

#[test]
fn what_is_not_finite_is_dropped() {
    let found = vec![at(0.0, 0.0, f32::INFINITY, 0.9), at(f32::NAN, 0.0, 1.0, 0.9)];
    assert_eq!(without_overlaps(found, 0.3), []);
}

#[test]
fn the_hundred_largest_come_largest_first() {
    let found = (1..=150).map(|number| at(number as f32 * 10.0, 0.0, number as f32 / 100.0, 0.9)).collect();
    let kept = largest_first(found);
    assert_eq!(kept.len(), 100);
    assert_eq!((kept[0].bounding_box.width, kept[99].bounding_box.width), (1.5, 0.51));
}

proptest! {
    #[test]
    fn what_is_kept_overlaps_little_and_covers_all(
        boxes in prop::collection::vec((0f32..1.0, 0f32..1.0, 0.05f32..0.5, 0.6f32..1.0), 0..60),
    ) {
        let found: Vec<_> = boxes.iter().map(|(x, y, side, score)| at(*x, *y, *side, *score)).collect();
        let kept = without_overlaps(found.clone(), 0.3);
        for (index, one) in kept.iter().enumerate() {
            for other in &kept[..index] {
                prop_assert!(one.bounding_box.iou(&other.bounding_box) <= 0.3);
            }
        }
        for face in found {
            let better = |other: &Detection| {
                other.confidence >= face.confidence && other.bounding_box.iou(&face.bounding_box) > 0.3
            };
            prop_assert!(kept.contains(&face) || kept.iter().any(better));
        }
    }
}
