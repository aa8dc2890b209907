//! Bilinear resize in OpenCV's arithmetic, so that the detector sees what it was measured on.

use image::RgbImage;

use crate::level::Level;

/// Bits of a weight's fraction (OpenCV `INTER_RESIZE_COEF_BITS`).
const WEIGHT_ONE: f32 = 2048.0;
const CHANNELS: usize = 3;

/// Where one output row or column takes its two samples, and with which weights.
#[derive(Clone, Copy)]
struct Tap {
    first: usize,
    second: usize,
    first_weight: i32,
    second_weight: i32,
}

/// Resizes the photo of which `level` is a reduction to `width` × `height`, as `cv2.resize(…, INTER_LINEAR)` does for 8-bit images:
/// pixel centres at halves, weights of 11 bits, 22 bits of product rounded to the nearest (OpenCV 4,
/// modules/imgproc/src/resize.cpp, `HResizeLinear` and `VResizeLinear`). Shrinking by more than two skips pixels, as it does
/// there: of the level, not of the photo.
#[must_use]
pub fn resize_linear(level: &Level, width: u32, height: u32) -> RgbImage {
    let source = &level.image;
    let columns = taps(level, 0, width);
    let rows = taps(level, 1, height);
    let stride = source.width() as usize * CHANNELS;
    let pixels = source.as_raw();
    let line = width as usize * CHANNELS;
    let mut target = vec![0; line * height as usize];
    let (mut upper, mut lower) = (vec![0; line], vec![0; line]);
    for (row, resized) in rows.iter().zip(target.chunks_exact_mut(line)) {
        blend_columns(&pixels[row.first * stride..][..stride], &columns, &mut upper);
        blend_columns(&pixels[row.second * stride..][..stride], &columns, &mut lower);
        for ((value, first), second) in resized.iter_mut().zip(&upper).zip(&lower) {
            let first = (row.first_weight * (first >> 4)) >> 16;
            let second = (row.second_weight * (second >> 4)) >> 16;
            *value = ((first + second + 2) >> 2).clamp(0, 255) as u8;
        }
    }
    RgbImage::from_raw(width, height, target).unwrap_or_default()
}

/// The taps of `target` samples along an axis of the photo.
fn taps(level: &Level, axis: usize, target: u32) -> Vec<Tap> {
    let scale = f64::from(level.photo_px[axis]) / f64::from(target);
    let last = [level.image.width(), level.image.height()][axis].saturating_sub(1) as usize;
    (0..target)
        .map(|index| {
            let position = level.position((f64::from(index) + 0.5) * scale - 0.5, axis) as f32;
            let fraction = position - position.floor();
            let first_weight = ((1.0 - fraction) * WEIGHT_ONE).round_ties_even() as i32;
            let second_weight = (fraction * WEIGHT_ONE).round_ties_even() as i32;
            let floor = position.floor();
            Tap {
                first: (floor.max(0.0) as usize).min(last),
                second: ((floor + 1.0).max(0.0) as usize).min(last),
                first_weight,
                second_weight,
            }
        })
        .collect()
}

fn blend_columns(row: &[u8], columns: &[Tap], blended: &mut [i32]) {
    let (pixels, _) = row.as_chunks::<CHANNELS>();
    let (targets, _) = blended.as_chunks_mut::<CHANNELS>();
    for (tap, target) in columns.iter().zip(targets) {
        let (first, second) = (pixels[tap.first].map(i32::from), pixels[tap.second].map(i32::from));
        for channel in 0..CHANNELS {
            target[channel] = first[channel] * tap.first_weight + second[channel] * tap.second_weight;
        }
    }
}

#[cfg(test)]
mod tests {
    use image::Rgb;

    use super::*;

    fn whole(image: RgbImage) -> Level {
        Level { halvings: 0, photo_px: [image.width(), image.height()], origin_px: [0.0; 2], image }
    }

    fn shrink(image: RgbImage, width: u32, height: u32) -> RgbImage {
        resize_linear(&whole(image), width, height)
    }

    fn column_of(values: &[u8]) -> RgbImage {
        RgbImage::from_fn(1, values.len() as u32, |_, y| Rgb([values[y as usize]; 3]))
    }

    #[test]
    fn the_same_size_changes_nothing() {
        let image = RgbImage::from_fn(7, 5, |x, y| Rgb([x as u8 * 30, y as u8 * 50, 255 - x as u8]));
        assert_eq!(shrink(image.clone(), 7, 5), image);
    }

    #[test]
    fn halving_takes_the_mean_of_four() {
        let image = RgbImage::from_fn(4, 2, |x, y| Rgb([(x * 10 + y * 100) as u8; 3]));
        assert_eq!(shrink(image, 2, 1).into_raw(), [55, 55, 55, 75, 75, 75]);
    }

    /// Values of `cv2.resize` 4.14 for the same columns.
    #[test]
    fn odd_ratios_are_opencvs() {
        let five = column_of(&[0, 50, 100, 200, 255]);
        let resized: Vec<u8> = shrink(five, 1, 3).pixels().map(|pixel| pixel.0[0]).collect();
        assert_eq!(resized, [17, 100, 236]);
        let two = column_of(&[10, 250]);
        let grown: Vec<u8> = shrink(two, 1, 5).pixels().map(|pixel| pixel.0[0]).collect();
        assert_eq!(grown, [10, 34, 130, 226, 250]);
    }

    /// A ramp of 400 whose level was turned, so that it begins 1 before the photo: what is sampled lies where it lay.
    #[test]
    fn a_level_is_sampled_where_the_photo_would_be() {
        let ramp = |first: f64, step: f64, count: u32| {
            RgbImage::from_fn(count, 1, |x, _| Rgb([(first + step * f64::from(x)) as u8; 3]))
        };
        let photo = whole(ramp(0.0, 0.5, 400));
        let image = ramp(0.25, 2.0, 100);
        let level = Level { image, halvings: 2, photo_px: [400, 1], origin_px: [-1.0, 0.0] };
        let (there, here) = (resize_linear(&photo, 100, 1), resize_linear(&level, 100, 1));
        for column in 1..99 {
            let (there, here) = (there.get_pixel(column, 0).0[0], here.get_pixel(column, 0).0[0]);
            assert!(there.abs_diff(here) <= 1, "{column}: {there} and {here}");
        }
    }
}
