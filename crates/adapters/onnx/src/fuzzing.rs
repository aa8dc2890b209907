//! What the fuzz target of the image path runs (`fuzz/` of the checkout): it takes any bytes and panics where a property of
//! the decoders does not hold. `make fuzz` feeds it what it makes up, the ordinary tests what that found.

use std::io::Cursor;

use image::ImageFormat;
use vidimus_domain::limits::{PHOTO_PIXELS_MAX, PHOTO_SIDE_PX_MIN};

use crate::photo::decode;

/// Pixels up to which more is done with a photo than decoding it.
const PIXELS_LOOKED_AT: u64 = 1_000_000;

/// Decodes a photo: what is accepted keeps within the limits, is decoded to the same pixels again, and these are what they
/// were after having been a PNG.
pub fn photo(data: &[u8]) {
    let Ok(image) = decode(data) else { return };
    let (width_px, height_px) = image.dimensions();
    let pixels = u64::from(width_px) * u64::from(height_px);
    assert!(width_px.min(height_px) >= PHOTO_SIDE_PX_MIN && pixels <= PHOTO_PIXELS_MAX);
    if pixels > PIXELS_LOOKED_AT {
        return;
    }
    assert!(decode(data).as_ref().is_ok_and(|again| *again == image), "decoded twice, differently");
    let mut png = Vec::new();
    let written = image.write_to(&mut Cursor::new(&mut png), ImageFormat::Png);
    assert!(written.is_ok() && decode(&png).is_ok_and(|again| again == image), "a PNG is exact");
}
