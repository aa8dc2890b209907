//! Qdrant's collections: making them, and seeing that they are what the other modules take them for.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use qdrant_client::qdrant::create_vector_name_request::VectorConfig;
use qdrant_client::qdrant::vectors_config::Config;
use qdrant_client::qdrant::{
    CollectionInfo, CreateCollection, CreateFieldIndexCollection, CreateVectorNameRequest, DeleteCollection,
    DenseVectorCreationConfig, Distance, GetCollectionInfoRequest, ListCollectionsRequest, VectorParams,
    VectorParamsMap, VectorsConfig,
};
use tonic::Code;
use vidimus_domain::Placement;

use crate::config::{GraphShape, QdrantConfig, int8, optimizers};
use crate::connection::Connections;
use crate::error::{QdrantError, QdrantResult};
use crate::request::{collections, points, require_completed, seconds, strong};

mod check;
mod field_index;

pub use check::VECTOR;
use check::{Expected, Found, check};

/// Making a collection is given up after so many looks: another process makes and drops it meanwhile.
const LOOKS_MAX: u32 = 5;
/// The pause before the next look at whether the vector is there that was made.
const VECTOR_PAUSE: Duration = Duration::from_millis(20);

/// The placements' collections.
pub struct Layout {
    connections: Arc<Connections>,
    config: QdrantConfig,
    shape: GraphShape,
    /// The dimension of placements that are whole: with their vector and every index.
    whole: RwLock<HashMap<Placement, usize>>,
    /// Held by who makes one.
    making: tokio::sync::Mutex<()>,
}

impl Layout {
    pub fn new(connections: Arc<Connections>, config: QdrantConfig, shape: GraphShape) -> Self {
        let (whole, making) = (RwLock::default(), tokio::sync::Mutex::default());
        Self { connections, config, shape, whole, making }
    }

    /// The name of a placement's collection.
    pub fn collection(&self, placement: &Placement) -> String {
        format!("{}{placement}", self.config.collection_prefix)
    }

    /// The dimension of the placement's templates; none where there is no collection, or no template was ever written.
    ///
    /// # Errors
    /// [`QdrantError::Setup`] where the collection is set up otherwise.
    pub async fn dimension(&self, placement: &Placement) -> QdrantResult<Option<usize>> {
        if let Some(dimension) = self.known(placement) {
            return Ok(Some(dimension));
        }
        let collection = self.collection(placement);
        let Some(found) = self.look(&collection).await? else { return Ok(None) };
        self.remember(placement, &found);
        Ok(found.dimension)
    }

    /// Sees to it that the placement has its collection with every index, and for templates of `dimension` its vector.
    ///
    /// # Errors
    /// [`QdrantError::Dimension`] where it has another one; [`QdrantError::Setup`] where it is set up otherwise.
    pub async fn require(&self, placement: &Placement, dimension: Option<usize>) -> QdrantResult<()> {
        if let Some(known) = self.known(placement) {
            return match dimension {
                Some(given) if given != known => Err(QdrantError::Dimension { expected: known, given }),
                _ => Ok(()),
            };
        }
        let _making = self.making.lock().await;
        let collection = self.collection(placement);
        for _ in 0..LOOKS_MAX {
            let Some(found) = self.look(&collection).await? else {
                self.create(&collection, dimension).await?;
                continue;
            };
            if let (Some(expected), Some(given)) = (found.dimension, dimension)
                && expected != given
            {
                return Err(QdrantError::Dimension { expected, given });
            }
            for field in &found.missing {
                self.create_index(&collection, field).await?;
            }
            match (found.dimension, dimension) {
                (None, Some(size)) => {
                    self.create_vector(&collection, size).await?;
                    tokio::time::sleep(VECTOR_PAUSE).await;
                }
                _ if found.missing.is_empty() => {
                    self.remember(placement, &found);
                    return Ok(());
                }
                _ => {}
            }
        }
        let what = "it, its vector or an index of it is made and is not there, again and again".to_owned();
        Err(QdrantError::Setup { collection, what })
    }

    /// Looks at every collection that is ours by its name.
    ///
    /// # Errors
    /// [`QdrantError::Setup`] for the first that is set up otherwise.
    pub async fn check_all(&self) -> QdrantResult<()> {
        let wait = self.config.try_timeout;
        let listed = self
            .connections
            .call(wait, ListCollectionsRequest {}, |service, request| async move {
                collections(service).list(request).await
            })
            .await?;
        for collection in listed.collections {
            if collection.name.starts_with(&self.config.collection_prefix) {
                self.look(&collection.name).await?;
            }
        }
        Ok(())
    }

    /// Drops the placement's collection; where there is none, that is done.
    ///
    /// # Errors
    /// Where the servers are away.
    pub async fn drop(&self, placement: &Placement) -> QdrantResult<()> {
        let wait = self.config.removal_timeout;
        let message =
            DeleteCollection { collection_name: self.collection(placement), timeout: seconds(wait) };
        let dropped = self
            .connections
            .call(wait, message, |service, request| async move { collections(service).delete(request).await })
            .await;
        self.forget(placement);
        match dropped {
            Err(error) if !error.is_absence() => Err(error),
            _ => Ok(()),
        }
    }

    /// The collection is not what it was: looks again next time.
    pub fn forget(&self, placement: &Placement) {
        self.whole.write().unwrap_or_else(PoisonError::into_inner).remove(placement);
    }

    fn known(&self, placement: &Placement) -> Option<usize> {
        self.whole.read().unwrap_or_else(PoisonError::into_inner).get(placement).copied()
    }

    fn remember(&self, placement: &Placement, found: &Found) {
        if let (Some(dimension), true) = (found.dimension, found.missing.is_empty()) {
            let mut whole = self.whole.write().unwrap_or_else(PoisonError::into_inner);
            whole.insert(placement.clone(), dimension);
        }
    }

    async fn look(&self, collection: &str) -> QdrantResult<Option<Found>> {
        let message = GetCollectionInfoRequest { collection_name: collection.to_owned() };
        let wait = self.config.try_timeout;
        let answer = self
            .connections
            .call(wait, message, |service, request| async move { collections(service).get(request).await })
            .await;
        let info: CollectionInfo = match answer {
            Ok(answer) => answer.result.ok_or(QdrantError::Incomplete("a collection's state"))?,
            Err(error) if error.is_absence() => return Ok(None),
            Err(error) => return Err(error),
        };
        let expected = Expected {
            replication_factor: self.config.replication_factor,
            write_consistency_factor: self.config.write_consistency_factor(),
            durable_after: self.config.durable_after,
        };
        match check(&info, expected) {
            Ok(found) => Ok(Some(found)),
            Err(what) => Err(QdrantError::Setup { collection: collection.to_owned(), what }),
        }
    }

    /// Makes the collection; another process may have been faster.
    async fn create(&self, collection: &str, dimension: Option<usize>) -> QdrantResult<()> {
        let wait = self.config.removal_timeout;
        let vector = |size: usize| {
            let mut params = VectorParams { size: size as u64, ..VectorParams::default() };
            params.set_distance(Distance::Dot);
            (VECTOR.to_owned(), params)
        };
        let map = VectorParamsMap { map: dimension.map(vector).into_iter().collect() };
        let message = CreateCollection {
            collection_name: collection.to_owned(),
            hnsw_config: Some(self.shape.hnsw()),
            optimizers_config: Some(optimizers()),
            quantization_config: Some(int8()),
            vectors_config: Some(VectorsConfig { config: Some(Config::ParamsMap(map)) }),
            shard_number: self.config.shards,
            replication_factor: Some(self.config.replication_factor),
            write_consistency_factor: Some(self.config.write_consistency_factor()),
            timeout: seconds(wait),
            ..CreateCollection::default()
        };
        let made = self
            .connections
            .call(wait, message, |service, request| async move { collections(service).create(request).await })
            .await;
        match made {
            Ok(_) => Ok(()),
            Err(QdrantError::Server { code: Code::AlreadyExists, .. }) => Ok(()),
            // Older servers have no code for it.
            Err(QdrantError::Server { code: Code::InvalidArgument, message, .. })
                if message.contains("already exists") =>
            {
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    async fn create_index(&self, collection: &str, field: &field_index::FieldIndex) -> QdrantResult<()> {
        let wait = self.config.removal_timeout;
        let message = CreateFieldIndexCollection {
            collection_name: collection.to_owned(),
            wait: Some(true),
            field_name: field.name.to_owned(),
            field_type: Some(field.field_type() as i32),
            field_index_params: Some(field.params()),
            ordering: strong(),
            timeout: seconds(wait),
        };
        let made = self
            .connections
            .call(wait, message, |service, request| async move {
                points(service).create_field_index(request).await
            })
            .await?;
        require_completed(&made)
    }

    /// Makes the vector of a collection whose first point was an erased one.
    async fn create_vector(&self, collection: &str, size: usize) -> QdrantResult<()> {
        let wait = self.config.removal_timeout;
        let mut dense = DenseVectorCreationConfig { size: size as u64, ..Default::default() };
        dense.set_distance(Distance::Dot);
        let message = CreateVectorNameRequest {
            collection_name: collection.to_owned(),
            wait: Some(true),
            vector_name: VECTOR.to_owned(),
            vector_config: Some(VectorConfig::DenseConfig(dense)),
            timeout: seconds(wait),
            ordering: strong(),
        };
        let made = self
            .connections
            .call(wait, message, |service, request| async move {
                points(service).create_vector_name(request).await
            })
            .await;
        match made {
            // It need not be there yet: what is written next comes after it in its shard, and the next look decides.
            Ok(_) => Ok(()),
            // Another process was faster: the next look says whether with the same dimension.
            Err(QdrantError::Server { code: Code::AlreadyExists | Code::InvalidArgument, .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }
}
