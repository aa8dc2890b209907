//! The calls about collections.

use std::sync::Arc;
use std::time::Instant;

use qdrant_client::qdrant as api;
use qdrant_client::qdrant::collections_server::Collections;
use tonic::{Request, Response, Status};

use super::refusal::{Answer, unsupported};
use super::refuse_calls;
use super::store::Store;

/// The service.
pub struct CollectionsService {
    pub(super) store: Arc<Store>,
}

fn done(result: bool, began: Instant) -> Response<api::CollectionOperationResponse> {
    Response::new(api::CollectionOperationResponse { result, time: began.elapsed().as_secs_f64() })
}

#[tonic::async_trait]
impl Collections for CollectionsService {
    async fn get(
        &self,
        request: Request<api::GetCollectionInfoRequest>,
    ) -> Answer<Response<api::GetCollectionInfoResponse>> {
        let began = Instant::now();
        let collection = self.store.collection(&request.into_inner().collection_name).await?;
        let info = self.store.run(move || collection.info()).await?;
        let time = began.elapsed().as_secs_f64();
        Ok(Response::new(api::GetCollectionInfoResponse { result: Some(info), time }))
    }

    async fn list(
        &self,
        _request: Request<api::ListCollectionsRequest>,
    ) -> Answer<Response<api::ListCollectionsResponse>> {
        let began = Instant::now();
        let names = self.store.names().await;
        let collections = names.into_iter().map(|name| api::CollectionDescription { name }).collect();
        let time = began.elapsed().as_secs_f64();
        Ok(Response::new(api::ListCollectionsResponse { collections, time }))
    }

    async fn create(
        &self,
        request: Request<api::CreateCollection>,
    ) -> Answer<Response<api::CollectionOperationResponse>> {
        let began = Instant::now();
        self.store.create(request.into_inner()).await?;
        Ok(done(true, began))
    }

    async fn delete(
        &self,
        request: Request<api::DeleteCollection>,
    ) -> Answer<Response<api::CollectionOperationResponse>> {
        let began = Instant::now();
        let dropped = self.store.drop_collection(&request.into_inner().collection_name).await?;
        Ok(done(dropped, began))
    }

    async fn collection_exists(
        &self,
        request: Request<api::CollectionExistsRequest>,
    ) -> Answer<Response<api::CollectionExistsResponse>> {
        let began = Instant::now();
        let exists = self.store.collection(&request.into_inner().collection_name).await.is_ok();
        let result = Some(api::CollectionExists { exists });
        let time = began.elapsed().as_secs_f64();
        Ok(Response::new(api::CollectionExistsResponse { result, time }))
    }

    refuse_calls! {
        update(UpdateCollection) -> CollectionOperationResponse;
        update_aliases(ChangeAliases) -> CollectionOperationResponse;
        list_collection_aliases(ListCollectionAliasesRequest) -> ListAliasesResponse;
        list_aliases(ListAliasesRequest) -> ListAliasesResponse;
        collection_cluster_info(CollectionClusterInfoRequest) -> CollectionClusterInfoResponse;
        update_collection_cluster_setup(UpdateCollectionClusterSetupRequest) -> UpdateCollectionClusterSetupResponse;
        create_shard_key(CreateShardKeyRequest) -> CreateShardKeyResponse;
        delete_shard_key(DeleteShardKeyRequest) -> DeleteShardKeyResponse;
        list_shard_keys(ListShardKeysRequest) -> ListShardKeysResponse;
    }
}
