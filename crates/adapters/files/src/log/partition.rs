//! One partition: segment files, a thread that appends to the last one, and reading.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use bytes::Bytes;
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::{mpsc, oneshot};
use tokio::task::block_in_place;
use vidimus_ports::{Append, PortError, PortErrorKind, PortResult};

use super::content::{read_content, write_content};
use super::file::LogFile;
use super::writer::{Waiting, Writer, WriterParams};
use crate::disk::Disk;
use crate::error::{OpenError, port_error};
use crate::log::segment::{self, Salt, read_record};

/// Appends that wait for the writer; more are refused.
const QUEUE_MAX: usize = 4096;
/// What one read takes at first; a longer record is read again whole.
const READ_BYTES: u64 = 64 * 1024;

/// A segment file. All of `bytes` is synced.
#[derive(Clone, Debug)]
struct Segment {
    first_offset: u64,
    bytes: u64,
}

/// What readers see.
#[derive(Debug)]
struct Bounds {
    first_offset: u64,
    next_offset: u64,
    /// Oldest first, never none.
    segments: Vec<Segment>,
}

/// What the writer and the readers share.
pub(crate) struct Shared {
    pub(crate) disk: Arc<dyn Disk>,
    folder: PathBuf,
    salt: Salt,
    bounds: Mutex<Bounds>,
}

/// Where a consumer reads on.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Cursor {
    pub(crate) offset: u64,
    /// The segment that `byte` is in, by its first offset.
    segment: u64,
    /// Where the record of `offset` begins, or one before it.
    byte: u64,
}

impl Cursor {
    pub(crate) fn at(offset: u64) -> Self {
        Self { offset, segment: u64::MAX, byte: 0 }
    }
}

/// One partition of a topic.
pub(crate) struct Partition {
    shared: Arc<Shared>,
    writer: Arc<Writer>,
    /// Whether whoever appends does it himself where he can: see [`PartitionParams::appends_here`].
    appends_here: bool,
    appends: Option<mpsc::Sender<Waiting>>,
    thread: Option<JoinHandle<()>>,
}

impl Shared {
    fn bounds(&self) -> MutexGuard<'_, Bounds> {
        self.bounds.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn segment_path(&self, first_offset: u64) -> PathBuf {
        segment_path(&self.folder, first_offset)
    }

    /// Shows readers what was synced in the last segment.
    pub(crate) fn publish(&self, file: &LogFile) {
        let mut bounds = self.bounds();
        bounds.next_offset = file.next_offset();
        if let Some(last) = bounds.segments.last_mut() {
            last.bytes = file.bytes();
        }
    }

    /// Adds a last segment, still empty.
    pub(crate) fn add_segment(&self, first_offset: u64) {
        self.bounds().segments.push(Segment { first_offset, bytes: 0 });
    }

    /// The segment that holds `offset`, and the first offset of the one after it.
    fn segment_of(&self, offset: u64) -> Option<(Segment, Option<u64>)> {
        let bounds = self.bounds();
        let index =
            bounds.segments.partition_point(|segment| segment.first_offset <= offset).checked_sub(1)?;
        let after = bounds.segments.get(index + 1).map(|segment| segment.first_offset);
        Some((bounds.segments[index].clone(), after))
    }

    /// Up to `limit` records from the cursor on, out of one segment; moves the cursor behind them.
    fn read(&self, cursor: &mut Cursor, limit: usize) -> PortResult<Vec<(u64, Append)>> {
        cursor.offset = cursor.offset.max(self.bounds().first_offset);
        let Some((segment, after)) = self.segment_of(cursor.offset) else { return Ok(Vec::new()) };
        if cursor.segment != segment.first_offset {
            *cursor = Cursor { segment: segment.first_offset, byte: 0, ..*cursor };
        }
        let path = self.segment_path(segment.first_offset);
        let mut contents = Vec::new();
        while contents.is_empty() && cursor.byte < segment.bytes {
            let chunk = self.read_chunk(&path, cursor.byte, segment.bytes)?;
            let taken = self.take_contents(&chunk, cursor, limit, &mut contents);
            if taken == 0 {
                let reason = format!("{}: no sound record at byte {}", path.display(), cursor.byte);
                return Err(PortError::new(PortErrorKind::Corrupt, "read log").because(reason));
            }
            cursor.byte += taken as u64;
        }
        match after {
            Some(after) if contents.is_empty() && cursor.offset < after => {
                let reason = format!("{}: it ends before offset {after}", path.display());
                Err(PortError::new(PortErrorKind::Corrupt, "read log").because(reason))
            }
            _ => contents.into_iter().map(|(offset, content)| Ok((offset, record(&content)?))).collect(),
        }
    }

    /// Takes the contents of up to `limit` records from the cursor's offset on out of `chunk` and returns how many bytes
    /// they, and those before the cursor's offset, are.
    fn take_contents(
        &self,
        chunk: &[u8],
        cursor: &mut Cursor,
        limit: usize,
        contents: &mut Vec<(u64, Bytes)>,
    ) -> usize {
        let mut taken = 0;
        while contents.len() < limit {
            let read = read_record(self.salt, &chunk[taken..]);
            let Some(record) = read.filter(|record| record.offset <= cursor.offset) else { break };
            if record.offset == cursor.offset {
                contents.push((record.offset, Bytes::copy_from_slice(record.content)));
                cursor.offset += 1;
            }
            taken += record.file_bytes();
        }
        taken
    }

    /// Some bytes that hold at least one record, if it is sound.
    fn read_chunk(&self, path: &Path, start: u64, end: u64) -> PortResult<Vec<u8>> {
        let read =
            |limit: u64| self.disk.read(path, start, limit.min(end - start)).map_err(port_error("read log"));
        let chunk = read(READ_BYTES)?;
        if read_record(self.salt, &chunk).is_some() {
            return Ok(chunk);
        }
        read((segment::HEADER_BYTES + segment::CONTENT_BYTES_MAX) as u64)
    }
}

/// What the content of a record says.
fn record(content: &[u8]) -> PortResult<Append> {
    let corrupt = || PortError::new(PortErrorKind::Corrupt, "read log");
    read_content(content).ok_or_else(|| corrupt().because("a record's content is none"))
}

fn segment_path(folder: &Path, first_offset: u64) -> PathBuf {
    folder.join(format!("{first_offset:020}.log"))
}

/// The first offsets of the segments in a folder, in order.
fn list_segments(disk: &dyn Disk, folder: &Path) -> io::Result<Vec<u64>> {
    let entries = disk.list(folder)?;
    let number = |name: &str| name.strip_suffix(".log")?.parse::<u64>().ok();
    let mut first_offsets: Vec<u64> = entries.iter().filter_map(|entry| number(&entry.name)).collect();
    first_offsets.sort_unstable();
    Ok(first_offsets)
}

/// How a partition is opened.
pub(crate) struct PartitionParams {
    /// Its folder, which is there.
    pub(crate) folder: PathBuf,
    /// Its name, for its thread.
    pub(crate) name: String,
    /// The offset that it was trimmed to.
    pub(crate) trimmed_to: u64,
    /// An offset that it had reached.
    pub(crate) reaches: u64,
    /// What its writer goes by.
    pub(crate) writer: WriterParams,
    /// Whether whoever appends does it himself where nobody else is at it. Waking a thread, and being woken by it, takes about as
    /// long as the append, and an answer waits for that. Who appends many records at once from one task does better to queue
    /// them, since they are then synced together.
    pub(crate) appends_here: bool,
}

impl Partition {
    /// Opens a partition: cuts the torn tail of its last segment, and removes what had been trimmed.
    pub(crate) fn open(disk: Arc<dyn Disk>, params: PartitionParams) -> Result<Self, OpenError> {
        let PartitionParams { folder, name, trimmed_to, reaches, writer, appends_here } = params;
        let salt = writer.salt;
        let first_offsets = list_segments(&*disk, &folder).map_err(OpenError::io("list", &folder))?;
        let file = match first_offsets.last() {
            Some(last) => LogFile::open(&disk, &segment_path(&folder, *last), salt, *last)?.0,
            None => {
                let path = segment_path(&folder, trimmed_to);
                LogFile::create(&*disk, &path, salt, trimmed_to).map_err(OpenError::io("create", &path))?
            }
        };
        let begins_late = first_offsets.first().is_some_and(|first| *first > trimmed_to);
        if begins_late || file.next_offset() < reaches {
            let reason = "segments are missing: there are none of the offsets that must be there";
            return Err(OpenError::Damaged { path: folder, position: 0, reason });
        }
        let segments = segments(&*disk, &folder, &first_offsets, &file)?;
        let bounds = Bounds { first_offset: trimmed_to, next_offset: file.next_offset(), segments };
        let shared = Arc::new(Shared { disk, folder, salt, bounds: Mutex::new(bounds) });
        shared.remove_trimmed().map_err(OpenError::io("remove", &shared.folder))?;
        let (appends, queue) = mpsc::channel(QUEUE_MAX);
        let writer = Arc::new(Writer::new(writer, file));
        let thread = std::thread::Builder::new().name(name).stack_size(256 * 1024).spawn({
            let (shared, writer) = (shared.clone(), writer.clone());
            move || writer.run(&shared, queue)
        });
        let thread = thread.map_err(OpenError::io("start a thread for", &shared.folder))?;
        Ok(Self { shared, writer, appends_here, appends: Some(appends), thread: Some(thread) })
    }

    /// Appends a record and returns its offset once it is synced.
    pub(crate) async fn append(&self, record: &Append) -> PortResult<u64> {
        let gone = || PortError::new(PortErrorKind::Unavailable, "append to log");
        let content = write_content(record);
        if let Some(offset) = self.append_here(&content) {
            return offset;
        }
        let (reply, answer) = oneshot::channel();
        let appends = self.appends.as_ref().ok_or_else(gone)?;
        appends
            .try_send(Waiting { content, reply })
            .map_err(|refused| gone().because(refused.to_string()))?;
        answer.await.map_err(|_| gone().because("its writer has stopped"))?
    }

    /// Appends on the caller's thread, which leaves the runtime's other tasks to another one for as long; nothing where that is
    /// not wanted or not possible now.
    fn append_here(&self, content: &Bytes) -> Option<PortResult<u64>> {
        if !self.appends_here || Handle::current().runtime_flavor() == RuntimeFlavor::CurrentThread {
            return None;
        }
        let mut file = self.writer.free_file()?;
        let contents = std::slice::from_ref(content);
        Some(block_in_place(|| self.writer.write(&self.shared, &mut file, contents)))
    }

    /// The oldest offset and the next one.
    pub(crate) fn bounds(&self) -> (u64, u64) {
        let bounds = self.shared.bounds();
        (bounds.first_offset, bounds.next_offset)
    }

    /// See [`Shared::read`]; goes on at the new beginning where the segment has been trimmed meanwhile.
    pub(crate) fn read(&self, cursor: &mut Cursor, limit: usize) -> PortResult<Vec<(u64, Append)>> {
        let first_offset = self.bounds().0;
        let read = self.shared.read(cursor, limit);
        if read.is_err() && self.bounds().0 > first_offset {
            return self.shared.read(cursor, limit);
        }
        read
    }

    /// Lets go of what is before `offset`: that it is trimmed must be on record. Whole segments are removed.
    pub(crate) fn trim(&self, offset: u64) -> io::Result<()> {
        {
            let mut bounds = self.shared.bounds();
            bounds.first_offset = bounds.first_offset.max(offset);
        }
        self.shared.remove_trimmed()
    }
}

impl Shared {
    /// Removes the segments that end before the first offset; never the last.
    fn remove_trimmed(&self) -> io::Result<()> {
        let removed: Vec<Segment> = {
            let mut bounds = self.bounds();
            let ends = bounds.segments.iter().skip(1).map(|segment| segment.first_offset);
            let whole = ends.take_while(|end| *end <= bounds.first_offset).count();
            bounds.segments.drain(..whole).collect()
        };
        for segment in removed {
            match self.disk.remove_file(&self.segment_path(segment.first_offset)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }
}

impl Drop for Partition {
    /// Waits until the writer has answered all that it was given.
    fn drop(&mut self) {
        self.appends = None;
        if let Some(Err(_)) = self.thread.take().map(JoinHandle::join) {
            tracing::error!("the writer of a log partition panicked");
        }
    }
}

/// The segments as they are on the disk; the last is `file`. Earlier ones were synced whole before the next began, so
/// reading finds out what is missing of them.
fn segments(
    disk: &dyn Disk,
    folder: &Path,
    first_offsets: &[u64],
    file: &LogFile,
) -> Result<Vec<Segment>, OpenError> {
    let Some((last, earlier)) = first_offsets.split_last() else {
        return Ok(vec![Segment { first_offset: file.next_offset(), bytes: 0 }]);
    };
    let mut segments = Vec::new();
    for first_offset in earlier {
        let path = segment_path(folder, *first_offset);
        let bytes = disk.stat(&path).map_err(OpenError::io("stat", &path))?.size;
        segments.push(Segment { first_offset: *first_offset, bytes });
    }
    segments.push(Segment { first_offset: *last, bytes: file.bytes() });
    Ok(segments)
}
