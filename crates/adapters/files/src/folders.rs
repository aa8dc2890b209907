//! Folders that are known to be durable.

use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::disk::Disk;

/// Most folders that are remembered: past it all are forgotten, and synced again when they are next met.
const REMEMBERED_MAX: usize = 100_000;

/// Makes folders under a root, each for good before it is used.
///
/// That a folder is there says nothing: another put may have just made it, or a process that was killed, and its name
/// is not synced. So the folders are remembered whose names this process has synced.
pub(crate) struct Folders {
    disk: Arc<dyn Disk>,
    root: PathBuf,
    durable: Mutex<HashSet<PathBuf>>,
}

impl Folders {
    /// `root` must be durable.
    pub(crate) fn new(disk: Arc<dyn Disk>, root: PathBuf) -> Self {
        Self { disk, root, durable: Mutex::default() }
    }

    fn durable(&self) -> MutexGuard<'_, HashSet<PathBuf>> {
        self.durable.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes `folder`, and those above it up to the root, where they are not there, and syncs their names. MUST NOT run
    /// while folders are pruned.
    pub(crate) fn ensure(&self, folder: &Path) -> io::Result<()> {
        let missing: Vec<&Path> = {
            let durable = self.durable();
            let above = folder.ancestors().take_while(|above| *above != self.root);
            above.take_while(|above| !durable.contains(*above)).collect()
        };
        for folder in missing.into_iter().rev() {
            match self.disk.create_folder(folder) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                _ => {}
            }
            self.disk.sync_folder(folder.parent().unwrap_or(&self.root))?;
            let mut durable = self.durable();
            if durable.len() >= REMEMBERED_MAX {
                durable.clear();
            }
            durable.insert(folder.to_owned());
        }
        Ok(())
    }

    /// Removes `folder`, and those above it below the root, as far as they are empty. MUST NOT run while names are
    /// made. A removal that a power loss undoes leaves an empty folder, which does no harm.
    pub(crate) fn prune(&self, folder: &Path) {
        for folder in folder.ancestors().take_while(|above| *above != self.root) {
            self.durable().remove(folder);
            if self.disk.remove_folder(folder).is_err() {
                return;
            }
        }
    }
}
