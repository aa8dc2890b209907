//! The configuration: defaults < file < environment < flags; unknown fields refused; checked whole before anything is
//! opened or bound.

mod check;
mod peers;
mod places;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use figment::Figment;
use figment::providers::{Env, Format, Serialized, Toml};
use serde::{Deserialize, Serialize};
use vidimus_domain::FaceModelName;
use vidimus_embedding::WorkerConfig;
use vidimus_gateway::GatewayConfig;
use vidimus_indexing::IndexingConfig;
use vidimus_ingestion::IngestionConfig;
use vidimus_kafka::KafkaConfig;
use vidimus_ledger::LedgerConfig;
use vidimus_onnx::EncoderConfig;
use vidimus_qdrant::QdrantConfig;
use vidimus_runtime::telemetry::LogFormat;
use vidimus_runtime::transport::TransportConfig;
use vidimus_s3::S3Config;

use crate::cli::{ServeArguments, Settings};
use crate::roles::Role;
use crate::telemetry::Traces;

pub use peers::{Peer, Peers};
pub use places::{BlobsPlace, ImportsPlace, IndexPlace, LogPlace};

/// Everything that can be set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Data directory: what is not set below lies under it.
    pub data: Option<PathBuf>,
    /// The roles of this process; where none is named, all that are not elsewhere.
    pub roles: Vec<Role>,
    /// Records, photos, catalog, audit batches: `file:///PATH` or `s3://BUCKET/PREFIX`.
    pub blobs: Option<String>,
    /// The durable log: `file:///PATH` or `kafka://HOST:PORT[,HOST:PORT…]`.
    pub log: Option<String>,
    /// The searchable projection: `edge:///PATH` or `qdrant://HOST:PORT`.
    pub index: Option<String>,
    /// Photos that tenants may name by bucket, where an administrator lets them: `file:///PATH` or
    /// `s3://BUCKET/PREFIX`.
    pub imports: Option<String>,
    /// Who turns photos into templates: `local` or `http://HOST:PORT[,HOST:PORT…]`.
    pub embedding: Peer,
    /// The other roles that are called: each `local` or elsewhere.
    pub peers: Peers,
    /// Calls between processes.
    pub transport: TransportConfig,
    /// Administration.
    pub admin: Admin,
    /// Addresses.
    pub listen: Listen,
    /// The face model.
    pub models: Models,
    /// Log lines on standard error.
    pub logs: Logs,
    /// Where traces go.
    pub traces: Traces,
    /// What the embedded stores do with the disk.
    pub storage: Storage,
    /// The index, whichever it is.
    pub index_options: IndexOptions,
    /// The blobs and the photos of imports, where they are in buckets.
    pub s3: S3Config,
    /// The log, where it is Kafka.
    pub kafka: KafkaConfig,
    /// The index, where it is Qdrant.
    pub qdrant: QdrantConfig,
    /// The encoder; defaults follow the number of cores.
    pub encoder: EncoderConfig,
    /// The bulk lane's worker.
    pub worker: WorkerConfig,
    /// Limits of the gateway.
    pub gateway: GatewayConfig,
    /// Waits and limits of ingestion.
    pub ingestion: IngestionConfig,
    /// Batches and flushes of indexing.
    pub indexing: IndexingConfig,
    /// Intervals of the ledger.
    pub ledger: LedgerConfig,
    /// How long shutdown waits for what runs.
    #[serde(with = "humantime_serde")]
    pub shutdown_wait: Duration,
}

/// Addresses to listen on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Listen {
    /// For tenants.
    pub tenants: SocketAddr,
    /// For operators.
    pub operators: SocketAddr,
    /// For the roles of other processes; where it is not set, port 7602 of this machine alone, where there can be such.
    pub roles: Option<SocketAddr>,
}

/// Administration of a running service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Admin {
    /// The file that has the token (default: one that the service makes in the data directory). A process that has neither takes no
    /// commands.
    pub token_file: Option<PathBuf>,
    /// The operators' addresses of the service's processes, which `vidimus admin` tries one after the other (default: the one that
    /// the data directory names).
    pub addresses: Vec<SocketAddr>,
}

/// The face model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Models {
    /// Where models lie (default: `models` in the data directory).
    pub directory: Option<PathBuf>,
    /// The model that new collections are made with.
    pub name: String,
    /// Models besides it: of collections that were made with them, or that are to be turned to them. An encoder loads each.
    pub others: Vec<String>,
    /// ONNX Runtime's shared library (default: the one that `vidimus models import` put into the models directory).
    pub onnxruntime: Option<PathBuf>,
}

/// Log lines.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Logs {
    /// What is logged: `info`, `warn,vidimus_query=debug`, …
    pub filter: String,
    /// `json` or `text`.
    pub format: LogFormat,
}

/// The embedded stores.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Storage {
    /// Bytes of the disk that enrolments leave free, so that deletions always have room.
    pub reserve_bytes: u64,
    /// Partitions of each topic of a log that is made anew.
    pub log_partitions: u32,
}

/// The index, whichever it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct IndexOptions {
    /// The most faces that one collection is expected to have; graphs are shaped for it.
    pub largest_collection_faces: NonZeroU64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            data: None,
            roles: Vec::new(),
            blobs: None,
            log: None,
            index: None,
            imports: None,
            embedding: Peer::Local,
            peers: Peers::default(),
            transport: TransportConfig::default(),
            admin: Admin::default(),
            listen: Listen::default(),
            models: Models::default(),
            logs: Logs::default(),
            traces: Traces::default(),
            storage: Storage::default(),
            index_options: IndexOptions::default(),
            s3: S3Config::default(),
            kafka: KafkaConfig::default(),
            qdrant: QdrantConfig::default(),
            encoder: EncoderConfig::default(),
            worker: WorkerConfig::default(),
            gateway: GatewayConfig::default(),
            ingestion: IngestionConfig::default(),
            indexing: IndexingConfig::default(),
            ledger: LedgerConfig::default(),
            shutdown_wait: Duration::from_secs(30),
        }
    }
}

impl Default for Listen {
    fn default() -> Self {
        let loopback = |port| SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port);
        Self { tenants: loopback(7600), operators: loopback(7601), roles: None }
    }
}

impl Listen {
    /// Where roles of other processes are listened for.
    #[must_use]
    pub fn roles_address(&self) -> SocketAddr {
        self.roles.unwrap_or(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 7602))
    }
}

impl Default for Models {
    fn default() -> Self {
        let (name, others) = ("sface-2021dec".to_owned(), Vec::new());
        Self { directory: None, name, others, onnxruntime: None }
    }
}

impl Default for Logs {
    fn default() -> Self {
        // The client of S3 tells where it found credentials, again and again.
        Self { filter: "info,aws_config=warn".to_owned(), format: LogFormat::Json }
    }
}

impl Default for Storage {
    fn default() -> Self {
        Self { reserve_bytes: 512 << 20, log_partitions: 4 }
    }
}

impl Default for IndexOptions {
    fn default() -> Self {
        Self { largest_collection_faces: NonZeroU64::MIN.saturating_add(299_999) }
    }
}

impl Config {
    /// Reads the configuration.
    ///
    /// # Errors
    /// Where the file cannot be read, or something in it or in the environment is unknown or of the wrong kind; the
    /// message names it.
    pub fn load(settings: &Settings) -> anyhow::Result<Self> {
        let mut figment = Figment::from(Serialized::defaults(Self::default()));
        if let Some(file) = &settings.config {
            if !file.is_file() {
                bail!("configuration file {} does not exist", file.display());
            }
            figment = figment.merge(Toml::file_exact(file));
        }
        figment = figment.merge(Env::prefixed("VIDIMUS__").split("__"));
        let mut config: Self = figment.extract().context("configuration")?;
        config.data = settings.data.clone().or(config.data);
        config.models.directory = settings.models.clone().or(config.models.directory);
        Ok(config)
    }

    /// With the flags of `serve` over it.
    #[must_use]
    pub fn with_serve(mut self, arguments: &ServeArguments) -> Self {
        self.listen.tenants = arguments.listen.unwrap_or(self.listen.tenants);
        self.listen.operators = arguments.operators.unwrap_or(self.listen.operators);
        self.listen.roles = arguments.listen_roles.or(self.listen.roles);
        if !arguments.roles.is_empty() {
            self.roles.clone_from(&arguments.roles);
        }
        self
    }

    /// As TOML. It holds no secrets: those lie in files of their own.
    ///
    /// # Errors
    /// Where a value has no form in TOML.
    pub fn dump(&self) -> anyhow::Result<String> {
        toml::to_string_pretty(self).context("write the configuration as TOML")
    }

    /// The data directory.
    ///
    /// # Errors
    /// Where none is set.
    pub fn data(&self) -> anyhow::Result<&Path> {
        let unset = "no data directory: set --data, VIDIMUS_DATA or `data` in the configuration file";
        self.data.as_deref().context(unset)
    }

    /// The models directory.
    ///
    /// # Errors
    /// Where neither it nor a data directory is set.
    pub fn models_directory(&self) -> anyhow::Result<PathBuf> {
        match &self.models.directory {
            Some(directory) => Ok(directory.clone()),
            None => Ok(self.data()?.join("models")),
        }
    }

    /// The face model's name.
    ///
    /// # Errors
    /// Where it is no name.
    pub fn model(&self) -> anyhow::Result<FaceModelName> {
        self.models.name.parse().with_context(|| format!("models.name = {:?}", self.models.name))
    }

    /// The names of all face models, the one of new collections first.
    ///
    /// # Errors
    /// Where one is no name, or is there twice.
    pub fn face_models(&self) -> anyhow::Result<Vec<FaceModelName>> {
        let mut models = vec![self.model()?];
        for name in &self.models.others {
            let model = name.parse().with_context(|| format!("models.others has {name:?}"))?;
            if models.contains(&model) {
                bail!("models.others has {name:?}, which is named already");
            }
            // An index collection is named after its model, with a dot and something behind it.
            let is_within =
                |one: &FaceModelName, other: &FaceModelName| one.as_str().starts_with(&format!("{other}."));
            if let Some(other) =
                models.iter().find(|other| is_within(&model, other) || is_within(other, &model))
            {
                bail!(
                    "models.others has {name:?}, and index collections of {other} could have the same names"
                );
            }
            models.push(model);
        }
        Ok(models)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_file(text: &str) -> anyhow::Result<Config> {
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("vidimus.toml");
        std::fs::write(&file, text)?;
        let settings = Settings { config: Some(file), data: Some(folder.path().to_owned()), models: None };
        let config = Config::load(&settings)?;
        config.check()?;
        Ok(config)
    }

    #[test]
    fn files_are_read_over_the_defaults() {
        let config =
            with_file("[listen]\ntenants = \"127.0.0.1:1\"\n[ingestion]\nsearchable_wait = \"3s\"").unwrap();
        assert_eq!(config.listen.tenants.port(), 1);
        assert_eq!(config.listen.operators.port(), 7601);
        assert_eq!(config.ingestion.searchable_wait, Duration::from_secs(3));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, named) in [
            ("[listn]\n", "listn"),
            ("[listen]\ntenant = \"127.0.0.1:1\"", "tenant"),
            ("[listen]\ntenants = 7", "tenants"),
            ("blobs = \"ftp://bucket\"", "blobs"),
            ("index = \"edge://relative\"", "index"),
            ("embedding = \"http://host\"", "embedding"),
            ("[peers]\nquery = \"remote\"", "query"),
            ("roles = [\"gate\"]", "gate"),
            ("[models]\nname = \"a/b\"", "models.name"),
            ("[models]\nothers = [\"a/b\"]", "models.others"),
            ("[models]\nothers = [\"sface-2021dec\"]", "models.others"),
            ("[models]\nothers = [\"sface-2021dec.2\"]", "same names"),
            ("[gateway]\nconnections_max = 0", "connections_max"),
        ] {
            let error = format!("{:#}", with_file(text).unwrap_err());
            assert!(error.contains(named), "{text:?}: {error}");
        }
    }

    #[test]
    fn what_is_dumped_can_be_read_again() {
        let config = with_file("blobs = \"file:///a\"").unwrap();
        let again = with_file(&config.dump().unwrap()).unwrap();
        assert_eq!(Config { data: None, ..again }, Config { data: None, ..config });
    }
}
