//! One log file, open for appending.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use vidimus_ports::{PortError, PortErrorKind, PortResult};

use super::segment::{self, Salt, Tail, scan_segment};
use crate::disk::{Disk, DiskFile};
use crate::error::{OpenError, port_error};

/// A log file that ends in a whole, synced batch.
pub(crate) struct LogFile {
    file: Box<dyn DiskFile>,
    salt: Salt,
    bytes: u64,
    next_offset: u64,
    /// A sync failed: what the disk holds is not known any more until it is read anew.
    broken: bool,
}

impl LogFile {
    /// Makes a file whose first record will have `first_offset`.
    pub(crate) fn create(disk: &dyn Disk, path: &Path, salt: Salt, first_offset: u64) -> io::Result<Self> {
        let file = disk.create(path)?;
        disk.sync_folder(path.parent().unwrap_or(path))?;
        Ok(Self { file, salt, bytes: 0, next_offset: first_offset, broken: false })
    }

    /// Opens a file, which must be durable, cuts a torn tail, and returns the content that is left.
    pub(crate) fn open(
        disk: &Arc<dyn Disk>,
        path: &Path,
        salt: Salt,
        first_offset: u64,
    ) -> Result<(Self, Vec<u8>), OpenError> {
        let mut content = disk.read(path, 0, u64::MAX).map_err(OpenError::io("read", path))?;
        let scan = scan_segment(salt, &content, first_offset);
        if scan.tail == Tail::Damaged {
            return Err(damaged(path, scan.sound_bytes));
        }
        let mut file = disk.open_end(path).map_err(OpenError::io("open", path))?;
        if scan.tail == Tail::Torn {
            let cut_bytes = content.len() - scan.sound_bytes;
            tracing::warn!(file = %path.display(), cut_bytes, "cut what an interrupted write left");
            file.truncate(scan.sound_bytes as u64).map_err(OpenError::io("truncate", path))?;
            file.sync().map_err(OpenError::io("sync", path))?;
            content.truncate(scan.sound_bytes);
        }
        let bytes = content.len() as u64;
        Ok((Self { file, salt, bytes, next_offset: scan.next_offset, broken: false }, content))
    }

    /// Length of the file.
    pub(crate) const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The offset that the next record will have.
    pub(crate) const fn next_offset(&self) -> u64 {
        self.next_offset
    }

    /// Refuses everything from now on.
    pub(crate) fn give_up(&mut self) {
        self.broken = true;
    }

    /// Appends a batch, for good, or leaves the file as it was. After a failed sync it refuses everything: what a file
    /// holds then is only known once it is opened again.
    pub(crate) fn append(&mut self, contents: &[Bytes]) -> PortResult<()> {
        if self.broken {
            let error = PortError::new(PortErrorKind::Unavailable, "append to log");
            return Err(error.because("an earlier sync failed: restart, so that the log is read anew"));
        }
        let mut batch =
            Vec::with_capacity(contents.iter().map(|content| content.len() + segment::HEADER_BYTES).sum());
        segment::write_batch(&mut batch, self.salt, self.next_offset, contents);
        if let Err(error) = self.file.append(&batch) {
            self.broken = self.file.truncate(self.bytes).is_err();
            return Err(port_error("append to log")(error));
        }
        if let Err(error) = self.file.sync() {
            self.broken = true;
            return Err(port_error("sync log")(error));
        }
        self.bytes += batch.len() as u64;
        self.next_offset += contents.len() as u64;
        Ok(())
    }
}

fn damaged(path: &Path, position: usize) -> OpenError {
    let reason = "there is no sound record, but there are later ones";
    OpenError::Damaged { path: PathBuf::from(path), position: position as u64, reason }
}
