//! Photos by name.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use vidimus_domain::catalog::ImportPrefix;

use crate::error::PortResult;
use crate::photo_source::{Found, PhotoSource, SourceEntry, SourceObject};

/// Photos in memory. They have no versions.
#[derive(Debug, Default)]
pub struct MemoryPhotoSource {
    photos: Mutex<ByPrefix>,
}

type ByPrefix = HashMap<ImportPrefix, BTreeMap<String, Bytes>>;

impl MemoryPhotoSource {
    /// Puts a photo.
    pub fn put(&self, prefix: ImportPrefix, name: &str, bytes: Bytes) {
        self.photos().entry(prefix).or_default().insert(name.to_owned(), bytes);
    }

    fn photos(&self) -> MutexGuard<'_, ByPrefix> {
        self.photos.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl PhotoSource for MemoryPhotoSource {
    async fn get(&self, object: &SourceObject, bytes_max: u64) -> PortResult<Found> {
        let photos = self.photos();
        let found = photos.get(&object.prefix).and_then(|photos| photos.get(&object.name));
        Ok(match found {
            Some(bytes) if object.version.is_none() && bytes.len() as u64 > bytes_max => Found::TooLarge,
            Some(bytes) if object.version.is_none() => Found::Photo(bytes.clone()),
            _ => Found::Nothing,
        })
    }

    async fn list(
        &self,
        prefix: &ImportPrefix,
        within: &str,
        after: Option<&str>,
        limit: usize,
    ) -> PortResult<Vec<SourceEntry>> {
        let photos = self.photos();
        let Some(photos) = photos.get(prefix) else { return Ok(Vec::new()) };
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        let listed = photos.range::<str, _>((start, Bound::Unbounded));
        let entry =
            |(name, bytes): (&String, &Bytes)| SourceEntry { name: name.clone(), size: bytes.len() as u64 };
        Ok(listed.filter(|(name, _)| name.starts_with(within)).take(limit).map(entry).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::photo_source::{conforms, photos};

    #[tokio::test]
    async fn the_fake_conforms() {
        let source = MemoryPhotoSource::default();
        for photo in photos() {
            source.put(photo.prefix, photo.name, photo.bytes);
        }
        conforms(&source).await.unwrap();
    }
}
