//! The gateway's limits.

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use vidimus_domain::limits::{PHOTO_BYTES_MAX, PHOTO_OBJECT_BYTES_MAX};
use vidimus_runtime::bulk::ACCEPTING_BYTES_MAX;

/// Limits of one gateway process. The defaults suit a machine with 2 to 16 cores.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct GatewayConfig {
    /// Requests that run at once; more are told to slow down.
    pub requests_in_flight_max: usize,
    /// Bytes of bodies that are held at once; what would pass it is told to slow down. A request takes up to about three
    /// times its body.
    pub bytes_in_flight_max: usize,
    /// Connections that are open at once; more wait to be accepted.
    pub connections_max: usize,
    /// How long a client may take to send a body.
    #[serde(with = "humantime_serde")]
    pub body_read_timeout: Duration,
    /// How long a client may take to send a request's head, and a connection may idle.
    #[serde(with = "humantime_serde")]
    pub head_read_timeout: Duration,
    /// How long a request may wait for the other roles.
    #[serde(with = "humantime_serde")]
    pub call_timeout: Duration,
    /// What each tenant may take of this gateway.
    pub tenant_limits: TenantLimits,
    /// TLS for tenants; without it they speak in plaintext.
    pub tls: Option<Tls>,
}

/// What one tenant may take of one gateway process. What passes it is refused with a hint when to try again.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct TenantLimits {
    /// Searches a second, by face, photo or user.
    pub searches_per_second: NonZeroU32,
    /// Photos that are enrolled a second.
    pub enrolments_per_second: NonZeroU32,
    /// Requests that run at once.
    pub requests_in_flight_max: usize,
    /// Bytes of bodies that are held at once.
    pub bytes_in_flight_max: usize,
}

/// A certificate with its key, both as PEM files.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// The certificate, and those between it and its root.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

impl Default for TenantLimits {
    fn default() -> Self {
        // Half of the gateway's own room: a flood of one tenant leaves the other half.
        Self {
            searches_per_second: NonZeroU32::MIN.saturating_add(999),
            enrolments_per_second: NonZeroU32::MIN.saturating_add(199),
            requests_in_flight_max: 128,
            bytes_in_flight_max: 128 * 1024 * 1024,
        }
    }
}

/// Largest body: two photos of the largest size in base64 (CompareFaces), and room for the rest of the request.
pub const BODY_BYTES_MAX: usize = 2 * PHOTO_BYTES_MAX.div_ceil(3) * 4 + 512 * 1024;
/// Bytes that a bulk job's stream takes of its tenant's room, while it lasts: what it accepts, and what it has read of the next.
pub(crate) const BULK_ROOM_BYTES: usize = ACCEPTING_BYTES_MAX + PHOTO_BYTES_MAX;
/// A bulk job takes the most room at once. With less some calls would be refused for ever.
const _: () = assert!(BULK_ROOM_BYTES >= BODY_BYTES_MAX && BULK_ROOM_BYTES >= PHOTO_OBJECT_BYTES_MAX);
/// Bytes of a refused body that are read and thrown away, so that the client reads the refusal and not a broken pipe.
pub const DRAINED_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Largest head of a request.
pub const HEAD_BYTES_MAX: usize = 64 * 1024;

impl Default for GatewayConfig {
    fn default() -> Self {
        Self {
            requests_in_flight_max: 256,
            bytes_in_flight_max: 256 * 1024 * 1024,
            connections_max: 4096,
            body_read_timeout: Duration::from_secs(30),
            head_read_timeout: Duration::from_secs(30),
            call_timeout: Duration::from_secs(60),
            tenant_limits: TenantLimits::default(),
            tls: None,
        }
    }
}

impl GatewayConfig {
    /// Checks the limits against each other.
    ///
    /// # Errors
    /// A sentence that names the limit that is wrong.
    pub fn check(&self) -> Result<(), String> {
        if self.requests_in_flight_max == 0 || self.connections_max == 0 {
            return Err("requests_in_flight_max and connections_max must be at least 1".to_owned());
        }
        if self.bytes_in_flight_max < BULK_ROOM_BYTES || self.bytes_in_flight_max > u32::MAX as usize {
            let least = format!("one bulk job's ({BULK_ROOM_BYTES})");
            return Err(format!("bytes_in_flight_max must be at least {least} and at most {}", u32::MAX));
        }
        if self.tenant_limits.requests_in_flight_max == 0
            || self.tenant_limits.bytes_in_flight_max < BULK_ROOM_BYTES
        {
            let least =
                format!("tenant_limits.bytes_in_flight_max at least one bulk job's ({BULK_ROOM_BYTES})");
            return Err(format!("tenant_limits.requests_in_flight_max must be at least 1, {least}"));
        }
        let waits = [self.body_read_timeout, self.head_read_timeout, self.call_timeout];
        if waits.contains(&Duration::ZERO) {
            return Err("body_read_timeout, head_read_timeout and call_timeout must not be zero".to_owned());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_hold_and_what_is_impossible_is_refused() {
        let fine = GatewayConfig::default();
        assert_eq!(fine.check(), Ok(()));
        for wrong in [
            GatewayConfig { requests_in_flight_max: 0, ..fine.clone() },
            GatewayConfig { connections_max: 0, ..fine.clone() },
            GatewayConfig { bytes_in_flight_max: BULK_ROOM_BYTES - 1, ..fine.clone() },
            GatewayConfig { bytes_in_flight_max: u32::MAX as usize + 1, ..fine.clone() },
            GatewayConfig { call_timeout: Duration::ZERO, ..fine },
        ] {
            assert!(wrong.check().is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn it_is_read_with_times_in_words() {
        let read = serde_json::from_str::<GatewayConfig>(r#"{"call_timeout": "5s"}"#).unwrap();
        assert_eq!(read.call_timeout, Duration::from_secs(5));
        assert!(serde_json::from_str::<GatewayConfig>(r#"{"call_timeot": "5s"}"#).is_err());
    }
}
