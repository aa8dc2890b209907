//! What is written is read, and nothing else is.

use futures::stream;

use super::*;

fn entry(kind: Kind, key: &str, body: &[u8]) -> Entry {
    Entry { kind, key: key.to_owned(), body: Bytes::copy_from_slice(body) }
}

fn entries() -> Vec<Entry> {
    vec![
        entry(Kind::Manifest, "manifest", b"{}"),
        entry(Kind::Record, "tenants/t/collections/c/records/r", &[7; 300]),
        entry(Kind::Photo, "tenants/t/collections/c/photos/d/p", b""),
    ]
}

fn written(entries: &[Entry]) -> Vec<u8> {
    let mut bytes = Writer::start().to_vec();
    let mut writer = Writer::default();
    for entry in entries {
        bytes.extend(writer.entry(entry).unwrap());
    }
    bytes.extend(writer.end().unwrap());
    bytes
}

/// Reads bytes that come in chunks of that size.
async fn read(bytes: &[u8], chunk: usize) -> Result<Vec<Entry>, FormatError> {
    let chunks = bytes.chunks(chunk).map(|chunk| Ok(Bytes::copy_from_slice(chunk))).collect::<Vec<_>>();
    let mut reader = Reader::new(stream::iter(chunks));
    let mut found = Vec::new();
    while let Some(entry) = reader.next().await? {
        found.push(entry);
    }
    Ok(found)
}

#[tokio::test]
async fn what_was_written_is_read_from_chunks_of_any_size() {
    let bytes = written(&entries());
    for chunk in [1, 7, 64, bytes.len()] {
        assert_eq!(read(&bytes, chunk).await.unwrap(), entries(), "{chunk}");
    }
}

#[tokio::test]
async fn a_file_that_is_cut_off_anywhere_is_noticed() {
    let bytes = written(&entries());
    for length in 0..bytes.len() {
        let error = read(&bytes[..length], 64).await.unwrap_err();
        let begun = length >= MAGIC.len() + 4;
        let expected = if begun { "cut off" } else { "no export" };
        assert!(error.to_string().contains(expected), "{length}: {error}");
    }
}

#[tokio::test]
async fn a_flipped_bit_anywhere_is_noticed() {
    let bytes = written(&entries());
    for position in 0..bytes.len() {
        let mut flipped = bytes.clone();
        flipped[position] ^= 0x10;
        assert!(read(&flipped, 64).await.is_err(), "{position}");
    }
}

#[tokio::test]
async fn lost_swapped_and_added_entries_are_noticed() {
    let all = entries();
    let without = [all[0].clone(), all[2].clone()];
    let end = written(&all);
    let end = &end[end.len() - (HEAD_BYTES + 8 + 2 * DIGEST_BYTES)..];
    let forged = |entries: &[Entry]| {
        let mut bytes = written(entries);
        bytes.truncate(bytes.len() - end.len());
        bytes.extend(end);
        bytes
    };
    assert_eq!(read(&forged(&all), 64).await.unwrap(), all);
    let swapped = [all[1].clone(), all[0].clone(), all[2].clone()];
    for changed in [forged(&without), forged(&swapped), [written(&all), vec![0]].concat()] {
        assert!(matches!(read(&changed, 64).await, Err(FormatError::Damaged { .. })));
    }
}

#[tokio::test]
async fn newer_formats_and_failed_exports_are_refused() {
    let mut newer = written(&entries());
    newer[MAGIC.len() + 3] = 2;
    assert!(matches!(read(&newer, 64).await, Err(FormatError::NewerFormat(2))));
    let failed = written(&[entry(Kind::Failed, "", b"the store is away")]);
    assert_eq!(read(&failed, 64).await.unwrap_err().to_string(), "the export failed: the store is away");
    assert!(matches!(read(b"something else altogether", 64).await, Err(FormatError::NotAnExport)));
}
