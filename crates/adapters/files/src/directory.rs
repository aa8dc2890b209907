//! The place where the stores live: one process's at a time.

use std::fmt;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::FlockOperation;

use crate::disk::{Disk, FileSystem};
use crate::error::OpenError;

/// The format that this version writes, and the only one that it reads: none before it was released.
const FORMAT: u32 = 2;
const LOCK: &str = "lock";
const FORMAT_MARKER: &str = "format";

/// A directory that this process has locked. Dropping it, or the end of the process, gives it free.
///
/// Layout: `lock` (the process that works here), `format` (`vidimus-files 2`), and the stores' own folders.
pub struct Directory {
    root: PathBuf,
    disk: Arc<dyn Disk>,
    /// Holds the lock for as long as it is open.
    _lock: Option<File>,
}

impl fmt::Debug for Directory {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Directory").field(&self.root).finish()
    }
}

impl Directory {
    /// Makes the directory where there is none, and locks it.
    ///
    /// # Errors
    /// Where another process works in it, a newer version wrote it, it holds other things, or the system refuses.
    pub fn open(root: impl Into<PathBuf>) -> Result<Arc<Self>, OpenError> {
        let root = root.into();
        let create = DirBuilder::new().recursive(true).mode(0o700).create(&root);
        create.map_err(OpenError::io("create directory", &root))?;
        let lock = lock(&root)?;
        Self::prepare(root, Arc::new(FileSystem), Some(lock))
    }

    /// The same on another disk, which no other process has.
    #[cfg(test)]
    pub(crate) fn on_disk(root: impl Into<PathBuf>, disk: Arc<dyn Disk>) -> Result<Arc<Self>, OpenError> {
        Self::prepare(root.into(), disk, None)
    }

    fn prepare(root: PathBuf, disk: Arc<dyn Disk>, lock: Option<File>) -> Result<Arc<Self>, OpenError> {
        let directory = Self { root, disk, _lock: lock };
        // A process that was killed here may have written what it did not sync. What is found is acted upon, so it must
        // be there for good.
        let synced = directory.disk.whole(&directory.root).and_then(|whole| whole.sync());
        synced.map_err(OpenError::io("sync", &directory.root))?;
        directory.check_format()?;
        Ok(Arc::new(directory))
    }

    /// Where it is.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn disk(&self) -> &Arc<dyn Disk> {
        &self.disk
    }

    /// Makes a folder under a folder that is there, for good.
    pub(crate) fn ensure_folder(&self, path: &Path) -> Result<(), OpenError> {
        let parent = path.parent().unwrap_or(&self.root);
        match self.disk.create_folder(path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(OpenError::io("create folder", path)(error));
            }
            _ => {}
        }
        self.disk.sync_folder(parent).map_err(OpenError::io("sync folder", parent))
    }

    /// Reads a small file; none where there is none.
    pub(crate) fn read_small(&self, path: &Path) -> Result<Option<String>, OpenError> {
        match self.disk.read(path, 0, 4096) {
            Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(OpenError::io("read", path)(error)),
        }
    }

    /// Writes a file, whole or not at all, for good.
    pub(crate) fn write_whole(&self, path: &Path, content: &[u8]) -> Result<(), OpenError> {
        write_whole(&*self.disk, path, content).map_err(OpenError::io("write", path))
    }

    fn check_format(&self) -> Result<(), OpenError> {
        let path = self.root.join(FORMAT_MARKER);
        let Some(text) = self.read_small(&path)? else {
            self.check_empty()?;
            return self.write_whole(&path, format!("vidimus-files {FORMAT}\n").as_bytes());
        };
        let version = text.trim_end().strip_prefix("vidimus-files ").and_then(|version| version.parse().ok());
        match version {
            Some(FORMAT) => Ok(()),
            Some(found) if found < FORMAT => Err(OpenError::OlderFormat { path: self.root.clone(), found }),
            Some(found) => Err(OpenError::NewerFormat { path: self.root.clone(), found, known: FORMAT }),
            None => Err(OpenError::Damaged { path, position: 0, reason: "it names no format" }),
        }
    }

    fn check_empty(&self) -> Result<(), OpenError> {
        let entries = self.disk.list(&self.root).map_err(OpenError::io("list", &self.root))?;
        let known = [LOCK, "format.new", "lost+found"];
        if entries.iter().all(|entry| known.contains(&entry.name.as_str())) {
            return Ok(());
        }
        Err(OpenError::Foreign { path: self.root.clone() })
    }
}

/// Writes a file beside `path`, syncs it, and moves it there.
pub(crate) fn write_whole(disk: &dyn Disk, path: &Path, content: &[u8]) -> io::Result<()> {
    let beside = path.with_extension("new");
    match disk.remove_file(&beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = disk.create(&beside)?;
    file.append(content)?;
    file.sync()?;
    disk.rename(&beside, path)?;
    path.parent().map_or(Ok(()), |folder| disk.sync_folder(folder))
}

/// Locks the directory and writes this process's id into the lock file.
fn lock(root: &Path) -> Result<File, OpenError> {
    let path = root.join(LOCK);
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    let mut file = options.open(&path).map_err(OpenError::io("open", &path))?;
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Err(rustix::io::Errno::WOULDBLOCK) => {
            let mut pid = String::new();
            file.take(20).read_to_string(&mut pid).map_err(OpenError::io("read", &path))?;
            let pid = if pid.trim().is_empty() { "unknown" } else { pid.trim() };
            return Err(OpenError::InUse { path: root.to_owned(), pid: pid.to_owned() });
        }
        locked => locked.map_err(io::Error::from).map_err(OpenError::io("lock", &path))?,
    }
    let write = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
    write.map_err(OpenError::io("write", &path))?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_second_opening_is_refused_and_told_who_has_it() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("data/deep");
        let directory = Directory::open(&root).unwrap();
        let refused = Directory::open(&root).unwrap_err();
        assert!(matches!(&refused, OpenError::InUse { pid, .. } if *pid == std::process::id().to_string()));
        assert!(refused.to_string().contains(&format!("in use by process {}", std::process::id())));
        drop(directory);
        Directory::open(&root).unwrap();
    }

    #[test]
    fn formats_and_foreign_files_are_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        drop(Directory::open(folder.path()).unwrap());
        let marker = folder.path().join("format");
        assert_eq!(fs::read_to_string(&marker).unwrap(), "vidimus-files 2\n");
        fs::write(&marker, "vidimus-files 3\n").unwrap();
        let newer = Directory::open(folder.path()).unwrap_err();
        assert!(matches!(newer, OpenError::NewerFormat { found: 3, known: 2, .. }), "{newer}");
        fs::write(&marker, "vidimus-files 1\n").unwrap();
        let older = Directory::open(folder.path()).unwrap_err();
        assert!(matches!(older, OpenError::OlderFormat { found: 1, .. }), "{older}");
        fs::write(&marker, "something").unwrap();
        assert!(matches!(Directory::open(folder.path()).unwrap_err(), OpenError::Damaged { .. }));
        fs::remove_file(&marker).unwrap();
        fs::write(folder.path().join("thesis.tex"), "").unwrap();
        assert!(matches!(Directory::open(folder.path()).unwrap_err(), OpenError::Foreign { .. }));
    }

    #[test]
    fn files_and_folders_are_their_owners_alone() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("data");
        let directory = Directory::open(&root).unwrap();
        directory.ensure_folder(&root.join("folder")).unwrap();
        for (path, mode) in [("", 0o700), ("folder", 0o700), ("lock", 0o600), ("format", 0o600)] {
            let found = fs::metadata(root.join(path)).unwrap().permissions().mode();
            assert_eq!(found & 0o777, mode, "{path:?}");
        }
    }
}
