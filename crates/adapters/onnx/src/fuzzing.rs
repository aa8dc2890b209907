//! What the fuzz target of the image path runs (`fuzz/` of the checkout): it takes any bytes and panics where a property of
//! the decoders does not hold. `make fuzz` feeds it what it makes up, the ordinary tests what that found.

use std::io::Cursor;

use image::{ImageFormat, Rgb, RgbImage};
use vidimus_domain::limits::{PHOTO_PIXELS_MAX, PHOTO_SIDE_PX_MIN};

use crate::photo::{Photo, decode};

/// Pixels up to which more is done with a photo than decoding it.
const PIXELS_LOOKED_AT: u64 = 1_000_000;

/// Decodes a photo: what is accepted keeps within the limits, is decoded to the same pixels again, these are what they were
/// after having been a PNG, and what they are where only those that are looked at are made.
pub fn photo(data: &[u8]) {
    let Ok(image) = decode(data) else { return };
    let (width_px, height_px) = image.dimensions();
    let pixels = u64::from(width_px) * u64::from(height_px);
    assert!(width_px.min(height_px) >= PHOTO_SIDE_PX_MIN && pixels <= PHOTO_PIXELS_MAX);
    if pixels > PIXELS_LOOKED_AT {
        return;
    }
    let mut png = Vec::new();
    let written = image.write_to(&mut Cursor::new(&mut png), ImageFormat::Png);
    assert!(written.is_ok() && decode(&png).is_ok_and(|again| again == image), "a PNG is exact");
    planes(data, &image);
}

/// Whichever way it is decoded, its pixels are the same.
fn planes(data: &[u8], image: &RgbImage) {
    let Ok(photo) = Photo::open(data) else { unreachable!("it was opened before") };
    assert_eq!(photo.size_px(), image.dimensions());
    let Ok(picture) = photo.picture(0) else { unreachable!("it was decoded before") };
    let [width_px, height_px] = picture.size_px();
    let made = RgbImage::from_fn(width_px, height_px, |column, row| {
        Rgb(picture.corners(i64::from(column), i64::from(row))[0])
    });
    assert!(made == *image, "decoded again, differently");
}
