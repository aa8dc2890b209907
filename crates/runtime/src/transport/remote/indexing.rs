//! Indexing elsewhere. It projects records as they are: twice is once.

use async_trait::async_trait;
use tonic::{Request, Response, Status};
use vidimus_proto::internal::v1;
use vidimus_proto::internal::v1::indexing_client::IndexingClient;
use vidimus_proto::internal::v1::indexing_server::Indexing;

use super::Remote;
use crate::transport::pool::Repeat;

#[async_trait]
impl Indexing for Remote {
    async fn project(
        &self,
        request: Request<v1::ProjectRequest>,
    ) -> Result<Response<v1::ProjectResponse>, Status> {
        let send = |channel, request| async move { IndexingClient::new(channel).project(request).await };
        self.pool.call(request, Repeat::Always, send).await
    }
}
