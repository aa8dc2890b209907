//! Records, photos and changes as the processes read and write them.

use std::time::Duration;

use vidimus_domain::event::{AcceptedPhoto, Change};
use vidimus_domain::record::{PhotoKey, Record, is_fresh};
use vidimus_domain::time::ERASED_KEPT;
use vidimus_domain::{FaceNumber, ImageId, Nonce, UnixMillis, Version};

use crate::blobs::{Put, StoredPhoto};
use crate::executor::{Lost, Process};
use crate::rules::Rule;
use crate::world::{Cause, short, told};

/// A record as it was read, or its absence.
pub struct Read {
    pub record: Option<Record>,
    pub etag: Option<u64>,
    /// When the reading began.
    pub at: UnixMillis,
}

/// What came of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    Yes,
    ReadAgain,
}

/// A photo that was put, and when the putting began.
#[derive(Clone)]
pub struct PutPhoto {
    pub key: PhotoKey,
    pub at: UnixMillis,
}

impl Process {
    pub async fn read_record(&self, image: ImageId) -> Result<Read, Lost> {
        let at = self.now();
        let name = format!("reads record {}", short(image));
        let stored = self.effect(name, move |world| world.blobs.record(image)).await?;
        let (record, etag) = stored.map_or((None, None), |(record, etag)| (Some(record), Some(etag)));
        Ok(Read { record, etag, at })
    }

    pub async fn write_record(&self, record: &Record, over: &Read, cause: Cause) -> Result<Written, Lost> {
        if !is_fresh(over.at, self.now()) && self.keeps(Rule::RecordFreshness) {
            self.count("a writer of a record found its read too old");
            return Ok(Written::ReadAgain);
        }
        let (written, etag) = (record.clone(), over.etag);
        let name = format!("writes {}", told(record));
        let put = self.effect(name, move |world| world.put_record(&written, etag, cause)).await?;
        if put == Put::Done || !self.keeps(Rule::ConflictIsLookedAt) {
            return Ok(Written::Yes);
        }
        let now = self.read_record(record.origin.image).await?;
        let ours = now.record.is_some_and(|stored| stored.nonce == record.nonce);
        self.count(if ours { "a writer knew its write again" } else { "a writer was too late" });
        Ok(if ours { Written::Yes } else { Written::ReadAgain })
    }

    pub async fn put_photo(&self, image: ImageId) -> Result<PutPhoto, Lost> {
        let at = self.now();
        let key = if self.keeps(Rule::PhotoKeysUnique) {
            PhotoKey::new(at, self.nonce())
        } else {
            PhotoKey {
                day: "2025-10-09".to_owned(),
                nonce: Nonce::from_random(image.to_bytes()),
                put_at: UnixMillis::new(0),
            }
        };
        let stored = key.clone();
        let name = format!("puts photo {}", short(image));
        let put = self.effect(name, move |world| {
            let photo = StoredPhoto { image, key: stored, put_at: world.now };
            let part = world.part;
            world.blobs.put_photo(&part, photo);
        });
        put.await?;
        Ok(PutPhoto { key, at })
    }

    pub async fn remove_photo(&self, image: ImageId, key: &PhotoKey) -> Result<(), Lost> {
        let key = key.clone();
        let all = !self.keeps(Rule::OnlyNamedPhotosGo);
        let name = format!("removes photo {}", short(image));
        let remove = self.effect(name, move |world| {
            world.remove_photo(image, &key);
            for photo in world.blobs.photos() {
                if all && photo.image == image {
                    world.remove_photo(image, &photo.key);
                }
            }
        });
        remove.await
    }

    /// Removes the photos that the record says are to go. Returns those that are gone for certain.
    pub async fn remove_photos(&self, record: Option<&Record>) -> Vec<PhotoKey> {
        let mut removed = Vec::new();
        let Some(record) = record else { return removed };
        for key in &record.photos_to_remove {
            if self.remove_photo(record.origin.image, key).await.is_ok() {
                removed.push(key.clone());
            }
        }
        removed
    }

    /// Says that the record has changed.
    pub async fn append_change(&self, image: ImageId, seen: Vec<(FaceNumber, Version)>) -> Result<(), Lost> {
        let seen = if self.keeps(Rule::ChangesCarryVersions) { seen } else { Vec::new() };
        let at = self.now();
        let name = format!("appends change of {}", short(image));
        let append = self.effect(name, move |world| {
            let part = world.part;
            world.log.append(&Change { part, image, seen, at });
        });
        append.await
    }

    /// Says that the photo waits to be embedded.
    pub async fn append_photo(&self, image: ImageId) -> Result<(), Lost> {
        let at = self.now();
        let append = self.effect(format!("appends photo {}", short(image)), move |world| {
            let part = world.part;
            world.photo_log.append(&AcceptedPhoto { part, image, at });
        });
        append.await
    }

    pub async fn append_change_of(&self, record: &Record) -> Result<(), Lost> {
        let seen = record.faces.iter().map(|face| (face.number, face.version)).collect();
        self.append_change(record.origin.image, seen).await
    }
}

/// Whether a photo has lain in the store for a day.
pub fn is_old(photo: &StoredPhoto, now: UnixMillis) -> bool {
    const DAY: Duration = ERASED_KEPT;
    now.since(photo.put_at) >= DAY
}
