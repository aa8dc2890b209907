//! The sizes of a photo that detection and alignment need, each decoded or made once.

use vidimus_ports::EncoderError;

use crate::level::Level;
use crate::photo::{HALVINGS_MAX, Photo};

/// A photo is reduced where it is four times as long as the detector's input (two halvings) or more. Below that it is decoded
/// whole, and every template is OpenCV's.
const HALVINGS_MIN: u32 = 2;
/// Pixels of a level for one of the aligned face, at least: half of them are spare, so that what the reduction blurs is finer
/// than what the face model sees. Many more would do harm, for bilinear sampling skips most and takes their noise.
const PIXELS_PER_ALIGNED_PIXEL_MIN: f64 = 2.0;

/// A photo at the sizes that were asked for.
pub struct Pyramid<'a> {
    photo: Photo<'a>,
    first: u32,
    /// By halvings.
    levels: Vec<Option<Level>>,
}

impl<'a> Pyramid<'a> {
    /// Decodes what a detector needs whose input's longest side is `side_px_max`: of a photo that is four times as long or
    /// more the smallest level that is not smaller than that, of any other the whole.
    ///
    /// # Errors
    /// As [`Photo::level`].
    pub fn new(mut photo: Photo<'a>, side_px_max: u32) -> Result<Self, EncoderError> {
        let (width_px, height_px) = photo.size_px();
        let first = first_halvings(width_px.max(height_px), side_px_max);
        let mut levels = vec![None; first as usize];
        levels.push(Some(photo.level(first)?));
        Ok(Self { photo, first, levels })
    }

    /// Width and height of the whole photo.
    #[must_use]
    pub fn size_px(&self) -> (u32, u32) {
        self.photo.size_px()
    }

    /// The level for the detector, if it can be had.
    #[must_use]
    pub fn first(&self) -> Option<&Level> {
        self.at(self.first)
    }

    /// The halvings of the level to align a face from of whose pixels in the whole photo `scale` make one aligned pixel.
    #[must_use]
    pub fn halvings_for(&self, scale: f64) -> u32 {
        if self.first == 0 {
            return 0;
        }
        let spare = scale / PIXELS_PER_ALIGNED_PIXEL_MIN;
        if spare >= 2.0 { spare.log2() as u32 } else { 0 }
    }

    /// Makes the levels from `finest` to `coarsest`. At most one is decoded: halving makes the others.
    ///
    /// # Errors
    /// As [`Photo::level`].
    pub fn make(&mut self, finest: u32, coarsest: u32) -> Result<(), EncoderError> {
        if self.levels.len() <= coarsest as usize {
            self.levels.resize(coarsest as usize + 1, None);
        }
        if finest < self.first && self.at(finest).is_none() {
            self.levels[finest as usize] = Some(self.photo.level(finest)?);
        }
        for halvings in finest + 1..=coarsest {
            let above = self.at(halvings - 1).filter(|_| self.at(halvings).is_none());
            if let Some(halved) = above.map(Level::halved) {
                self.levels[halvings as usize] = Some(halved);
            }
        }
        Ok(())
    }

    /// A level that was made.
    #[must_use]
    pub fn at(&self, halvings: u32) -> Option<&Level> {
        self.levels.get(halvings as usize)?.as_ref()
    }
}

fn first_halvings(longest_px: u32, side_px_max: u32) -> u32 {
    let fits = |halvings: &u32| longest_px >> halvings >= side_px_max;
    (HALVINGS_MIN..=HALVINGS_MAX).rev().find(fits).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_much_larger_photos_are_reduced() {
        for (longest_px, halvings) in
            [(250, 0), (640, 0), (2_559, 0), (2_560, 2), (4_032, 2), (5_119, 2), (5_120, 3), (10_000, 3)]
        {
            assert_eq!(first_halvings(longest_px, 640), halvings, "{longest_px}");
        }
    }
}
