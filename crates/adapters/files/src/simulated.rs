//! A disk in memory whose power can be cut, for tests.
//!
//! The model: a file's content is durable up to its last sync, a folder's names up to its last sync. After a power loss
//! each name that was not synced is as it was or as it had become, each for itself, and of bytes that were not synced a
//! prefix is there, which may have zeros in it.

use std::collections::BTreeMap;
use std::io;
use std::path::{Component, Path};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::{Rng, SeedableRng};
use vidimus_domain::UnixMillis;

use crate::disk::{Disk, DiskFile, Entry, Stat, WholeDisk};

/// A simulated disk. Clones are the same disk.
#[derive(Clone)]
pub(crate) struct SimulatedDisk(Arc<Mutex<State>>);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Node {
    File(usize),
    Folder(usize),
}

#[derive(Clone, Default)]
struct Folder {
    names: BTreeMap<String, Node>,
    durable: BTreeMap<String, Node>,
}

#[derive(Clone, Default)]
struct File {
    content: Vec<u8>,
    durable: Vec<u8>,
    modified_ms: i64,
}

struct State {
    folders: Vec<Folder>,
    files: Vec<File>,
    random: Xoshiro256PlusPlus,
    free_bytes: u64,
    unwritten_bytes: Option<u64>,
    fails_whole_syncs: bool,
    /// Calls that still take place before the power fails.
    calls_left: Option<u64>,
    now_ms: i64,
}

const ROOT: usize = 0;

fn lost() -> io::Error {
    io::Error::other("the power is lost")
}

impl State {
    fn find(&self, path: &Path) -> io::Result<Node> {
        let mut node = Node::Folder(ROOT);
        for part in path.components() {
            let Component::Normal(name) = part else { continue };
            let Node::Folder(folder) = node else { return Err(io::ErrorKind::NotADirectory.into()) };
            let found = self.folders[folder].names.get(name.to_str().unwrap());
            node = *found.ok_or(io::ErrorKind::NotFound)?;
        }
        Ok(node)
    }

    fn file(&mut self, path: &Path) -> io::Result<&mut File> {
        match self.find(path)? {
            Node::File(file) => Ok(&mut self.files[file]),
            Node::Folder(_) => Err(io::ErrorKind::IsADirectory.into()),
        }
    }

    fn folder(&mut self, path: &Path) -> io::Result<&mut Folder> {
        match self.find(path)? {
            Node::Folder(folder) => Ok(&mut self.folders[folder]),
            Node::File(_) => Err(io::ErrorKind::NotADirectory.into()),
        }
    }

    /// The folder that `path` is a name in, and the name.
    fn parent<'a>(&mut self, path: &'a Path) -> io::Result<(&mut Folder, &'a str)> {
        Ok((self.folder(path.parent().unwrap())?, path.file_name().unwrap().to_str().unwrap()))
    }

    fn add(&mut self, path: &Path, node: Node) -> io::Result<()> {
        let (folder, name) = self.parent(path)?;
        if folder.names.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        folder.names.insert(name.to_owned(), node);
        Ok(())
    }

    /// Counts a call that changes something.
    fn tick(&mut self) -> io::Result<()> {
        self.now_ms += 1;
        match &mut self.calls_left {
            Some(0) => Err(lost()),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.random.next_u64() % bound.max(1) as u64) as usize
    }

    fn heads(&mut self) -> bool {
        self.below(2) == 0
    }

    /// What is left of a file.
    fn survive_file(&mut self, file: &File) -> File {
        let File { content, durable, .. } = file;
        let mut left = durable.clone();
        if let Some(unsynced) = content.strip_prefix(&durable[..]) {
            let kept = self.below(unsynced.len() + 1);
            left.extend_from_slice(&unsynced[..kept]);
            if self.heads() {
                let hole = durable.len()..durable.len() + self.below(kept + 1);
                left[hole].fill(0);
            }
        } else if self.heads() {
            left.clone_from(content);
        }
        File { content: left.clone(), durable: left, modified_ms: file.modified_ms }
    }

    /// What is left of a folder.
    fn survive_folder(&mut self, folder: &Folder) -> Folder {
        let mut left = BTreeMap::new();
        let mut names: Vec<_> = folder.names.keys().chain(folder.durable.keys()).cloned().collect();
        names.sort();
        names.dedup();
        for name in names {
            let state = if self.heads() { &folder.names } else { &folder.durable };
            if let Some(node) = state.get(&name) {
                left.insert(name, *node);
            }
        }
        Folder { names: left.clone(), durable: left }
    }
}

impl SimulatedDisk {
    /// An empty disk; `seed` decides what a power loss leaves.
    pub(crate) fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(State {
            folders: vec![Folder::default()],
            files: Vec::new(),
            random: Xoshiro256PlusPlus::seed_from_u64(seed),
            free_bytes: u64::MAX,
            unwritten_bytes: Some(0),
            fails_whole_syncs: false,
            calls_left: None,
            now_ms: 1_000_000,
        })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn set_free_bytes(&self, free_bytes: u64) {
        self.state().free_bytes = free_bytes;
    }

    /// What of others waits to be written, or that this is not known.
    pub(crate) fn set_unwritten_bytes(&self, unwritten_bytes: Option<u64>) {
        self.state().unwritten_bytes = unwritten_bytes;
    }

    /// Has syncs of the whole disk fail, and make nothing durable.
    pub(crate) fn fail_whole_syncs(&self, fails: bool) {
        self.state().fails_whole_syncs = fails;
    }

    /// Lets the power fail after so many more calls that change something.
    pub(crate) fn fail_after(&self, calls: u64) {
        self.state().calls_left = Some(calls);
    }

    /// Brings the power back, with nothing lost: only the process was killed.
    pub(crate) fn after_kill(&self) -> Self {
        let state = self.state();
        let survivor = State {
            folders: state.folders.clone(),
            files: state.files.clone(),
            random: state.random.clone(),
            calls_left: None,
            fails_whole_syncs: false,
            ..*state
        };
        Self(Arc::new(Mutex::new(survivor)))
    }

    /// The disk as it is found after a power loss now. What still uses the old one changes nothing of it.
    pub(crate) fn after_power_loss(&self) -> Self {
        let mut state = self.state();
        let (files, folders) = (state.files.clone(), state.folders.clone());
        let survivor = State {
            files: files.iter().map(|file| state.survive_file(file)).collect(),
            folders: folders.iter().map(|folder| state.survive_folder(folder)).collect(),
            random: Xoshiro256PlusPlus::seed_from_u64(state.random.next_u64()),
            calls_left: None,
            fails_whole_syncs: false,
            ..*state
        };
        Self(Arc::new(Mutex::new(survivor)))
    }

    /// Changes a file behind everyone's back.
    pub(crate) fn tamper(&self, path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
        let mut state = self.state();
        let file = state.file(path).unwrap();
        change(&mut file.content);
        file.durable.clone_from(&file.content);
    }
}

impl Disk for SimulatedDisk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let mut state = self.state();
        state.tick()?;
        let file = state.files.len();
        let modified_ms = state.now_ms;
        state.files.push(File { modified_ms, ..File::default() });
        state.add(path, Node::File(file))?;
        Ok(Box::new(OpenFile { disk: self.clone(), file }))
    }

    fn open_end(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        match self.state().find(path)? {
            Node::File(file) => Ok(Box::new(OpenFile { disk: self.clone(), file })),
            Node::Folder(_) => Err(io::ErrorKind::IsADirectory.into()),
        }
    }

    fn read(&self, path: &Path, start: u64, limit: u64) -> io::Result<Vec<u8>> {
        let mut state = self.state();
        let content = &state.file(path)?.content;
        let start = content.len().min(start as usize);
        let end = content.len().min(start.saturating_add(usize::try_from(limit).unwrap_or(usize::MAX)));
        Ok(content[start..end].to_vec())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.tick()?;
        state.parent(to)?;
        let (folder, name) = state.parent(from)?;
        let node = folder.names.remove(name).ok_or(io::ErrorKind::NotFound)?;
        let (folder, name) = state.parent(to)?;
        folder.names.insert(name.to_owned(), node);
        Ok(())
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.tick()?;
        state.file(path)?;
        let (folder, name) = state.parent(path)?;
        folder.names.remove(name);
        Ok(())
    }

    fn create_folder(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.tick()?;
        let folder = state.folders.len();
        state.folders.push(Folder::default());
        state.add(path, Node::Folder(folder))
    }

    fn remove_folder(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.tick()?;
        if !state.folder(path)?.names.is_empty() {
            return Err(io::ErrorKind::DirectoryNotEmpty.into());
        }
        let (folder, name) = state.parent(path)?;
        folder.names.remove(name);
        Ok(())
    }

    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.tick()?;
        let folder = state.folder(path)?;
        folder.durable.clone_from(&folder.names);
        Ok(())
    }

    fn whole(&self, _path: &Path) -> io::Result<Box<dyn WholeDisk>> {
        Ok(Box::new(self.clone()))
    }

    fn list(&self, path: &Path) -> io::Result<Vec<Entry>> {
        let mut state = self.state();
        let entry = |(name, node): (&String, &Node)| Entry {
            name: name.clone(),
            is_folder: matches!(node, Node::Folder(_)),
        };
        Ok(state.folder(path)?.names.iter().map(entry).collect())
    }

    fn is_empty(&self, path: &Path) -> io::Result<bool> {
        Ok(self.state().folder(path)?.names.is_empty())
    }

    fn stat(&self, path: &Path) -> io::Result<Stat> {
        let mut state = self.state();
        if let Node::Folder(_) = state.find(path)? {
            return Ok(Stat { size: 0, modified_at: UnixMillis::new(0) });
        }
        let file = state.file(path)?;
        Ok(Stat { size: file.content.len() as u64, modified_at: UnixMillis::new(file.modified_ms) })
    }

    fn free_bytes(&self, _path: &Path) -> io::Result<u64> {
        Ok(self.state().free_bytes)
    }
}

impl WholeDisk for SimulatedDisk {
    fn sync(&self) -> io::Result<()> {
        let mut state = self.state();
        state.tick()?;
        if state.fails_whole_syncs {
            return Err(io::Error::other("what others wrote could not be written"));
        }
        for file in &mut state.files {
            file.durable.clone_from(&file.content);
        }
        for folder in &mut state.folders {
            folder.durable.clone_from(&folder.names);
        }
        Ok(())
    }

    fn unwritten_bytes(&self) -> io::Result<u64> {
        self.state().unwritten_bytes.ok_or_else(lost)
    }
}

struct OpenFile {
    disk: SimulatedDisk,
    file: usize,
}

impl DiskFile for OpenFile {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.disk.state();
        let full = || io::Error::from(io::ErrorKind::StorageFull);
        let room = bytes.len() as u64 <= state.free_bytes;
        let result = state.tick().and_then(|()| if room { Ok(()) } else { Err(full()) });
        // What is interrupted is written in part.
        let written = if result.is_ok() { bytes } else { &bytes[..bytes.len() / 2] };
        let now_ms = state.now_ms;
        let file = &mut state.files[self.file];
        file.modified_ms = now_ms;
        file.content.extend_from_slice(written);
        result
    }

    fn sync(&mut self) -> io::Result<()> {
        let mut state = self.disk.state();
        state.tick()?;
        let file = &mut state.files[self.file];
        file.durable.clone_from(&file.content);
        Ok(())
    }

    fn truncate(&mut self, size: u64) -> io::Result<()> {
        let mut state = self.disk.state();
        state.tick()?;
        state.files[self.file].content.truncate(size as usize);
        Ok(())
    }
}
