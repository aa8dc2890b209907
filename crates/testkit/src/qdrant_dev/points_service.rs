//! The calls about points.

use std::sync::Arc;
use std::time::Instant;

use qdrant_client::qdrant as api;
use qdrant_client::qdrant::points_selector::PointsSelectorOneOf;
use qdrant_client::qdrant::points_server::Points;
use qdrant_edge as engine;
use tonic::{Request, Response, Status};

use super::collection::Collection;
use super::filter::filter;
use super::point::{json_path, next_page, point_id, retrieved, scored, with_payload, with_vectors, written};
use super::refusal::{Answer, require_positive, require_understood, unsupported, wrong};
use super::search::{Search, of_query, of_search};
use super::store::{Store, require_selector};
use super::{field_index, refuse_calls, settings};

/// Points of a page where none is said.
const PAGE: u32 = 10;

/// The service.
pub struct PointsService {
    pub(super) store: Arc<Store>,
}

impl PointsService {
    /// Carries a write out and says so, or only that it was taken where nobody waits for it.
    async fn write(
        &self,
        collection: &str,
        wait: Option<bool>,
        write: impl FnOnce(&Collection) -> Answer<()> + Send + 'static,
    ) -> Answer<Response<api::PointsOperationResponse>> {
        let began = Instant::now();
        let collection = self.store.collection(collection).await?;
        self.store.run(move || write(&collection)).await?;
        let mut result = api::UpdateResult::default();
        result.set_status(match wait {
            Some(true) => api::UpdateStatus::Completed,
            _ => api::UpdateStatus::Acknowledged,
        });
        let time = began.elapsed().as_secs_f64();
        Ok(Response::new(api::PointsOperationResponse { result: Some(result), time, usage: None }))
    }

    async fn nearest(&self, collection: &str, search: Search) -> Answer<Vec<api::ScoredPoint>> {
        let collection = self.store.collection(collection).await?;
        let found = self.store.run(move || collection.search(search)).await?;
        found.into_iter().map(scored).collect()
    }
}

#[tonic::async_trait]
impl Points for PointsService {
    async fn upsert(
        &self,
        request: Request<api::UpsertPoints>,
    ) -> Answer<Response<api::PointsOperationResponse>> {
        let message = request.into_inner();
        if message.shard_key_selector.is_some() || message.update_mode.is_some() {
            return Err(unsupported("shard keys and update modes"));
        }
        require_positive(message.timeout, "timeout")?;
        let points = message.points.into_iter().map(written).collect::<Answer<Vec<_>>>()?;
        let condition = message.update_filter.map(filter).transpose()?;
        let write = move |collection: &Collection| collection.upsert(points, condition);
        self.write(&message.collection_name, message.wait, write).await
    }

    async fn delete(
        &self,
        request: Request<api::DeletePoints>,
    ) -> Answer<Response<api::PointsOperationResponse>> {
        let message = request.into_inner();
        if message.shard_key_selector.is_some() {
            return Err(unsupported("shard keys"));
        }
        require_positive(message.timeout, "timeout")?;
        let selector = message.points.and_then(|points| points.points_selector_one_of);
        match require_selector(selector)? {
            PointsSelectorOneOf::Filter(selected) => {
                let condition = filter(selected)?;
                let write = move |collection: &Collection| collection.delete(condition);
                self.write(&message.collection_name, message.wait, write).await
            }
            PointsSelectorOneOf::Points(selected) => {
                let ids = selected.ids.into_iter().map(point_id).collect::<Answer<Vec<_>>>()?;
                let write = move |collection: &Collection| collection.delete_ids(ids);
                self.write(&message.collection_name, message.wait, write).await
            }
        }
    }

    async fn get(&self, request: Request<api::GetPoints>) -> Answer<Response<api::GetResponse>> {
        let began = Instant::now();
        let message = request.into_inner();
        if message.shard_key_selector.is_some() {
            return Err(unsupported("shard keys"));
        }
        require_positive(message.timeout, "timeout")?;
        let request = engine::RetrieveRequest {
            point_ids: message.ids.into_iter().map(point_id).collect::<Answer<Vec<_>>>()?,
            with_payload: Some(with_payload(message.with_payload, true)?),
            with_vector: Some(with_vectors(message.with_vectors)),
        };
        let collection = self.store.collection(&message.collection_name).await?;
        let records = self.store.run(move || collection.get(request)).await?;
        let result = records.into_iter().map(retrieved).collect::<Answer<Vec<_>>>()?;
        let time = began.elapsed().as_secs_f64();
        Ok(Response::new(api::GetResponse { result, time, usage: None }))
    }

    async fn create_field_index(
        &self,
        request: Request<api::CreateFieldIndexCollection>,
    ) -> Answer<Response<api::PointsOperationResponse>> {
        let message = request.into_inner();
        require_positive(message.timeout, "timeout")?;
        let (field, schema) = (json_path(&message.field_name)?, field_index::schema(&message)?);
        let write = move |collection: &Collection| collection.create_index(field, schema);
        self.write(&message.collection_name, message.wait, write).await
    }

    async fn delete_field_index(
        &self,
        request: Request<api::DeleteFieldIndexCollection>,
    ) -> Answer<Response<api::PointsOperationResponse>> {
        let message = request.into_inner();
        let field = json_path(&message.field_name)?;
        let write = move |collection: &Collection| collection.delete_index(field);
        self.write(&message.collection_name, message.wait, write).await
    }

    async fn create_vector_name(
        &self,
        request: Request<api::CreateVectorNameRequest>,
    ) -> Answer<Response<api::PointsOperationResponse>> {
        use api::create_vector_name_request::VectorConfig;
        let message = request.into_inner();
        let dense = match message.vector_config {
            None => return Err(wrong("vector_config is missing")),
            Some(VectorConfig::SparseConfig(_)) => return Err(unsupported("sparse vectors")),
            Some(VectorConfig::DenseConfig(dense)) => dense,
        };
        let understood = api::DenseVectorCreationConfig {
            size: dense.size,
            distance: dense.distance,
            ..api::DenseVectorCreationConfig::default()
        };
        require_understood(&dense, &understood, "a vector")?;
        let params = settings::vector(dense.size, dense.distance())?;
        let config = serde_json::json!({ "dense": { "size": params.size, "distance": params.distance } });
        let config: engine::VectorNameConfig =
            serde_json::from_value(config).map_err(|error| wrong(error.to_string()))?;
        let write = move |collection: &Collection| collection.create_vector(message.vector_name, config);
        self.write(&message.collection_name, message.wait, write).await
    }

    async fn search(&self, request: Request<api::SearchPoints>) -> Answer<Response<api::SearchResponse>> {
        let began = Instant::now();
        let message = request.into_inner();
        let collection = message.collection_name.clone();
        let result = self.nearest(&collection, of_search(message)?).await?;
        let time = began.elapsed().as_secs_f64();
        Ok(Response::new(api::SearchResponse { result, time, usage: None }))
    }

    async fn query(&self, request: Request<api::QueryPoints>) -> Answer<Response<api::QueryResponse>> {
        let began = Instant::now();
        let message = request.into_inner();
        let collection = message.collection_name.clone();
        let result = self.nearest(&collection, of_query(message)?).await?;
        let time = began.elapsed().as_secs_f64();
        Ok(Response::new(api::QueryResponse { result, time, usage: None }))
    }

    async fn scroll(&self, request: Request<api::ScrollPoints>) -> Answer<Response<api::ScrollResponse>> {
        let began = Instant::now();
        let message = request.into_inner();
        if message.shard_key_selector.is_some() || message.order_by.is_some() {
            return Err(unsupported("shard keys, and orders but that of the ids"));
        }
        require_positive(message.limit.map(u64::from), "limit")?;
        require_positive(message.timeout, "timeout")?;
        let request = engine::ScrollRequest {
            offset: message.offset.map(point_id).transpose()?,
            limit: Some(message.limit.unwrap_or(PAGE) as usize),
            filter: message.filter.map(filter).transpose()?,
            with_payload: Some(with_payload(message.with_payload, true)?),
            with_vector: with_vectors(message.with_vectors),
            ..engine::ScrollRequest::new()
        };
        let collection = self.store.collection(&message.collection_name).await?;
        let (records, next) = self.store.run(move || collection.scroll(request)).await?;
        let result = records.into_iter().map(retrieved).collect::<Answer<Vec<_>>>()?;
        let time = began.elapsed().as_secs_f64();
        Ok(Response::new(api::ScrollResponse {
            next_page_offset: next_page(next),
            result,
            time,
            usage: None,
        }))
    }

    async fn count(&self, request: Request<api::CountPoints>) -> Answer<Response<api::CountResponse>> {
        let began = Instant::now();
        let message = request.into_inner();
        if message.shard_key_selector.is_some() {
            return Err(unsupported("shard keys"));
        }
        require_positive(message.timeout, "timeout")?;
        let request = engine::CountRequest {
            filter: message.filter.map(filter).transpose()?,
            exact: message.exact.unwrap_or(true),
        };
        let collection = self.store.collection(&message.collection_name).await?;
        let count = self.store.run(move || collection.count(request)).await?;
        let time = began.elapsed().as_secs_f64();
        Ok(Response::new(api::CountResponse { result: Some(api::CountResult { count }), time, usage: None }))
    }

    refuse_calls! {
        update_vectors(UpdatePointVectors) -> PointsOperationResponse;
        delete_vectors(DeletePointVectors) -> PointsOperationResponse;
        set_payload(SetPayloadPoints) -> PointsOperationResponse;
        overwrite_payload(SetPayloadPoints) -> PointsOperationResponse;
        delete_payload(DeletePayloadPoints) -> PointsOperationResponse;
        clear_payload(ClearPayloadPoints) -> PointsOperationResponse;
        delete_vector_name(DeleteVectorNameRequest) -> PointsOperationResponse;
        search_batch(SearchBatchPoints) -> SearchBatchResponse;
        search_groups(SearchPointGroups) -> SearchGroupsResponse;
        recommend(RecommendPoints) -> RecommendResponse;
        recommend_batch(RecommendBatchPoints) -> RecommendBatchResponse;
        recommend_groups(RecommendPointGroups) -> RecommendGroupsResponse;
        discover(DiscoverPoints) -> DiscoverResponse;
        discover_batch(DiscoverBatchPoints) -> DiscoverBatchResponse;
        update_batch(UpdateBatchPoints) -> UpdateBatchResponse;
        query_batch(QueryBatchPoints) -> QueryBatchResponse;
        query_groups(QueryPointGroups) -> QueryGroupsResponse;
        facet(FacetCounts) -> FacetResponse;
        search_matrix_pairs(SearchMatrixPoints) -> SearchMatrixPairsResponse;
        search_matrix_offsets(SearchMatrixPoints) -> SearchMatrixOffsetsResponse;
    }
}
