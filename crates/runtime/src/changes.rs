//! Saying on the log that a record has changed.

use std::sync::Arc;

use vidimus_domain::codec::Stored;
use vidimus_domain::event::Change;
use vidimus_ports::{Append, EventLog, PortResult, Position, Topic};

use crate::traces;

/// Appends change events; durable on return.
#[derive(Clone)]
pub struct Changes {
    log: Arc<dyn EventLog>,
}

impl Changes {
    /// Writes to this log.
    #[must_use]
    pub fn new(log: Arc<dyn EventLog>) -> Self {
        Self { log }
    }

    /// Says that the record has changed. Changes of one image keep their order.
    ///
    /// # Errors
    /// Where the log cannot take it; it may be there all the same.
    pub async fn append(&self, change: &Change) -> PortResult<Position> {
        let append = Append::new(&change.image.to_bytes(), change.encode());
        traces::append(&*self.log, Topic::Changes, append).await
    }
}
