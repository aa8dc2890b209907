//! A photo's bytes: JPEG and PNG, told apart by content, limits checked before anything is decoded, EXIF orientation
//! applied.

use std::io::Cursor;

use image::codecs::png::PngDecoder;
use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageFormat, Limits, Rgb, RgbImage};
use vidimus_domain::limits::{PHOTO_PIXELS_MAX, PHOTO_SIDE_PX_MIN};
use vidimus_ports::EncoderError;

use crate::jpeg::{self, JpegHeader};
use crate::picture::Picture;

/// Bytes of memory for each pixel that a PNG may take while it is decoded: four channels of 16 bits.
const PNG_BYTES_PER_PIXEL_MAX: u64 = 8;

/// Decodes a photo to 8-bit RGB, upright.
///
/// A grey photo gets three equal channels; of CMYK what its inks leave of white is taken. The alpha channel of a PNG, and
/// the transparency of a palette's colours, are dropped and not composited, as OpenCV's `imread` does: the models were
/// measured with it, the colours below are nearly always the photo's own, and any background would be made up. Of 16-bit
/// samples the upper eight are taken. Of an animated PNG the first picture is taken.
///
/// # Errors
/// `NotAPhoto` for what is neither JPEG nor PNG, is truncated or damaged, or is a JPEG in other colours than grey,
/// RGB or CMYK; `TooManyPixels` and `TooSmall` by the header alone, before any pixel is decoded.
pub fn decode(bytes: &[u8]) -> Result<RgbImage, EncoderError> {
    Photo::open(bytes)?.whole()
}

/// A photo whose header has been read and keeps within the limits.
pub struct Photo<'a> {
    source: Source<'a>,
    orientation: Orientation,
    /// Width and height as stored, before it is turned upright.
    stored_px: (u32, u32),
}

enum Source<'a> {
    Jpeg(&'a [u8]),
    Png(Box<PngDecoder<Cursor<&'a [u8]>>>),
}

impl<'a> Photo<'a> {
    /// Reads the header.
    ///
    /// # Errors
    /// As [`decode`].
    pub fn open(bytes: &'a [u8]) -> Result<Self, EncoderError> {
        match image::guess_format(bytes) {
            Ok(ImageFormat::Jpeg) => {
                let JpegHeader { width_px, height_px, orientation } = jpeg::header(bytes)?;
                check_limits(width_px, height_px)?;
                Ok(Self { source: Source::Jpeg(bytes), orientation, stored_px: (width_px, height_px) })
            }
            Ok(ImageFormat::Png) => Self::open_png(bytes),
            _ => Err(not_a_photo("neither a JPEG nor a PNG")),
        }
    }

    fn open_png(bytes: &'a [u8]) -> Result<Self, EncoderError> {
        let mut limits = Limits::no_limits();
        limits.max_alloc = Some(PHOTO_PIXELS_MAX * PNG_BYTES_PER_PIXEL_MAX);
        let mut decoder = PngDecoder::with_limits(Cursor::new(bytes), limits).map_err(not_a_photo)?;
        let (width_px, height_px) = decoder.dimensions();
        check_limits(width_px, height_px)?;
        let orientation = decoder.orientation().map_err(not_a_photo)?;
        Ok(Self { source: Source::Png(Box::new(decoder)), orientation, stored_px: (width_px, height_px) })
    }

    /// Width and height in pixels, upright.
    #[must_use]
    pub fn size_px(&self) -> (u32, u32) {
        let (width_px, height_px) = self.stored_px;
        if swaps_sides(self.orientation) { (height_px, width_px) } else { (width_px, height_px) }
    }

    /// Decodes every pixel, upright.
    ///
    /// # Errors
    /// `NotAPhoto` where it is truncated or damaged.
    pub fn whole(self) -> Result<RgbImage, EncoderError> {
        let stored = match self.source {
            Source::Jpeg(bytes) => jpeg::decode(bytes)?,
            Source::Png(decoder) => eight_bits(DynamicImage::from_decoder(*decoder).map_err(not_a_photo)?),
        };
        Ok(upright(stored, self.orientation))
    }

    /// Decodes it for a reader that looks at few of its pixels, if its longest side is `side_px` or more; else every pixel.
    ///
    /// # Errors
    /// As [`Self::whole`].
    pub fn picture(self, side_px: u32) -> Result<Picture, EncoderError> {
        let (width_px, height_px) = self.stored_px;
        if let Source::Jpeg(bytes) = self.source
            && width_px.max(height_px) >= side_px
            && let Some(planes) = jpeg::planes(bytes, self.orientation)?
        {
            return Ok(Picture::Planes(planes));
        }
        self.whole().map(Picture::Whole)
    }
}

/// The picture's colours in 8 bits: of 16 the upper eight, as libpng gives them to OpenCV. Rounding would be more exact by half a
/// step, which already moves a template by 2e-3 in cosine.
fn eight_bits(picture: DynamicImage) -> RgbImage {
    let upper = |sample: u16| (sample >> 8) as u8;
    match picture {
        DynamicImage::ImageRgb16(_) | DynamicImage::ImageRgba16(_) => {
            let deep = picture.into_rgb16();
            RgbImage::from_fn(deep.width(), deep.height(), |x, y| Rgb(deep.get_pixel(x, y).0.map(upper)))
        }
        DynamicImage::ImageLuma16(_) | DynamicImage::ImageLumaA16(_) => {
            let deep = picture.into_luma16();
            let grey = |x, y| Rgb([upper(deep.get_pixel(x, y).0[0]); 3]);
            RgbImage::from_fn(deep.width(), deep.height(), grey)
        }
        _ => picture.into_rgb8(),
    }
}

/// Checks a photo's size as its header says it.
fn check_limits(width_px: u32, height_px: u32) -> Result<(), EncoderError> {
    if u64::from(width_px) * u64::from(height_px) > PHOTO_PIXELS_MAX {
        return Err(EncoderError::TooManyPixels { width_px, height_px });
    }
    if width_px.min(height_px) < PHOTO_SIDE_PX_MIN {
        return Err(EncoderError::TooSmall { width_px, height_px });
    }
    Ok(())
}

fn upright(pixels: RgbImage, orientation: Orientation) -> RgbImage {
    if orientation == Orientation::NoTransforms {
        return pixels;
    }
    let mut image = DynamicImage::ImageRgb8(pixels);
    image.apply_orientation(orientation);
    image.into_rgb8()
}

/// Whether the upright photo's columns are rows as stored.
pub(crate) const fn swaps_sides(orientation: Orientation) -> bool {
    matches!(
        orientation,
        Orientation::Rotate90
            | Orientation::Rotate270
            | Orientation::Rotate90FlipH
            | Orientation::Rotate270FlipH
    )
}

/// Whether the upright photo's first column, and its first row, are the last ones as stored.
pub(crate) const fn flips(orientation: Orientation) -> (bool, bool) {
    match orientation {
        Orientation::NoTransforms | Orientation::Rotate90FlipH => (false, false),
        Orientation::Rotate90 | Orientation::FlipHorizontal => (true, false),
        Orientation::Rotate270 | Orientation::FlipVertical => (false, true),
        Orientation::Rotate180 | Orientation::Rotate270FlipH => (true, true),
    }
}

pub(crate) fn not_a_photo(reason: impl ToString) -> EncoderError {
    EncoderError::NotAPhoto(reason.to_string())
}

#[cfg(test)]
#[path = "photo_tests.rs"]
mod tests;
