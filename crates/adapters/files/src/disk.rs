//! The few calls on files that the stores are made of. A seam, so that tests can cut the power.
//!
//! What is written is durable once its file was synced, and a name (made, moved or removed) once its folder was.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use vidimus_domain::UnixMillis;

/// An entry of a folder.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) is_folder: bool,
}

/// What is known of a file without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stat {
    pub(crate) size: u64,
    pub(crate) modified_at: UnixMillis,
}

/// A disk.
pub(crate) trait Disk: Send + Sync {
    /// Creates a file for writing; an error where there is one.
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;
    /// Opens a file to write at its end.
    fn open_end(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;
    /// Reads up to `limit` bytes from `start` on.
    fn read(&self, path: &Path, start: u64, limit: u64) -> io::Result<Vec<u8>>;
    /// Moves a file, over another one if need be, at once.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file.
    fn remove_file(&self, path: &Path) -> io::Result<()>;
    /// Makes a folder; its parent must be there.
    fn create_folder(&self, path: &Path) -> io::Result<()>;
    /// Removes a folder; an error where it is not empty.
    fn remove_folder(&self, path: &Path) -> io::Result<()>;
    /// Makes the names in a folder durable.
    fn sync_folder(&self, path: &Path) -> io::Result<()>;
    /// The whole disk that `path` lies on, to sync what is written from now on.
    fn whole(&self, path: &Path) -> io::Result<Box<dyn WholeDisk>>;
    /// The entries of a folder, in no order.
    fn list(&self, path: &Path) -> io::Result<Vec<Entry>>;
    /// Whether a folder has no entries.
    fn is_empty(&self, path: &Path) -> io::Result<bool>;
    /// Size and time of a file.
    fn stat(&self, path: &Path) -> io::Result<Stat>;
    /// Bytes that may still be written.
    fn free_bytes(&self, path: &Path) -> io::Result<u64>;
}

/// A file that is open for writing at its end.
pub(crate) trait DiskFile: Send {
    /// Writes all of `bytes` at the end.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// Makes the content durable.
    fn sync(&mut self) -> io::Result<()>;
    /// Cuts the file to `size` bytes.
    fn truncate(&mut self, size: u64) -> io::Result<()>;
}

/// A whole disk.
pub(crate) trait WholeDisk {
    /// Makes everything durable, whoever wrote it. An error where something could not be written since this was opened, even if
    /// another sync has been told before.
    fn sync(&self) -> io::Result<()>;
    /// At most so many bytes, of whoever wrote them, wait to be written. An error where that is not known, or where a sync of this
    /// disk may do less than it says.
    fn unwritten_bytes(&self) -> io::Result<u64>;
}

/// File systems of which a sync of the whole makes all files and names durable, by their magic numbers (`linux/magic.h`): ext4, XFS,
/// Btrfs, and tmpfs, of which nothing is. Others (FUSE) may leave a sync of the whole undone and say nothing.
const SYNCED_AS_A_WHOLE: [u64; 4] = [0xef53, 0x5846_5342, 0x9123_683e, 0x0102_1994];

/// The machine's file system. Files are their owner's alone (0600), folders too (0700).
#[derive(Debug)]
pub(crate) struct FileSystem;

impl Disk for FileSystem {
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let file = OpenOptions::new().append(true).create_new(true).mode(0o600).open(path)?;
        Ok(Box::new(file))
    }

    fn open_end(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(OpenOptions::new().append(true).open(path)?))
    }

    fn read(&self, path: &Path, start: u64, limit: u64) -> io::Result<Vec<u8>> {
        let mut file = File::open(path)?;
        let size = file.metadata()?.len();
        if start > 0 {
            file.seek(SeekFrom::Start(start))?;
        }
        let expected = size.saturating_sub(start).min(limit);
        let mut bytes = Vec::with_capacity(usize::try_from(expected).unwrap_or(0));
        file.take(limit).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn create_folder(&self, path: &Path) -> io::Result<()> {
        DirBuilder::new().mode(0o700).create(path)
    }

    fn remove_folder(&self, path: &Path) -> io::Result<()> {
        fs::remove_dir(path)
    }

    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    fn whole(&self, path: &Path) -> io::Result<Box<dyn WholeDisk>> {
        Ok(Box::new(File::open(path)?))
    }

    fn list(&self, path: &Path) -> io::Result<Vec<Entry>> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            // Our own names are ASCII; what is not is not ours, and no key has such a part.
            let name = entry.file_name().to_string_lossy().into_owned();
            entries.push(Entry { name, is_folder: entry.file_type()?.is_dir() });
        }
        Ok(entries)
    }

    fn is_empty(&self, path: &Path) -> io::Result<bool> {
        Ok(fs::read_dir(path)?.next().is_none())
    }

    fn stat(&self, path: &Path) -> io::Result<Stat> {
        let metadata = fs::metadata(path)?;
        Ok(Stat { size: metadata.len(), modified_at: unix_millis(metadata.modified()?) })
    }

    fn free_bytes(&self, path: &Path) -> io::Result<u64> {
        let volume = rustix::fs::statvfs(path)?;
        Ok(volume.f_bavail.saturating_mul(volume.f_frsize))
    }
}

impl WholeDisk for File {
    fn sync(&self) -> io::Result<()> {
        Ok(rustix::fs::syncfs(self)?)
    }

    /// What waits for all disks of the machine together.
    fn unwritten_bytes(&self) -> io::Result<u64> {
        let kernel = rustix::system::uname();
        let is_told = kernel.release().to_str().is_ok_and(tells_of_failed_syncs);
        let kind = u64::try_from(rustix::fs::fstatfs(self)?.f_type).unwrap_or(0);
        if !is_told || !SYNCED_AS_A_WHOLE.contains(&kind) {
            return Err(io::ErrorKind::Unsupported.into());
        }
        unwritten_bytes(&fs::read_to_string("/proc/meminfo")?)
    }
}

impl DiskFile for File {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write_all(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }

    fn truncate(&mut self, size: u64) -> io::Result<()> {
        self.set_len(size)
    }
}

/// Whether this version of Linux tells of all that goes wrong in a sync of a whole file system: since 5.8 of what could not be written,
/// since 5.17 of what the file system itself says.
fn tells_of_failed_syncs(release: &str) -> bool {
    let mut numbers = release.split(|byte: char| !byte.is_ascii_digit()).map(str::parse::<u32>);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => (major, minor) >= (5, 17),
        _ => false,
    }
}

/// By the text of `/proc/meminfo`, whose lines are `Dirty:    12 kB`.
fn unwritten_bytes(meminfo: &str) -> io::Result<u64> {
    let kilobytes = |name: &str| {
        let line = meminfo.lines().find_map(|line| line.strip_prefix(name))?;
        line.strip_suffix("kB")?.trim().parse::<u64>().ok()
    };
    let waiting =
        kilobytes("Dirty:").zip(kilobytes("Writeback:")).map(|(dirty, begun)| (dirty + begun) * 1024);
    waiting.ok_or_else(|| io::ErrorKind::InvalidData.into())
}

fn unix_millis(time: SystemTime) -> UnixMillis {
    let since_epoch = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixMillis::new(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_the_system_are_told_apart() {
        for (release, tells) in [
            ("5.17.0", true),
            ("6.1.0-26-amd64", true),
            ("10.0", true),
            ("5.16.20-rc1", false),
            ("5.4.0-90-generic", false),
            ("", false),
            ("six", false),
        ] {
            assert_eq!(tells_of_failed_syncs(release), tells, "{release}");
        }
    }

    #[test]
    fn what_waits_to_be_written_is_read_from_the_systems_own_account() {
        let meminfo = "MemTotal:  24 kB\nDirty:   12 kB\nWriteback:  3 kB\nWritebackTmp:  9 kB\n";
        assert_eq!(unwritten_bytes(meminfo).unwrap(), 15 * 1024);
        assert!(unwritten_bytes("Dirty: 12 kB\n").is_err());
        assert!(unwritten_bytes("Dirty: much\nWriteback: 3 kB\n").is_err());
    }
}
