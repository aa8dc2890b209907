//! Embedding elsewhere. It keeps nothing: a photo that is embedded twice is embedded once.

use async_trait::async_trait;
use tonic::transport::Channel;
use tonic::{Request, Response, Status};
use vidimus_proto::internal::v1;
use vidimus_proto::internal::v1::embedding_client::EmbeddingClient;
use vidimus_proto::internal::v1::embedding_server::Embedding;

use super::Remote;
use crate::transport::MESSAGE_BYTES_MAX;
use crate::transport::pool::Repeat;

fn client(channel: Channel) -> EmbeddingClient<Channel> {
    EmbeddingClient::new(channel).max_decoding_message_size(MESSAGE_BYTES_MAX)
}

#[async_trait]
impl Embedding for Remote {
    async fn embed(&self, request: Request<v1::EmbedRequest>) -> Result<Response<v1::EmbedResponse>, Status> {
        let send = |channel, request| async move { client(channel).embed(request).await };
        self.pool.call(request, Repeat::Always, send).await
    }

    async fn embed_at(
        &self,
        request: Request<v1::EmbedAtRequest>,
    ) -> Result<Response<v1::EmbedAtResponse>, Status> {
        let send = |channel, request| async move { client(channel).embed_at(request).await };
        self.pool.call(request, Repeat::Always, send).await
    }
}
