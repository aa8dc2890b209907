//! The configuration: defaults < file < environment < flags; unknown fields refused; checked whole before anything is
//! opened or bound.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use figment::Figment;
use figment::providers::{Env, Format, Serialized, Toml};
use serde::{Deserialize, Serialize};
use vidimus_domain::Placement;
use vidimus_embedding::WorkerConfig;
use vidimus_gateway::GatewayConfig;
use vidimus_indexing::IndexingConfig;
use vidimus_ingestion::IngestionConfig;
use vidimus_ledger::LedgerConfig;
use vidimus_onnx::EncoderConfig;
use vidimus_runtime::telemetry::LogFormat;

use crate::cli::{ServeArguments, Settings};

/// Everything that can be set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Data directory: what is not set below lies under it.
    pub data: Option<PathBuf>,
    /// Records, photos, catalog, audit batches: `file:///PATH`.
    pub blobs: Option<String>,
    /// The durable log: `file:///PATH`.
    pub log: Option<String>,
    /// The searchable projection: `edge:///PATH`.
    pub index: Option<String>,
    /// Photos that tenants may name by bucket, where an administrator lets them: `file:///PATH`.
    pub imports: Option<String>,
    /// Who turns photos into templates: `local`.
    pub embedding: String,
    /// Addresses.
    pub listen: Listen,
    /// The face model.
    pub models: Models,
    /// Log lines on standard error.
    pub logs: Logs,
    /// What the embedded stores do with the disk.
    pub storage: Storage,
    /// The embedded index.
    pub index_options: IndexOptions,
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
}

/// The face model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Models {
    /// Where models lie (default: `models` in the data directory).
    pub directory: Option<PathBuf>,
    /// The model that new collections are made with.
    pub name: String,
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

/// The embedded index.
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
            blobs: None,
            log: None,
            index: None,
            imports: None,
            embedding: "local".to_owned(),
            listen: Listen::default(),
            models: Models::default(),
            logs: Logs::default(),
            storage: Storage::default(),
            index_options: IndexOptions::default(),
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
        Self { tenants: loopback(7600), operators: loopback(7601) }
    }
}

impl Default for Models {
    fn default() -> Self {
        Self { directory: None, name: "sface-2021dec".to_owned(), onnxruntime: None }
    }
}

impl Default for Logs {
    fn default() -> Self {
        Self { filter: "info".to_owned(), format: LogFormat::Json }
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
        self
    }

    /// Checks all that can be checked without opening anything.
    ///
    /// # Errors
    /// A sentence that names what is wrong.
    pub fn check(&self) -> anyhow::Result<()> {
        self.data()?;
        self.places()?;
        self.model()?;
        if self.embedding != "local" {
            bail!("embedding = {:?}: only `local` is there", self.embedding);
        }
        self.gateway.check().map_err(|wrong| anyhow::anyhow!("gateway: {wrong}"))?;
        if self.storage.log_partitions == 0 {
            bail!("storage.log_partitions must be at least 1");
        }
        Ok(())
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

    /// Where blobs, log and index lie.
    ///
    /// # Errors
    /// Where a URI's scheme is not one that there is.
    pub fn places(&self) -> anyhow::Result<Places> {
        let data = self.data()?;
        Ok(Places {
            blobs: place(self.blobs.as_deref(), "blobs", "file")?.unwrap_or_else(|| data.join("blobs")),
            log: place(self.log.as_deref(), "log", "file")?.unwrap_or_else(|| data.join("log")),
            index: place(self.index.as_deref(), "index", "edge")?.unwrap_or_else(|| data.join("index")),
            imports: place(self.imports.as_deref(), "imports", "file")?
                .unwrap_or_else(|| data.join("imports")),
        })
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

    /// The model's name, which is its placement's.
    ///
    /// # Errors
    /// Where it is no name.
    pub fn model(&self) -> anyhow::Result<Placement> {
        self.models.name.parse().with_context(|| format!("models.name = {:?}", self.models.name))
    }
}

/// Folders of the embedded stores.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Places {
    /// Of the blobs.
    pub blobs: PathBuf,
    /// Of the log.
    pub log: PathBuf,
    /// Of the index.
    pub index: PathBuf,
    /// Of the photos that tenants name.
    pub imports: PathBuf,
}

/// The folder of a URI `SCHEME:///PATH`. The scheme picks the adapter; so far each port has one.
fn place(uri: Option<&str>, name: &str, scheme: &str) -> anyhow::Result<Option<PathBuf>> {
    let Some(uri) = uri else {
        return Ok(None);
    };
    match uri.split_once("://") {
        Some((found, path)) if found == scheme && path.starts_with('/') => Ok(Some(PathBuf::from(path))),
        _ => bail!("{name} = {uri:?}: it must be {scheme}:///ABSOLUTE/PATH"),
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
            ("blobs = \"s3://bucket\"", "blobs"),
            ("index = \"edge://relative\"", "index"),
            ("embedding = \"http://host\"", "embedding"),
            ("[models]\nname = \"a/b\"", "models.name"),
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
