//! Mutual TLS: both sides show a certificate of one authority.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tonic::transport::{Certificate, ClientTlsConfig, Identity, ServerTlsConfig};

use super::TransportError;

/// A certificate with its key, and the authority that the other side's certificate must be of; all PEM files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MutualTls {
    /// The certificate, and those between it and its root. It is shown to callers and to whom is called.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// The root of the others' certificates.
    pub authority: PathBuf,
}

/// The files' content.
pub(super) struct Loaded {
    identity: Identity,
    authority: Certificate,
}

impl MutualTls {
    pub(super) fn load(&self) -> Result<Loaded, TransportError> {
        let identity = Identity::from_pem(read(&self.certificate)?, read(&self.key)?);
        Ok(Loaded { identity, authority: Certificate::from_pem(read(&self.authority)?) })
    }
}

impl Loaded {
    /// For a server: a caller without a certificate of the authority is refused.
    pub(super) fn server(self) -> ServerTlsConfig {
        ServerTlsConfig::new().identity(self.identity).client_ca_root(self.authority)
    }

    /// For a client: the server's certificate must be of the authority, and name the host that was looked up.
    pub(super) fn client(&self, host: &str) -> ClientTlsConfig {
        let config = ClientTlsConfig::new().identity(self.identity.clone());
        config.ca_certificate(self.authority.clone()).domain_name(host)
    }
}

fn read(path: &Path) -> Result<Vec<u8>, TransportError> {
    std::fs::read(path).map_err(|source| TransportError::File { path: path.to_owned(), source })
}
