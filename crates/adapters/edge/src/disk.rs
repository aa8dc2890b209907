//! Room on the disk.

use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// Bytes that may still be written where `path` lies.
///
/// # Errors
/// Where the file system cannot be asked.
pub fn free_bytes(path: &Path) -> io::Result<u64> {
    let state = rustix::fs::statvfs(path)?;
    Ok(state.f_bavail.saturating_mul(state.f_frsize))
}

/// Bytes that all files under `path` take on the disk (the engine's have holes), as far as they can be read: files come
/// and go while it works.
pub fn used_bytes(path: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(path) else { return 0 };
    entries
        .flatten()
        .map(|entry| match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => used_bytes(&entry.path()),
            Ok(metadata) => metadata.blocks() * 512,
            Err(_) => 0,
        })
        .sum()
}
