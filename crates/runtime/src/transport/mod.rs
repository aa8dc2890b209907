//! gRPC between roles that live in different processes: what a role is served with, and the client that stands where the role
//! itself stands in one process.
//!
//! * [`server`]: a concurrency limit that sheds, with a hint when to try again; health for each service; deadlines; keepalive.
//! * [`pool`]: the addresses of a role, those of a name looked up again and again; a call goes to the one that has the least to
//!   do, and to another one where that one is away.
//! * [`remote`]: the service traits over such a pool.

pub mod addresses;
mod pool;
pub mod remote;
mod server;
mod status;
mod tls;
mod watched;

use std::time::Duration;

use serde::{Deserialize, Serialize};
use vidimus_domain::limits::{PHOTO_BYTES_MAX, PHOTO_OBJECT_BYTES_MAX};

pub use addresses::Addresses;
pub use pool::{CallMetrics, Pool, PoolDeps};
pub use server::{GOOD_FOR, Health, RoleServer};
pub use tls::MutualTls;
pub use watched::{SEARCHABLE, follow};

/// Largest message of a call: two photos of the largest size that there is, and room for what is said of them.
pub const MESSAGE_BYTES_MAX: usize = 2 * larger(PHOTO_BYTES_MAX, PHOTO_OBJECT_BYTES_MAX) + 4 * 1024 * 1024;

/// A frame of HTTP/2 that is read whole: photos come in a few of them rather than in hundreds.
pub const FRAME_BYTES_MAX: u32 = 256 * 1024;
/// What a stream may have under way: a photo without a pause for the other side's leave.
pub const STREAM_WINDOW_BYTES: u32 = 2 * 1024 * 1024;
/// What a connection may have under way.
pub const CONNECTION_WINDOW_BYTES: u32 = 16 * 1024 * 1024;

const fn larger(left: usize, right: usize) -> usize {
    if left > right { left } else { right }
}

/// How calls between processes behave.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TransportConfig {
    /// Calls that a process answers at once; more are refused with a hint when to try again.
    pub calls_in_flight_max: usize,
    /// How long a call may take whose caller names no time.
    #[serde(with = "humantime_serde")]
    pub call_timeout: Duration,
    /// How long it may take to connect.
    #[serde(with = "humantime_serde")]
    pub connect_timeout: Duration,
    /// How often a connection is tried for whether the other side is there; one that does not answer for as long again is given
    /// up.
    #[serde(with = "humantime_serde")]
    pub keepalive_interval: Duration,
    /// How often the addresses of a name are looked up.
    #[serde(with = "humantime_serde")]
    pub lookup_interval: Duration,
    /// How often a call is tried at most, the first time included.
    pub attempts_max: u32,
    /// Both sides show certificates; without it they speak in plaintext.
    pub tls: Option<MutualTls>,
}

impl Default for TransportConfig {
    fn default() -> Self {
        Self {
            calls_in_flight_max: 256,
            call_timeout: Duration::from_secs(60),
            connect_timeout: Duration::from_secs(2),
            keepalive_interval: Duration::from_secs(5),
            lookup_interval: Duration::from_secs(5),
            attempts_max: 3,
            tls: None,
        }
    }
}

impl TransportConfig {
    /// Checks what can be checked without opening anything.
    ///
    /// # Errors
    /// A sentence that names what is wrong.
    pub fn check(&self) -> Result<(), String> {
        if self.calls_in_flight_max == 0 || self.attempts_max == 0 {
            return Err("calls_in_flight_max and attempts_max must be at least 1".to_owned());
        }
        let waits = [self.call_timeout, self.connect_timeout, self.keepalive_interval, self.lookup_interval];
        if waits.contains(&Duration::ZERO) {
            let all = "call_timeout, connect_timeout, keepalive_interval and lookup_interval";
            return Err(format!("{all} must not be zero"));
        }
        Ok(())
    }
}

/// Why processes cannot speak with each other.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    /// A file of a certificate cannot be read.
    #[error("read {path}: {source}")]
    File {
        /// The file.
        path: std::path::PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A certificate, a key or an address cannot be used.
    #[error("{context}: {source}")]
    Tonic {
        /// What it was to be used for.
        context: &'static str,
        /// Why it cannot be.
        source: tonic::transport::Error,
    },
}

impl TransportError {
    fn tonic(context: &'static str) -> impl FnOnce(tonic::transport::Error) -> Self {
        move |source| Self::Tonic { context, source }
    }
}
