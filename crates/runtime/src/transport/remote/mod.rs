//! The roles' service traits over processes elsewhere. Which calls may be sent twice is decided here, call by call.

mod embedding;
mod indexing;
mod ingestion;
mod query;

use std::sync::Arc;

use super::Pool;

/// A role that lives elsewhere.
#[derive(Clone)]
pub struct Remote {
    pool: Arc<Pool>,
}

impl Remote {
    /// The role whose processes are those of `pool`.
    #[must_use]
    pub const fn new(pool: Arc<Pool>) -> Self {
        Self { pool }
    }
}
