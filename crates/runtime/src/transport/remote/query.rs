//! Query elsewhere. A search that is done twice is on the audit log twice, under one request id.

use async_trait::async_trait;
use tonic::transport::Channel;
use tonic::{Request, Response, Status};
use vidimus_proto::internal::v1;
use vidimus_proto::internal::v1::query_client::QueryClient;
use vidimus_proto::internal::v1::query_server::Query;

use super::Remote;
use crate::transport::MESSAGE_BYTES_MAX;
use crate::transport::pool::Repeat;

fn client(channel: Channel) -> QueryClient<Channel> {
    QueryClient::new(channel).max_decoding_message_size(MESSAGE_BYTES_MAX)
}

#[async_trait]
impl Query for Remote {
    async fn search_faces(
        &self,
        request: Request<v1::SearchFacesRequest>,
    ) -> Result<Response<v1::SearchResponse>, Status> {
        let send = |channel, request| async move { client(channel).search_faces(request).await };
        self.pool.call(request, Repeat::Always, send).await
    }

    async fn search_faces_by_image(
        &self,
        request: Request<v1::SearchFacesByImageRequest>,
    ) -> Result<Response<v1::SearchResponse>, Status> {
        let send = |channel, request| async move { client(channel).search_faces_by_image(request).await };
        self.pool.call(request, Repeat::Always, send).await
    }

    async fn list_faces(
        &self,
        request: Request<v1::ListFacesRequest>,
    ) -> Result<Response<v1::ListFacesResponse>, Status> {
        let send = |channel, request| async move { client(channel).list_faces(request).await };
        self.pool.call(request, Repeat::Always, send).await
    }

    async fn count_faces(
        &self,
        request: Request<v1::CountFacesRequest>,
    ) -> Result<Response<v1::CountFacesResponse>, Status> {
        let send = |channel, request| async move { client(channel).count_faces(request).await };
        self.pool.call(request, Repeat::Always, send).await
    }

    async fn search_users(
        &self,
        request: Request<v1::SearchUsersRequest>,
    ) -> Result<Response<v1::SearchUsersResponse>, Status> {
        let send = |channel, request| async move { client(channel).search_users(request).await };
        self.pool.call(request, Repeat::Always, send).await
    }

    async fn search_users_by_image(
        &self,
        request: Request<v1::SearchUsersByImageRequest>,
    ) -> Result<Response<v1::SearchUsersResponse>, Status> {
        let send = |channel, request| async move { client(channel).search_users_by_image(request).await };
        self.pool.call(request, Repeat::Always, send).await
    }

    async fn list_users(
        &self,
        request: Request<v1::ListUsersRequest>,
    ) -> Result<Response<v1::ListUsersResponse>, Status> {
        let send = |channel, request| async move { client(channel).list_users(request).await };
        self.pool.call(request, Repeat::Always, send).await
    }

    async fn detect_faces(
        &self,
        request: Request<v1::DetectFacesRequest>,
    ) -> Result<Response<v1::DetectFacesResponse>, Status> {
        let send = |channel, request| async move { client(channel).detect_faces(request).await };
        self.pool.call(request, Repeat::Always, send).await
    }

    async fn compare_faces(
        &self,
        request: Request<v1::CompareFacesRequest>,
    ) -> Result<Response<v1::CompareFacesResponse>, Status> {
        let send = |channel, request| async move { client(channel).compare_faces(request).await };
        self.pool.call(request, Repeat::Always, send).await
    }

    async fn get_photo(
        &self,
        request: Request<v1::GetPhotoRequest>,
    ) -> Result<Response<v1::GetPhotoResponse>, Status> {
        let send = |channel, request| async move { client(channel).get_photo(request).await };
        self.pool.call(request, Repeat::Always, send).await
    }
}
