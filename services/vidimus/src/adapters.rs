//! The adapters that a configuration names, behind their ports.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use vidimus_edge::{EdgeConfig, EdgeIndex};
use vidimus_files::{Directory, FileBlobStore, FileEventLog, FilePhotoSource, LogOptions};
use vidimus_onnx::{Model, ModelStore, OnnxEncoder, OnnxRuntime};
use vidimus_ports::clock::SystemClock;
use vidimus_ports::random::SystemRandom;
use vidimus_ports::{BlobStore, Clock, EventLog, FaceEncoder, FaceIndex, PhotoSource, Random};

use crate::config::Config;

/// Everything outside the roles.
#[derive(Clone)]
pub struct Adapters {
    /// Records, photos, catalog, audit batches.
    pub blobs: Arc<dyn BlobStore>,
    /// The durable log.
    pub log: Arc<dyn EventLog>,
    /// What is searchable.
    pub index: Arc<dyn FaceIndex>,
    /// Photos that tenants name by bucket.
    pub photos: Arc<dyn PhotoSource>,
    /// Photos to faces.
    pub encoder: Arc<dyn FaceEncoder>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub random: Arc<dyn Random>,
}

/// The adapters as opened, with what only their owner may do.
pub struct Opened {
    /// Behind their ports.
    pub adapters: Adapters,
    /// The face model that was loaded.
    pub model: Model,
    edge: Arc<EdgeIndex>,
}

impl Opened {
    /// Ends the index in order: no more optimisations, then a flush.
    ///
    /// # Errors
    /// Where the flush fails.
    pub async fn close(&self, patience: Duration) -> anyhow::Result<()> {
        self.edge.close(patience).await.context("close the index")
    }

    /// The embedded index, for what is not the port's.
    #[must_use]
    pub fn edge(&self) -> Arc<EdgeIndex> {
        Arc::clone(&self.edge)
    }
}

/// Opens blobs alone, for administration without a running service.
///
/// # Errors
/// Where another process works in the directory, or it is damaged.
pub fn open_blobs(config: &Config, random: Arc<dyn Random>) -> anyhow::Result<Arc<dyn BlobStore>> {
    let directory = Directory::open(config.places()?.blobs)?;
    Ok(Arc::new(FileBlobStore::open(directory, config.storage.reserve_bytes, random)?))
}

/// Opens the log alone, for administration that is audited without a running service.
///
/// # Errors
/// Where another process works in the directory, or it is damaged.
pub fn open_log(config: &Config, random: &dyn Random) -> anyhow::Result<Arc<dyn EventLog>> {
    let options = LogOptions {
        partitions: config.storage.log_partitions,
        reserve_bytes: config.storage.reserve_bytes,
        ..LogOptions::default()
    };
    Ok(Arc::new(FileEventLog::open(Directory::open(config.places()?.log)?, options, random)?))
}

/// The place of photos that tenants name by bucket, and that bulk jobs bring in.
///
/// # Errors
/// Where the configuration names no place.
pub fn open_imports(config: &Config) -> anyhow::Result<Arc<dyn PhotoSource>> {
    Ok(Arc::new(FilePhotoSource::new(config.places()?.imports)))
}

/// Opens everything that the configuration names, the model first: what is wrong with it is said before a directory is
/// made.
///
/// # Errors
/// Where something is missing, damaged or in use; the message says what and, where a command mends it, which.
pub async fn open(config: &Config) -> anyhow::Result<Opened> {
    let model = load_model(config)?;
    let runtime = OnnxRuntime::load(&runtime_path(config)?)?;
    let random: Arc<dyn Random> = Arc::new(SystemRandom);
    let blobs = open_blobs(config, Arc::clone(&random))?;
    let log = open_log(config, &*random)?;
    let edge = Arc::new(open_index(config, config.places()?.index).await?);
    let encoder = Arc::new(OnnxEncoder::new(&config.encoder, &runtime, &model)?);
    let adapters = Adapters {
        blobs,
        log,
        index: Arc::clone(&edge) as Arc<dyn FaceIndex>,
        photos: open_imports(config)?,
        encoder,
        clock: Arc::new(SystemClock),
        random,
    };
    Ok(Opened { adapters, model, edge })
}

async fn open_index(config: &Config, root: PathBuf) -> anyhow::Result<EdgeIndex> {
    EdgeIndex::open(edge_config(config, root)).await.context("open the index")
}

/// The index's settings. It refuses enrolments only when less room is left than the blobs would leave: what they have taken
/// is projected.
pub(crate) fn edge_config(config: &Config, root: PathBuf) -> EdgeConfig {
    let defaults = EdgeConfig::new(root);
    EdgeConfig {
        largest_part_faces: config.index_options.largest_collection_faces.get(),
        free_bytes_min: defaults.free_bytes_min.min(config.storage.reserve_bytes / 2),
        ..defaults
    }
}

/// The configured model, its digests checked.
///
/// # Errors
/// Where it is missing or wrong; the message names the command that mends it.
pub fn load_model(config: &Config) -> anyhow::Result<Model> {
    let store = ModelStore::new(config.models_directory()?);
    Ok(store.load(&config.models.name)?)
}

/// ONNX Runtime's library: the configured one, else the imported one with its digest checked.
///
/// # Errors
/// Where the imported one is missing or not what was imported.
pub fn runtime_path(config: &Config) -> anyhow::Result<PathBuf> {
    match &config.models.onnxruntime {
        Some(path) => Ok(path.clone()),
        None => Ok(ModelStore::new(config.models_directory()?).verify_runtime()?),
    }
}
