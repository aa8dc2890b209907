//! The audit log: who did what to which collection.

use std::sync::Arc;

use vidimus_domain::codec::Stored;
use vidimus_domain::event::Audit;
use vidimus_ports::{Append, EventLog, PortResult, Position, Topic};

use crate::traces;

/// Appends audit records; durable on return.
#[derive(Clone)]
pub struct AuditLog {
    log: Arc<dyn EventLog>,
}

impl AuditLog {
    /// Writes to this log.
    #[must_use]
    pub fn new(log: Arc<dyn EventLog>) -> Self {
        Self { log }
    }

    /// Appends a record. An answer is given only after this has returned (I8).
    ///
    /// # Errors
    /// Where the log cannot take it.
    pub async fn append(&self, audit: &Audit) -> PortResult<Position> {
        let append = Append::new(audit.request_id.as_bytes(), audit.encode());
        traces::append(&*self.log, Topic::Audit, append).await
    }
}
