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

/// A JPEG of one colour in cyan, magenta, yellow and black; with the segment of Adobe's programs or without it.
fn inks(stored: [u8; 4], marked: bool) -> Vec<u8> {
    let mut compress = mozjpeg::Compress::new(mozjpeg::ColorSpace::JCS_CMYK);
    compress.set_size(96, 80);
    compress.set_quality(95.0);
    let mut started = compress.start_compress(Vec::new()).unwrap();
    started.write_scanlines(&stored.repeat(96 * 80)).unwrap();
    let mut bytes = started.finish().unwrap();
    let segment = bytes.windows(9).position(|window| window == b"\xff\xee\0\x0eAdobe").unwrap();
    if !marked {
        bytes.drain(segment..segment + 16);
    }
    bytes
}

#[test]
fn inks_leave_of_white_what_they_do_not_cover() {
    for (cyan, magenta, yellow, black, colour) in [
        (0, 0, 0, 0, [255, 255, 255]),
        (0, 0, 0, 255, [0, 0, 0]),
        (255, 0, 0, 0, [0, 255, 255]),
        (0, 0, 255, 0, [255, 255, 0]),
        (0, 128, 0, 128, [127, 64, 127]),
    ] {
        let amounts: [u8; 4] = [cyan, magenta, yellow, black];
        for (stored, marked) in [(amounts.map(|ink| 255 - ink), true), (amounts, false)] {
            let decoded = decode(&inks(stored, marked)).unwrap();
            let pixel = decoded.get_pixel(40, 40).0;
            let near = pixel.iter().zip(colour).all(|(found, wanted): (&u8, u8)| found.abs_diff(wanted) <= 3);
            assert!(near, "{amounts:?}, marked {marked}: {pixel:?} and not {colour:?}");
        }
    }
}

/// A file by another program: YCCK with Adobe's segment.
#[test]
fn a_ycck_jpeg_is_read() {
    let decoded = decode(include_bytes!("../tests/data/cmyk.jpg")).unwrap();
    assert!(decoded.width() >= 80 && decoded.height() >= 80);
}

/// A chunk's name and content.
type Chunk<'a> = (&'a [u8; 4], &'a [u8]);

/// A name, depth and colour kind, chunks, a row, and the colour that it has.
type Case<'a> = (&'a str, [u8; 2], &'a [Chunk<'a>], &'a [u8], [u8; 3]);

/// A PNG of 96 × 80 whose rows are all `row`; `chunks` come between header and data.
fn png_by_hand(depth_and_kind: [u8; 2], chunks: &[Chunk<'_>], row: &[u8]) -> Vec<u8> {
    let [depth, kind] = depth_and_kind;
    let header = [0, 0, 0, 96, 0, 0, 0, 80, depth, kind, 0, 0, 0];
    let rows = [&[0], row].concat().repeat(80);
    let length = rows.len() as u16;
    let stored = [&length.to_le_bytes()[..], &(!length).to_le_bytes(), &rows].concat();
    let data = [&[0x78, 0x01, 0x01][..], &stored, &adler32(&rows).to_be_bytes()].concat();
    let mut bytes = b"\x89PNG\r\n\x1a\n".to_vec();
    for (name, content) in
        [(b"IHDR", &header[..])].iter().chain(chunks).chain(&[(b"IDAT", &data[..]), (b"IEND", &[][..])])
    {
        let named = [&name[..], content].concat();
        bytes.extend((content.len() as u32).to_be_bytes());
        bytes.extend(&named);
        bytes.extend(crc32(&named).to_be_bytes());
    }
    bytes
}

/// Adler-32 of zlib streams (RFC 1950, section 8.2).
fn adler32(bytes: &[u8]) -> u32 {
    let (low, high) = bytes.iter().fold((1u32, 0u32), |(low, high), byte| {
        let low = (low + u32::from(*byte)) % 65_521;
        (low, (high + low) % 65_521)
    });
    high << 16 | low
}

/// The colour kinds of a PNG (RFC 2083, section 4.1.1): its samples as they are, whatever transparency says.
#[test]
fn every_kind_of_png_is_read() {
    let palette: &[u8] = &[10, 20, 30, 200, 100, 50];
    let through: &[u8] = &[255, 0];
    let deep: Vec<u8> = [0x12, 0xff, 0x34, 0x80, 0x56, 0x00].repeat(96);
    let second = [200, 100, 50];
    let cases: [Case<'_>; 8] = [
        ("a palette of 8 bits", [8, 3], &[(b"PLTE", palette)], &[1; 96], second),
        ("a palette of 1 bit", [1, 3], &[(b"PLTE", palette)], &[0xff; 12], second),
        ("a transparent colour", [8, 3], &[(b"PLTE", palette), (b"tRNS", through)], &[1; 96], second),
        ("grey of 2 bits", [2, 0], &[], &[0b1010_1010; 24], [170; 3]),
        ("transparent grey", [8, 0], &[(b"tRNS", &[0, 77])], &[77; 96], [77; 3]),
        ("grey with alpha", [8, 4], &[], &[90, 0].repeat(96), [90; 3]),
        ("colours of 16 bits", [16, 2], &[], &deep, [0x12, 0x34, 0x56]),
        ("grey of 16 bits", [16, 0], &[], &[0x9a, 0xff].repeat(96), [0x9a; 3]),
    ];
    for (what, depth_and_kind, chunks, row, colour) in cases {
        let decoded = decode(&png_by_hand(depth_and_kind, chunks, row)).unwrap();
        assert_eq!((decoded.dimensions(), decoded.get_pixel(50, 40).0), ((96, 80), colour), "{what}");
    }
}

/// A JPEG with colours of half the width and height, of pixels that all differ.
fn noise(width: u32, height: u32, orientation: u8) -> Vec<u8> {
    let image = RgbImage::from_fn(width, height, |x, y| {
        let mixed = (x * 7_919 + y * 104_729).wrapping_mul(2_654_435_761);
        Rgb([(mixed >> 8) as u8, (mixed >> 16) as u8, (mixed >> 24) as u8])
    });
    let mut compress = mozjpeg::Compress::new(mozjpeg::ColorSpace::JCS_RGB);
    if orientation % 2 == 1 {
        // One pass instead of several, as cameras write.
        compress.set_fastest_defaults();
    }
    compress.set_size(width as usize, height as usize);
    compress.set_chroma_sampling_pixel_sizes((2, 2), (2, 2));
    compress.set_quality(92.0);
    let mut started = compress.start_compress(Vec::new()).unwrap();
    let mut exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\0\0\0\0\0\0\0".to_vec();
    exif[25] = orientation;
    started.write_marker(mozjpeg::Marker::APP(1), &exif);
    started.write_scanlines(image.as_raw()).unwrap();
    started.finish().unwrap()
}

/// At every edge and in the middle, however it is turned, whatever its sides leave over of a block.
#[test]
fn pixels_that_are_looked_at_are_those_of_the_whole_photo() {
    for (width, height) in [(160, 96), (81, 83), (97, 130), (250, 191)] {
        for orientation in 1..=8 {
            let bytes = noise(width, height, orientation);
            let whole = decode(&bytes).unwrap();
            let picture = Photo::open(&bytes).unwrap().picture(0).unwrap();
            let Picture::Planes(planes) = &picture else { panic!("not in planes") };
            let what = format!("{width} × {height}, orientation {orientation}");
            assert_eq!(whole.dimensions() == (height, width), orientation >= 5, "{what}");
            assert_eq!(<[u32; 2]>::from(whole.dimensions()), picture.size_px(), "{what}");
            let columns: Vec<usize> = (0..whole.width() as usize).collect();
            let rows: Vec<usize> = (0..whole.height() as usize).collect();
            assert!(planes.picked(&columns, &rows) == whole, "{what}");
            let one = |x, y| Rgb(planes.pixel(x as usize, y as usize));
            assert!(RgbImage::from_fn(whole.width(), whole.height(), one) == whole, "{what}");
        }
    }
}

#[test]
fn other_photos_are_decoded_whole() {
    let picture_of = |bytes: &[u8], side_px| Photo::open(bytes).unwrap().picture(side_px).unwrap();
    assert!(matches!(picture_of(&noise(100, 90, 1), 100), Picture::Planes(_)));
    assert!(matches!(picture_of(&noise(100, 90, 1), 101), Picture::Whole(_)));
    assert!(matches!(picture_of(&png(&picture(100, 90)), 0), Picture::Whole(_)));
    assert!(matches!(picture_of(&inks([0; 4], true), 0), Picture::Whole(_)));
}

/// Half a JPEG is refused in planes too.
#[test]
fn a_truncated_photo_has_no_planes() {
    let whole = noise(200, 180, 1);
    for length in [whole.len() / 3, whole.len() / 2, whole.len() - 60] {
        let read = Photo::open(&whole[..length]).and_then(|photo| photo.picture(0));
        assert!(matches!(read, Err(EncoderError::NotAPhoto(_))), "{length}");
    }
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
