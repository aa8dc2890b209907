//! What can be set. Bucket and prefix are not among it: they stand in the location.

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::S3Error;

/// How the server is reached. It holds no secrets: credentials come from AWS's standard chain (environment, profile,
/// web identity, container, instance) or from a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct S3Config {
    /// The server's URL; none: AWS's, by the region.
    pub endpoint: Option<String>,
    /// The region; none: what environment, profile or instance say, else `us-east-1`.
    pub region: Option<String>,
    /// Names the bucket in the path and not in the host name.
    pub force_path_style: bool,
    /// A file of credentials in AWS's format, which then is the only source of them; none: the standard chain.
    pub credentials_file: Option<PathBuf>,
    /// The profile in it (or in AWS's own files); none: `default`.
    pub profile: Option<String>,
    /// Certificates (PEM) to trust beside the system's.
    pub ca_file: Option<PathBuf>,
    /// How the server is asked to encrypt what is put.
    pub sse: Sse,
    /// Attempts of one request, the first included, for whatever reason: no answer, a refusal that may pass, an answer that
    /// broke off. A call is one request, or a few (to look at what a put met, to list page after page, to remove versions).
    /// Retries also draw on a budget that all calls to the bucket share, so an outage is not answered with a multiple of the
    /// load; those of answers that broke off do not.
    pub attempts_max: NonZeroU32,
    /// Calls at a time; more are refused.
    pub calls_max: NonZeroU32,
    /// How long things may take.
    pub timeouts: Timeouts,
}

/// Server-side encryption.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Sse {
    /// Nothing is asked for: the bucket's own default holds.
    #[default]
    None,
    /// With keys of the server.
    S3,
    /// With this key of the key management service.
    Kms(String),
}

/// How long things may take.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Timeouts {
    /// To connect.
    #[serde(with = "humantime_serde")]
    pub connect: Duration,
    /// One attempt of one request.
    #[serde(with = "humantime_serde")]
    pub attempt: Duration,
    /// A call with all its requests, attempts and waits. Large objects get as long for each of their parts.
    #[serde(with = "humantime_serde")]
    pub call: Duration,
}

impl Default for S3Config {
    fn default() -> Self {
        Self {
            endpoint: None,
            region: None,
            force_path_style: false,
            credentials_file: None,
            profile: None,
            ca_file: None,
            sse: Sse::None,
            attempts_max: NonZeroU32::MIN.saturating_add(2),
            calls_max: NonZeroU32::MIN.saturating_add(511),
            timeouts: Timeouts::default(),
        }
    }
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(2),
            attempt: Duration::from_secs(8),
            call: Duration::from_secs(20),
        }
    }
}

impl S3Config {
    /// Whether it can be used, before anything is opened.
    ///
    /// # Errors
    /// Names the first field that cannot be, and why.
    pub fn check(&self) -> Result<(), S3Error> {
        let wrong = |field, reason| Err(S3Error::Config { field, reason });
        if let Some(endpoint) = &self.endpoint {
            let rest = endpoint.strip_prefix("http://").or_else(|| endpoint.strip_prefix("https://"));
            match rest {
                None | Some("") => return wrong("endpoint", "it must be an http:// or https:// URL"),
                Some(rest) if rest.contains('@') => return wrong("endpoint", "it must hold no credentials"),
                Some(_) => {}
            }
        }
        if self.sse == Sse::Kms(String::new()) {
            return wrong("sse", "the key's name is empty");
        }
        if self.attempts_max.get() > 10 {
            return wrong("attempts_max", "at most 10");
        }
        let timeouts = &self.timeouts;
        if timeouts.connect.is_zero() || timeouts.attempt.is_zero() || timeouts.call < timeouts.attempt {
            return wrong("timeouts", "none may be zero, and a call takes at least as long as an attempt");
        }
        Ok(())
    }

    /// Whether the server is reached without TLS.
    pub(crate) fn is_plain_http(&self) -> bool {
        self.endpoint.as_deref().is_some_and(|endpoint| endpoint.starts_with("http://"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<S3Config, String> {
        let config: S3Config = toml::from_str(text).map_err(|error| error.to_string())?;
        config.check().map_err(|error| error.to_string())?;
        Ok(config)
    }

    #[test]
    fn nothing_need_be_said() {
        assert_eq!(read("").unwrap(), S3Config::default());
        let written = toml::to_string(&S3Config::default()).unwrap();
        assert_eq!(read(&written).unwrap(), S3Config::default());
    }

    #[test]
    fn everything_can_be_said() {
        let text = r#"
            endpoint = "http://127.0.0.1:9000"
            region = "eu-central-1"
            force_path_style = true
            credentials_file = "/etc/vidimus/s3"
            profile = "faces"
            ca_file = "/etc/vidimus/ca.pem"
            sse = { kms = "alias/faces" }
            attempts_max = 5
            calls_max = 64
            timeouts = { connect = "500ms", attempt = "3s", call = "10s" }
        "#;
        let config = read(text).unwrap();
        assert_eq!(config.sse, Sse::Kms("alias/faces".to_owned()));
        assert_eq!(config.timeouts.connect, Duration::from_millis(500));
        assert_eq!(read("sse = \"s3\"").unwrap().sse, Sse::S3);
        let written = toml::to_string(&config).unwrap();
        assert_eq!(read(&written).unwrap(), config);
    }

    #[test]
    fn what_cannot_be_is_refused_by_name() {
        for (text, named) in [
            ("endpint = \"http://a\"", "endpint"),
            ("endpoint = \"ftp://a\"", "endpoint"),
            ("endpoint = \"http://key:secret@a\"", "endpoint"),
            ("sse = { kms = \"\" }", "sse"),
            ("sse = \"rot13\"", "rot13"),
            ("attempts_max = 0", "attempts_max"),
            ("attempts_max = 11", "attempts_max"),
            ("timeouts = { call = \"1s\" }", "timeouts"),
            ("timeouts = { connect = \"0s\" }", "timeouts"),
        ] {
            let refused = read(text).unwrap_err();
            assert!(refused.contains(named), "{text}: {refused}");
            assert!(!refused.contains("key:secret"), "{refused}");
        }
    }
}
