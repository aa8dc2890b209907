//! Records in the blob store: read, and changed by compare-and-swap.

use std::sync::Arc;

use vidimus_domain::blob_key::BlobKey;
use vidimus_domain::codec::Stored;
use vidimus_domain::record::{Record, is_fresh};
use vidimus_domain::{ImageId, Part, UnixMillis};
use vidimus_ports::{BlobStore, Clock, Etag, PortError, PortErrorKind, PortResult, PutCondition};

use crate::{stored, traces};

/// Reads and writes records.
#[derive(Clone)]
pub struct Records {
    blobs: Arc<dyn BlobStore>,
    clock: Arc<dyn Clock>,
}

/// A record as it was read, or its absence: what a write goes over.
#[derive(Clone, Debug)]
pub struct Read {
    /// The record; none where there was none.
    pub record: Option<Record>,
    etag: Option<Etag>,
    /// When the reading began.
    pub at: UnixMillis,
}

/// What came of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// It is the record now, or was until someone else changed it further.
    Yes,
    /// Someone else was faster, or the read was too old: read and decide again.
    ReadAgain,
}

impl Records {
    /// Keeps records in this store.
    #[must_use]
    pub fn new(blobs: Arc<dyn BlobStore>, clock: Arc<dyn Clock>) -> Self {
        Self { blobs, clock }
    }

    /// Reads the record of an image.
    ///
    /// # Errors
    /// Where the store fails, or holds something that is no record (`Corrupt`) or that a newer version has written (`TooNew`): it is
    /// never taken for absent.
    pub async fn read(&self, part: &Part, image: ImageId) -> PortResult<Read> {
        let at = self.clock.now();
        let Some(blob) = self.blobs.get(&BlobKey::record(part, image)).await? else {
            return Ok(Read { record: None, etag: None, at });
        };
        let corrupt = |cause: String| PortError::new(PortErrorKind::Corrupt, "read record").because(cause);
        let record: Record = stored::decode("read record", &blob.bytes)?;
        if record.origin.part != *part || record.origin.image != image {
            return Err(corrupt("the record is of another image".to_owned()));
        }
        Ok(Read { record: Some(record), etag: Some(blob.etag), at })
    }

    /// Writes a record over what was read. Refused where an hour has passed since (rule 9); where the store says that
    /// somebody else was faster, looks whether that was this very write, retried on the way (rule 5).
    ///
    /// # Errors
    /// Where the store fails; the write may have taken place.
    pub async fn write(&self, record: &Record, over: &Read) -> PortResult<Written> {
        if !is_fresh(over.at, self.clock.now()) {
            return Ok(Written::ReadAgain);
        }
        let key = BlobKey::record(&record.origin.part, record.origin.image);
        let condition = over.etag.clone().map_or(PutCondition::IfAbsent, PutCondition::IfMatch);
        let put = self.blobs.put(&key, record.encode().into(), condition);
        match traces::step("put record", put).await {
            Ok(_) => Ok(Written::Yes),
            Err(error) if error.kind() == PortErrorKind::Conflict => {
                let now = self.read(&record.origin.part, record.origin.image).await?;
                let ours = now.record.is_some_and(|stored| stored.nonce == record.nonce);
                Ok(if ours { Written::Yes } else { Written::ReadAgain })
            }
            Err(error) => Err(error),
        }
    }

    /// Removes what the record was before it became this, where the store keeps such. For whoever erased from it, after its write,
    /// and for whoever finds its erasure done already (rule 6).
    ///
    /// # Errors
    /// Where the store fails.
    pub async fn forget_older(&self, record: &Record) -> PortResult<()> {
        self.blobs.forget_versions(&BlobKey::record(&record.origin.part, record.origin.image)).await
    }
}
