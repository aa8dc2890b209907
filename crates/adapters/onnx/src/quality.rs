//! What makes a face fit to enrol, measured on the aligned face.

use image::RgbImage;
use vidimus_domain::face::Quality;

/// The part of an aligned face's width and height, in the middle, that is measured: outside is hair and background.
const MIDDLE: f32 = 0.7;
/// The variance of the Laplacian at which sharpness is 50. Measured: press photos of 250 pixels have 26 to 585 (1st and 99th
/// percentile, median 128), official portraits 700 to 2,300.
const VARIANCE_AT_HALF: f32 = 250.0;

/// Brightness and sharpness of an aligned face, 0 to 100 each.
///
/// Brightness is the mean luma (ITU-R BT.601) as a percentage. Sharpness is `100 · v / (v + 250)` of the variance `v` of the
/// luma's Laplacian (Pech-Pacheco et al., "Diatom autofocusing in brightfield microscopy", ICPR 2000). Both are of the middle
/// of the face at the size of the model's input, so a small face, which was enlarged, is not sharp.
#[must_use]
pub fn quality(aligned: &RgbImage) -> Quality {
    let side = aligned.width().min(aligned.height());
    let margin = ((side as f32) * (1.0 - MIDDLE) / 2.0) as u32;
    let luma = |x: u32, y: u32| {
        let [red, green, blue] = aligned.get_pixel(x, y).0.map(f32::from);
        0.299 * red + 0.587 * green + 0.114 * blue
    };
    let (mut sum, mut laplacian_sum, mut laplacian_squares, mut pixels) = (0.0, 0.0, 0.0, 0.0f32);
    for y in margin.max(1)..side - margin.max(1) {
        for x in margin.max(1)..side - margin.max(1) {
            let here = luma(x, y);
            let around = luma(x - 1, y) + luma(x + 1, y) + luma(x, y - 1) + luma(x, y + 1);
            let laplacian = around - 4.0 * here;
            sum += here;
            laplacian_sum += laplacian;
            laplacian_squares += laplacian * laplacian;
            pixels += 1.0;
        }
    }
    let mean = laplacian_sum / pixels;
    let variance = (laplacian_squares / pixels - mean * mean).max(0.0);
    Quality {
        brightness: (sum / pixels / 255.0 * 100.0).clamp(0.0, 100.0),
        sharpness: 100.0 * variance / (variance + VARIANCE_AT_HALF),
    }
}

#[cfg(test)]
mod tests {
    use image::Rgb;
    use image::imageops::blur;

    use super::*;

    #[test]
    fn a_flat_face_is_as_bright_as_its_grey_and_not_sharp() {
        for (grey, brightness) in [(0, 0.0), (51, 20.0), (255, 100.0)] {
            let measured = quality(&RgbImage::from_pixel(112, 112, Rgb([grey; 3])));
            assert!((measured.brightness - brightness).abs() < 0.01, "{measured:?}");
            assert!(measured.sharpness < 0.01, "{measured:?}");
        }
    }

    #[test]
    fn blur_takes_sharpness() {
        let stripes =
            RgbImage::from_fn(112, 112, |x, y| Rgb([if (x / 4 + y / 4) % 2 == 0 { 200 } else { 50 }; 3]));
        let sharpness: Vec<f32> =
            [0.5, 1.0, 2.0, 4.0].map(|sigma| quality(&blur(&stripes, sigma)).sharpness).to_vec();
        assert!(sharpness.windows(2).all(|pair| pair[0] > pair[1]), "{sharpness:?}");
        assert!(sharpness[0] > 90.0 && sharpness[3] < 5.0, "{sharpness:?}");
    }
}
