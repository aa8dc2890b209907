//! Ingestion elsewhere. A photo that is enrolled twice may be two faces: what may have been carried out is not sent again here,
//! but by the client, whose own retries are told apart.

use async_trait::async_trait;
use tonic::transport::Channel;
use tonic::{Request, Response, Status};
use vidimus_proto::internal::v1;
use vidimus_proto::internal::v1::ingestion_client::IngestionClient;
use vidimus_proto::internal::v1::ingestion_server::Ingestion;

use super::Remote;
use crate::transport::MESSAGE_BYTES_MAX;
use crate::transport::pool::Repeat;

fn client(channel: Channel) -> IngestionClient<Channel> {
    IngestionClient::new(channel).max_decoding_message_size(MESSAGE_BYTES_MAX)
}

#[async_trait]
impl Ingestion for Remote {
    async fn index_faces(
        &self,
        request: Request<v1::IndexFacesRequest>,
    ) -> Result<Response<v1::IndexFacesResponse>, Status> {
        let send = |channel, request| async move { client(channel).index_faces(request).await };
        Box::pin(self.pool.call(request, Repeat::NotSent, send)).await
    }

    async fn delete_faces(
        &self,
        request: Request<v1::DeleteFacesRequest>,
    ) -> Result<Response<v1::DeleteFacesResponse>, Status> {
        let send = |channel, request| async move { client(channel).delete_faces(request).await };
        Box::pin(self.pool.call(request, Repeat::NotSent, send)).await
    }

    async fn accept_photo(
        &self,
        request: Request<v1::AcceptPhotoRequest>,
    ) -> Result<Response<v1::BulkState>, Status> {
        let send = |channel, request| async move { client(channel).accept_photo(request).await };
        // What a job has brought in is known by the job's id.
        Box::pin(self.pool.call(request, Repeat::Always, send)).await
    }

    async fn bulk_states(
        &self,
        request: Request<v1::BulkStatesRequest>,
    ) -> Result<Response<v1::BulkStatesResponse>, Status> {
        let send = |channel, request| async move { client(channel).bulk_states(request).await };
        Box::pin(self.pool.call(request, Repeat::Always, send)).await
    }

    async fn import_templates(
        &self,
        request: Request<v1::ImportTemplatesRequest>,
    ) -> Result<Response<v1::BulkState>, Status> {
        let send = |channel, request| async move { client(channel).import_templates(request).await };
        Box::pin(self.pool.call(request, Repeat::Always, send)).await
    }

    async fn create_user(
        &self,
        request: Request<v1::CreateUserRequest>,
    ) -> Result<Response<v1::CreateUserResponse>, Status> {
        let send = |channel, request| async move { client(channel).create_user(request).await };
        Box::pin(self.pool.call(request, Repeat::NotSent, send)).await
    }

    async fn delete_user(
        &self,
        request: Request<v1::DeleteUserRequest>,
    ) -> Result<Response<v1::DeleteUserResponse>, Status> {
        let send = |channel, request| async move { client(channel).delete_user(request).await };
        Box::pin(self.pool.call(request, Repeat::NotSent, send)).await
    }

    async fn associate_faces(
        &self,
        request: Request<v1::AssociateFacesRequest>,
    ) -> Result<Response<v1::AssociateFacesResponse>, Status> {
        let send = |channel, request| async move { client(channel).associate_faces(request).await };
        Box::pin(self.pool.call(request, Repeat::NotSent, send)).await
    }

    async fn disassociate_faces(
        &self,
        request: Request<v1::DisassociateFacesRequest>,
    ) -> Result<Response<v1::DisassociateFacesResponse>, Status> {
        let send = |channel, request| async move { client(channel).disassociate_faces(request).await };
        Box::pin(self.pool.call(request, Repeat::NotSent, send)).await
    }
}
