//! Saying on the log that a photo waits to be embedded.

use std::sync::Arc;

use vidimus_domain::codec::Stored;
use vidimus_domain::event::AcceptedPhoto;
use vidimus_ports::{Append, EventLog, PortResult, Position, Topic};

use crate::traces;

/// Appends photos to embed; durable on return.
#[derive(Clone)]
pub struct AcceptedPhotos {
    log: Arc<dyn EventLog>,
}

impl AcceptedPhotos {
    /// Writes to this log.
    #[must_use]
    pub fn new(log: Arc<dyn EventLog>) -> Self {
        Self { log }
    }

    /// Says that the photo waits. To say it more than once does no harm: the record decides.
    ///
    /// # Errors
    /// Where the log cannot take it; it may be there all the same.
    pub async fn append(&self, photo: &AcceptedPhoto) -> PortResult<Position> {
        let append = Append::new(&photo.image.to_bytes(), photo.encode());
        traces::append(&*self.log, Topic::Photos, append).await
    }
}
