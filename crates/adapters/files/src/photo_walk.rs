//! Listing a folder of photos in the order of their names' bytes, reading no more folders than a page needs, and none
//! that a link leads to.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{AtFlags, Dir, DirEntry, FileType, Mode, OFlags, ResolveFlags, openat2, statat};
use rustix::io::Errno;
use vidimus_ports::SourceEntry;

/// What a name may resolve to: nothing above the folder, and nothing through a link.
pub(crate) const BELOW: ResolveFlags =
    ResolveFlags::BENEATH.union(ResolveFlags::NO_SYMLINKS).union(ResolveFlags::NO_MAGICLINKS);

/// What has been met and not looked at yet: a file's name, or a folder's with a slash at its end, which no name in it comes
/// before.
type Met = String;

/// A walk through the plain files under a folder: the earliest name is always looked at first.
pub(crate) struct PhotoWalk<'a> {
    folder: OwnedFd,
    within: &'a str,
    after: Option<&'a str>,
    met: BinaryHeap<Reverse<Met>>,
}

impl<'a> PhotoWalk<'a> {
    /// Files whose names begin with `within` and come after `after`.
    pub(crate) fn new(folder: OwnedFd, within: &'a str, after: Option<&'a str>) -> Result<Self, Errno> {
        let mut walk = Self { folder, within, after, met: BinaryHeap::new() };
        if let Some(start) = start_folder(within) {
            walk.open(start)?;
        }
        Ok(walk)
    }

    /// The next file.
    pub(crate) fn next(&mut self) -> Result<Option<SourceEntry>, Errno> {
        while let Some(Reverse(name)) = self.met.pop() {
            if name.ends_with('/') {
                self.open(&name)?;
                continue;
            }
            match statat(&self.folder, name.as_str(), AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) if FileType::from_raw_mode(stat.st_mode).is_file() => {
                    return Ok(Some(SourceEntry { name, size: stat.st_size.unsigned_abs() }));
                }
                Ok(_) | Err(Errno::NOENT | Errno::NOTDIR) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    fn open(&mut self, folder: &str) -> Result<(), Errno> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let path = if folder.is_empty() { "." } else { folder };
        let opened = match openat2(&self.folder, path, flags, Mode::empty(), BELOW) {
            // It has just gone, or is none any more; what has so long a name cannot be asked for either.
            Err(
                Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::XDEV | Errno::INVAL | Errno::NAMETOOLONG,
            ) => {
                return Ok(());
            }
            opened => opened?,
        };
        for entry in Dir::read_from(&opened)? {
            if let Some(met) = meet(&opened, folder, &entry?)?
                && self.may_lead_on(&met)
            {
                self.met.push(Reverse(met));
            }
        }
        Ok(())
    }

    /// Whether it is a file that is asked for, or a folder in which there may be one. All names in a folder begin with its own.
    fn may_lead_on(&self, met: &str) -> bool {
        let leads = |to: &str| met.ends_with('/') && to.starts_with(met);
        let is_after = self.after.is_none_or(|after| met > after || leads(after));
        is_after && (met.starts_with(self.within) || leads(self.within))
    }
}

/// The folder in which all names that begin with `within` lie; none where it is no folder's plain name, so that no name can
/// begin so.
fn start_folder(within: &str) -> Option<&str> {
    let Some(end) = within.rfind('/') else { return Some("") };
    let plain = |part: &str| !matches!(part, "" | "." | "..") && !part.contains('\0');
    within[..end].split('/').all(plain).then_some(&within[..=end])
}

/// An entry of `folder` by its whole name; none where it is neither file nor folder, or its name is no text.
fn meet(opened: impl AsFd, folder: &str, entry: &DirEntry) -> Result<Option<Met>, Errno> {
    let Ok(name) = entry.file_name().to_str() else { return Ok(None) };
    if matches!(name, "." | "..") {
        return Ok(None);
    }
    let kind = match entry.file_type() {
        // Not every file system tells.
        FileType::Unknown => match statat(opened, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => return Ok(None),
            stat => FileType::from_raw_mode(stat?.st_mode),
        },
        kind => kind,
    };
    Ok(match kind {
        FileType::Directory => Some(format!("{folder}{name}/")),
        FileType::RegularFile => Some(format!("{folder}{name}")),
        _ => None,
    })
}
