//! Photos as cameras write them.

use image::RgbImage;

/// A JPEG as cameras write it: its colours of half the width and height.
pub fn camera_jpeg(picture: &RgbImage) -> Vec<u8> {
    let mut compress = mozjpeg::Compress::new(mozjpeg::ColorSpace::JCS_RGB);
    compress.set_fastest_defaults();
    compress.set_size(picture.width() as usize, picture.height() as usize);
    compress.set_chroma_sampling_pixel_sizes((2, 2), (2, 2));
    compress.set_quality(90.0);
    let mut started = compress.start_compress(Vec::new()).unwrap();
    started.write_scanlines(picture.as_raw()).unwrap();
    started.finish().unwrap()
}

/// Moves each sample by up to `grain`, always by the same.
pub fn add_grain(picture: &mut RgbImage, grain: i16) {
    let mut state = 0x2545_f491_4f6c_dd1du64;
    for sample in picture.iter_mut() {
        // xorshift64 (Marsaglia, Journal of Statistical Software 8, 2003).
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let moved = (state >> 33) as i16 & i16::MAX;
        *sample = (i16::from(*sample) + moved % (2 * grain + 1) - grain).clamp(0, 255) as u8;
    }
}
