//! Bytes to pixels: JPEG and PNG, told apart by content, limits checked before anything is decoded, EXIF
//! orientation applied.

use std::io::Cursor;

use image::codecs::png::PngDecoder;
use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageFormat, Limits, RgbImage};
use vidimus_domain::limits::{PHOTO_PIXELS_MAX, PHOTO_SIDE_PX_MIN};
use vidimus_ports::EncoderError;

use crate::jpeg;

/// Bytes of memory for each pixel that a PNG may take while it is decoded: four channels of 16 bits.
const PNG_BYTES_PER_PIXEL_MAX: u64 = 8;

/// Decodes a photo to 8-bit RGB, upright.
///
/// A grey photo gets three equal channels. The alpha channel of a PNG is dropped and not composited, as OpenCV's
/// `imread` does, and 16-bit samples are scaled to 8. Of an animated PNG the first picture is taken.
///
/// # Errors
/// `NotAPhoto` for what is neither JPEG nor PNG, is truncated or damaged, or is a JPEG in other colours than grey
/// or RGB (CMYK); `TooManyPixels` and `TooSmall` by the header alone, before any pixel is decoded.
pub fn decode(bytes: &[u8]) -> Result<RgbImage, EncoderError> {
    let (pixels, orientation) = match image::guess_format(bytes) {
        Ok(ImageFormat::Jpeg) => jpeg::decode(bytes)?,
        Ok(ImageFormat::Png) => decode_png(bytes)?,
        _ => return Err(not_a_photo("neither a JPEG nor a PNG")),
    };
    Ok(upright(pixels, orientation))
}

fn decode_png(bytes: &[u8]) -> Result<(RgbImage, Orientation), EncoderError> {
    let mut limits = Limits::no_limits();
    limits.max_alloc = Some(PHOTO_PIXELS_MAX * PNG_BYTES_PER_PIXEL_MAX);
    let mut decoder = PngDecoder::with_limits(Cursor::new(bytes), limits).map_err(not_a_photo)?;
    let (width_px, height_px) = decoder.dimensions();
    check_limits(width_px, height_px)?;
    let orientation = decoder.orientation().map_err(not_a_photo)?;
    let image = DynamicImage::from_decoder(decoder).map_err(not_a_photo)?;
    Ok((image.into_rgb8(), orientation))
}

/// Checks a photo's size as its header says it.
pub(crate) fn check_limits(width_px: u32, height_px: u32) -> Result<(), EncoderError> {
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

pub(crate) fn not_a_photo(reason: impl ToString) -> EncoderError {
    EncoderError::NotAPhoto(reason.to_string())
}

#[cfg(test)]
#[path = "photo_tests.rs"]
mod tests;
