//! The bytes of a log file.
//!
//! A record is a header of 24 bytes and the content. Header, numbers little-endian: content length (4), CRC-32 (4) of
//! all that follows it and of the length, offset (8), offset of the first record of its *batch* (8). A batch is written and synced at
//! once, and the next one is written only then. The CRC begins at the log's [`Salt`].
//!
//! So what a power loss can leave behind a sound beginning are pieces of one batch, none of it acknowledged: a *torn
//! tail*, which is cut. A sound record of a later batch behind an unsound place says that what stood there had been
//! synced: that is *damage*, and is never cut. Content cannot pass for such a record: whoever makes it does not know the
//! salt, and what it may copy out of the log itself are records of earlier batches.

use bytes::Bytes;
use vidimus_ports::event_log::{HEADERS_BYTES_MAX, KEY_BYTES_MAX, PAYLOAD_BYTES_MAX};

use super::content;

/// Length of a record's header.
pub(crate) const HEADER_BYTES: usize = 24;
/// Longest content: what [`Append::check`](vidimus_ports::Append::check) lets through, and its lengths.
pub(crate) const CONTENT_BYTES_MAX: usize =
    PAYLOAD_BYTES_MAX + KEY_BYTES_MAX + HEADERS_BYTES_MAX + content::LENGTHS_BYTES_MAX;

/// Where the CRCs of one log begin: random, made with the log, and known to no one who appends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Salt(pub(crate) u32);

/// What a log file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SegmentScan {
    /// Length of its sound beginning.
    pub(crate) sound_bytes: usize,
    /// The offset after its last sound record.
    pub(crate) next_offset: u64,
    /// What follows the sound beginning.
    pub(crate) tail: Tail,
}

/// What follows the sound beginning of a log file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tail {
    /// Nothing.
    Clean,
    /// Pieces of a batch that was not acknowledged.
    Torn,
    /// Unsound bytes, and sound records of later batches behind them.
    Damaged,
}

/// A record in a log file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Record<'a> {
    pub(crate) offset: u64,
    pub(crate) batch: u64,
    pub(crate) content: &'a [u8],
}

impl Record<'_> {
    /// Its length in the file.
    pub(crate) const fn file_bytes(&self) -> usize {
        HEADER_BYTES + self.content.len()
    }
}

/// Appends a batch of records to `out`, the first with `offset`.
pub(crate) fn write_batch(out: &mut Vec<u8>, salt: Salt, offset: u64, contents: &[Bytes]) {
    for (record_offset, content) in (offset..).zip(contents) {
        let mut header = [0; HEADER_BYTES];
        header[..4].copy_from_slice(&(content.len() as u32).to_le_bytes());
        header[8..16].copy_from_slice(&record_offset.to_le_bytes());
        header[16..].copy_from_slice(&offset.to_le_bytes());
        let checksum = checksum(salt, &header, content);
        header[4..8].copy_from_slice(&checksum.to_le_bytes());
        out.extend_from_slice(&header);
        out.extend_from_slice(content);
    }
}

fn checksum(salt: Salt, header: &[u8], content: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new_with_initial(salt.0);
    hasher.update(&header[..4]);
    hasher.update(&header[8..HEADER_BYTES]);
    hasher.update(content);
    hasher.finalize()
}

/// The sound record at the beginning of `bytes`; none where there is none, or not all of it.
pub(crate) fn read_record(salt: Salt, bytes: &[u8]) -> Option<Record<'_>> {
    let (header, rest) = bytes.split_at_checked(HEADER_BYTES)?;
    let number = |at: usize| {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&header[at..at + 8]);
        u64::from_le_bytes(bytes)
    };
    let (length, stored_checksum) = (number(0) as u32, (number(0) >> 32) as u32);
    let content = rest.get(..length as usize).filter(|content| content.len() <= CONTENT_BYTES_MAX)?;
    (checksum(salt, header, content) == stored_checksum).then(|| Record {
        offset: number(8),
        batch: number(16),
        content,
    })
}

/// Looks through a log file whose first record has `first_offset`. Takes any bytes.
#[must_use]
pub(crate) fn scan_segment(salt: Salt, bytes: &[u8], first_offset: u64) -> SegmentScan {
    let (mut sound_bytes, mut next_offset) = (0, first_offset);
    while let Some(record) =
        read_record(salt, &bytes[sound_bytes..]).filter(|record| record.offset == next_offset)
    {
        sound_bytes += record.file_bytes();
        next_offset = next_offset.saturating_add(1);
    }
    let rest = &bytes[sound_bytes..];
    let tail = match rest {
        [] => Tail::Clean,
        _ if has_later_batch(salt, rest, next_offset) => Tail::Damaged,
        _ => Tail::Torn,
    };
    SegmentScan { sound_bytes, next_offset, tail }
}

/// Whether a sound record of a batch after the one of `missing_offset` stands anywhere in `bytes`. A record there can
/// have no offset that is further on than there are headers in between.
fn has_later_batch(salt: Salt, bytes: &[u8], missing_offset: u64) -> bool {
    let offset_max = missing_offset.saturating_add((bytes.len() / HEADER_BYTES) as u64);
    (0..bytes.len()).any(|start| {
        let offset = bytes.get(start + 8..start + 16).and_then(|offset| offset.try_into().ok());
        let plausible = offset
            .map(u64::from_le_bytes)
            .is_some_and(|offset| offset > missing_offset && offset <= offset_max);
        plausible && read_record(salt, &bytes[start..]).is_some_and(|record| record.batch > missing_offset)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SALT: Salt = Salt(0x5a17);

    fn batches(batches: &[&[&'static str]]) -> (Vec<u8>, Vec<usize>) {
        let (mut bytes, mut ends, mut offset) = (Vec::new(), Vec::new(), 10);
        for batch in batches {
            let payloads: Vec<Bytes> = batch.iter().map(|text| Bytes::from_static(text.as_bytes())).collect();
            write_batch(&mut bytes, SALT, offset, &payloads);
            offset += batch.len() as u64;
            ends.push(bytes.len());
        }
        (bytes, ends)
    }

    #[test]
    fn records_are_read_as_they_were_written() {
        let (bytes, _) = batches(&[&["one", ""], &["three"]]);
        let scan = scan_segment(SALT, &bytes, 10);
        assert_eq!(scan, SegmentScan { sound_bytes: bytes.len(), next_offset: 13, tail: Tail::Clean });
        let first = read_record(SALT, &bytes).unwrap();
        assert_eq!((first.offset, first.batch, first.content), (10, 10, &b"one"[..]));
        let second = read_record(SALT, &bytes[first.file_bytes()..]).unwrap();
        assert_eq!((second.offset, second.batch, second.content), (11, 10, &b""[..]));
    }

    #[test]
    fn a_cut_at_any_byte_leaves_the_whole_records_before_it() {
        let (bytes, _) = batches(&[&["one", "two"], &["three"], &["four", "", "six"]]);
        let mut records_before = 0;
        for length in 0..bytes.len() {
            let scan = scan_segment(SALT, &bytes[..length], 10);
            let torn = scan.sound_bytes < length;
            assert_eq!(scan.tail, if torn { Tail::Torn } else { Tail::Clean }, "{length} bytes");
            assert!(scan.next_offset >= records_before && scan.next_offset - 10 <= 6);
            records_before = scan.next_offset;
        }
    }

    #[test]
    fn holes_in_the_last_batch_are_torn_and_earlier_ones_are_damage() {
        let (sound, ends) = batches(&[&["one", "two"], &["three", "four"], &["five", "six"]]);
        for position in 0..sound.len() {
            let mut bytes = sound.clone();
            bytes[position] ^= 0x10;
            let scan = scan_segment(SALT, &bytes, 10);
            assert!(scan.sound_bytes <= position, "byte {position}");
            let expected = if position < ends[1] { Tail::Damaged } else { Tail::Torn };
            assert_eq!(scan.tail, expected, "byte {position}");
        }
    }

    /// What someone appends who knows all of the format but the salt: a record of a batch that is still to come.
    #[test]
    fn content_cannot_pass_for_a_later_batch() {
        for (salt, expected) in [(Salt(0), Tail::Torn), (SALT, Tail::Damaged)] {
            let mut within = Vec::new();
            write_batch(&mut within, salt, 2, &[Bytes::from_static(b"within")]);
            let mut bytes = Vec::new();
            write_batch(&mut bytes, SALT, 0, &[Bytes::from_static(b"first")]);
            let first_bytes = bytes.len();
            write_batch(&mut bytes, SALT, 1, &[Bytes::from(within), Bytes::from_static(b"cut")]);
            bytes[first_bytes + 4] ^= 1;
            let scan = scan_segment(SALT, &bytes, 0);
            assert_eq!((scan.sound_bytes, scan.next_offset, scan.tail), (first_bytes, 1, expected));
        }
    }

    proptest! {
        #[test]
        fn any_bytes_can_be_scanned(bytes in proptest::collection::vec(any::<u8>(), 0..400), offset: u64) {
            let scan = scan_segment(SALT, &bytes, offset);
            prop_assert!(scan.sound_bytes <= bytes.len() && scan.next_offset >= offset);
        }

        #[test]
        fn a_sound_beginning_is_kept_whatever_follows(
            payloads in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..50), 1..5),
            garbage in proptest::collection::vec(any::<u8>(), 0..100),
        ) {
            let payloads: Vec<Bytes> = payloads.into_iter().map(Bytes::from).collect();
            let mut bytes = Vec::new();
            write_batch(&mut bytes, SALT, 0, &payloads);
            let sound_bytes = bytes.len();
            bytes.extend_from_slice(&garbage);
            let scan = scan_segment(SALT, &bytes, 0);
            prop_assert_eq!((scan.sound_bytes, scan.next_offset), (sound_bytes, payloads.len() as u64));
        }
    }
}
