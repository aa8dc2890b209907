//! JPEG by libjpeg (mozjpeg's, a descendant of libjpeg-turbo), because templates depend on its very pixels.
//!
//! Decoders differ in the last bits of the inverse DCT and of chroma upsampling. Measured on official portraits against
//! OpenCV, which uses libjpeg-turbo: with `zune-jpeg` (mean difference of a sample 0.005, at most 5) the landmarks move by
//! up to 0.05 pixels and the cosine of a template to OpenCV's falls to 0.9997; with `jpeg-decoder` samples differ five
//! times as much; this one differs in no sample. It takes about three times as long as `zune-jpeg` (25 ns a pixel).

use std::any::Any;
use std::io::{self, BufRead, Read};
use std::panic::{UnwindSafe, catch_unwind, resume_unwind};

use image::RgbImage;
use image::metadata::Orientation;
use mozjpeg::{ColorSpace, Decompress, Marker};
use vidimus_ports::EncoderError;

use crate::photo::not_a_photo;

/// How libjpeg's errors begin where they unwind out of it.
const LIBJPEG_ERROR: &str = "libjpeg fatal error: ";
/// What an EXIF segment begins with.
const EXIF_MARK: &[u8] = b"Exif\0\0";
/// What Adobe's segment begins with.
const ADOBE_MARK: &[u8] = b"Adobe";
const CHANNELS: usize = 3;

/// What a JPEG says of itself.
#[derive(Clone, Copy, Debug)]
pub struct JpegHeader {
    /// Width as stored.
    pub width_px: u32,
    /// Height as stored.
    pub height_px: u32,
    /// How it is to be turned.
    pub orientation: Orientation,
}

/// Reads a JPEG's header.
///
/// # Errors
/// As [`crate::decode`].
pub fn header(bytes: &[u8]) -> Result<JpegHeader, EncoderError> {
    guarded(|| {
        let decoder = open(bytes)?;
        let (width, height) = decoder.size();
        let exif = decoder.markers().find_map(|marker| marker.data.strip_prefix(EXIF_MARK));
        let orientation = exif.and_then(Orientation::from_exif_chunk).unwrap_or(Orientation::NoTransforms);
        Ok(JpegHeader { width_px: to_u32(width), height_px: to_u32(height), orientation })
    })
}

/// Decodes a JPEG to RGB as it is stored, with each side halved `halvings` times.
///
/// A reduced one costs less: libjpeg takes only the low frequencies of each block of 8 × 8 (`scale_num` of jpeg_decompress,
/// libjpeg.txt), which is about the mean of the pixels.
///
/// # Errors
/// As [`crate::decode`].
pub fn decode(bytes: &[u8], halvings: u32) -> Result<RgbImage, EncoderError> {
    guarded(|| read(bytes, halvings))
}

fn guarded<T>(work: impl FnOnce() -> Result<T, EncoderError> + UnwindSafe) -> Result<T, EncoderError> {
    catch_unwind(work).unwrap_or_else(|panic| Err(libjpeg_error(panic)))
}

/// libjpeg gives up by unwinding with its message; any other panic goes on.
fn libjpeg_error(panic: Box<dyn Any + Send>) -> EncoderError {
    match panic.downcast_ref::<String>().and_then(|message| message.strip_prefix(LIBJPEG_ERROR)) {
        Some(message) => not_a_photo(message),
        None => resume_unwind(panic),
    }
}

fn open(bytes: &[u8]) -> Result<Decompress<Whole<'_>>, EncoderError> {
    let markers = [Marker::APP(1), Marker::APP(14)];
    Decompress::with_markers(&markers).from_reader(Whole(bytes)).map_err(not_a_photo)
}

fn read(bytes: &[u8], halvings: u32) -> Result<RgbImage, EncoderError> {
    let mut decoder = open(bytes)?;
    decoder.scale(8 >> halvings);
    let inks = match decoder.color_space() {
        ColorSpace::JCS_GRAYSCALE | ColorSpace::JCS_YCbCr | ColorSpace::JCS_RGB => None,
        ColorSpace::JCS_CMYK | ColorSpace::JCS_YCCK => {
            Some(decoder.markers().any(|marker| marker.data.starts_with(ADOBE_MARK)))
        }
        _ => return Err(not_a_photo("the JPEG's colours are not known")),
    };
    let wanted = if inks.is_some() { ColorSpace::JCS_CMYK } else { ColorSpace::JCS_RGB };
    let mut started = decoder.to_colorspace(wanted).map_err(not_a_photo)?;
    let (width, height) = (started.width(), started.height());
    let mut samples = vec![0; started.min_flat_buffer_size()];
    started.read_scanlines_into(&mut samples).map_err(not_a_photo)?;
    started.finish().map_err(not_a_photo)?;
    if let Some(are_inverted) = inks {
        samples = without_inks(&samples, are_inverted);
    }
    RgbImage::from_raw(to_u32(width), to_u32(height), samples)
        .ok_or_else(|| not_a_photo("the JPEG's pixels do not fill its size"))
}

/// The colours of samples of cyan, magenta, yellow and black.
///
/// Adobe's programs store inks inverted, 255 for none, and mark the file (libjpeg.txt, "Special color spaces"). An ink lets
/// through what it does not cover, and black what it does not cover of that: OpenCV's arithmetic
/// (modules/imgcodecs/src/utils.cpp, `icvCvt_CMYK2BGR_8u_C4C3R`). Colour profiles are not looked at.
fn without_inks(samples: &[u8], are_inverted: bool) -> Vec<u8> {
    let mut colours = Vec::with_capacity(samples.len() / 4 * CHANNELS);
    for inks in samples.as_chunks::<4>().0 {
        let [cyan, magenta, yellow, black] =
            inks.map(|ink| i32::from(if are_inverted { ink } else { 255 - ink }));
        colours.extend([cyan, magenta, yellow].map(|left| (black - (((255 - left) * black) >> 8)) as u8));
    }
    colours
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
