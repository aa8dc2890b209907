//! What the fuzz target of the image path runs (`fuzz/` of the checkout): it takes any bytes and panics where a property of
//! the decoders does not hold. `make fuzz` feeds it what it makes up, the ordinary tests what that found.

use std::io::Cursor;

use image::{ImageFormat, RgbImage};
use vidimus_domain::limits::{PHOTO_PIXELS_MAX, PHOTO_SIDE_PX_MIN};

use crate::photo::{HALVINGS_MAX, Photo, decode};
use crate::pyramid::Pyramid;

/// Pixels up to which more is done with a photo than decoding it.
const PIXELS_LOOKED_AT: u64 = 1_000_000;
/// The longest side of a detector's input that makes most of the photos here be reduced.
const DETECTOR_SIDE_PX: u32 = 20;

/// Decodes a photo: what is accepted keeps within the limits, is decoded to the same pixels again, these are what they were
/// after having been a PNG, and at each reduced size it has the pixels of that size.
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
    sizes(data, &image);
    pyramid(data);
}

/// Every size, in one and in another order.
fn sizes(data: &[u8], image: &RgbImage) {
    let Ok(mut photo) = Photo::open(data) else { unreachable!("it was opened before") };
    assert_eq!(photo.size_px(), image.dimensions());
    for halvings in (0..=HALVINGS_MAX).chain([0]) {
        // A reduced decode skips what only the whole one would stumble over, and the reverse: either may refuse.
        let Ok(level) = photo.level(halvings) else { continue };
        let side = |side_px: u32| side_px.div_ceil(1 << halvings);
        assert_eq!(
            level.image.dimensions(),
            (side(image.width()), side(image.height())),
            "{halvings} halvings"
        );
        assert!(halvings > 0 || level.image == *image, "decoded again, differently");
    }
}

/// What a pipeline asks for: a level to look for faces on, and others to align them from.
fn pyramid(data: &[u8]) {
    let photo = Photo::open(data).and_then(|photo| Pyramid::new(photo, DETECTOR_SIDE_PX));
    let Ok(mut pyramid) = photo else { return };
    assert!(pyramid.first().is_some());
    if pyramid.make(0, HALVINGS_MAX).is_ok() {
        assert!((0..=HALVINGS_MAX).all(|halvings| pyramid.at(halvings).is_some()));
    }
}
