//! The blob store: records by compare-and-swap, and photos.

use std::collections::BTreeMap;

use vidimus_domain::blob_key::BlobKey;
use vidimus_domain::codec::Stored;
use vidimus_domain::record::{PhotoKey, Record};
use vidimus_domain::user::{User, UserKey};
use vidimus_domain::{ImageId, Part, UnixMillis};

/// An object's bytes and what names their state.
struct StoredObject {
    etag: u64,
    bytes: Vec<u8>,
}

/// A photo, of which only its image and when it was put matter here.
#[derive(Clone, Debug)]
pub struct StoredPhoto {
    pub image: ImageId,
    pub key: PhotoKey,
    pub put_at: UnixMillis,
}

/// What became of a put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Put {
    Done,
    Conflict,
}

#[derive(Default)]
pub struct Blobs {
    records: BTreeMap<ImageId, StoredObject>,
    users: BTreeMap<UserKey, StoredObject>,
    photos: BTreeMap<BlobKey, StoredPhoto>,
    etag_last: u64,
}

impl Blobs {
    pub fn record(&self, image: ImageId) -> Option<(Record, u64)> {
        let stored = self.records.get(&image)?;
        Some((Record::decode(&stored.bytes).expect("a stored record is one"), stored.etag))
    }

    pub fn images(&self) -> Vec<ImageId> {
        self.records.keys().copied().collect()
    }

    pub fn records(&self) -> impl Iterator<Item = Record> {
        self.records.keys().filter_map(|image| self.record(*image)).map(|(record, _)| record)
    }

    /// Writes over exactly the state of that tag, or over nothing; over anything where `conditional` is false.
    pub fn put_record(&mut self, record: &Record, over: Option<u64>, conditional: bool) -> Put {
        let image = record.origin.image;
        let there = self.records.get(&image).map(|stored| stored.etag);
        if conditional && there != over {
            return Put::Conflict;
        }
        self.etag_last += 1;
        self.records.insert(image, StoredObject { etag: self.etag_last, bytes: record.encode() });
        Put::Done
    }

    pub fn remove_record(&mut self, image: ImageId) {
        self.records.remove(&image);
    }

    pub fn user(&self, key: UserKey) -> Option<(User, u64)> {
        let stored = self.users.get(&key)?;
        Some((User::decode(&stored.bytes).expect("a stored user is one"), stored.etag))
    }

    /// As [`Blobs::put_record`].
    pub fn put_user(&mut self, key: UserKey, user: &User, over: Option<u64>, conditional: bool) -> Put {
        let there = self.users.get(&key).map(|stored| stored.etag);
        if conditional && there != over {
            return Put::Conflict;
        }
        self.etag_last += 1;
        self.users.insert(key, StoredObject { etag: self.etag_last, bytes: user.encode() });
        Put::Done
    }

    pub fn put_photo(&mut self, part: &Part, photo: StoredPhoto) {
        self.photos.insert(BlobKey::photo(part, photo.image, &photo.key), photo);
    }

    pub fn has_photo(&self, part: &Part, image: ImageId, key: &PhotoKey) -> bool {
        self.photos.contains_key(&BlobKey::photo(part, image, key))
    }

    pub fn remove_photo(&mut self, part: &Part, image: ImageId, key: &PhotoKey) {
        self.photos.remove(&BlobKey::photo(part, image, key));
    }

    pub fn photos(&self) -> Vec<StoredPhoto> {
        self.photos.values().cloned().collect()
    }
}
