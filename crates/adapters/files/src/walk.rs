//! Listing in the order of keys, reading no more folders than a page needs.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;
use std::path::{Path, PathBuf};

use vidimus_domain::blob_key::{BlobKey, BlobPrefix};

use crate::disk::{Disk, Entry};
use crate::layout::FAN;

/// A folder or file that the walk has met. Ordered by `bound`, which no key under it comes before; at the same bound
/// folders come first, since what is in them may be as early.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Met {
    bound: String,
    is_file: bool,
    path: PathBuf,
    /// What the keys of the files in this folder begin with.
    key_folder: String,
}

/// A walk through the objects under a prefix: the earliest is always opened first.
pub(crate) struct Walk<'a> {
    disk: &'a dyn Disk,
    after: &'a str,
    met: BinaryHeap<Reverse<Met>>,
}

impl<'a> Walk<'a> {
    /// Begins after the key `after`.
    pub(crate) fn new(
        disk: &'a dyn Disk,
        objects: &Path,
        prefix: &BlobPrefix,
        after: Option<&'a BlobKey>,
    ) -> Self {
        let key_folder = prefix.as_str().to_owned();
        let start =
            Met { bound: key_folder.clone(), is_file: false, path: objects.join(&key_folder), key_folder };
        Self { disk, after: after.map_or("", BlobKey::as_str), met: BinaryHeap::from([Reverse(start)]) }
    }

    /// The next object's key and file.
    pub(crate) fn next(&mut self) -> io::Result<Option<(BlobKey, PathBuf)>> {
        while let Some(Reverse(met)) = self.met.pop() {
            if met.is_file {
                // What has a name that no key has was not put there by us.
                if let Ok(key) = BlobKey::listed(&met.bound) {
                    return Ok(Some((key, met.path)));
                }
                continue;
            }
            self.open(&met)?;
        }
        Ok(None)
    }

    fn open(&mut self, folder: &Met) -> io::Result<()> {
        let entries = match self.disk.list(&folder.path) {
            // It was never there, or has just gone with its last object.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            entries => entries?,
        };
        let inside = entries.into_iter().filter_map(|entry| meet(folder, entry));
        let after = self.after;
        self.met.extend(inside.filter(|met| may_follow(met, after)).map(Reverse));
        Ok(())
    }
}

/// What an entry of `folder` is: objects lie in fan-out folders, and those in the folders that keys name.
fn meet(folder: &Met, entry: Entry) -> Option<Met> {
    let in_fan =
        folder.path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(&[FAN as u8]));
    if in_fan == entry.is_folder {
        return None;
    }
    let bound_and_key_folder = match entry.name.strip_prefix(FAN) {
        Some(start) => (format!("{}{start}", folder.key_folder), folder.key_folder.clone()),
        None if entry.is_folder => {
            let inside = format!("{}{}/", folder.key_folder, entry.name);
            (inside.clone(), inside)
        }
        None => (format!("{}{}", folder.key_folder, entry.name), String::new()),
    };
    let (bound, key_folder) = bound_and_key_folder;
    Some(Met { bound, is_file: in_fan, path: folder.path.join(entry.name), key_folder })
}

/// Whether the walk may find a key after `after` there. All keys in a folder begin with its bound.
fn may_follow(met: &Met, after: &str) -> bool {
    met.bound.as_str() > after || (!met.is_file && after.starts_with(&met.bound))
}
