use image::codecs::jpeg::JpegEncoder;
use image::{ExtendedColorType, GrayImage, ImageEncoder, Luma, Rgb, Rgba, RgbaImage};
use proptest::prelude::*;

use super::*;

/// Red above, blue below; left half dark.
fn picture(width: u32, height: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| {
        let bright = if x < width / 2 { 90 } else { 250 };
        if y < height / 2 { Rgb([bright, 0, 0]) } else { Rgb([0, 0, bright]) }
    })
}

fn png(image: &RgbImage) -> Vec<u8> {
    let mut bytes = Vec::new();
    image.write_to(&mut Cursor::new(&mut bytes), ImageFormat::Png).unwrap();
    bytes
}

/// A JPEG whose EXIF says `orientation` (1 to 8).
fn jpeg(image: &RgbImage, orientation: u8) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = JpegEncoder::new_with_quality(&mut bytes, 95);
    let mut exif = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\0\0\0\0\0\0\0".to_vec();
    exif[19] = orientation;
    encoder.set_exif_metadata(exif).unwrap();
    encoder.encode_image(image).unwrap();
    bytes
}

fn is_close(left: &RgbImage, right: &RgbImage) -> bool {
    left.dimensions() == right.dimensions()
        && left.as_raw().iter().zip(right.as_raw()).filter(|(a, b)| a.abs_diff(**b) > 12).count() * 20
            < left.as_raw().len()
}

#[test]
fn png_is_exact_and_loses_its_alpha() {
    let image = picture(96, 80);
    assert_eq!(decode(&png(&image)).unwrap(), image);
    let transparent = RgbaImage::from_pixel(90, 90, Rgba([10, 20, 30, 0]));
    let mut bytes = Vec::new();
    transparent.write_to(&mut Cursor::new(&mut bytes), ImageFormat::Png).unwrap();
    assert_eq!(decode(&bytes).unwrap().get_pixel(4, 4).0, [10, 20, 30]);
}

#[test]
fn grey_becomes_three_equal_channels() {
    let grey = GrayImage::from_fn(100, 90, |x, _| Luma([x as u8]));
    for format in [ImageFormat::Png, ImageFormat::Jpeg] {
        let mut bytes = Vec::new();
        grey.write_to(&mut Cursor::new(&mut bytes), format).unwrap();
        let pixel = decode(&bytes).unwrap().get_pixel(50, 40).0;
        assert!(pixel[0].abs_diff(50) < 3 && pixel[0] == pixel[1] && pixel[1] == pixel[2], "{pixel:?}");
    }
}

/// EXIF 2.32, table "Orientation": where the stored picture's first row and first column lie in the upright one.
#[test]
fn every_orientation_comes_out_upright() {
    let upright = picture(120, 90);
    for orientation in 1..=8 {
        let mut stored = DynamicImage::ImageRgb8(upright.clone());
        let inverse = match orientation {
            6 => 8,
            8 => 6,
            other => other,
        };
        stored.apply_orientation(Orientation::from_exif(inverse).unwrap());
        let stored = stored.into_rgb8();
        assert_eq!(stored.dimensions() == (90, 120), orientation >= 5);
        let decoded = decode(&jpeg(&stored, orientation)).unwrap();
        assert!(is_close(&decoded, &upright), "orientation {orientation}");
    }
}

#[test]
fn bad_bytes_are_no_photo() {
    let whole = jpeg(&picture(200, 200), 1);
    let whole_png = png(&picture(200, 200));
    let cases: [(&str, &[u8]); 8] = [
        ("nothing", b""),
        ("text", b"this is not an image at all, only text"),
        ("a GIF", b"GIF89a\x50\0\x50\0\0\0\0;"),
        ("a JPEG's first bytes", &whole[..20]),
        ("half a JPEG", &whole[..whole.len() / 2]),
        ("most of a JPEG", &whole[..whole.len() - 60]),
        ("half a PNG", &whole_png[..whole_png.len() / 2]),
        ("a PNG's header", &whole_png[..40]),
    ];
    for (what, bytes) in cases {
        assert!(matches!(decode(bytes), Err(EncoderError::NotAPhoto(_))), "{what}: {:?}", decode(bytes));
    }
}

#[test]
fn a_cmyk_jpeg_is_refused_with_the_reason() {
    let bytes = include_bytes!("../tests/data/cmyk.jpg");
    let refusal = decode(bytes).unwrap_err().to_string();
    assert!(refusal.contains("CMYK") || refusal.contains("YCCK"), "{refusal}");
}

/// A header that claims a size costs nothing: there is not even a pixel behind it.
#[test]
fn huge_claims_are_refused_by_the_header() {
    let mut bomb = png(&picture(100, 100));
    bomb[16..20].copy_from_slice(&20_000u32.to_be_bytes());
    bomb[20..24].copy_from_slice(&20_000u32.to_be_bytes());
    let check = crc32(&bomb[12..29]).to_be_bytes();
    bomb[29..33].copy_from_slice(&check);
    assert!(matches!(
        decode(&bomb),
        Err(EncoderError::TooManyPixels { width_px: 20_000, height_px: 20_000 })
    ));
    let mut wide = jpeg(&picture(100, 100), 1);
    let frame = wide.windows(2).position(|marker| marker == [0xff, 0xc0]).unwrap();
    wide[frame + 5..frame + 9].copy_from_slice(&[0xea, 0x60, 0xea, 0x60]);
    assert!(matches!(
        decode(&wide),
        Err(EncoderError::TooManyPixels { width_px: 60_000, height_px: 60_000 })
    ));
}

/// CRC-32 of PNG chunks (RFC 2083, section 15), bit by bit.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ if crc & 1 == 1 { 0xedb8_8320 } else { 0 })
    })
}

#[test]
fn each_side_needs_eighty_pixels() {
    for (width, height, fits) in [(79, 200, false), (200, 79, false), (80, 80, true)] {
        let decoded = decode(&png(&picture(width, height)));
        assert_eq!(decoded.is_ok(), fits, "{width} × {height}");
        if !fits {
            assert!(matches!(decoded, Err(EncoderError::TooSmall { .. })));
        }
    }
}

#[test]
fn deep_pngs_are_brought_to_eight_bits() {
    let mut bytes = Vec::new();
    let samples: Vec<u8> = (0..80 * 80 * 3).flat_map(|_| 0x80ffu16.to_ne_bytes()).collect();
    image::codecs::png::PngEncoder::new(&mut bytes)
        .write_image(&samples, 80, 80, ExtendedColorType::Rgb16)
        .unwrap();
    assert_eq!(decode(&bytes).unwrap().get_pixel(0, 0).0, [0x80; 3]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Whatever bytes come, there is an answer.
    #[test]
    fn damaged_photos_never_panic(seed in any::<u64>(), at in 0usize..4_000, with in any::<u8>(), use_png in any::<bool>()) {
        let image = picture(80 + (seed % 50) as u32, 80 + (seed / 50 % 50) as u32);
        let mut bytes = if use_png { png(&image) } else { jpeg(&image, (seed % 8) as u8 + 1) };
        let at = at % bytes.len();
        bytes[at] = with;
        if let Ok(decoded) = decode(&bytes) {
            prop_assert!(decoded.width() >= 80 && decoded.height() >= 80);
        }
    }
}
