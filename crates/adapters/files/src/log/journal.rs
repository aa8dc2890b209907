//! A topic's journal: what the groups committed, and to where its partitions were trimmed.
//!
//! A log file of its own; each record is one entry. Entry, numbers little-endian: kind (1: commit, 2: trim), partition
//! (4), offset (8), and for a commit the group's name. The largest offset counts. Past a length the file is replaced by
//! one that holds only what counts.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use vidimus_ports::PortResult;

use super::file::LogFile;
use super::segment::{Salt, read_record};
use crate::disk::Disk;
use crate::error::{OpenError, port_error};

/// A length past which the file is replaced.
const REPLACED_BYTES: u64 = 1 << 20;

/// What an entry is of: a group's commit, or the trim.
pub(crate) type Of = Option<String>;

/// What counts: for each group, and for the trim, an offset a partition.
pub(crate) type Offsets = BTreeMap<(Of, u32), u64>;

/// The journal of one topic.
pub(crate) struct Journal {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    salt: Salt,
    writing: Mutex<Writing>,
    /// What is on record. Never held while anything is written.
    offsets: Mutex<Offsets>,
}

struct Writing {
    file: LogFile,
    replaced_past_bytes: u64,
}

impl Journal {
    /// Opens the journal in a topic's folder, or makes one.
    pub(crate) fn open(disk: Arc<dyn Disk>, folder: &Path, salt: Salt) -> Result<Self, OpenError> {
        let path = folder.join("journal");
        let present = match disk.stat(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            _ => Some(LogFile::open(&disk, &path, salt, 0)?),
        };
        let (file, content) = match present {
            Some(present) => present,
            None => {
                let file = LogFile::create(&*disk, &path, salt, 0).map_err(OpenError::io("create", &path))?;
                (file, Vec::new())
            }
        };
        let offsets = Mutex::new(read_offsets(&path, salt, &content)?);
        let writing = Mutex::new(Writing { file, replaced_past_bytes: REPLACED_BYTES });
        Ok(Self { disk, path, salt, writing, offsets })
    }

    fn offsets(&self) -> MutexGuard<'_, Offsets> {
        self.offsets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn writing(&self) -> MutexGuard<'_, Writing> {
        self.writing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where `partition` was trimmed to.
    pub(crate) fn trimmed_to(&self, partition: u32) -> u64 {
        self.offsets().get(&(None, partition)).copied().unwrap_or(0)
    }

    /// A group's commits by partition.
    pub(crate) fn committed(&self, group: &str) -> Vec<(u32, u64)> {
        let of = || Some(group.to_owned());
        let offsets = self.offsets();
        let of_group = offsets.range((of(), 0)..=(of(), u32::MAX));
        of_group.map(|((_, partition), offset)| (*partition, *offset)).collect()
    }

    /// The furthest offset of `partition` that is on record: so far it must reach.
    pub(crate) fn furthest(&self, partition: u32) -> u64 {
        let offsets = self.offsets();
        let of_partition = offsets.iter().filter(|((_, other), _)| *other == partition);
        of_partition.map(|(_, offset)| *offset).max().unwrap_or(0)
    }

    /// Puts on record that a group committed, for good. Of no effect where it had committed more. Blocks.
    pub(crate) fn commit(&self, group: &str, partition: u32, offset: u64) -> PortResult<()> {
        self.record((Some(group.to_owned()), partition), offset)
    }

    /// Puts on record that a partition is trimmed, for good. Of no effect where it was trimmed further. Blocks.
    pub(crate) fn trim(&self, partition: u32, offset: u64) -> PortResult<()> {
        self.record((None, partition), offset)
    }

    fn record(&self, key: (Of, u32), offset: u64) -> PortResult<()> {
        let mut writing = self.writing();
        if self.offsets().get(&key).is_some_and(|present| *present >= offset) {
            return Ok(());
        }
        writing.file.append(&[entry(&key, offset)])?;
        self.offsets().insert(key, offset);
        if writing.file.bytes() > writing.replaced_past_bytes {
            if let Err(error) = self.replace(&mut writing) {
                tracing::warn!(file = %self.path.display(), %error, "the journal could not be replaced by a shorter one");
            }
            writing.replaced_past_bytes = writing.file.bytes() * 2 + REPLACED_BYTES;
        }
        Ok(())
    }

    /// Replaces the file by one with only what counts. Where that fails the old one serves on.
    fn replace(&self, writing: &mut Writing) -> PortResult<()> {
        let failed = port_error("replace journal");
        let entries: Vec<Bytes> = self.offsets().iter().map(|(key, offset)| entry(key, *offset)).collect();
        let beside = self.path.with_extension("new");
        let _ = self.disk.remove_file(&beside);
        let mut fresh = LogFile::create(&*self.disk, &beside, self.salt, 0).map_err(&failed)?;
        fresh.append(&entries)?;
        self.disk.rename(&beside, &self.path).map_err(&failed)?;
        writing.file = fresh;
        let synced = self.disk.sync_folder(self.path.parent().unwrap_or(&self.path));
        // Until the new name is durable a power loss may bring the old file back, without what comes now.
        synced.inspect_err(|_| writing.file.give_up()).map_err(failed)
    }
}

fn entry((of, partition): &(Of, u32), offset: u64) -> Bytes {
    let (kind, group) = of.as_ref().map_or((2, ""), |group| (1, group.as_str()));
    let mut entry = vec![kind];
    entry.extend_from_slice(&partition.to_le_bytes());
    entry.extend_from_slice(&offset.to_le_bytes());
    entry.extend_from_slice(group.as_bytes());
    entry.into()
}

fn read_entry(content: &[u8]) -> Option<((Of, u32), u64)> {
    let (kind, rest) = content.split_first()?;
    let (partition, rest) = rest.split_first_chunk()?;
    let (offset, group) = rest.split_first_chunk()?;
    let of = match kind {
        1 => Some(str::from_utf8(group).ok()?.to_owned()),
        2 if group.is_empty() => None,
        _ => return None,
    };
    Some(((of, u32::from_le_bytes(*partition)), u64::from_le_bytes(*offset)))
}

pub(crate) fn read_offsets(path: &Path, salt: Salt, content: &[u8]) -> Result<Offsets, OpenError> {
    let mut offsets = Offsets::new();
    let mut position = 0;
    while let Some(record) = read_record(salt, &content[position..]) {
        let Some((key, offset)) = read_entry(record.content) else {
            let reason = "a record is no entry of a journal";
            return Err(OpenError::Damaged { path: path.to_owned(), position: position as u64, reason });
        };
        let present = offsets.entry(key).or_default();
        *present = offset.max(*present);
        position += record.file_bytes();
    }
    Ok(offsets)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulated::SimulatedDisk;

    #[test]
    fn a_replaced_journal_keeps_what_counts() {
        let disk: Arc<dyn Disk> = Arc::new(SimulatedDisk::new(1));
        let folder = Path::new("/topic");
        disk.create_folder(folder).unwrap();
        let journal = Journal::open(disk.clone(), folder, Salt(1)).unwrap();
        journal.writing().replaced_past_bytes = 2000;
        for offset in 1..=500 {
            journal.commit("one", 3, offset).unwrap();
            journal.trim(3, offset / 2).unwrap();
        }
        journal.commit("two", 1, 9).unwrap();
        journal.commit("two", 1, 8).unwrap();
        let entries_bytes = 1000 * 40;
        assert!(disk.stat(&folder.join("journal")).unwrap().size < entries_bytes - 1900);
        drop(journal);
        let journal = Journal::open(disk, folder, Salt(1)).unwrap();
        assert_eq!(journal.committed("one"), [(3, 500)]);
        assert_eq!(journal.committed("two"), [(1, 9)]);
        assert_eq!(journal.committed("tw"), []);
        assert_eq!((journal.trimmed_to(3), journal.trimmed_to(0)), (250, 0));
    }
}
