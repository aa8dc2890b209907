//! Bilinear resize in OpenCV's arithmetic, so that the detector sees what it was measured on.

use image::RgbImage;

use crate::picture::Picture;

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

/// Resizes a photo to a width and a height, as `cv2.resize(…, INTER_LINEAR)` does for 8-bit images: pixel centres at halves,
/// weights of 11 bits, 22 bits of product rounded to the nearest (OpenCV 4, modules/imgproc/src/resize.cpp, `HResizeLinear` and
/// `VResizeLinear`). Shrinking by more than two skips pixels, as it does there.
#[must_use]
pub fn resize_linear(photo: &Picture, size_px: [u32; 2]) -> RgbImage {
    let [width, height] = photo.size_px();
    let mut columns = taps(width, size_px[0]);
    let mut rows = taps(height, size_px[1]);
    match photo {
        Picture::Whole(image) => blend(image, &columns, &rows),
        Picture::Planes(planes) => {
            let picked = planes.picked(&places(&columns), &places(&rows));
            side_by_side(&mut columns);
            side_by_side(&mut rows);
            blend(&picked, &columns, &rows)
        }
    }
}

/// The samples that are taken, two for each tap.
fn places(taps: &[Tap]) -> Vec<usize> {
    taps.iter().flat_map(|tap| [tap.first, tap.second]).collect()
}

/// Taps of a picture that has nothing but the samples that they take.
fn side_by_side(taps: &mut [Tap]) {
    for (index, tap) in taps.iter_mut().enumerate() {
        (tap.first, tap.second) = (2 * index, 2 * index + 1);
    }
}

fn blend(source: &RgbImage, columns: &[Tap], rows: &[Tap]) -> RgbImage {
    let stride = source.width() as usize * CHANNELS;
    let pixels = source.as_raw();
    let line = columns.len() * CHANNELS;
    let mut target = vec![0; line * rows.len()];
    let (mut upper, mut lower) = (vec![0; line], vec![0; line]);
    for (row, resized) in rows.iter().zip(target.chunks_exact_mut(line)) {
        blend_columns(&pixels[row.first * stride..][..stride], columns, &mut upper);
        blend_columns(&pixels[row.second * stride..][..stride], columns, &mut lower);
        for ((value, first), second) in resized.iter_mut().zip(&upper).zip(&lower) {
            let first = (row.first_weight * (first >> 4)) >> 16;
            let second = (row.second_weight * (second >> 4)) >> 16;
            *value = ((first + second + 2) >> 2).clamp(0, 255) as u8;
        }
    }
    RgbImage::from_raw(columns.len() as u32, rows.len() as u32, target).unwrap_or_default()
}

/// The taps of `target` samples along a side of `source` samples.
fn taps(source: u32, target: u32) -> Vec<Tap> {
    let scale = f64::from(source) / f64::from(target);
    let last = source.saturating_sub(1) as usize;
    (0..target)
        .map(|index| {
            let position = ((f64::from(index) + 0.5) * scale - 0.5) as f32;
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

    fn shrink(image: RgbImage, width: u32, height: u32) -> RgbImage {
        resize_linear(&Picture::Whole(image), [width, height])
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
}
