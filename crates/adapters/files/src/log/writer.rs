//! Appending to a partition: by its thread, for which what waits becomes one write and one sync; or by whoever appends, where
//! nobody else is at it.

use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot, watch};
use vidimus_ports::{PortError, PortErrorKind, PortResult};

use super::file::LogFile;
use super::partition::Shared;
use super::segment::{self, Salt};
use crate::error::port_error;
use crate::space::Space;

/// Records of one batch.
const BATCH_RECORDS_MAX: usize = 1024;
/// Bytes after which a batch takes no more records.
const BATCH_BYTES: usize = 4 << 20;

/// The content of a record to append, and where its offset is awaited.
pub(crate) struct Waiting {
    pub(crate) content: Bytes,
    pub(crate) reply: oneshot::Sender<PortResult<u64>>,
}

/// Appends to a partition's last segment.
pub(crate) struct Writer {
    file: Mutex<LogFile>,
    params: WriterParams,
}

/// What a partition's writer goes by.
pub(crate) struct WriterParams {
    /// Where the log's CRCs begin.
    pub(crate) salt: Salt,
    /// A segment that is this long or longer is followed by another.
    pub(crate) segment_bytes: u64,
    /// Admits batches; none where the topic may use the reserve.
    pub(crate) space: Option<Arc<Space>>,
    /// Told whenever there is more to read.
    pub(crate) changed: watch::Sender<()>,
}

impl Writer {
    /// A writer that goes on at the end of `file`.
    pub(crate) const fn new(params: WriterParams, file: LogFile) -> Self {
        Self { file: Mutex::new(file), params }
    }

    /// The file, where nobody else is at it.
    pub(crate) fn free_file(&self) -> Option<MutexGuard<'_, LogFile>> {
        self.file.try_lock().ok()
    }

    /// Appends what comes until no one can send any more.
    pub(crate) fn run(&self, shared: &Shared, mut queue: mpsc::Receiver<Waiting>) {
        while let Some(first) = queue.blocking_recv() {
            let mut bytes = first.content.len();
            let mut batch = vec![first];
            while batch.len() < BATCH_RECORDS_MAX && bytes < BATCH_BYTES {
                let Ok(waiting) = queue.try_recv() else { break };
                bytes += waiting.content.len();
                batch.push(waiting);
            }
            let contents: Vec<Bytes> = batch.iter().map(|waiting| waiting.content.clone()).collect();
            let first_offset = match self.file.lock() {
                Ok(mut file) => self.write(shared, &mut file, &contents),
                Err(_) => Err(stopped()),
            };
            answer(batch, first_offset);
        }
    }

    /// Appends a batch to its file and returns the first offset. Blocks.
    pub(crate) fn write(&self, shared: &Shared, file: &mut LogFile, contents: &[Bytes]) -> PortResult<u64> {
        if let Some(space) = &self.params.space {
            let record_bytes = |content: &Bytes| content.len() + segment::HEADER_BYTES;
            space.admit(contents.iter().map(record_bytes).sum::<usize>() as u64)?;
        }
        if file.bytes() >= self.params.segment_bytes {
            let first_offset = file.next_offset();
            let path = shared.segment_path(first_offset);
            // One may be there where its folder could not be synced the last time; it is empty.
            let _ = shared.disk.remove_file(&path);
            *file = LogFile::create(&*shared.disk, &path, self.params.salt, first_offset)
                .map_err(port_error("begin segment"))?;
            shared.add_segment(first_offset);
        }
        let first_offset = file.next_offset();
        file.append(contents)?;
        shared.publish(file);
        self.params.changed.send_replace(());
        Ok(first_offset)
    }
}

/// Tells everyone of a batch what became of it. Whoever does not wait any more is not told.
fn answer(batch: Vec<Waiting>, first_offset: PortResult<u64>) {
    match first_offset {
        Ok(first_offset) => {
            for (offset, waiting) in (first_offset..).zip(batch) {
                let _ = waiting.reply.send(Ok(offset));
            }
        }
        Err(error) => {
            let (kind, reason) = (error.kind(), error.to_string());
            for waiting in batch {
                let _ = waiting.reply.send(Err(failed(kind, reason.clone())));
            }
        }
    }
}

fn failed(kind: PortErrorKind, reason: String) -> PortError {
    PortError::new(kind, "append to log").because(reason)
}

/// A panic while it was written to may have left the file in any state.
fn stopped() -> PortError {
    PortError::new(PortErrorKind::Unavailable, "append to log").because("its writer has stopped")
}
