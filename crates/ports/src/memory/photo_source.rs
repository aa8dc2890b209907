//! Photos by name.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use vidimus_domain::catalog::ImportPrefix;

use crate::error::PortResult;
use crate::photo_source::{Found, PhotoSource, SourceObject};

/// Photos in memory. They have no versions.
#[derive(Debug, Default)]
pub struct MemoryPhotoSource {
    photos: Mutex<HashMap<(ImportPrefix, String), Bytes>>,
}

impl MemoryPhotoSource {
    /// Puts a photo.
    pub fn put(&self, prefix: ImportPrefix, name: &str, bytes: Bytes) {
        let mut photos = self.photos.lock().unwrap_or_else(PoisonError::into_inner);
        photos.insert((prefix, name.to_owned()), bytes);
    }
}

#[async_trait]
impl PhotoSource for MemoryPhotoSource {
    async fn get(&self, object: &SourceObject, bytes_max: u64) -> PortResult<Found> {
        let photos = self.photos.lock().unwrap_or_else(PoisonError::into_inner);
        let found = photos.get(&(object.prefix.clone(), object.name.clone()));
        Ok(match found {
            Some(bytes) if object.version.is_none() && bytes.len() as u64 > bytes_max => Found::TooLarge,
            Some(bytes) if object.version.is_none() => Found::Photo(bytes.clone()),
            _ => Found::Nothing,
        })
    }
}
