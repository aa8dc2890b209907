//! What a record of a partition holds: key, headers and payload.
//!
//! Numbers little-endian: key length (4), number of headers (2), for each header the lengths of its name (2) and value (4),
//! then the key, each header's name and value, and the payload, which is the rest.

use bytes::Bytes;
use vidimus_ports::event_log::HEADERS_MAX;
use vidimus_ports::{Append, Header};

/// Length of the lengths where there are most headers.
pub(crate) const LENGTHS_BYTES_MAX: usize = 6 + 6 * HEADERS_MAX;

/// The content of a record. It must have passed [`Append::check`].
pub(crate) fn write_content(append: &Append) -> Bytes {
    let headers_bytes: usize =
        append.headers.iter().map(|header| 6 + header.name.len() + header.value.len()).sum();
    let mut content = Vec::with_capacity(6 + append.key.len() + headers_bytes + append.payload.len());
    content.extend_from_slice(&(append.key.len() as u32).to_le_bytes());
    content.extend_from_slice(&(append.headers.len() as u16).to_le_bytes());
    for header in &append.headers {
        content.extend_from_slice(&(header.name.len() as u16).to_le_bytes());
        content.extend_from_slice(&(header.value.len() as u32).to_le_bytes());
    }
    content.extend_from_slice(&append.key);
    for header in &append.headers {
        content.extend_from_slice(header.name.as_bytes());
        content.extend_from_slice(&header.value);
    }
    content.extend_from_slice(&append.payload);
    content.into()
}

/// What the content of a record says; none where it is none. Takes any bytes.
pub(crate) fn read_content(content: &[u8]) -> Option<Append> {
    let (key_bytes, rest) = content.split_first_chunk()?;
    let (headers, mut rest) = rest.split_first_chunk()?;
    let headers = u16::from_le_bytes(*headers);
    if usize::from(headers) > HEADERS_MAX {
        return None;
    }
    let mut lengths = Vec::with_capacity(usize::from(headers));
    for _ in 0..headers {
        let (name, after) = rest.split_first_chunk()?;
        let (value, after) = after.split_first_chunk()?;
        lengths.push((u16::from_le_bytes(*name), u32::from_le_bytes(*value)));
        rest = after;
    }
    let (key, mut rest) = rest.split_at_checked(u32::from_le_bytes(*key_bytes) as usize)?;
    let mut headers = Vec::with_capacity(lengths.len());
    for (name_bytes, value_bytes) in lengths {
        let (name, after) = rest.split_at_checked(usize::from(name_bytes))?;
        let (value, after) = after.split_at_checked(value_bytes as usize)?;
        let name = str::from_utf8(name).ok()?.to_owned();
        headers.push(Header { name, value: Bytes::copy_from_slice(value) });
        rest = after;
    }
    let (key, payload) = (Bytes::copy_from_slice(key), Bytes::copy_from_slice(rest));
    Some(Append { key, payload, headers })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The format of records that are on disks.
    #[test]
    fn the_format_is_this_one() {
        let append = Append::new(b"key", "payload").with_header("a", "one").with_header("bc", "");
        let content = b"\x03\0\0\0\x02\0\x01\0\x03\0\0\0\x02\0\0\0\0\0keyaonebcpayload";
        assert_eq!(write_content(&append), &content[..]);
        assert_eq!(read_content(content), Some(append));
        assert_eq!(write_content(&Append::new(b"", "")), &[0; 6][..]);
    }

    #[test]
    fn content_that_ends_early_is_none() {
        let content = write_content(&Append::new(b"key", "").with_header("name", "value"));
        for length in 0..content.len() {
            assert_eq!(read_content(&content[..length]), None, "{length} bytes");
        }
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(
            key: Vec<u8>,
            payload: Vec<u8>,
            headers in prop::collection::vec((".{1,9}", any::<Vec<u8>>()), 0..HEADERS_MAX),
        ) {
            let append = headers.into_iter().fold(Append::new(&key, payload), |append, (name, value)| {
                append.with_header(name, value)
            });
            prop_assert_eq!(read_content(&write_content(&append)), Some(append));
        }

        #[test]
        fn any_bytes_can_be_read(content: Vec<u8>) {
            if let Some(append) = read_content(&content) {
                prop_assert_eq!(write_content(&append), content);
            }
        }
    }
}
