//! JPEG by libjpeg (mozjpeg's, a descendant of libjpeg-turbo), because templates depend on its very pixels.
//!
//! Decoders differ in the last bits of the inverse DCT and of chroma upsampling. Measured on official portraits against
//! OpenCV, which uses libjpeg-turbo: with `zune-jpeg` (mean difference of a sample 0.005, at most 5) the landmarks move by
//! up to 0.05 pixels and the cosine of a template to OpenCV's falls to 0.9997; with `jpeg-decoder` samples differ five
//! times as much; this one differs in no sample. It takes about three times as long as `zune-jpeg` (25 ns a pixel).

use std::any::Any;
use std::io::{self, BufRead, Read};
use std::panic::{catch_unwind, resume_unwind};

use image::RgbImage;
use image::metadata::Orientation;
use mozjpeg::{ColorSpace, Decompress, Marker};
use vidimus_ports::EncoderError;

use crate::photo::{check_limits, not_a_photo};

/// How libjpeg's errors begin where they unwind out of it.
const LIBJPEG_ERROR: &str = "libjpeg fatal error: ";
/// What an EXIF segment begins with.
const EXIF_MARK: &[u8] = b"Exif\0\0";
const CHANNELS: usize = 3;

/// Decodes a JPEG to RGB and says how it is to be turned.
///
/// # Errors
/// As [`crate::decode`].
pub fn decode(bytes: &[u8]) -> Result<(RgbImage, Orientation), EncoderError> {
    catch_unwind(|| read(bytes)).unwrap_or_else(|panic| Err(libjpeg_error(panic)))
}

/// libjpeg gives up by unwinding with its message; any other panic goes on.
fn libjpeg_error(panic: Box<dyn Any + Send>) -> EncoderError {
    match panic.downcast_ref::<String>().and_then(|message| message.strip_prefix(LIBJPEG_ERROR)) {
        Some(message) => not_a_photo(message),
        None => resume_unwind(panic),
    }
}

fn read(bytes: &[u8]) -> Result<(RgbImage, Orientation), EncoderError> {
    let exif_marker = [Marker::APP(1)];
    let decoder = Decompress::with_markers(&exif_marker).from_reader(Whole(bytes)).map_err(not_a_photo)?;
    let (width, height) = decoder.size();
    let (width_px, height_px) = (to_u32(width), to_u32(height));
    check_limits(width_px, height_px)?;
    match decoder.color_space() {
        ColorSpace::JCS_GRAYSCALE | ColorSpace::JCS_YCbCr | ColorSpace::JCS_RGB => {}
        ColorSpace::JCS_CMYK | ColorSpace::JCS_YCCK => return Err(not_a_photo("a JPEG in CMYK is not read")),
        _ => return Err(not_a_photo("the JPEG's colours are not known")),
    }
    let exif = decoder.markers().find_map(|marker| marker.data.strip_prefix(EXIF_MARK));
    let orientation = exif.and_then(Orientation::from_exif_chunk).unwrap_or(Orientation::NoTransforms);
    let mut samples = vec![0; width * height * CHANNELS];
    let mut started = decoder.rgb().map_err(not_a_photo)?;
    started.read_scanlines_into(&mut samples).map_err(not_a_photo)?;
    started.finish().map_err(not_a_photo)?;
    let image = RgbImage::from_raw(width_px, height_px, samples)
        .ok_or_else(|| not_a_photo("the JPEG's pixels do not fill its size"))?;
    Ok((image, orientation))
}

/// A JPEG's sides are 16-bit.
fn to_u32(side: usize) -> u32 {
    u32::try_from(side).unwrap_or(u32::MAX)
}

/// Bytes that are expected to be whole: reading past them is an error. At an ordinary end of file libjpeg would
/// fill up with grey.
struct Whole<'a>(&'a [u8]);

impl Read for Whole<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl BufRead for Whole<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.0.is_empty() { Err(io::Error::other("the JPEG is truncated")) } else { Ok(self.0) }
    }

    fn consume(&mut self, amount: usize) {
        self.0.consume(amount);
    }
}
