//! Where a role is, as configuration says it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Addresses of one role: `http://HOST:PORT[,HOST:PORT…]`, or `https` where both sides show certificates. A host that is a name
/// stands for all its addresses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Addresses {
    over_tls: bool,
    hosts: Vec<Host>,
}

/// One host with its port.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Host {
    pub(super) name: String,
    pub(super) port: u16,
}

/// Text that names no addresses.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it must be http://HOST:PORT[,HOST:PORT…], or https where both sides show certificates")]
pub struct InvalidAddresses;

impl Addresses {
    /// Whether they are spoken to over TLS.
    #[must_use]
    pub const fn over_tls(&self) -> bool {
        self.over_tls
    }

    pub(super) fn hosts(&self) -> &[Host] {
        &self.hosts
    }
}

impl FromStr for Addresses {
    type Err = InvalidAddresses;

    fn from_str(text: &str) -> Result<Self, InvalidAddresses> {
        let (scheme, rest) = text.split_once("://").ok_or(InvalidAddresses)?;
        let over_tls = match scheme {
            "http" => false,
            "https" => true,
            _ => return Err(InvalidAddresses),
        };
        let hosts = rest.split(',').map(host).collect::<Option<Vec<_>>>().ok_or(InvalidAddresses)?;
        Ok(Self { over_tls, hosts })
    }
}

fn host(text: &str) -> Option<Host> {
    let (name, port) = text.rsplit_once(':')?;
    let name = name.strip_prefix('[').map_or(Some(name), |inner| inner.strip_suffix(']'))?;
    let fine = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b':' | b'_');
    if name.is_empty() || !name.bytes().all(fine) {
        return None;
    }
    let port = port.parse().ok().filter(|port| *port != 0)?;
    Some(Host { name: name.to_owned(), port })
}

impl fmt::Display for Addresses {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(if self.over_tls { "https://" } else { "http://" })?;
        for (index, Host { name, port }) in self.hosts.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            let is_ipv6 = name.contains(':');
            let (open, close) = if is_ipv6 { ("[", "]") } else { ("", "") };
            write!(formatter, "{comma}{open}{name}{close}:{port}")?;
        }
        Ok(())
    }
}

impl TryFrom<String> for Addresses {
    type Error = InvalidAddresses;

    fn try_from(text: String) -> Result<Self, InvalidAddresses> {
        text.parse()
    }
}

impl From<Addresses> for String {
    fn from(addresses: Addresses) -> Self {
        addresses.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_is_written_again() {
        for text in ["http://embedding:7602", "https://a.b:1,10.0.0.1:65535", "http://[::1]:7602"] {
            assert_eq!(text.parse::<Addresses>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_names_no_host_with_a_port_is_refused() {
        for text in [
            "",
            "embedding:7602",
            "http://",
            "http://embedding",
            "http://embedding:0",
            "http://embedding:port",
            "http://a:1,",
            "http://a:1/path",
            "ftp://a:1",
            "http://[::1:7602",
            "http://us er:1",
        ] {
            assert!(text.parse::<Addresses>().is_err(), "{text:?}");
        }
    }
}
