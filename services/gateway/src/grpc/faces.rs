//! The service's methods. Each is its operation.

use async_trait::async_trait;
use tonic::{Request, Response, Status, Streaming};
use vidimus_proto::api;
use vidimus_proto::api::faces_server::Faces;

use super::streams::{self, Stream};
use super::{Call, bulk};
use crate::error::ApiError;
use crate::operation::{self, Operation, check_message};

/// The names of all methods.
pub(super) const METHODS: [&str; 27] = [
    "CreateCollection",
    "DescribeCollection",
    "ListCollections",
    "DeleteCollection",
    "IndexFaces",
    "ListFaces",
    "SearchFaces",
    "SearchFacesByImage",
    "DeleteFaces",
    "DetectFaces",
    "CompareFaces",
    "CreateUser",
    "DeleteUser",
    "ListUsers",
    "AssociateFaces",
    "DisassociateFaces",
    "SearchUsers",
    "SearchUsersByImage",
    "TagResource",
    "UntagResource",
    "ListTagsForResource",
    "GetRetention",
    "SetRetention",
    "StreamFaces",
    "StreamUsers",
    "GetPhoto",
    bulk::METHOD,
];

/// The service; what it works with comes with each call.
pub(crate) struct Door;

/// Checks a request along its operation's table and answers it.
pub(super) async fn run<O: Operation>(request: Request<O::Input>) -> Result<Response<O::Output>, Status> {
    let call = Call::of(&request)?;
    let answer = answer::<O>(&call, request.into_inner()).await;
    answer.map(Response::new).map_err(|error| call.refuse(&error))
}

/// The same for a call that is known.
pub(super) async fn answer<O: Operation>(call: &Call, input: O::Input) -> Result<O::Output, ApiError> {
    check_message::<O>(&input)?;
    call.context.admission.operation(O::KIND)?;
    O::answer(&call.inner.services, &call.context, input).await
}

#[async_trait]
impl Faces for Door {
    type BulkIndexStream = Stream<api::BulkIndexResponse>;
    type StreamFacesStream = Stream<api::Face>;
    type StreamUsersStream = Stream<api::User>;
    type GetPhotoStream = Stream<api::PhotoPiece>;

    async fn create_collection(
        &self,
        request: Request<api::CreateCollectionRequest>,
    ) -> Result<Response<api::CreateCollectionResponse>, Status> {
        run::<operation::CreateCollection>(request).await
    }

    async fn describe_collection(
        &self,
        request: Request<api::DescribeCollectionRequest>,
    ) -> Result<Response<api::DescribeCollectionResponse>, Status> {
        run::<operation::DescribeCollection>(request).await
    }

    async fn list_collections(
        &self,
        request: Request<api::ListCollectionsRequest>,
    ) -> Result<Response<api::ListCollectionsResponse>, Status> {
        run::<operation::ListCollections>(request).await
    }

    async fn delete_collection(
        &self,
        request: Request<api::DeleteCollectionRequest>,
    ) -> Result<Response<api::DeleteCollectionResponse>, Status> {
        run::<operation::DeleteCollection>(request).await
    }

    async fn index_faces(
        &self,
        request: Request<api::IndexFacesRequest>,
    ) -> Result<Response<api::IndexFacesResponse>, Status> {
        run::<operation::IndexFaces>(request).await
    }

    async fn list_faces(
        &self,
        request: Request<api::ListFacesRequest>,
    ) -> Result<Response<api::ListFacesResponse>, Status> {
        run::<operation::ListFaces>(request).await
    }

    async fn search_faces(
        &self,
        request: Request<api::SearchFacesRequest>,
    ) -> Result<Response<api::SearchFacesResponse>, Status> {
        run::<operation::SearchFaces>(request).await
    }

    async fn search_faces_by_image(
        &self,
        request: Request<api::SearchFacesByImageRequest>,
    ) -> Result<Response<api::SearchFacesByImageResponse>, Status> {
        run::<operation::SearchFacesByImage>(request).await
    }

    async fn delete_faces(
        &self,
        request: Request<api::DeleteFacesRequest>,
    ) -> Result<Response<api::DeleteFacesResponse>, Status> {
        run::<operation::DeleteFaces>(request).await
    }

    async fn detect_faces(
        &self,
        request: Request<api::DetectFacesRequest>,
    ) -> Result<Response<api::DetectFacesResponse>, Status> {
        run::<operation::DetectFaces>(request).await
    }

    async fn compare_faces(
        &self,
        request: Request<api::CompareFacesRequest>,
    ) -> Result<Response<api::CompareFacesResponse>, Status> {
        run::<operation::CompareFaces>(request).await
    }

    async fn create_user(
        &self,
        request: Request<api::CreateUserRequest>,
    ) -> Result<Response<api::CreateUserResponse>, Status> {
        run::<operation::CreateUser>(request).await
    }

    async fn delete_user(
        &self,
        request: Request<api::DeleteUserRequest>,
    ) -> Result<Response<api::DeleteUserResponse>, Status> {
        run::<operation::DeleteUser>(request).await
    }

    async fn list_users(
        &self,
        request: Request<api::ListUsersRequest>,
    ) -> Result<Response<api::ListUsersResponse>, Status> {
        run::<operation::ListUsers>(request).await
    }

    async fn associate_faces(
        &self,
        request: Request<api::AssociateFacesRequest>,
    ) -> Result<Response<api::AssociateFacesResponse>, Status> {
        run::<operation::AssociateFaces>(request).await
    }

    async fn disassociate_faces(
        &self,
        request: Request<api::DisassociateFacesRequest>,
    ) -> Result<Response<api::DisassociateFacesResponse>, Status> {
        run::<operation::DisassociateFaces>(request).await
    }

    async fn search_users(
        &self,
        request: Request<api::SearchUsersRequest>,
    ) -> Result<Response<api::SearchUsersResponse>, Status> {
        run::<operation::SearchUsers>(request).await
    }

    async fn search_users_by_image(
        &self,
        request: Request<api::SearchUsersByImageRequest>,
    ) -> Result<Response<api::SearchUsersByImageResponse>, Status> {
        run::<operation::SearchUsersByImage>(request).await
    }

    async fn tag_resource(
        &self,
        request: Request<api::TagResourceRequest>,
    ) -> Result<Response<api::TagResourceResponse>, Status> {
        run::<operation::TagResource>(request).await
    }

    async fn untag_resource(
        &self,
        request: Request<api::UntagResourceRequest>,
    ) -> Result<Response<api::UntagResourceResponse>, Status> {
        run::<operation::UntagResource>(request).await
    }

    async fn list_tags_for_resource(
        &self,
        request: Request<api::ListTagsForResourceRequest>,
    ) -> Result<Response<api::ListTagsForResourceResponse>, Status> {
        run::<operation::ListTagsForResource>(request).await
    }

    async fn get_retention(
        &self,
        request: Request<api::GetRetentionRequest>,
    ) -> Result<Response<api::GetRetentionResponse>, Status> {
        run::<operation::GetRetention>(request).await
    }

    async fn set_retention(
        &self,
        request: Request<api::SetRetentionRequest>,
    ) -> Result<Response<api::SetRetentionResponse>, Status> {
        run::<operation::SetRetention>(request).await
    }

    async fn bulk_index(
        &self,
        request: Request<Streaming<api::BulkIndexRequest>>,
    ) -> Result<Response<Self::BulkIndexStream>, Status> {
        bulk::index(request).await
    }

    async fn stream_faces(
        &self,
        request: Request<api::StreamFacesRequest>,
    ) -> Result<Response<Self::StreamFacesStream>, Status> {
        streams::faces(request).await
    }

    async fn stream_users(
        &self,
        request: Request<api::StreamUsersRequest>,
    ) -> Result<Response<Self::StreamUsersStream>, Status> {
        streams::users(request).await
    }

    async fn get_photo(
        &self,
        request: Request<api::GetPhotoRequest>,
    ) -> Result<Response<Self::GetPhotoStream>, Status> {
        streams::photo(request).await
    }
}
