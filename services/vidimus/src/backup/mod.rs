//! Exports of a tenant or a collection, and imports of them: over the blob store's port alone, so that what one deployment has can
//! move to another of either mode.

pub mod export;
pub mod format;
pub mod import;
pub mod service;

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use vidimus_domain::codec::Stored;
use vidimus_domain::{ErrorCode, FaceModelName, Failure};
use vidimus_ports::{BlobStore, Clock, EventLog, PortErrorKind, Random};
use vidimus_runtime::catalog::Catalog;
use vidimus_runtime::errors::failure_from_port;
use vidimus_runtime::stored;

/// What exports and imports stand on.
#[derive(Clone)]
pub struct BackupDeps {
    /// Records, photos, catalog, users.
    pub blobs: Arc<dyn BlobStore>,
    /// Where an import says what has changed.
    pub log: Arc<dyn EventLog>,
    /// Tenants and collections.
    pub catalog: Arc<Catalog>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// For the nonces of writes.
    pub random: Arc<dyn Random>,
    /// The face model that the service compares faces by: a collection of another one is refused (I7).
    pub face_models: Vec<FaceModelName>,
    /// So many changes may wait to be projected while an import goes on; none where nobody projects them now.
    pub waiting_changes_max: Option<u64>,
}

/// What is exported: a whole tenant, or one of its collections.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scope {
    /// The tenant's name.
    pub tenant: String,
    /// The collection's; none: all that the tenant has, its access keys and buckets too.
    pub collection: Option<String>,
}

/// An export's first entry: what it is of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// What was asked for.
    pub scope: Scope,
    /// When it was begun.
    pub taken_at_ms: i64,
}

/// Reads the value stored under `key`; damage is never taken for something else, and is told of with its place.
fn decoded<T: Stored>(key: &str, bytes: &[u8]) -> Result<T, Failure> {
    stored::decode("read stored object", bytes).map_err(|error| match error.kind() {
        PortErrorKind::Corrupt => Failure::new(ErrorCode::Internal, format!("{key} is damaged: {error}")),
        _ => failure_from_port(error),
    })
}

/// An import is refused.
fn refused(message: impl Into<String>) -> Failure {
    Failure::new(ErrorCode::InvalidParameter, message)
}
