//! Objects as files.

use std::hash::{BuildHasher, RandomState};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::{OwnedRwLockReadGuard, OwnedRwLockWriteGuard};
use vidimus_domain::blob_key::{BlobKey, BlobPrefix};
use vidimus_ports::{
    Blob, BlobEntry, BlobStore, Etag, PortError, PortErrorKind, PortResult, PutCondition, Random,
};

use crate::directory::Directory;
use crate::disk::Disk;
use crate::error::{OpenError, port_error};
use crate::folders::Folders;
use crate::lanes::Lanes;
use crate::layout::object_path;
use crate::object::{self, HEADER_BYTES};
use crate::space::Space;
use crate::walk::Walk;

/// Audit batches may use the reserve: what has been searched for is trimmed from the log only when it is in one.
fn is_needed_to_go_on(key: &BlobKey) -> bool {
    key.as_str().starts_with(BlobPrefix::audit().as_str())
}

/// Locks for keys: a key's lock is found by its hash.
const KEY_LOCKS: usize = 4096;

/// A [`BlobStore`] of one file for each object, under `objects`, its keys' parts as folders; `tmp` holds what is being
/// written.
///
/// A put writes a file beside, syncs it, moves it to its name and syncs the folder. Each put does so on a thread of its
/// own: the file system's journal then commits many of them at once.
///
/// A key is locked from the check of the condition until all is synced, against readers too: what is read is durable,
/// so nobody acts upon a write that a power loss could take back. (A listing may show such a write.)
///
/// While less than the reserve is free, puts of new objects are refused with `Full`; puts over an object go on, since
/// erasing is one of them, and so do deletions.
pub struct FileBlobStore {
    store: Arc<Store>,
    reads: Lanes,
    writes: Lanes,
    locks: Box<[Arc<KeyLock>]>,
    lock_choice: RandomState,
}

type KeyLock = tokio::sync::RwLock<()>;

impl FileBlobStore {
    /// Opens the store of a directory, or makes one. `reserve_bytes` of the disk are kept for deletions.
    ///
    /// # Errors
    /// Where the system refuses.
    pub fn open(
        directory: Arc<Directory>,
        reserve_bytes: u64,
        random: Arc<dyn Random>,
    ) -> Result<Self, OpenError> {
        let space = Space::new(directory.disk().clone(), directory.root().to_owned(), reserve_bytes);
        let locks = (0..KEY_LOCKS).map(|_| Arc::default()).collect();
        Ok(Self {
            store: Arc::new(Store::open(directory, space, random)?),
            reads: Lanes::new(),
            writes: Lanes::new(),
            locks,
            lock_choice: RandomState::new(),
        })
    }

    fn lock(&self, key: &BlobKey) -> Arc<KeyLock> {
        let choice = self.lock_choice.hash_one(key) % KEY_LOCKS as u64;
        self.locks[choice as usize].clone()
    }

    async fn lock_for_reading(&self, key: &BlobKey) -> OwnedRwLockReadGuard<()> {
        self.lock(key).read_owned().await
    }

    async fn lock_for_writing(&self, key: &BlobKey) -> OwnedRwLockWriteGuard<()> {
        self.lock(key).write_owned().await
    }
}

#[async_trait]
impl BlobStore for FileBlobStore {
    async fn get(&self, key: &BlobKey) -> PortResult<Option<Blob>> {
        let admission = self.reads.admit()?;
        let guard = self.lock_for_reading(key).await;
        let (store, key) = (self.store.clone(), key.clone());
        let read = move || {
            let _held = guard;
            store.get(&key)
        };
        self.reads.run(admission, read).await
    }

    async fn put(&self, key: &BlobKey, bytes: Bytes, condition: PutCondition) -> PortResult<Etag> {
        let admission = self.writes.admit()?;
        let guard = self.lock_for_writing(key).await;
        let (store, key) = (self.store.clone(), key.clone());
        let put = move || {
            let _held = guard;
            store.put(&key, &bytes, &condition)
        };
        self.writes.run(admission, put).await
    }

    async fn delete(&self, key: &BlobKey) -> PortResult<()> {
        let admission = self.writes.admit()?;
        let guard = self.lock_for_writing(key).await;
        let (store, key) = (self.store.clone(), key.clone());
        let delete = move || {
            let _held = guard;
            store.delete(&key)
        };
        self.writes.run(admission, delete).await
    }

    /// A put takes the place of what was there: nothing older stays.
    async fn forget_versions(&self, _key: &BlobKey) -> PortResult<()> {
        Ok(())
    }

    async fn list(
        &self,
        prefix: &BlobPrefix,
        after: Option<&BlobKey>,
        limit: usize,
    ) -> PortResult<Vec<BlobEntry>> {
        let admission = self.reads.admit()?;
        let (store, prefix, after) = (self.store.clone(), prefix.clone(), after.cloned());
        self.reads.run(admission, move || store.list(&prefix, after.as_ref(), limit)).await
    }
}

/// The store as it blocks. Its callers hold the keys' locks.
struct Store {
    directory: Arc<Directory>,
    objects: PathBuf,
    temporary: PathBuf,
    folders: Folders,
    /// Taken for reading while names are made and removed, for writing while empty folders are.
    tree: RwLock<()>,
    space: Space,
    random: Arc<dyn Random>,
}

impl Store {
    fn open(directory: Arc<Directory>, space: Space, random: Arc<dyn Random>) -> Result<Self, OpenError> {
        let (objects, temporary) = (directory.root().join("objects"), directory.root().join("tmp"));
        directory.ensure_folder(&objects)?;
        directory.ensure_folder(&temporary)?;
        let folders = Folders::new(directory.disk().clone(), objects.clone());
        let store = Self { directory, objects, temporary, folders, tree: RwLock::default(), space, random };
        store.clear_temporary().map_err(OpenError::io("clear", &store.temporary))?;
        Ok(store)
    }

    /// Removes what puts left that never ended.
    fn clear_temporary(&self) -> io::Result<()> {
        for entry in self.disk().list(&self.temporary)? {
            self.disk().remove_file(&self.temporary.join(entry.name))?;
        }
        Ok(())
    }

    fn disk(&self) -> &dyn Disk {
        &**self.directory.disk()
    }

    fn get(&self, key: &BlobKey) -> PortResult<Option<Blob>> {
        match self.read(key, u64::MAX)? {
            Some(file) => object::read_object(key, file).map(Some),
            None => Ok(None),
        }
    }

    fn read(&self, key: &BlobKey, limit: u64) -> PortResult<Option<Vec<u8>>> {
        match self.disk().read(&object_path(&self.objects, key), 0, limit) {
            Ok(file) => Ok(Some(file)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(port_error("read object")(error)),
        }
    }

    fn put(&self, key: &BlobKey, content: &[u8], condition: &PutCondition) -> PortResult<Etag> {
        self.check(key, condition)?;
        if *condition == PutCondition::IfAbsent && !is_needed_to_go_on(key) {
            self.space.admit((HEADER_BYTES + content.len()) as u64)?;
        }
        let write_id = self.random.bytes16();
        let temporary = self.temporary.join(object::etag(write_id).as_str());
        let put = self
            .write_temporary(&temporary, &object::header(key, write_id, content), content)
            .and_then(|()| self.publish(&temporary, &object_path(&self.objects, key)));
        if put.is_err() {
            // It may have been moved already; where it was not, it is cleared at the next opening at the latest.
            let _ = self.disk().remove_file(&temporary);
        }
        put.map(|()| object::etag(write_id)).map_err(port_error("put object"))
    }

    fn check(&self, key: &BlobKey, condition: &PutCondition) -> PortResult<()> {
        let present = self.read(key, HEADER_BYTES as u64)?;
        let holds = match (condition, present) {
            (PutCondition::IfAbsent, present) => present.is_none(),
            (PutCondition::IfMatch(_), None) => false,
            (PutCondition::IfMatch(etag), Some(file)) => object::read_etag(key, &file)? == *etag,
        };
        if holds { Ok(()) } else { Err(PortError::new(PortErrorKind::Conflict, "put object")) }
    }

    fn write_temporary(&self, path: &Path, header: &[u8], content: &[u8]) -> io::Result<()> {
        let mut file = self.disk().create(path)?;
        file.append(header)?;
        file.append(content)?;
        file.sync()
    }

    /// Moves a synced file to its name, for good.
    fn publish(&self, temporary: &Path, path: &Path) -> io::Result<()> {
        let folder = path.parent().unwrap_or(&self.objects);
        let tree = self.tree.read().unwrap_or_else(PoisonError::into_inner);
        self.folders.ensure(folder)?;
        self.disk().rename(temporary, path)?;
        // From here on the folder is not empty, so it stays.
        drop(tree);
        self.disk().sync_folder(folder)
    }

    fn delete(&self, key: &BlobKey) -> PortResult<()> {
        let path = object_path(&self.objects, key);
        let folder = path.parent().unwrap_or(&self.objects);
        match self.remove(&path, folder) {
            Ok(is_empty) => {
                if is_empty {
                    let _tree = self.tree.write().unwrap_or_else(PoisonError::into_inner);
                    self.folders.prune(folder);
                }
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(port_error("delete object")(error)),
        }
    }

    /// Removes a file for good and tells whether its folder is empty now.
    fn remove(&self, path: &Path, folder: &Path) -> io::Result<bool> {
        let _tree = self.tree.read().unwrap_or_else(PoisonError::into_inner);
        self.disk().remove_file(path)?;
        self.disk().sync_folder(folder)?;
        self.disk().is_empty(folder)
    }

    fn list(&self, prefix: &BlobPrefix, after: Option<&BlobKey>, limit: usize) -> PortResult<Vec<BlobEntry>> {
        let mut walk = Walk::new(self.disk(), &self.objects, prefix, after);
        let mut entries = Vec::new();
        while entries.len() < limit {
            let Some((key, path)) = walk.next().map_err(port_error("list objects"))? else { break };
            match self.disk().stat(&path) {
                Ok(stat) => {
                    let size = stat.size.saturating_sub(HEADER_BYTES as u64);
                    entries.push(BlobEntry { key, size, modified_at: stat.modified_at });
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(port_error("list objects")(error)),
            }
        }
        Ok(entries)
    }
}

#[cfg(test)]
mod tests;
