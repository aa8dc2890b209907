//! SearchFaces, or SearchFacesByImage, over gRPC, over a connection that is kept.

use anyhow::Context;
use async_trait::async_trait;
use hyper::body::Bytes;
use tonic::Request;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Channel, Endpoint};
use vidimus_proto::api;
use vidimus_proto::api::faces_client::FacesClient;

use super::{Searcher, Target};

/// A connection.
pub struct GrpcSearcher {
    client: FacesClient<Channel>,
    authorization: MetadataValue<Ascii>,
    target: Target,
}

impl GrpcSearcher {
    /// Connects.
    ///
    /// # Errors
    /// Where nobody listens there.
    pub async fn connect(target: Target) -> anyhow::Result<Self> {
        let endpoint = Endpoint::from_shared(format!("http://{}", target.address))?.tcp_nodelay(true);
        let client = FacesClient::new(endpoint.connect().await.context("connect")?);
        let authorization =
            format!("Bearer {}:{}", target.access_key_id, target.secret_access_key).parse()?;
        Ok(Self { client, authorization, target })
    }

    async fn search_by(&mut self, photo: Bytes) -> anyhow::Result<usize> {
        let mut request = Request::new(api::SearchFacesByImageRequest {
            collection_id: self.target.collection.clone(),
            image: Some(api::Image { bytes: Some(photo), s3_object: None }),
            max_faces: Some(i32::try_from(self.target.faces_max)?),
            face_match_threshold: self.target.threshold,
            ..api::SearchFacesByImageRequest::default()
        });
        request.metadata_mut().insert("authorization", self.authorization.clone());
        let answer = self.client.search_faces_by_image(request).await.context("ask")?;
        Ok(answer.into_inner().face_matches.len())
    }
}

#[async_trait]
impl Searcher for GrpcSearcher {
    async fn search(&mut self, face_id: &str) -> anyhow::Result<usize> {
        if let Some(photo) = self.target.photo.clone() {
            return self.search_by(photo).await;
        }
        let mut request = Request::new(api::SearchFacesRequest {
            collection_id: self.target.collection.clone(),
            face_id: face_id.to_owned(),
            max_faces: Some(i32::try_from(self.target.faces_max)?),
            face_match_threshold: self.target.threshold,
            vidimus: None,
        });
        request.metadata_mut().insert("authorization", self.authorization.clone());
        let answer = self.client.search_faces(request).await.context("ask")?;
        Ok(answer.into_inner().face_matches.len())
    }
}
