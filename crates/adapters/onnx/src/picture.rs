//! A decoded photo, whichever way its pixels lie in memory.

use image::RgbImage;

use crate::planes::Planes;

const CHANNELS: usize = 3;

/// A decoded photo, upright.
#[derive(Clone, Debug)]
pub enum Picture {
    /// All its pixels.
    Whole(RgbImage),
    /// What its pixels are made of when they are looked at.
    Planes(Planes),
}

impl Picture {
    /// Width and height in pixels.
    #[must_use]
    pub fn size_px(&self) -> [u32; 2] {
        match self {
            Self::Whole(image) => [image.width(), image.height()],
            Self::Planes(planes) => planes.size_px(),
        }
    }

    /// The pixel at a place, the next one to the right, and the two below these; black outside the photo.
    #[must_use]
    pub fn corners(&self, column: i64, row: i64) -> [[u8; CHANNELS]; 4] {
        self.corners_of_whole(column, row).unwrap_or_else(|| {
            [(0, 0), (1, 0), (0, 1), (1, 1)].map(|(right, below)| self.pixel(column + right, row + below))
        })
    }

    /// [`Self::corners`] the short way, where all four are pixels in memory.
    fn corners_of_whole(&self, column: i64, row: i64) -> Option<[[u8; CHANNELS]; 4]> {
        let Self::Whole(image) = self else { return None };
        let (column, row) = (usize::try_from(column).ok()?, usize::try_from(row).ok()?);
        let width = image.width() as usize;
        if column + 1 >= width {
            return None;
        }
        let pixels = image.as_raw().as_chunks::<CHANNELS>().0;
        let first = row * width + column;
        let below = pixels.get(first + width..first + width + 2)?;
        Some([pixels[first], pixels[first + 1], below[0], below[1]])
    }

    fn pixel(&self, column: i64, row: i64) -> [u8; CHANNELS] {
        let [width, height] = self.size_px().map(i64::from);
        if !(0..width).contains(&column) || !(0..height).contains(&row) {
            return [0; CHANNELS];
        }
        match self {
            Self::Whole(image) => image.get_pixel(column as u32, row as u32).0,
            Self::Planes(planes) => planes.pixel(column as usize, row as usize),
        }
    }
}
