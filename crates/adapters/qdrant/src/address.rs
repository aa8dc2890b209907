//! Where the servers are.

use std::fmt;
use std::str::FromStr;

use http::uri::Authority;

use crate::error::QdrantError;

/// Qdrant's port for gRPC.
const PORT: u16 = 6334;

/// The hosts of one Qdrant, as configuration names them: `qdrant://host:6334,other:6334`, or `qdrants://…` with TLS. The port may
/// be left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// Each `host:port`.
    hosts: Vec<String>,
    is_encrypted: bool,
}

impl Address {
    /// Each host with its port.
    #[must_use]
    pub fn hosts(&self) -> &[String] {
        &self.hosts
    }

    /// Whether connections are encrypted.
    #[must_use]
    pub const fn is_encrypted(&self) -> bool {
        self.is_encrypted
    }
}

impl FromStr for Address {
    type Err = QdrantError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = |reason: &str| QdrantError::Config(format!("{text:?} is no address of Qdrant: {reason}"));
        let (is_encrypted, rest) = match text.split_once("://") {
            Some(("qdrant", rest)) => (false, rest),
            Some(("qdrants", rest)) => (true, rest),
            _ => return Err(wrong("it begins with neither qdrant:// nor qdrants://")),
        };
        let mut hosts = Vec::new();
        for host in rest.trim_end_matches('/').split(',') {
            let authority: Authority = host.parse().map_err(|_| wrong("a host cannot be read"))?;
            if authority.host().is_empty() || authority.as_str().contains('@') {
                return Err(wrong("a host is empty, or has a user before it"));
            }
            let port = authority.port_u16().unwrap_or(PORT);
            let named = format!("{}:{port}", authority.host());
            if hosts.contains(&named) {
                return Err(wrong("a host is named twice"));
            }
            hosts.push(named);
        }
        Ok(Self { hosts, is_encrypted })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_encrypted { "qdrants" } else { "qdrant" };
        write!(formatter, "{scheme}://{}", self.hosts.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_ports_and_encryption_are_read() {
        for (text, written, is_encrypted) in [
            ("qdrant://a", "qdrant://a:6334", false),
            ("qdrant://a:1,b:2", "qdrant://a:1,b:2", false),
            ("qdrants://[::1]:6334/", "qdrants://[::1]:6334", true),
        ] {
            let address: Address = text.parse().unwrap();
            assert_eq!(address.to_string(), written, "{text}");
            assert_eq!(address.is_encrypted(), is_encrypted, "{text}");
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in
            ["", "a:1", "http://a:1", "qdrant://", "qdrant://a,,b", "qdrant://u@a", "qdrant://a,a:6334"]
        {
            assert!(text.parse::<Address>().is_err(), "{text}");
        }
    }
}
