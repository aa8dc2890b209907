//! JPEG by libjpeg (mozjpeg's, a descendant of libjpeg-turbo), because templates depend on its very pixels.
//!
//! Decoders differ in the last bits of the inverse DCT and of chroma upsampling. Measured on official portraits against
//! OpenCV, which uses libjpeg-turbo: with `zune-jpeg` (mean difference of a sample 0.005, at most 5) the landmarks move by
//! up to 0.05 pixels and the cosine of a template to OpenCV's falls to 0.9997; with `jpeg-decoder` samples differ five
//! times as much; this one differs in no sample. With its SIMD code it takes 4.7 ns a pixel of a photo of 12 megapixels (Intel Xeon, November 2026).

use std::any::Any;
use std::io::{self, BufRead, Read};
use std::panic::{UnwindSafe, catch_unwind, resume_unwind};

use image::RgbImage;
use image::metadata::Orientation;
use mozjpeg::{ColorSpace, CompInfo, CompInfoExt, Decompress, Marker};
use vidimus_ports::EncoderError;

use crate::photo::not_a_photo;
use crate::planes::{Plane, Planes};

/// How libjpeg's errors begin where they unwind out of it.
const LIBJPEG_ERROR: &str = "libjpeg fatal error: ";
/// What an EXIF segment begins with.
const EXIF_MARK: &[u8] = b"Exif\0\0";
/// What Adobe's segment begins with.
const ADOBE_MARK: &[u8] = b"Adobe";
const CHANNELS: usize = 3;
/// Rows of pixels that libjpeg gives at once where colours have half the height.
const BLOCKS_HEIGHT_PX: usize = 16;

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

/// Decodes a JPEG to RGB as it is stored.
///
/// # Errors
/// As [`crate::decode`].
pub fn decode(bytes: &[u8]) -> Result<RgbImage, EncoderError> {
    guarded(|| read(bytes))
}

/// Decodes a JPEG to its planes where its colours have half its width and height, as cameras write them; none where it is
/// another.
///
/// # Errors
/// As [`crate::decode`].
pub fn planes(bytes: &[u8], orientation: Orientation) -> Result<Option<Planes>, EncoderError> {
    guarded(|| read_planes(bytes, orientation))
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

fn read(bytes: &[u8]) -> Result<RgbImage, EncoderError> {
    let decoder = open(bytes)?;
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

fn read_planes(bytes: &[u8], orientation: Orientation) -> Result<Option<Planes>, EncoderError> {
    let decoder = open(bytes)?;
    if !has_halved_colours(&decoder) {
        return Ok(None);
    }
    let (width, height) = decoder.size();
    let plane = |component: &CompInfo, per_sample: usize| {
        let stride = component.row_stride();
        let rows = height.next_multiple_of(BLOCKS_HEIGHT_PX) / per_sample;
        let samples = Vec::with_capacity(stride * rows);
        Plane { samples, stride, width: width.div_ceil(per_sample), height: height.div_ceil(per_sample) }
    };
    let [luma, blue, red] = decoder.components() else { return Ok(None) };
    let mut planes = Planes { luma: plane(luma, 1), blue: plane(blue, 2), red: plane(red, 2), orientation };
    let mut started = decoder.raw().map_err(not_a_photo)?;
    let Planes { luma, blue, red, .. } = &mut planes;
    started.read_raw_data(&mut [&mut luma.samples, &mut blue.samples, &mut red.samples]);
    started.finish().map_err(not_a_photo)?;
    Ok(Some(planes))
}

fn has_halved_colours(decoder: &Decompress<Whole<'_>>) -> bool {
    let sampling: Vec<_> = decoder.components().iter().map(CompInfoExt::sampling).collect();
    decoder.color_space() == ColorSpace::JCS_YCbCr && sampling == [(2, 2), (1, 1), (1, 1)]
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
