//! The catalog: tenants, access keys and collections, one blob each, changed by compare-and-swap.
//!
//! What it says is at most five seconds old, counted from the start of the read (rule 10); within one process it is told
//! of every change at once. Where other processes read the same catalog, what takes something away (deleting a
//! collection, disabling a key, shortening a retention rule) answers one lease later.

mod buckets;
mod cache;
mod collections;
mod face_models;
mod moves;
mod retention;
mod tags;
mod tenants;

use std::sync::Arc;
use std::time::Duration;

use vidimus_domain::blob_key::{BlobKey, BlobPrefix};
use vidimus_domain::catalog::{AccessKey, Collection, Tenant};
use vidimus_domain::codec::Stored;
use vidimus_domain::{ErrorCode, Failure};
use vidimus_ports::{BlobStore, Clock, Etag, PortErrorKind, PutCondition, Random};

use crate::errors::failure_from_port;
use crate::stored;
use cache::Cache;
pub use collections::{DeadCollection, NewCollection};

/// The longest that a cached entry is believed.
pub const CACHE_MAX_AGE: Duration = Duration::from_secs(5);

/// Objects that one page of a listing of the store has.
const PAGE: usize = 1000;

/// What the catalog stands on.
#[derive(Clone)]
pub struct CatalogDeps {
    /// Where it lies.
    pub blobs: Arc<dyn BlobStore>,
    /// For the age of what is cached.
    pub clock: Arc<dyn Clock>,
    /// For ids, keys and nonces.
    pub random: Arc<dyn Random>,
}

/// An access key with its owner.
#[derive(Clone, Debug)]
pub struct Access {
    /// The owner.
    pub tenant: Tenant,
    /// The key.
    pub key: AccessKey,
}

impl Access {
    /// Whether key and owner are in force.
    #[must_use]
    pub const fn is_enabled(&self) -> bool {
        !self.key.disabled && !self.tenant.disabled && self.tenant.deleted_at.is_none()
    }
}

/// The catalog.
pub struct Catalog {
    deps: CatalogDeps,
    lease: Option<Duration>,
    accesses: Cache<BlobKey, Access>,
    collections: Cache<BlobKey, Collection>,
}

impl Catalog {
    /// `lease` is how long other processes may believe what they have cached; none where there is no other process.
    #[must_use]
    pub fn new(deps: CatalogDeps, lease: Option<Duration>) -> Self {
        Self { deps, lease, accesses: Cache::default(), collections: Cache::default() }
    }

    async fn read<T: Stored>(&self, key: &BlobKey) -> Result<Option<(T, Etag)>, Failure> {
        let Some(blob) = self.deps.blobs.get(key).await.map_err(failure_from_port)? else {
            return Ok(None);
        };
        let value = stored::decode("read catalog", &blob.bytes).map_err(failure_from_port)?;
        Ok(Some((value, blob.etag)))
    }

    /// Puts a catalog object; false where the condition did not hold and it was not this very write that had won.
    async fn write<T: Stored + PartialEq>(
        &self,
        key: &BlobKey,
        value: &T,
        condition: PutCondition,
    ) -> Result<bool, Failure> {
        match self.deps.blobs.put(key, value.encode().into(), condition).await {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == PortErrorKind::Conflict => {
                // Every object holds its write's nonce, so equal means this write (rule 5).
                Ok(self.read::<T>(key).await?.is_some_and(|(stored, _)| stored == *value))
            }
            Err(error) => Err(failure_from_port(error)),
        }
    }

    /// Every object under a prefix.
    async fn read_all<T: Stored>(&self, prefix: &BlobPrefix) -> Result<Vec<T>, Failure> {
        let mut values = Vec::new();
        let mut after: Option<BlobKey> = None;
        loop {
            let page = self.deps.blobs.list(prefix, after.as_ref(), PAGE).await.map_err(failure_from_port)?;
            for entry in &page {
                values.extend(self.read::<T>(&entry.key).await?.map(|(value, _)| value));
            }
            if page.len() < PAGE {
                return Ok(values);
            }
            after = page.last().map(|entry| entry.key.clone());
        }
    }

    /// Waits until no other process can believe what was before.
    async fn wait_out_lease(&self) {
        if let Some(lease) = self.lease {
            self.deps.clock.sleep(lease).await;
        }
    }
}

/// What is answered where compare-and-swap was lost.
fn changed_meanwhile() -> Failure {
    Failure::new(ErrorCode::Conflict, "it was changed at the same time; try again")
}
