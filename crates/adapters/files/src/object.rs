//! The file of one object: a header and the content.
//!
//! Header, 72 bytes, numbers little-endian: magic (8), version (4), zero (4), write id (16), content length (8), BLAKE3
//! of write id, content length, key and content (32). The write id is the object's etag: each write has its own. The key is in
//! the hash, so that a file in another one's place is found out.

use bytes::Bytes;
use vidimus_domain::blob_key::BlobKey;
use vidimus_ports::{Blob, Etag, PortError, PortErrorKind, PortResult};

/// Length of the header.
pub(crate) const HEADER_BYTES: usize = 72;
const MAGIC: &[u8; 8] = b"vidimusb";
const VERSION: [u8; 4] = 1_u32.to_le_bytes();

/// Marks one write.
pub(crate) type WriteId = [u8; 16];

/// The header of `content` under `key`.
pub(crate) fn header(key: &BlobKey, write_id: WriteId, content: &[u8]) -> [u8; HEADER_BYTES] {
    let mut header = [0; HEADER_BYTES];
    header[..8].copy_from_slice(MAGIC);
    header[8..12].copy_from_slice(&VERSION);
    header[16..32].copy_from_slice(&write_id);
    header[32..40].copy_from_slice(&(content.len() as u64).to_le_bytes());
    let hash = hash(key, &header[16..40], content);
    header[40..].copy_from_slice(hash.as_bytes());
    header
}

fn hash(key: &BlobKey, write_id_and_length: &[u8], content: &[u8]) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new();
    hasher.update(write_id_and_length).update(key.as_str().as_bytes()).update(b"\n").update(content);
    hasher.finalize()
}

/// The etag of a write.
pub(crate) fn etag(write_id: WriteId) -> Etag {
    Etag::new(format!("{:032x}", u128::from_be_bytes(write_id)))
}

/// The etag that a header names, unchecked but for its magic and version.
pub(crate) fn read_etag(key: &BlobKey, file: &[u8]) -> PortResult<Etag> {
    match file.get(16..32).map(WriteId::try_from) {
        Some(Ok(write_id)) if file.starts_with(MAGIC) && file[8..12] == VERSION => Ok(etag(write_id)),
        _ => Err(damaged(key, "it has no header of ours")),
    }
}

/// The object that a file is, checked.
pub(crate) fn read_object(key: &BlobKey, file: Vec<u8>) -> PortResult<Blob> {
    let etag = read_etag(key, &file)?;
    let Some((header, content)) = file.split_at_checked(HEADER_BYTES) else {
        return Err(damaged(key, "it ends in its header"));
    };
    if hash(key, &header[16..40], content).as_bytes() != &header[40..] {
        return Err(damaged(key, "its checksum is wrong"));
    }
    Ok(Blob { bytes: Bytes::from(file).slice(HEADER_BYTES..), etag })
}

fn damaged(key: &BlobKey, reason: &str) -> PortError {
    PortError::new(PortErrorKind::Corrupt, "read object").because(format!("the file of {key}: {reason}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(key: &BlobKey, content: &[u8]) -> Vec<u8> {
        [&header(key, [7; 16], content)[..], content].concat()
    }

    #[test]
    fn an_object_is_read_as_it_was_written() {
        let key = BlobKey::listed("a/b").unwrap();
        for content in [&b""[..], b"x", &[0; 5000]] {
            let blob = read_object(&key, file(&key, content)).unwrap();
            assert_eq!((&blob.bytes[..], blob.etag), (content, etag([7; 16])));
        }
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_found() {
        let key = BlobKey::listed("a/b").unwrap();
        let sound = file(&key, b"content");
        for bit in 0..sound.len() * 8 {
            let mut flipped = sound.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            // Bytes 12 to 15 are not in use.
            let unused = (12..16).contains(&(bit / 8));
            assert_eq!(read_object(&key, flipped).is_ok(), unused, "bit {bit}");
        }
        for length in 0..sound.len() {
            let cut = read_object(&key, sound[..length].to_vec()).unwrap_err();
            assert_eq!(cut.kind(), PortErrorKind::Corrupt, "{length} bytes");
        }
        let moved = read_object(&BlobKey::listed("a/c").unwrap(), sound);
        assert_eq!(moved.unwrap_err().kind(), PortErrorKind::Corrupt);
    }
}
