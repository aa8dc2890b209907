//! How the log is reached and what its topics are to be.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rdkafka::ClientConfig;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use vidimus_ports::Topic;

use crate::error::OpenError;

/// What a URI of the log begins with.
const SCHEME: &str = "kafka://";
/// Room for a record's key, headers and framing beside its payload.
const RECORD_BYTES_MAX: usize = 2 << 20;
/// Longest topic prefix.
const PREFIX_BYTES_MAX: usize = 100;

/// The log's settings. Secrets lie in files of their own, so it can be shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KafkaConfig {
    /// What the names of topics and groups begin with, so that several services can share a cluster.
    pub topic_prefix: String,
    /// Partitions of each topic that is made; those that are there may have more.
    pub partitions: u32,
    /// Replicas that each partition has at least.
    pub replication_factor: u32,
    /// Replicas that must have a record before it counts as appended.
    pub min_insync_replicas: u32,
    /// The longest that an append may take.
    #[serde(with = "humantime_serde")]
    pub append_timeout: Duration,
    /// The longest that any other call may take.
    #[serde(with = "humantime_serde")]
    pub call_timeout: Duration,
    /// How long a consumer that has met damaged records goes on with its other partitions before it begins again at its commit: long enough
    /// for what it does meanwhile to be committed.
    #[serde(with = "humantime_serde")]
    pub damage_patience: Duration,
    /// How connections are encrypted and whom they trust.
    pub security: Security,
    /// How the service proves who it is; not at all where it is left out.
    pub sasl: Option<Sasl>,
}

/// How connections are encrypted and whom they trust.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Security {
    /// Whether connections are encrypted (TLS).
    pub tls: bool,
    /// Certificates (PEM) of whoever signs the brokers' (default: the system's).
    pub ca_file: Option<PathBuf>,
    /// The service's own certificate (PEM), where the brokers ask for one.
    pub certificate_file: Option<PathBuf>,
    /// Its private key (PEM).
    pub key_file: Option<PathBuf>,
}

/// A name and a password.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sasl {
    /// How they are sent.
    pub mechanism: Mechanism,
    /// The name.
    pub username: String,
    /// A file that holds the password; a line end after it is left out.
    pub password_file: PathBuf,
}

/// How a password is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Mechanism {
    /// As it is; refused without TLS.
    #[serde(rename = "PLAIN")]
    Plain,
    /// As a proof (RFC 5802 with SHA-256).
    #[serde(rename = "SCRAM-SHA-256")]
    ScramSha256,
    /// As a proof (RFC 5802 with SHA-512).
    #[serde(rename = "SCRAM-SHA-512")]
    ScramSha512,
}

impl Mechanism {
    const fn name(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::ScramSha512 => "SCRAM-SHA-512",
        }
    }
}

impl Default for KafkaConfig {
    fn default() -> Self {
        Self {
            topic_prefix: String::new(),
            partitions: 12,
            replication_factor: 3,
            min_insync_replicas: 2,
            append_timeout: Duration::from_secs(10),
            call_timeout: Duration::from_secs(10),
            damage_patience: Duration::from_secs(60),
            security: Security::default(),
            sasl: None,
        }
    }
}

impl KafkaConfig {
    /// Checks all that can be checked without a broker.
    ///
    /// # Errors
    /// A sentence that names what is wrong.
    pub fn check(&self) -> Result<(), OpenError> {
        let is_of_name = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        let wrong = if self.topic_prefix.len() > PREFIX_BYTES_MAX
            || !self.topic_prefix.bytes().all(is_of_name)
        {
            "topic_prefix may have letters, digits, '.', '_' and '-', at most 100 of them"
        } else if self.partitions == 0 || self.replication_factor == 0 || self.min_insync_replicas == 0 {
            "partitions, replication_factor and min_insync_replicas must be at least 1"
        } else if self.min_insync_replicas > self.replication_factor {
            "min_insync_replicas must not be more than replication_factor"
        } else if self.append_timeout < Duration::from_secs(1) || self.call_timeout < Duration::from_secs(1) {
            "append_timeout and call_timeout must be at least a second"
        } else if self.security.certificate_file.is_some() != self.security.key_file.is_some() {
            "security.certificate_file and security.key_file go together"
        } else if !self.security.tls && self.security != Security::default() {
            "security names files, but security.tls is off"
        } else if self.sasl.as_ref().is_some_and(|sasl| sasl.mechanism == Mechanism::Plain)
            && !self.security.tls
        {
            "sasl.mechanism PLAIN sends the password as it is: it needs security.tls"
        } else {
            return Ok(());
        };
        Err(OpenError::Config(wrong.to_owned()))
    }

    /// The name of a topic in the cluster.
    pub(crate) fn topic(&self, topic: Topic) -> String {
        format!("{}{}", self.topic_prefix, topic.name())
    }

    /// The name of the topic that names the log's life.
    pub(crate) fn incarnation_topic(&self) -> String {
        format!("{}vidimus.incarnation", self.topic_prefix)
    }

    /// The name of a group in the cluster.
    pub(crate) fn group(&self, group: &str) -> String {
        format!("{}vidimus.{group}", self.topic_prefix)
    }

    /// The longest record that topics must take.
    pub(crate) const fn record_bytes_max(&self) -> usize {
        RECORD_BYTES_MAX
    }

    /// What every client has in common. Reads the password.
    pub(crate) fn client(&self, brokers: &str) -> Result<ClientConfig, OpenError> {
        let mut client = ClientConfig::new();
        client
            .set("bootstrap.servers", brokers)
            .set("client.id", "vidimus")
            .set("socket.timeout.ms", millis(self.call_timeout))
            .set("socket.connection.setup.timeout.ms", millis(self.call_timeout))
            .set("socket.keepalive.enable", "true")
            .set("reconnect.backoff.ms", "50")
            .set("reconnect.backoff.max.ms", "1000")
            // What is asked for by name must be there: it is made with what it needs, or not at all. A producer would otherwise have
            // brokers that make topics (Kafka's default) make a lost one again with their own settings, which delete by age.
            .set("allow.auto.create.topics", "false")
            .set("topic.metadata.propagation.max.ms", "5000")
            .set("enable.metrics.push", "false");
        let Security { tls, ca_file, certificate_file, key_file } = &self.security;
        let protocol = match (tls, &self.sasl) {
            (false, None) => "plaintext",
            (true, None) => "ssl",
            (false, Some(_)) => "sasl_plaintext",
            (true, Some(_)) => "sasl_ssl",
        };
        client.set("security.protocol", protocol);
        let files = [
            ("ssl.ca.location", ca_file),
            ("ssl.certificate.location", certificate_file),
            ("ssl.key.location", key_file),
        ];
        for (setting, file) in files {
            if let Some(file) = file {
                client.set(setting, file.display().to_string());
            }
        }
        if let Some(sasl) = &self.sasl {
            let password = read_secret(&sasl.password_file)?;
            client
                .set("sasl.mechanism", sasl.mechanism.name())
                .set("sasl.username", &sasl.username)
                .set("sasl.password", password.expose_secret());
        }
        Ok(client)
    }
}

/// Milliseconds, as the client library wants them.
pub(crate) fn millis(duration: Duration) -> String {
    duration.as_millis().to_string()
}

/// The brokers that a URI names, `kafka://host:port,host:port`, as the client library wants them.
pub(crate) fn brokers(uri: &str) -> Result<&str, OpenError> {
    let wrong = || OpenError::Config(format!("{uri:?} is not kafka://HOST:PORT,…"));
    let brokers = uri.strip_prefix(SCHEME).map(|rest| rest.trim_end_matches('/')).ok_or_else(wrong)?;
    let is_address = |address: &str| {
        let parts = address.rsplit_once(':');
        parts.is_some_and(|(host, port)| is_host(host) && port.parse::<u16>().is_ok_and(|port| port > 0))
    };
    brokers.split(',').all(is_address).then_some(brokers).ok_or_else(wrong)
}

fn is_host(host: &str) -> bool {
    let is_of_host = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:[]".contains(&byte);
    !host.is_empty() && host.bytes().all(is_of_host)
}

fn read_secret(path: &Path) -> Result<SecretString, OpenError> {
    let read = std::fs::read_to_string(path);
    let text = read.map_err(|source| OpenError::Secret { path: path.to_owned(), source })?;
    Ok(SecretString::from(text.trim_end_matches(['\r', '\n'])))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brokers_are_what_the_uri_names() {
        assert_eq!(brokers("kafka://h1:9092,10.0.0.1:9093").unwrap(), "h1:9092,10.0.0.1:9093");
        assert_eq!(brokers("kafka://[::1]:9092/").unwrap(), "[::1]:9092");
        for wrong in [
            "",
            "h1:9092",
            "file:///log",
            "kafka://",
            "kafka://h1",
            "kafka://h1:0",
            "kafka://h1:9092,",
            "kafka://a b:1",
        ] {
            assert!(matches!(brokers(wrong), Err(OpenError::Config(_))), "{wrong}");
        }
    }

    #[test]
    fn settings_are_read_strictly_and_shown_without_secrets() {
        let folder = tempfile::tempdir().unwrap();
        let password_file = folder.path().join("password");
        std::fs::write(&password_file, "pa55 word\n").unwrap();
        let text = format!(
            "topic_prefix = \"a-\"\nappend_timeout = \"3s\"\n[security]\ntls = true\n\
             [sasl]\nmechanism = \"SCRAM-SHA-512\"\nusername = \"vidimus\"\npassword_file = {password_file:?}\n"
        );
        let config: KafkaConfig = toml::from_str(&text).unwrap();
        config.check().unwrap();
        assert_eq!(config.append_timeout, Duration::from_secs(3));
        let client = config.client("h1:9092").unwrap();
        for (setting, value) in [
            ("security.protocol", "sasl_ssl"),
            ("sasl.mechanism", "SCRAM-SHA-512"),
            ("sasl.username", "vidimus"),
            ("sasl.password", "pa55 word"),
        ] {
            assert_eq!(client.get(setting), Some(value));
        }
        assert!(!format!("{config:?}{}", toml::to_string(&config).unwrap()).contains("pa55"));
        std::fs::remove_file(&password_file).unwrap();
        assert!(matches!(config.client("h1:9092"), Err(OpenError::Secret { .. })));
        assert!(toml::from_str::<KafkaConfig>("acks = 1").is_err());
    }

    #[test]
    fn what_cannot_be_is_told() {
        let sasl = |mechanism| {
            Some(Sasl { mechanism, username: "name".to_owned(), password_file: PathBuf::from("password") })
        };
        let files = Security { ca_file: Some(PathBuf::from("ca.pem")), ..Security::default() };
        let half = Security { tls: true, key_file: Some(PathBuf::from("key.pem")), ..Security::default() };
        let sound = KafkaConfig::default();
        sound.check().unwrap();
        KafkaConfig { sasl: sasl(Mechanism::ScramSha256), ..sound.clone() }.check().unwrap();
        for (config, about) in [
            (KafkaConfig { topic_prefix: "a/b".to_owned(), ..sound.clone() }, "topic_prefix"),
            (KafkaConfig { partitions: 0, ..sound.clone() }, "at least 1"),
            (KafkaConfig { min_insync_replicas: 4, ..sound.clone() }, "min_insync_replicas"),
            (KafkaConfig { append_timeout: Duration::ZERO, ..sound.clone() }, "a second"),
            (KafkaConfig { security: files, ..sound.clone() }, "security.tls is off"),
            (KafkaConfig { security: half, ..sound.clone() }, "go together"),
            (KafkaConfig { sasl: sasl(Mechanism::Plain), ..sound }, "needs security.tls"),
        ] {
            let error = config.check().unwrap_err().to_string();
            assert!(error.contains(about), "{error}");
        }
    }
}
