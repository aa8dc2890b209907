//! Where the roles are that a process calls.

use serde::{Deserialize, Serialize};
use vidimus_runtime::transport::Addresses;
use vidimus_runtime::transport::addresses::InvalidAddresses;

use super::Config;
use crate::roles::Role;

/// Where a role is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Peer {
    /// In this process.
    #[default]
    Local,
    /// In others.
    Elsewhere(Addresses),
}

/// Where the roles are that other roles call, besides embedding.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Peers {
    /// Called by the gateway.
    pub ingestion: Peer,
    /// Called by the gateway.
    pub query: Peer,
    /// Called by ingestion, and asked by query.
    pub indexing: Peer,
}

impl TryFrom<String> for Peer {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if text == "local" {
            return Ok(Self::Local);
        }
        let addresses = text.parse().map_err(|wrong: InvalidAddresses| format!("{wrong}, or local"))?;
        Ok(Self::Elsewhere(addresses))
    }
}

impl From<Peer> for String {
    fn from(peer: Peer) -> Self {
        match peer {
            Peer::Local => "local".to_owned(),
            Peer::Elsewhere(addresses) => addresses.to_string(),
        }
    }
}

impl Config {
    /// Where a role is that others call. Nobody calls the gateway and the ledger: they are where they are started.
    #[must_use]
    pub const fn peer(&self, role: Role) -> &Peer {
        match role {
            Role::Embedding => &self.embedding,
            Role::Ingestion => &self.peers.ingestion,
            Role::Query => &self.peers.query,
            Role::Indexing => &self.peers.indexing,
            Role::Gateway | Role::Ledger => &Peer::Local,
        }
    }

    /// The setting that says where a role is.
    pub(super) const fn peer_setting(role: Role) -> &'static str {
        match role {
            Role::Embedding => "embedding",
            Role::Ingestion => "peers.ingestion",
            Role::Query => "peers.query",
            Role::Indexing => "peers.indexing",
            Role::Gateway | Role::Ledger => "roles",
        }
    }

    /// The roles of this process, in the order in which they are started.
    #[must_use]
    pub fn roles(&self) -> Vec<Role> {
        let named = |role: &Role| match self.roles.as_slice() {
            [] => *self.peer(*role) == Peer::Local,
            roles => roles.contains(role),
        };
        Role::ALL.into_iter().filter(named).collect()
    }

    /// Whether this process has the role.
    #[must_use]
    pub fn has(&self, role: Role) -> bool {
        self.roles().contains(&role)
    }

    /// Whether other processes may call roles of this one: one of its roles has a caller that it lacks.
    #[must_use]
    pub fn is_called(&self) -> bool {
        let has_foreign_caller =
            |role: &Role| Role::ALL.iter().any(|caller| caller.calls().contains(role) && !self.has(*caller));
        self.listen.roles.is_some() || self.roles().iter().any(has_foreign_caller)
    }
}
