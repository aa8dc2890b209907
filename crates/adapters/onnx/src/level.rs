//! A photo at a reduced size, and where its pixels lie in the whole one.

use image::RgbImage;

const CHANNELS: usize = 3;

/// An upright photo with each side halved some times.
#[derive(Clone, Debug)]
pub struct Level {
    /// Its pixels. Each is about the mean of the `2^halvings` × `2^halvings` pixels that it stands for.
    pub image: RgbImage,
    /// How often each side was halved.
    pub halvings: u32,
    /// Width and height of the whole photo.
    pub photo_px: [u32; 2],
    /// Where the first pixel's corner lies in the whole photo: before its edge where a photo whose side does not divide
    /// was turned.
    pub origin_px: [f64; 2],
}

impl Level {
    /// Pixels of the whole photo that one of this level is wide.
    #[must_use]
    pub fn pixel_px(&self) -> f64 {
        f64::from(1u32 << self.halvings)
    }

    /// This level halved once more.
    #[must_use]
    pub fn halved(&self) -> Self {
        Self { image: reduced(&self.image, 1), halvings: self.halvings + 1, ..*self }
    }

    /// A position along an axis (0: right, 1: down) in the whole photo's pixels as one in this level's.
    ///
    /// The centre of the first pixel is 0 in both. A level's lies between the centres of the pixels that it stands for.
    #[must_use]
    pub fn position(&self, position_px: f64, axis: usize) -> f64 {
        (position_px - self.origin_px[axis] + 0.5) / self.pixel_px() - 0.5
    }

    /// Positions in the whole photo's pixels as positions in this level's.
    #[must_use]
    pub fn positions(&self, positions_px: &[[f64; 2]; 5]) -> [[f64; 2]; 5] {
        positions_px.map(|[x, y]| [self.position(x, 0), self.position(y, 1)])
    }
}

/// The photo with each side halved `halvings` times (1 to 3): every pixel is the mean of those that it stands for, which is
/// what libjpeg's reduced decode gives (jidctred.c). At the end of a side that does not divide it is the mean of what is left.
#[must_use]
pub fn reduced(source: &RgbImage, halvings: u32) -> RgbImage {
    let block = 1usize << halvings;
    let (width, height) = (source.width().div_ceil(1 << halvings), source.height().div_ceil(1 << halvings));
    let stride = source.width() as usize * CHANNELS;
    let mut target = Vec::with_capacity((width * height) as usize * CHANNELS);
    let mut sums = vec![0u16; stride];
    for rows in source.as_raw().chunks(block * stride) {
        sums.fill(0);
        for row in rows.chunks_exact(stride) {
            sums.iter_mut().zip(row).for_each(|(sum, sample)| *sum += u16::from(*sample));
        }
        let rows_count = (rows.len() / stride) as u16;
        for pixels in sums.chunks(block * CHANNELS) {
            let count = rows_count * (pixels.len() / CHANNELS) as u16;
            target.extend([0, 1, 2].map(|channel| {
                let sum: u16 = pixels.iter().skip(channel).step_by(CHANNELS).sum();
                ((sum + count / 2) / count) as u8
            }));
        }
    }
    RgbImage::from_raw(width, height, target).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use image::Rgb;
    use image::codecs::jpeg::JpegEncoder;

    use super::*;
    use crate::jpeg::decode;

    #[test]
    fn four_pixels_become_their_mean() {
        let image = RgbImage::from_fn(5, 3, |x, y| Rgb([(x * 10 + y * 100) as u8, x as u8, 7]));
        let half = reduced(&image, 1);
        assert_eq!(half.dimensions(), (3, 2));
        assert_eq!(half.get_pixel(0, 0).0, [55, 1, 7]);
        assert_eq!(half.get_pixel(2, 0).0, [90, 4, 7]);
        assert_eq!(half.get_pixel(2, 1).0, [240, 4, 7]);
        assert_eq!(reduced(&image, 2).get_pixel(0, 0).0, [115, 2, 7]);
    }

    /// What libjpeg makes of a picture, decoded reduced, is what is made of its whole decode: but for rounding.
    #[test]
    fn a_reduction_is_libjpegs() {
        let picture = RgbImage::from_fn(203, 149, |x, y| {
            Rgb([(x * 3 + y) as u8, 128 + (90.0 * (f64::from(x * y) / 90.0).sin()) as u8, (y * 2) as u8])
        });
        let mut jpeg = Vec::new();
        JpegEncoder::new_with_quality(&mut jpeg, 98).encode_image(&picture).unwrap();
        let whole = decode(&jpeg, 0).unwrap();
        for halvings in 1..=3 {
            let (made, libjpegs) = (reduced(&whole, halvings), decode(&jpeg, halvings).unwrap());
            assert_eq!(made.dimensions(), libjpegs.dimensions());
            let off = |(one, other): (&u8, &u8)| f64::from(one.abs_diff(*other));
            let mean = made.iter().zip(libjpegs.iter()).map(off).sum::<f64>() / made.len() as f64;
            assert!(mean < 1.0, "{halvings} halvings: {mean}");
        }
    }

    #[test]
    fn a_flat_picture_stays_as_it_is() {
        for halvings in 1..=3 {
            let flat = reduced(&RgbImage::from_pixel(17, 9, Rgb([250, 3, 77])), halvings);
            assert!(flat.pixels().all(|pixel| pixel.0 == [250, 3, 77]), "{halvings}");
        }
    }

    /// A mark drawn in the whole photo lies at the same place on every level, whichever way the photo was turned.
    #[test]
    fn positions_follow_the_level() {
        let positions_px = [[2_006.5, 752.0]; 5];
        let level = |halvings: u32, origin: f64| Level {
            image: RgbImage::new(4016 >> halvings, 3008 >> halvings),
            halvings,
            photo_px: [4013, 3008],
            origin_px: [origin, 0.0],
        };
        assert_eq!(level(0, 0.0).positions(&positions_px), positions_px);
        let quarter = level(2, 0.0).positions(&positions_px)[0];
        assert_eq!(quarter, [2007.0 / 4.0 - 0.5, 752.5 / 4.0 - 0.5]);
        let turned = level(2, -3.0).positions(&positions_px)[0];
        assert_eq!(turned[0] - quarter[0], 0.75);
    }
}
