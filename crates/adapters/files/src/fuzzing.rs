//! What the fuzz target of the log reader runs (`fuzz/` of the checkout): it takes any bytes and panics where a property
//! of the reader does not hold. `make fuzz` feeds it what it makes up, the ordinary tests what that found.

use std::path::Path;

use bytes::Bytes;

use crate::log::content::{read_content, write_content};
use crate::log::journal::read_offsets;
use crate::log::segment::{HEADER_BYTES, Salt, SegmentScan, Tail, scan_segment, write_batch};

/// Batches of a log that is made up.
const BATCHES_MAX: u8 = 4;
/// Records of a batch that is made up.
const RECORDS_MAX: u8 = 3;

/// Reads a log: the first byte says whether the bytes are one, or what one is made of.
pub fn log(data: &[u8]) {
    match data.split_first() {
        Some((kind, bytes)) if kind % 2 == 0 => any_bytes(bytes),
        Some((_, bytes)) => damaged_log(bytes),
        None => {}
    }
}

/// Where the CRCs begin of bytes that are made up as a log: so that what was found before logs had salts stays found.
const SALT: Salt = Salt(0);

/// Of any bytes, the sound beginning is read, it is sound by itself, and it can be appended to. What is read as a record's
/// content is written the same.
fn any_bytes(bytes: &[u8]) {
    if let Some(append) = read_content(bytes) {
        assert_eq!(write_content(&append), bytes);
    }
    let Some((first_offset, bytes)) = bytes.split_first_chunk() else { return };
    let first_offset = u64::from(u32::from_le_bytes(*first_offset));
    let scan = scan_segment(SALT, bytes, first_offset);
    assert!(scan.sound_bytes <= bytes.len() && scan.next_offset >= first_offset);
    assert_eq!(scan.tail == Tail::Clean, scan.sound_bytes == bytes.len());
    let mut sound = bytes[..scan.sound_bytes].to_vec();
    assert_eq!(scan_segment(SALT, &sound, first_offset), SegmentScan { tail: Tail::Clean, ..scan });
    let _ = read_offsets(Path::new("journal"), SALT, &sound);
    write_batch(&mut sound, SALT, scan.next_offset, &[Bytes::from_static(b"more")]);
    let expected =
        SegmentScan { sound_bytes: sound.len(), next_offset: scan.next_offset + 1, tail: Tail::Clean };
    assert_eq!(scan_segment(SALT, &sound, first_offset), expected);
}

/// A log that was written as it should be, and where its batches end.
struct Written {
    bytes: Vec<u8>,
    /// After each record: its end, and the offset of the next one.
    ends: Vec<(usize, u64)>,
    /// Where the last batch begins.
    last_batch: usize,
}

/// What one place of a sound log may come to: the records before it stay; in the last batch it is torn, before it it is
/// damage, which is never cut. A log that ends early is torn or clean, never damaged. That holds whatever is appended: the
/// salt depends on all of it, so none of it can have a record with that salt in it but by brute force.
fn damaged_log(bytes: &[u8]) {
    let Some((place, bytes)) = bytes.split_first_chunk() else { return };
    let place = usize::from(u16::from_le_bytes(*place));
    let Some((flip, bytes)) = bytes.split_first() else { return };
    let hash = *blake3::hash(bytes).as_bytes();
    let salt = Salt(u32::from_le_bytes([hash[0], hash[1], hash[2], hash[3]]));
    let Some(written) = write_log(bytes, salt) else { return };
    let mut damaged = written.bytes.clone();
    let place = place % damaged.len();
    if *flip == 0 {
        damaged.truncate(place);
    } else {
        damaged[place] ^= flip;
    }
    let scan = scan_segment(salt, &damaged, 0);
    let before = written.ends.iter().rfind(|(end, _)| *end <= place);
    let sound = before.copied().unwrap_or_default();
    assert_eq!((scan.sound_bytes, scan.next_offset), sound);
    let expected = match *flip {
        0 if sound.0 == place => Tail::Clean,
        0 => Tail::Torn,
        _ if place < written.last_batch => Tail::Damaged,
        _ => Tail::Torn,
    };
    assert_eq!(scan.tail, expected, "byte {place} of {}", damaged.len());
}

/// Batches of records as the bytes say; none where they make none.
fn write_log(bytes: &[u8], salt: Salt) -> Option<Written> {
    let (batches, mut rest) = bytes.split_first()?;
    let mut written = Written { bytes: Vec::new(), ends: Vec::new(), last_batch: 0 };
    let mut offset = 0;
    for _ in 0..=batches % BATCHES_MAX {
        let Some((records, after)) = rest.split_first() else { break };
        rest = after;
        let payloads: Vec<Bytes> = (0..=records % RECORDS_MAX).map(|_| take_payload(&mut rest)).collect();
        written.last_batch = written.bytes.len();
        write_batch(&mut written.bytes, salt, offset, &payloads);
        let mut end = written.last_batch;
        for payload in &payloads {
            end += HEADER_BYTES + payload.len();
            offset += 1;
            written.ends.push((end, offset));
        }
    }
    (!written.bytes.is_empty()).then_some(written)
}

/// A payload of the length that its first byte says.
fn take_payload(rest: &mut &[u8]) -> Bytes {
    let Some((length, after)) = rest.split_first() else { return Bytes::new() };
    let (payload, after) = after.split_at(usize::from(*length).min(after.len()));
    *rest = after;
    Bytes::copy_from_slice(payload)
}
