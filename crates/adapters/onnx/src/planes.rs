//! A JPEG as it is stored: brightness of every pixel and colour of every fourth. Only pixels that are looked at become colours.
//!
//! Of a photo of 12 megapixels the detector looks at a tenth, and alignment at less. Making colours of all the others is most of
//! what their decoding costs beyond the unpacking that there is no way around. Those that are made are, bit by bit, what
//! libjpeg makes of the whole photo, so that templates are too.

use image::metadata::Orientation;
use image::{DynamicImage, RgbImage};

use crate::photo::{flips, swaps_sides};

const CHANNELS: usize = 3;
/// Bits of the fraction in libjpeg's conversion of colours (jdcolor.c, `SCALEBITS`).
const FRACTION_BITS: i32 = 16;
const HALF: i32 = 1 << (FRACTION_BITS - 1);
/// 1.40200, 1.77200, 0.71414 and 0.34414 in that fraction (jdcolor.c, `build_ycc_rgb_table`).
const RED_OF_RED: i32 = 91_881;
const BLUE_OF_BLUE: i32 = 116_130;
const GREEN_OF_RED: i32 = -46_802;
const GREEN_OF_BLUE: i32 = -22_554;

/// Samples of one kind, row by row.
#[derive(Clone, Debug)]
pub struct Plane {
    /// The rows, each of `stride`, at least `height` of them.
    pub samples: Vec<u8>,
    /// Samples from one row to the next.
    pub stride: usize,
    /// Samples of a row that belong to the photo.
    pub width: usize,
    /// Rows that belong to the photo.
    pub height: usize,
}

/// A JPEG whose colours (blue and red against brightness) have half its width and half its height.
#[derive(Clone, Debug)]
pub struct Planes {
    /// Brightness, a sample for each pixel.
    pub luma: Plane,
    /// How much bluer.
    pub blue: Plane,
    /// How much redder.
    pub red: Plane,
    /// How it is to be turned.
    pub orientation: Orientation,
}

/// How the stored photo's columns, or its rows, lie in the upright one.
struct Axis {
    /// 0: along its columns, 1: along its rows.
    upright: usize,
    /// The last place along it.
    last: usize,
    /// Whether it is counted from there.
    from_end: bool,
}

impl Axis {
    const fn stored(&self, place: usize) -> usize {
        if self.from_end { self.last - place } else { place }
    }
}

impl Plane {
    fn row(&self, row: usize) -> &[u8] {
        &self.samples[row * self.stride..][..self.width]
    }

    /// The two rows that a pixel's row lies between, the nearer first; at the edge the nearer twice.
    fn rows_at(&self, row: usize) -> [&[u8]; 2] {
        let near = row / 2;
        [self.row(near), self.row(beside(row, self.height))]
    }

    /// The column sums for a pixel's row, three parts of the nearer row and one of the other, with the first and the last one
    /// twice.
    fn sums_at(&self, row: usize, sums: &mut Vec<u16>) {
        let [near, far] = self.rows_at(row);
        sums.resize(self.width + 2, 0);
        for ((sum, near), far) in sums[1..].iter_mut().zip(near).zip(far) {
            *sum = 3 * u16::from(*near) + u16::from(*far);
        }
        sums[0] = sums[1];
        sums[self.width + 1] = sums[self.width];
    }

    /// The value at a pixel.
    fn at(&self, column: usize, row: usize) -> i32 {
        let [near, far] = self.rows_at(row);
        let sum = |at: usize| 3 * u16::from(near[at]) + u16::from(far[at]);
        blended(sum(column / 2), sum(beside(column, self.width)), column)
    }
}

/// The sample on the other side of a pixel than the one that it lies in.
const fn beside(pixel: usize, samples: usize) -> usize {
    let here = pixel / 2;
    if pixel.is_multiple_of(2) {
        here.saturating_sub(1)
    } else if here + 1 < samples {
        here + 1
    } else {
        here
    }
}

/// Three parts of the nearer column and one of the other (jdsample.c, `h2v2_fancy_upsample`).
fn blended(near: u16, far: u16, column: usize) -> i32 {
    i32::from((3 * near + far + 8 - (column % 2) as u16) >> 4)
}

/// The colour of a pixel (jdcolor.c, `ycc_rgb_convert`).
fn colour(luma: u8, blue: i32, red: i32) -> [u8; CHANNELS] {
    let (luma, blue, red) = (i32::from(luma), blue - 128, red - 128);
    [
        luma + ((RED_OF_RED * red + HALF) >> FRACTION_BITS),
        luma + ((GREEN_OF_BLUE * blue + GREEN_OF_RED * red + HALF) >> FRACTION_BITS),
        luma + ((BLUE_OF_BLUE * blue + HALF) >> FRACTION_BITS),
    ]
    .map(|value| value.clamp(0, 255) as u8)
}

impl Planes {
    /// Width and height in pixels, upright.
    #[must_use]
    pub const fn size_px(&self) -> [u32; 2] {
        let (width, height) = (self.luma.width as u32, self.luma.height as u32);
        if swaps_sides(self.orientation) { [height, width] } else { [width, height] }
    }

    /// The colour at a place of the upright photo.
    #[must_use]
    pub fn pixel(&self, column: usize, row: usize) -> [u8; CHANNELS] {
        let [x, y] = self.along_axes(|axis| axis.stored([column, row][axis.upright]));
        colour(self.luma.row(y)[x], self.blue.at(x, y), self.red.at(x, y))
    }

    /// The upright photo's pixels at the crossings of some columns and rows.
    #[must_use]
    pub fn picked(&self, columns: &[usize], rows: &[usize]) -> RgbImage {
        let [x, y] = self.along_axes(|axis| {
            [columns, rows][axis.upright].iter().map(|place| axis.stored(*place)).collect::<Vec<_>>()
        });
        let picked = self.picked_stored(&x, &y);
        if swaps_sides(self.orientation) {
            let mut picture = DynamicImage::ImageRgb8(picked);
            // Rows become columns, and nothing is turned over: that is in the places.
            picture.apply_orientation(Orientation::Rotate90FlipH);
            return picture.into_rgb8();
        }
        picked
    }

    /// What `take` gives for the stored photo's columns and for its rows.
    fn along_axes<T>(&self, take: impl Fn(Axis) -> T) -> [T; 2] {
        let sides = self.size_px().map(|side| side as usize);
        let (from_right, from_bottom) = flips(self.orientation);
        let axis = |upright: usize| Axis {
            upright,
            last: sides[upright] - 1,
            from_end: [from_right, from_bottom][upright],
        };
        let order = if swaps_sides(self.orientation) { [1, 0] } else { [0, 1] };
        order.map(|upright| take(axis(upright)))
    }

    fn picked_stored(&self, columns: &[usize], rows: &[usize]) -> RgbImage {
        let line = columns.len() * CHANNELS;
        let mut pixels = vec![0; line * rows.len()];
        let (mut blue_sums, mut red_sums) = (Vec::new(), Vec::new());
        for (row, pixels) in rows.iter().zip(pixels.chunks_exact_mut(line)) {
            self.blue.sums_at(*row, &mut blue_sums);
            self.red.sums_at(*row, &mut red_sums);
            let luma = self.luma.row(*row);
            for (column, pixel) in columns.iter().zip(pixels.as_chunks_mut::<CHANNELS>().0) {
                // The sums begin with one more.
                let (near, far) = (column / 2 + 1, column / 2 + 2 * (column % 2));
                let blue = blended(blue_sums[near], blue_sums[far], *column);
                let red = blended(red_sums[near], red_sums[far], *column);
                *pixel = colour(luma[*column], blue, red);
            }
        }
        RgbImage::from_raw(columns.len() as u32, rows.len() as u32, pixels).unwrap_or_default()
    }
}
