//! Brings a face's five landmarks onto a face model's template of landmarks.

use image::RgbImage;

use crate::picture::Picture;

const CHANNELS: usize = 3;
/// Steps of a pixel at which the bilinear weights are taken (OpenCV `INTER_TAB_SIZE`).
const STEPS: i64 = 32;
/// Steps of a pixel in which positions are added up (OpenCV `AB_SCALE`).
const POSITION_STEPS: f64 = 1024.0;

/// Where five landmarks lie in an aligned face, in its pixels.
pub type LandmarkTemplate = [[f32; 2]; 5];

/// A similarity transform (rotation, scale, translation, no reflection):
/// `x' = a·x − b·y + shift_x`, `y' = b·x + a·y + shift_y`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Similarity {
    a: f64,
    b: f64,
    shift_x: f64,
    shift_y: f64,
}

impl Similarity {
    /// The least-squares similarity transform that takes `from` to `to`; none where the points of `from` coincide or no
    /// scale is left.
    ///
    /// Umeyama, "Least-squares estimation of transformation parameters between two point patterns" (PAMI 13, 1991). In the
    /// plane, and without reflections, its solution is the complex regression used here: with both sets centred,
    /// `a + ib = Σ conj(from)·to / Σ |from|²`.
    #[must_use]
    pub fn between(from: &[[f64; 2]; 5], to: &[[f64; 2]; 5]) -> Option<Self> {
        let (from_mean, to_mean) = (mean(from), mean(to));
        let (mut real, mut imaginary, mut spread) = (0.0, 0.0, 0.0);
        for (source, target) in from.iter().zip(to) {
            let (x, y) = (source[0] - from_mean[0], source[1] - from_mean[1]);
            let (u, v) = (target[0] - to_mean[0], target[1] - to_mean[1]);
            real += x * u + y * v;
            imaginary += x * v - y * u;
            spread += x * x + y * y;
        }
        let (a, b) = (real / spread, imaginary / spread);
        let scale = a.hypot(b);
        if !scale.is_finite() || scale < 1e-6 {
            return None;
        }
        let shift_x = to_mean[0] - (a * from_mean[0] - b * from_mean[1]);
        let shift_y = to_mean[1] - (b * from_mean[0] + a * from_mean[1]);
        Some(Self { a, b, shift_x, shift_y })
    }

    /// The transform that takes back what this one does.
    #[must_use]
    fn inverse(&self) -> Self {
        let determinant = self.a * self.a + self.b * self.b;
        let (a, b) = (self.a / determinant, -self.b / determinant);
        let shift_x = -(a * self.shift_x - b * self.shift_y);
        let shift_y = -(b * self.shift_x + a * self.shift_y);
        Self { a, b, shift_x, shift_y }
    }
}

fn mean(points: &[[f64; 2]; 5]) -> [f64; 2] {
    let sum = points.iter().fold([0.0, 0.0], |sum, point| [sum[0] + point[0], sum[1] + point[1]]);
    sum.map(|value| value / points.len() as f64)
}

/// Cuts the face whose landmarks lie at `positions` out of a photo: `side_px` × `side_px`, its landmarks on `template`. None
/// where the landmarks are no face at all (they coincide).
#[must_use]
pub fn align(
    photo: &Picture,
    positions: &[[f64; 2]; 5],
    template: &LandmarkTemplate,
    side_px: u32,
) -> Option<RgbImage> {
    Similarity::between(positions, &targets(template)).map(|transform| warp(photo, &transform, side_px))
}

fn targets(template: &LandmarkTemplate) -> [[f64; 2]; 5] {
    template.map(|point| point.map(f64::from))
}

/// Samples the photo bilinearly at the inverse of `transform`; black outside the photo.
///
/// The arithmetic is that of `cv2.warpAffine(…, INTER_LINEAR)` for 8-bit images in OpenCV 4 (modules/imgproc/src/imgwarp.cpp):
/// positions are rounded to 1/32 pixel. Exact positions, as in OpenCV 5, move a template by up to 1e-4 in cosine.
fn warp(photo: &Picture, transform: &Similarity, side_px: u32) -> RgbImage {
    let inverse = transform.inverse();
    let round = |value: f64| (value * POSITION_STEPS).round_ties_even() as i64;
    let half_step = POSITION_STEPS as i64 / STEPS / 2;
    let columns: Vec<(i64, i64)> =
        (0..side_px).map(|x| (round(inverse.a * f64::from(x)), round(inverse.b * f64::from(x)))).collect();
    let mut aligned = Vec::with_capacity((side_px * side_px) as usize * CHANNELS);
    for y in 0..side_px {
        let row_x = round(-inverse.b * f64::from(y) + inverse.shift_x) + half_step;
        let row_y = round(inverse.a * f64::from(y) + inverse.shift_y) + half_step;
        for (column_x, column_y) in &columns {
            aligned.extend(sample(photo, (row_x + column_x) >> 5, (row_y + column_y) >> 5));
        }
    }
    RgbImage::from_raw(side_px, side_px, aligned).unwrap_or_default()
}

/// The photo's colour at a position in 1/32 pixels.
fn sample(photo: &Picture, x: i64, y: i64) -> [u8; CHANNELS] {
    let (column, row) = (x.div_euclid(STEPS), y.div_euclid(STEPS));
    let (right, below) = (x.rem_euclid(STEPS) as u32, y.rem_euclid(STEPS) as u32);
    let steps = STEPS as u32;
    let weights =
        [(steps - right) * (steps - below), right * (steps - below), (steps - right) * below, right * below];
    let corners = photo.corners(column, row);
    std::array::from_fn(|channel| {
        let weighed = corners.iter().zip(weights).map(|(pixel, weight)| u32::from(pixel[channel]) * weight);
        ((weighed.sum::<u32>() + steps * steps / 2) / (steps * steps)) as u8
    })
}

#[cfg(test)]
mod tests {
    use image::Rgb;
    use proptest::prelude::*;

    use super::*;

    const TEMPLATE: [[f64; 2]; 5] =
        [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]];

    fn apply(transform: &Similarity, point: [f64; 2]) -> [f64; 2] {
        let [x, y] = point;
        [
            transform.a * x - transform.b * y + transform.shift_x,
            transform.b * x + transform.a * y + transform.shift_y,
        ]
    }

    proptest! {
        #[test]
        fn a_similarity_is_found_again(
            scale in 0.05f64..20.0, angle in -3.1f64..3.1, x in -5e3f64..5e3, y in -5e3f64..5e3,
        ) {
            let transform =
                Similarity { a: scale * angle.cos(), b: scale * angle.sin(), shift_x: x, shift_y: y };
            let moved = TEMPLATE.map(|point| apply(&transform, point));
            let found = Similarity::between(&TEMPLATE, &moved).unwrap();
            prop_assert!((found.a - transform.a).abs() < 1e-9 * scale.max(1.0));
            prop_assert!((found.b - transform.b).abs() < 1e-9 * scale.max(1.0));
            for point in moved {
                let again = apply(&found, apply(&found.inverse(), point));
                prop_assert!((again[0] - point[0]).abs() + (again[1] - point[1]).abs() < 1e-6);
            }
        }
    }

    #[test]
    fn points_that_coincide_have_no_similarity() {
        assert_eq!(Similarity::between(&[[3.0, 4.0]; 5], &TEMPLATE), None);
        assert_eq!(Similarity::between(&[[f64::NAN, 4.0]; 5], &TEMPLATE), None);
    }

    /// A mirror image is never fitted by turning the face over: the best rotation is, and it fits badly.
    #[test]
    fn reflections_are_not_used() {
        let mirrored = TEMPLATE.map(|[x, y]| [112.0 - x, y]);
        let found = Similarity::between(&mirrored, &TEMPLATE).unwrap();
        let error: f64 = mirrored
            .iter()
            .zip(TEMPLATE)
            .map(|(from, to)| {
                let there = apply(&found, *from);
                (there[0] - to[0]).hypot(there[1] - to[1])
            })
            .sum();
        assert!(error > 10.0, "{error}");
    }

    #[test]
    fn aligned_already_means_unchanged() {
        let photo = RgbImage::from_fn(112, 112, |x, y| Rgb([x as u8, y as u8, (x ^ y) as u8]));
        let template = TEMPLATE.map(|point| point.map(|value| value as f32));
        assert_eq!(align(&Picture::Whole(photo.clone()), &TEMPLATE, &template, 112), Some(photo));
    }

    #[test]
    fn outside_of_the_photo_is_black() {
        let photo = Picture::Whole(RgbImage::from_pixel(112, 112, Rgb([200, 100, 50])));
        let template = TEMPLATE.map(|point| point.map(|value| value as f32 + 20.0));
        let aligned = align(&photo, &TEMPLATE, &template, 112).unwrap();
        assert_eq!(aligned.get_pixel(5, 60).0, [0, 0, 0]);
        assert_eq!(aligned.get_pixel(60, 60).0, [200, 100, 50]);
    }
}
