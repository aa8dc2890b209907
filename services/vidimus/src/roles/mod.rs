//! The roles, as a table: what each stands on, which others it calls, how it is started. A process has any of them.
//!
//! What one role calls of another is the service trait that the `.proto` files generate: in one process the role itself, across
//! processes a client behind the same trait ([`vidimus_runtime::transport`]).

mod core;
mod start;

use std::fmt;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

pub use self::core::Core;
use start::Starting;
pub use start::{RoleParams, Started, start};

/// What a process can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Turns photos into templates.
    Embedding,
    /// Projects records into the index.
    Indexing,
    /// Writes records.
    Ingestion,
    /// Searches.
    Query,
    /// Audits, sweeps, reconciles, trims.
    Ledger,
    /// The tenants' door.
    Gateway,
}

/// What processes share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Store {
    /// Records, photos, catalog, audit batches.
    Blobs,
    /// What has changed.
    Log,
    /// What is searchable.
    Index,
}

/// One role.
struct Row {
    name: &'static str,
    stores: &'static [Store],
    calls: &'static [Role],
    start: fn(&mut Starting<'_>) -> anyhow::Result<()>,
}

/// In the order of [`Role::ALL`]. Whoever is called stands above its callers, so it is started before them.
const TABLE: [Row; 6] = [
    Row {
        name: "embedding",
        // The workers of the bulk lane need blobs and log, which a process may have without them: `Config::has_workers`.
        stores: &[],
        calls: &[],
        start: |starting| starting.embedding(),
    },
    Row {
        name: "indexing",
        stores: &[Store::Blobs, Store::Log, Store::Index],
        calls: &[],
        start: |starting| starting.indexing(),
    },
    Row {
        name: "ingestion",
        stores: &[Store::Blobs, Store::Log],
        calls: &[Role::Embedding, Role::Indexing],
        start: |starting| starting.ingestion(),
    },
    Row {
        name: "query",
        stores: &[Store::Blobs, Store::Log, Store::Index],
        // It asks indexing whether the index has all that it should.
        calls: &[Role::Embedding, Role::Indexing],
        start: |starting| starting.query(),
    },
    Row {
        name: "ledger",
        stores: &[Store::Blobs, Store::Log, Store::Index],
        calls: &[],
        start: |starting| starting.ledger(),
    },
    Row {
        name: "gateway",
        // The catalog lies in the blobs; what the gateway does by itself is audited on the log.
        stores: &[Store::Blobs, Store::Log],
        calls: &[Role::Ingestion, Role::Query],
        start: |starting| starting.gateway(),
    },
];

impl Role {
    /// Every role, in the order of the table.
    pub const ALL: [Self; 6] =
        [Self::Embedding, Self::Indexing, Self::Ingestion, Self::Query, Self::Ledger, Self::Gateway];

    const fn row(self) -> &'static Row {
        &TABLE[self as usize]
    }

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.row().name
    }

    /// What it stands on that other processes may share.
    #[must_use]
    pub const fn stores(self) -> &'static [Store] {
        self.row().stores
    }

    /// The roles that it calls.
    #[must_use]
    pub const fn calls(self) -> &'static [Self] {
        self.row().calls
    }
}

impl fmt::Display for Role {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl Store {
    /// Every store.
    pub const ALL: [Self; 3] = [Self::Blobs, Self::Log, Self::Index];

    /// What its URI looks like where processes share it.
    #[must_use]
    pub const fn shared_scheme(self) -> &'static str {
        match self {
            Self::Blobs => "s3://BUCKET/PREFIX",
            Self::Log => "kafka://HOST:PORT",
            Self::Index => "qdrant://HOST:PORT",
        }
    }
}

impl fmt::Display for Store {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Blobs => "blobs",
            Self::Log => "log",
            Self::Index => "index",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_the_order_of_the_roles_and_callees_come_first() {
        for (place, row) in TABLE.iter().enumerate() {
            let role = Role::ALL[place];
            assert_eq!(role as usize, place);
            assert_eq!(format!("{role:?}").to_lowercase(), row.name);
            assert!(row.calls.iter().all(|callee| (*callee as usize) < place), "{}", row.name);
        }
    }
}
