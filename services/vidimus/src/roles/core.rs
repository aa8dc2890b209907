//! What every role stands on.

use std::sync::Arc;

use anyhow::Context;
use prometheus_client::registry::Registry;
use vidimus_indexing::Baseline;
use vidimus_ledger::{Ledger, LedgerDeps};
use vidimus_onnx::Manifest;
use vidimus_ports::{BlobStore, EventLog};
use vidimus_runtime::catalog::{CACHE_MAX_AGE, Catalog, CatalogDeps};
use vidimus_runtime::models::{FaceModels, KnownModel};

use super::{Role, Store};
use crate::adapters::{Adapters, Opened};
use crate::baseline::{FileMarker, IndexBaseline, Marker, PointMarker};
use crate::config::{Config, IndexPlace};
use crate::keys::{self, Keys};

/// The stores that all of them have, and what is made of these once for a process.
#[derive(Clone)]
pub struct Core {
    /// Records, photos, catalog.
    pub blobs: Arc<dyn BlobStore>,
    /// What has changed.
    pub log: Arc<dyn EventLog>,
    /// Tenants, keys, collections.
    pub catalog: Arc<Catalog>,
    /// What is known of the face model.
    pub face_models: Arc<FaceModels>,
    /// The index, where a role of this process has it.
    pub(crate) indexed: Option<Indexed>,
    /// Seals page tokens; the same for all gateways of a service.
    pub token_key: [u8; 32],
}

/// What goes with the index.
#[derive(Clone)]
pub(crate) struct Indexed {
    /// To be started where this process has that role; and what indexing compares the index with.
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) baseline: Arc<IndexBaseline>,
}

impl Indexed {
    pub(super) fn baseline(&self) -> Arc<dyn Baseline> {
        Arc::clone(&self.baseline) as Arc<dyn Baseline>
    }
}

impl Core {
    /// Made of the adapters (as a test may have wrapped them); none where embedding is this process's only role, without workers.
    ///
    /// # Errors
    /// Where the blobs fail, or a secret is damaged.
    pub async fn assemble(
        config: &Config,
        opened: &Opened,
        adapters: &Adapters,
        registry: &mut Registry,
    ) -> anyhow::Result<Option<Self>> {
        if config.roles() == [Role::Embedding] && !config.has_workers()? {
            return Ok(None);
        }
        let (blobs, log) = (adapters.blobs()?, adapters.log()?);
        let catalog = Arc::new(catalog(config, adapters)?);
        let face_models = Arc::new(known_models(&opened.manifests, &catalog).await?);
        let indexed = match &adapters.index {
            Some(_) => Some(indexed(config, (opened, adapters), (&catalog, &face_models), registry)?),
            None => None,
        };
        let token_key = match config.is_embedded(Store::Blobs)? {
            true => Keys::new(config.data()?).page_tokens(&*adapters.random)?,
            false => keys::shared_page_tokens(&*blobs, &*adapters.random).await?,
        };
        Ok(Some(Self { blobs, log, catalog, face_models, indexed, token_key }))
    }
}

/// What is known of the face models. The catalog gives each its number.
async fn known_models(manifests: &[Manifest], catalog: &Catalog) -> anyhow::Result<FaceModels> {
    let mut known = Vec::with_capacity(manifests.len());
    for manifest in manifests {
        let face_model = manifest.face_model()?;
        known.push(KnownModel {
            face_model_version: catalog.face_model_version(&face_model).await?,
            calibration: manifest.calibration()?,
            dimension: manifest.embedder.dimension,
            face_model,
        });
    }
    let mut known = known.into_iter();
    let first = known.next().context("there is no face model")?;
    Ok(FaceModels { first, others: known.collect() })
}

/// The catalog. Where no other process reads it nothing waits for a lease.
fn catalog(config: &Config, adapters: &Adapters) -> anyhow::Result<Catalog> {
    let deps = CatalogDeps {
        blobs: adapters.blobs()?,
        clock: Arc::clone(&adapters.clock),
        random: Arc::clone(&adapters.random),
    };
    let lease = (!config.is_embedded(Store::Blobs)?).then_some(CACHE_MAX_AGE);
    Ok(Catalog::new(deps, lease))
}

fn indexed(
    config: &Config,
    (opened, adapters): (&Opened, &Adapters),
    (catalog, face_models): (&Arc<Catalog>, &Arc<FaceModels>),
    registry: &mut Registry,
) -> anyhow::Result<Indexed> {
    let deps = LedgerDeps {
        blobs: adapters.blobs()?,
        log: adapters.log()?,
        index: adapters.index()?,
        catalog: Arc::clone(catalog),
        clock: Arc::clone(&adapters.clock),
        random: Arc::clone(&adapters.random),
        waiting_changes_max: config.ingestion.backlog_changes_max / 2,
        waiting_photos_max: config.ingestion.backlog_photos_max / 2,
        face_models: Arc::clone(face_models),
    };
    let ledger = Ledger::new(deps, registry);
    let marker = match config.index_place()? {
        IndexPlace::Edge(folder) => {
            Marker::File(FileMarker::new(folder, opened.edge().context("the embedded index is not open")?))
        }
        IndexPlace::Qdrant(_) => Marker::Point(PointMarker {
            index: adapters.index()?,
            placement: config.model()?.shared_placement(1)?,
            dimension: face_models.first.dimension,
        }),
    };
    let baseline = IndexBaseline { log: adapters.log()?, ledger: Arc::clone(&ledger), marker };
    Ok(Indexed { ledger, baseline: Arc::new(baseline) })
}
