//! Roles that remember what they were asked and answer what they were told to.

use std::sync::Mutex;

use async_trait::async_trait;
use tonic::{Request, Response, Status};
use vidimus_domain::Failure;
use vidimus_proto::internal::v1;
use vidimus_proto::internal::v1::ingestion_server::Ingestion;
use vidimus_proto::internal::v1::query_server::Query;
use vidimus_runtime::errors::status_from_failure;

/// One call's answer and what it was asked.
pub struct Call<Q, A> {
    pub asked: Mutex<Vec<Q>>,
    pub answer: Mutex<A>,
}

impl<Q, A: Default> Default for Call<Q, A> {
    fn default() -> Self {
        Self { asked: Mutex::default(), answer: Mutex::default() }
    }
}

impl<Q, A: Clone> Call<Q, A> {
    pub fn will_answer(&self, answer: A) {
        *self.answer.lock().unwrap() = answer;
    }

    /// The only thing it was asked since it was last looked at.
    pub fn was_asked(&self) -> Q {
        let mut asked = std::mem::take(&mut *self.asked.lock().unwrap());
        assert_eq!(asked.len(), 1);
        asked.remove(0)
    }

    pub fn was_not_asked(&self) -> bool {
        self.asked.lock().unwrap().is_empty()
    }

    fn call(&self, request: Request<Q>) -> Response<A> {
        self.asked.lock().unwrap().push(request.into_inner());
        Response::new(self.answer.lock().unwrap().clone())
    }
}

/// Both roles behind the gateway.
#[derive(Default)]
pub struct Roles {
    pub index: Call<v1::IndexFacesRequest, v1::IndexFacesResponse>,
    pub delete: Call<v1::DeleteFacesRequest, v1::DeleteFacesResponse>,
    pub accept_photo: Call<v1::AcceptPhotoRequest, v1::BulkState>,
    pub bulk_states: Call<v1::BulkStatesRequest, v1::BulkStatesResponse>,
    pub import_templates: Call<v1::ImportTemplatesRequest, v1::BulkState>,
    pub search: Call<v1::SearchFacesRequest, v1::SearchResponse>,
    pub search_by_image: Call<v1::SearchFacesByImageRequest, v1::SearchResponse>,
    pub list: Call<v1::ListFacesRequest, v1::ListFacesResponse>,
    pub count: Call<v1::CountFacesRequest, v1::CountFacesResponse>,
    pub create_user: Call<v1::CreateUserRequest, v1::CreateUserResponse>,
    pub delete_user: Call<v1::DeleteUserRequest, v1::DeleteUserResponse>,
    pub associate_faces: Call<v1::AssociateFacesRequest, v1::AssociateFacesResponse>,
    pub disassociate_faces: Call<v1::DisassociateFacesRequest, v1::DisassociateFacesResponse>,
    pub search_users: Call<v1::SearchUsersRequest, v1::SearchUsersResponse>,
    pub search_users_by_image: Call<v1::SearchUsersByImageRequest, v1::SearchUsersResponse>,
    pub list_users: Call<v1::ListUsersRequest, v1::ListUsersResponse>,
    pub detect_faces: Call<v1::DetectFacesRequest, v1::DetectFacesResponse>,
    pub compare_faces: Call<v1::CompareFacesRequest, v1::CompareFacesResponse>,
    pub get_photo: Call<v1::GetPhotoRequest, v1::GetPhotoResponse>,
    /// Every call fails so.
    pub failure: Mutex<Option<Failure>>,
    /// Every call panics.
    pub panics: Mutex<bool>,
    /// Every call waits until it is notified.
    pub gate: Mutex<Option<std::sync::Arc<tokio::sync::Notify>>>,
}

impl Roles {
    pub fn will_fail(&self, failure: Failure) {
        *self.failure.lock().unwrap() = Some(failure);
    }

    async fn call<Q, A: Clone>(&self, call: &Call<Q, A>, request: Request<Q>) -> Result<Response<A>, Status> {
        let answer = call.call(request);
        assert!(!*self.panics.lock().unwrap(), "the role panics");
        let gate = self.gate.lock().unwrap().clone();
        if let Some(gate) = gate {
            gate.notified().await;
        }
        match self.failure.lock().unwrap().clone() {
            Some(failure) => Err(status_from_failure(&failure)),
            None => Ok(answer),
        }
    }
}

#[async_trait]
impl Ingestion for Roles {
    async fn index_faces(
        &self,
        request: Request<v1::IndexFacesRequest>,
    ) -> Result<Response<v1::IndexFacesResponse>, Status> {
        self.call(&self.index, request).await
    }

    async fn delete_faces(
        &self,
        request: Request<v1::DeleteFacesRequest>,
    ) -> Result<Response<v1::DeleteFacesResponse>, Status> {
        self.call(&self.delete, request).await
    }

    async fn accept_photo(
        &self,
        request: Request<v1::AcceptPhotoRequest>,
    ) -> Result<Response<v1::BulkState>, Status> {
        self.call(&self.accept_photo, request).await
    }

    async fn bulk_states(
        &self,
        request: Request<v1::BulkStatesRequest>,
    ) -> Result<Response<v1::BulkStatesResponse>, Status> {
        self.call(&self.bulk_states, request).await
    }

    async fn import_templates(
        &self,
        request: Request<v1::ImportTemplatesRequest>,
    ) -> Result<Response<v1::BulkState>, Status> {
        self.call(&self.import_templates, request).await
    }

    async fn create_user(
        &self,
        request: Request<v1::CreateUserRequest>,
    ) -> Result<Response<v1::CreateUserResponse>, Status> {
        self.call(&self.create_user, request).await
    }

    async fn delete_user(
        &self,
        request: Request<v1::DeleteUserRequest>,
    ) -> Result<Response<v1::DeleteUserResponse>, Status> {
        self.call(&self.delete_user, request).await
    }

    async fn associate_faces(
        &self,
        request: Request<v1::AssociateFacesRequest>,
    ) -> Result<Response<v1::AssociateFacesResponse>, Status> {
        self.call(&self.associate_faces, request).await
    }

    async fn disassociate_faces(
        &self,
        request: Request<v1::DisassociateFacesRequest>,
    ) -> Result<Response<v1::DisassociateFacesResponse>, Status> {
        self.call(&self.disassociate_faces, request).await
    }
}

#[async_trait]
impl Query for Roles {
    async fn search_faces(
        &self,
        request: Request<v1::SearchFacesRequest>,
    ) -> Result<Response<v1::SearchResponse>, Status> {
        self.call(&self.search, request).await
    }

    async fn search_faces_by_image(
        &self,
        request: Request<v1::SearchFacesByImageRequest>,
    ) -> Result<Response<v1::SearchResponse>, Status> {
        self.call(&self.search_by_image, request).await
    }

    async fn list_faces(
        &self,
        request: Request<v1::ListFacesRequest>,
    ) -> Result<Response<v1::ListFacesResponse>, Status> {
        self.call(&self.list, request).await
    }

    async fn count_faces(
        &self,
        request: Request<v1::CountFacesRequest>,
    ) -> Result<Response<v1::CountFacesResponse>, Status> {
        self.call(&self.count, request).await
    }

    async fn search_users(
        &self,
        request: Request<v1::SearchUsersRequest>,
    ) -> Result<Response<v1::SearchUsersResponse>, Status> {
        self.call(&self.search_users, request).await
    }

    async fn search_users_by_image(
        &self,
        request: Request<v1::SearchUsersByImageRequest>,
    ) -> Result<Response<v1::SearchUsersResponse>, Status> {
        self.call(&self.search_users_by_image, request).await
    }

    async fn list_users(
        &self,
        request: Request<v1::ListUsersRequest>,
    ) -> Result<Response<v1::ListUsersResponse>, Status> {
        self.call(&self.list_users, request).await
    }

    async fn detect_faces(
        &self,
        request: Request<v1::DetectFacesRequest>,
    ) -> Result<Response<v1::DetectFacesResponse>, Status> {
        self.call(&self.detect_faces, request).await
    }

    async fn compare_faces(
        &self,
        request: Request<v1::CompareFacesRequest>,
    ) -> Result<Response<v1::CompareFacesResponse>, Status> {
        self.call(&self.compare_faces, request).await
    }

    async fn get_photo(
        &self,
        request: Request<v1::GetPhotoRequest>,
    ) -> Result<Response<v1::GetPhotoResponse>, Status> {
        self.call(&self.get_photo, request).await
    }
}
