//! The adapters that a configuration names, behind their ports.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use prometheus_client::registry::Registry;
use vidimus_edge::{EdgeConfig, EdgeIndex};
use vidimus_files::{Directory, FileBlobStore, FileEventLog, FilePhotoSource, LogOptions};
use vidimus_kafka::{KafkaDeps, KafkaEventLog, KafkaMetrics};
use vidimus_onnx::{Manifest, Model, ModelStore, OnnxEncoder, OnnxRuntime};
use vidimus_ports::clock::SystemClock;
use vidimus_ports::random::SystemRandom;
use vidimus_ports::{BlobStore, Clock, Encoders, EventLog, FaceEncoder, FaceIndex, PhotoSource, Random};
use vidimus_qdrant::{QdrantDeps, QdrantIndex};
use vidimus_s3::{S3BlobStore, S3Bucket, S3Location, S3PhotoSource, Versioning};

use crate::config::{BlobsPlace, Config, ImportsPlace, IndexPlace, LogPlace};
use crate::roles::{Role, Store};

/// Everything outside the roles; of the stores, those that a role of this process stands on.
#[derive(Clone)]
pub struct Adapters {
    /// Records, photos, catalog, audit batches.
    pub blobs: Option<Arc<dyn BlobStore>>,
    /// The durable log.
    pub log: Option<Arc<dyn EventLog>>,
    /// What is searchable.
    pub index: Option<Arc<dyn FaceIndex>>,
    /// Photos that tenants name by bucket.
    pub photos: Option<Arc<dyn PhotoSource>>,
    /// Photos to faces, for each face model.
    pub encoders: Option<Encoders>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub random: Arc<dyn Random>,
}

impl Adapters {
    /// The blobs.
    ///
    /// # Errors
    /// Where no role of this process stands on them; so with the others here.
    pub fn blobs(&self) -> anyhow::Result<Arc<dyn BlobStore>> {
        self.blobs.clone().context("no role of this process has blobs")
    }

    /// The log.
    ///
    /// # Errors
    /// As [`Adapters::blobs`].
    pub fn log(&self) -> anyhow::Result<Arc<dyn EventLog>> {
        self.log.clone().context("no role of this process has the log")
    }

    /// The index.
    ///
    /// # Errors
    /// As [`Adapters::blobs`].
    pub fn index(&self) -> anyhow::Result<Arc<dyn FaceIndex>> {
        self.index.clone().context("no role of this process has the index")
    }

    /// The photos that tenants name.
    ///
    /// # Errors
    /// As [`Adapters::blobs`].
    pub fn photos(&self) -> anyhow::Result<Arc<dyn PhotoSource>> {
        self.photos.clone().context("no role of this process has photos by name")
    }

    /// The encoders.
    ///
    /// # Errors
    /// As [`Adapters::blobs`].
    pub fn encoders(&self) -> anyhow::Result<Encoders> {
        self.encoders.clone().context("no role of this process has an encoder")
    }
}

/// The adapters as opened, with what only their owner may do.
pub struct Opened {
    /// Behind their ports.
    pub adapters: Adapters,
    /// What is known of the face models, that of new collections first.
    pub manifests: Vec<Manifest>,
    edge: Option<Arc<EdgeIndex>>,
    kafka: Option<Arc<KafkaEventLog>>,
}

impl Opened {
    /// Ends in order what is not ended by letting go of it: consumers leave their groups, so that others have their partitions at
    /// once; an index in this process makes no more graphs, and is flushed.
    ///
    /// # Errors
    /// Where the flush fails.
    pub async fn close(&self, patience: Duration) -> anyhow::Result<()> {
        if let Some(kafka) = &self.kafka
            && !kafka.close(patience).await
        {
            tracing::warn!(
                "a consumer has not left its group; its partitions wait until its session has run out"
            );
        }
        match &self.edge {
            Some(edge) => edge.close(patience).await.context("close the index"),
            None => Ok(()),
        }
    }

    /// The embedded index, for what is not the port's.
    #[must_use]
    pub fn edge(&self) -> Option<Arc<EdgeIndex>> {
        self.edge.clone()
    }
}

/// Opens the blobs.
///
/// # Errors
/// Where another process works in the directory, or it is damaged; where a server is not what is needed.
pub async fn open_blobs(config: &Config, random: Arc<dyn Random>) -> anyhow::Result<Arc<dyn BlobStore>> {
    match config.blobs_place()? {
        BlobsPlace::Files(folder) => {
            let directory = Directory::open(folder)?;
            Ok(Arc::new(FileBlobStore::open(directory, config.storage.reserve_bytes, random)?))
        }
        BlobsPlace::S3(location) => {
            let (store, versioning) = open_bucket(config, location, random).await?;
            tracing::info!(%versioning, "the bucket does what it must");
            Ok(Arc::new(store))
        }
    }
}

/// Opens a bucket for blobs, and tries it.
///
/// # Errors
/// Where it is away, or does not do what it must.
pub(crate) async fn open_bucket(
    config: &Config,
    location: S3Location,
    random: Arc<dyn Random>,
) -> anyhow::Result<(S3BlobStore, Versioning)> {
    let store = S3BlobStore::new(S3Bucket::connect(&config.s3, location, random).await?);
    let report = store.check().await?;
    Ok((store, report.versioning))
}

/// A log with what is not the port's.
pub(crate) struct OpenedLog {
    pub(crate) log: Arc<dyn EventLog>,
    kafka: Option<Arc<KafkaEventLog>>,
}

/// Opens the log.
///
/// # Errors
/// As [`open_blobs`].
pub(crate) async fn open_log(
    config: &Config,
    random: Arc<dyn Random>,
    registry: &mut Registry,
) -> anyhow::Result<OpenedLog> {
    match config.log_place()? {
        LogPlace::Files(folder) => {
            let options = LogOptions {
                partitions: config.storage.log_partitions,
                reserve_bytes: config.storage.reserve_bytes,
                ..LogOptions::default()
            };
            let log = FileEventLog::open(Directory::open(folder)?, options, &*random)?;
            Ok(OpenedLog { log: Arc::new(log), kafka: None })
        }
        LogPlace::Kafka(uri) => {
            let deps = KafkaDeps { random, metrics: KafkaMetrics::new(registry) };
            let kafka = Arc::new(KafkaEventLog::open(&uri, config.kafka.clone(), deps).await?);
            Ok(OpenedLog { log: Arc::clone(&kafka) as Arc<dyn EventLog>, kafka: Some(kafka) })
        }
    }
}

/// Opens what the roles of this process stand on, the model first: what is wrong with it is said before a directory is made.
///
/// # Errors
/// Where something is missing, damaged or in use; the message says what and, where a command mends it, which.
pub async fn open(config: &Config, registry: &mut Registry) -> anyhow::Result<Opened> {
    let roles = config.roles();
    let has_workers = config.has_workers()?;
    let uses = |store: Store| {
        let is_workers = has_workers && store != Store::Index;
        is_workers || roles.iter().any(|role| role.stores().contains(&store))
    };
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let random: Arc<dyn Random> = Arc::new(SystemRandom);
    let (manifests, encoders) = match config.has(Role::Embedding) {
        true => open_encoders(config).map(|(manifests, encoders)| (manifests, Some(encoders)))?,
        false => (known_manifests(config)?, None),
    };
    let blobs = match uses(Store::Blobs) {
        true => Some(open_blobs(config, Arc::clone(&random)).await.context("open the blobs")?),
        false => None,
    };
    let log = match uses(Store::Log) {
        true => Some(open_log(config, Arc::clone(&random), registry).await.context("open the log")?),
        false => None,
    };
    let index = match uses(Store::Index) {
        true => Some(open_index(config).await.context("open the index")?),
        false => None,
    };
    let photos = match config.has(Role::Gateway) {
        true => Some(open_photos(config, Arc::clone(&random)).await?),
        false => None,
    };
    let (log, kafka) = log.map_or((None, None), |opened| (Some(opened.log), opened.kafka));
    let (index, edge) = index.map_or((None, None), |opened| (Some(opened.index), opened.edge));
    let adapters = Adapters { blobs, log, index, photos, encoders, clock, random };
    Ok(Opened { adapters, manifests, edge, kafka })
}

/// The place of photos that tenants name by bucket, and that bulk jobs bring in.
///
/// # Errors
/// Where it cannot be reached.
pub async fn open_photos(config: &Config, random: Arc<dyn Random>) -> anyhow::Result<Arc<dyn PhotoSource>> {
    match config.imports_place()? {
        ImportsPlace::Files(folder) => Ok(Arc::new(FilePhotoSource::new(folder))),
        ImportsPlace::S3(location) => {
            let bucket = S3Bucket::connect(&config.s3, location, random).await.context("open imports")?;
            Ok(Arc::new(S3PhotoSource::new(bucket)))
        }
    }
}

/// An encoder for each configured model, each with threads of its own.
fn open_encoders(config: &Config) -> anyhow::Result<(Vec<Manifest>, Encoders)> {
    let (mut manifests, mut encoders) = (Vec::new(), Vec::<Arc<dyn FaceEncoder>>::new());
    let models = load_models(config)?;
    let runtime = OnnxRuntime::load(&runtime_path(config)?)?;
    for model in models {
        encoders.push(Arc::new(OnnxEncoder::new(&config.encoder, &runtime, &model)?));
        manifests.push(model.manifest);
    }
    Ok((manifests, Encoders::new(encoders)))
}

/// What is known of the configured models without their files: what their scores mean.
fn known_manifests(config: &Config) -> anyhow::Result<Vec<Manifest>> {
    config.face_models()?.iter().map(|name| known_manifest(config, name.as_str())).collect()
}

fn known_manifest(config: &Config, name: &str) -> anyhow::Result<Manifest> {
    let imported = config.models_directory().map(|directory| ModelStore::new(directory).manifest(name));
    match imported {
        Ok(Ok(manifest)) => Ok(manifest),
        Ok(Err(_)) | Err(_) => {
            let builtin = Manifest::builtin()?;
            if builtin.name != name {
                bail!(
                    "the face model {name:?}: import it (`vidimus models import`), so that this process knows what its scores mean"
                );
            }
            Ok(builtin)
        }
    }
}

/// An index with what is not the port's.
pub(crate) struct OpenedIndex {
    index: Arc<dyn FaceIndex>,
    edge: Option<Arc<EdgeIndex>>,
}

/// Opens the index.
///
/// # Errors
/// Where it is damaged; where servers are away, or set up otherwise.
pub(crate) async fn open_index(config: &Config) -> anyhow::Result<OpenedIndex> {
    match config.index_place()? {
        IndexPlace::Edge(root) => {
            let edge = Arc::new(EdgeIndex::open(edge_config(config, root)).await?);
            Ok(OpenedIndex { index: Arc::clone(&edge) as Arc<dyn FaceIndex>, edge: Some(edge) })
        }
        IndexPlace::Qdrant(address) => {
            let deps = QdrantDeps { clock: Arc::new(SystemClock), random: Arc::new(SystemRandom) };
            let largest = config.index_options.largest_collection_faces.get();
            let index = QdrantIndex::open(&address, config.qdrant.clone(), largest, deps).await?;
            index.check().await?;
            // From now on whatever host is connected to again, or late, may have lost something.
            index.look().await?;
            Ok(OpenedIndex { index: Arc::new(index), edge: None })
        }
    }
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

/// The model of new collections, its digests checked.
///
/// # Errors
/// Where it is missing or wrong; the message names the command that mends it.
pub fn load_model(config: &Config) -> anyhow::Result<Model> {
    let store = ModelStore::new(config.models_directory()?);
    Ok(store.load(&config.models.name)?)
}

/// All configured models, that of new collections first.
///
/// # Errors
/// As [`load_model`].
pub fn load_models(config: &Config) -> anyhow::Result<Vec<Model>> {
    let store = ModelStore::new(config.models_directory()?);
    config.face_models()?.iter().map(|name| Ok(store.load(name.as_str())?)).collect()
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
