//! The thread that appends to a partition: what waits becomes one write and one sync.

use std::sync::Arc;

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

/// What a partition's writer goes by.
pub(crate) struct Writer {
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
    /// Appends what comes until no one can send any more.
    pub(crate) fn run(self, shared: &Shared, mut file: LogFile, mut queue: mpsc::Receiver<Waiting>) {
        while let Some(first) = queue.blocking_recv() {
            let mut bytes = first.content.len();
            let mut batch = vec![first];
            while batch.len() < BATCH_RECORDS_MAX && bytes < BATCH_BYTES {
                let Ok(waiting) = queue.try_recv() else { break };
                bytes += waiting.content.len();
                batch.push(waiting);
            }
            let contents: Vec<Bytes> = batch.iter().map(|waiting| waiting.content.clone()).collect();
            let first_offset = self.write(shared, &mut file, &contents);
            answer(batch, first_offset);
        }
    }

    /// Appends a batch and returns its first offset.
    fn write(&self, shared: &Shared, file: &mut LogFile, contents: &[Bytes]) -> PortResult<u64> {
        if let Some(space) = &self.space {
            let record_bytes = |content: &Bytes| content.len() + segment::HEADER_BYTES;
            space.admit(contents.iter().map(record_bytes).sum::<usize>() as u64)?;
        }
        if file.bytes() >= self.segment_bytes {
            let first_offset = file.next_offset();
            let path = shared.segment_path(first_offset);
            // One may be there where its folder could not be synced the last time; it is empty.
            let _ = shared.disk.remove_file(&path);
            *file = LogFile::create(&*shared.disk, &path, self.salt, first_offset)
                .map_err(port_error("begin segment"))?;
            shared.add_segment(first_offset);
        }
        let first_offset = file.next_offset();
        file.append(contents)?;
        shared.publish(file);
        self.changed.send_replace(());
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
