//! Objects as files.

mod puts;

use std::hash::{BuildHasher, RandomState};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::thread;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::{OwnedRwLockReadGuard, OwnedRwLockWriteGuard};
use vidimus_domain::blob_key::{BlobKey, BlobPrefix};
use vidimus_ports::{
    Blob, BlobEntry, BlobStore, Etag, PortError, PortErrorKind, PortResult, PutCondition, Random,
};

use crate::directory::Directory;
use crate::disk::{Disk, DiskFile, WholeDisk};
use crate::error::{OpenError, port_error};
use crate::folders::Folders;
use crate::lanes::Lanes;
use crate::layout::object_path;
use crate::object::{self, HEADER_BYTES};
use crate::space::Space;
use crate::walk::Walk;
use puts::{Put, Puts};

/// Audit batches may use the reserve: what has been searched for is trimmed from the log only when it is in one.
fn is_needed_to_go_on(key: &BlobKey) -> bool {
    key.as_str().starts_with(BlobPrefix::audit().as_str())
}

/// The whole disk is synced for puts that come together only while no more than this waits to be written, whoever wrote it: a sync
/// waits for all of it.
const UNWRITTEN_MAX: u64 = 32 << 20;

/// Locks for keys: a key's lock is found by its hash.
const KEY_LOCKS: usize = 4096;

/// A [`BlobStore`] of one file for each object, under `objects`, its keys' parts as folders; `tmp` holds what is being
/// written.
///
/// A put writes a file beside, syncs it, moves it to its name and syncs the folder. Puts that wait for others are written
/// together, and the whole disk is synced for all of them, where that can be relied on and others have not much that waits to be
/// written.
///
/// A key is locked from the check of the condition until all is synced, against readers too: what is read is durable,
/// so nobody acts upon a write that a power loss could take back. (A listing may show such a write.)
///
/// While less than the reserve is free, puts of new objects are refused with `Full`; puts over an object go on, since
/// erasing is one of them, and so do deletions.
pub struct FileBlobStore {
    store: Arc<Store>,
    puts: Puts,
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
        let store = Arc::new(Store::open(directory, space, random)?);
        Ok(Self {
            puts: Puts::new(Arc::clone(&store)),
            store,
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
        self.puts.put(Put { key: key.clone(), bytes, condition, _held: (admission, guard) }).await
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
        let mut new = self.prepare(key, content, condition)?;
        let put = new.file.sync().and_then(|()| self.publish(&new)).and_then(|()| self.sync_folder_of(&new));
        self.end(new, put)
    }

    /// The same for puts of different keys, each with its own outcome.
    fn put_together(&self, puts: &[NewObject<'_>]) -> Vec<PortResult<Etag>> {
        // Opened before anything is written, so that it tells of every failure to write.
        match self.disk().whole(&self.objects) {
            Ok(whole) if whole.unwritten_bytes().is_ok_and(|bytes| bytes <= UNWRITTEN_MAX) => {
                self.put_by_two_syncs(puts, &*whole)
            }
            _ => self.put_at_a_time(puts),
        }
    }

    /// Where a sync of the whole disk fails, each file or folder is synced by itself: what could not be written may be others'.
    ///
    /// Some file systems end a sync of the whole disk with writes that the disk's own cache still holds (ext4 without a journal): the
    /// sync of any folder empties it.
    fn put_by_two_syncs(&self, puts: &[NewObject<'_>], whole: &dyn WholeDisk) -> Vec<PortResult<Etag>> {
        let is_synced = || whole.sync().and_then(|()| self.disk().sync_folder(&self.temporary)).is_ok();
        let prepare = |(key, content, condition): &NewObject<'_>| self.prepare(key, content, condition);
        let prepared: Vec<_> = puts.iter().map(prepare).collect();
        if prepared.iter().all(Result::is_err) {
            return prepared.into_iter().map(|refused| refused.map(|new| new.etag)).collect();
        }
        let are_written = is_synced();
        let publish = |new: PortResult<New>| {
            let mut new = new?;
            let written = if are_written { Ok(()) } else { new.file.sync() };
            let published = written.and_then(|()| self.publish(&new));
            Ok((new, published))
        };
        let published: Vec<PortResult<_>> = prepared.into_iter().map(publish).collect();
        let are_named = is_synced();
        let end = |published: PortResult<(New, io::Result<()>)>| {
            let (new, published) = published?;
            let named = published.and_then(|()| if are_named { Ok(()) } else { self.sync_folder_of(&new) });
            self.end(new, named)
        };
        published.into_iter().map(end).collect()
    }

    /// Each by itself on a thread of its own, so that the file system's journal commits many of them at once.
    fn put_at_a_time(&self, puts: &[NewObject<'_>]) -> Vec<PortResult<Etag>> {
        thread::scope(|scope| {
            let begin = puts.iter().map(|&(key, content, condition)| {
                let put = move || self.put(key, content, condition);
                // Where there is no room for a thread, this one does it.
                thread::Builder::new().spawn_scoped(scope, put).map_err(|_| put())
            });
            let begun: Vec<_> = begin.collect();
            let end = |begun: Result<thread::ScopedJoinHandle<'_, _>, _>| match begun {
                Ok(thread) => thread.join().unwrap_or_else(|_| Err(ended())),
                Err(done) => done,
            };
            begun.into_iter().map(end).collect()
        })
    }

    /// Writes an object's file beside its place.
    fn prepare(&self, key: &BlobKey, content: &[u8], condition: &PutCondition) -> PortResult<New> {
        self.check(key, condition)?;
        if *condition == PutCondition::IfAbsent && !is_needed_to_go_on(key) {
            self.space.admit((HEADER_BYTES + content.len()) as u64)?;
        }
        let write_id = self.random.bytes16();
        let etag = object::etag(write_id);
        let temporary = self.temporary.join(etag.as_str());
        let header = object::header(key, write_id, content);
        match self.write_temporary(&temporary, &header, content) {
            Ok(file) => Ok(New { file, temporary, path: object_path(&self.objects, key), etag }),
            Err(error) => {
                self.clear(&temporary);
                Err(port_error("put object")(error))
            }
        }
    }

    /// Clears away what a put that failed has left.
    fn end(&self, new: New, put: io::Result<()>) -> PortResult<Etag> {
        if put.is_err() {
            self.clear(&new.temporary);
        }
        put.map(|()| new.etag).map_err(port_error("put object"))
    }

    fn clear(&self, temporary: &Path) {
        // It may have been moved already; where it was not, it is cleared at the next opening at the latest.
        let _ = self.disk().remove_file(temporary);
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

    fn write_temporary(&self, path: &Path, header: &[u8], content: &[u8]) -> io::Result<Box<dyn DiskFile>> {
        let mut file = self.disk().create(path)?;
        file.append(header)?;
        file.append(content)?;
        Ok(file)
    }

    /// Moves a synced file to its name. It is there for good once its folder is synced; that is not empty now, and so stays.
    fn publish(&self, new: &New) -> io::Result<()> {
        let _tree = self.tree.read().unwrap_or_else(PoisonError::into_inner);
        self.folders.ensure(new.folder(&self.objects))?;
        self.disk().rename(&new.temporary, &new.path)
    }

    fn sync_folder_of(&self, new: &New) -> io::Result<()> {
        self.disk().sync_folder(new.folder(&self.objects))
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

/// A key, its content, and what it is put upon.
type NewObject<'a> = (&'a BlobKey, &'a [u8], &'a PutCondition);

/// An object's file that is written beside its place.
struct New {
    file: Box<dyn DiskFile>,
    temporary: PathBuf,
    path: PathBuf,
    etag: Etag,
}

impl New {
    fn folder<'a>(&'a self, objects: &'a Path) -> &'a Path {
        self.path.parent().unwrap_or(objects)
    }
}

/// A thread has ended without an answer: the put may have been made or not.
fn ended() -> PortError {
    PortError::new(PortErrorKind::Unavailable, "put object").because("the thread that wrote it has ended")
}

#[cfg(test)]
mod tests;
