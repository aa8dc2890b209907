//! Users: CreateUser, DeleteUser, ListUsers, AssociateFaces, DisassociateFaces.

use vidimus_proto::api;
use vidimus_proto::internal::v1;

use super::Operation;
use super::shapes::{
    CLIENT_REQUEST_TOKEN, COLLECTION_ID, FACE_ID, PAGE_TOKEN, PERCENT, USER_ID, USERS_MAX, face_id_text,
    face_ids, face_references, positive, some_text, user_status,
};
use crate::constraint::{Member, Rule, optional, required};
use crate::error::ApiError;
use crate::services::{Context, Services, answered, collection_ref};
use crate::token::Listing;

/// Least similarity to a user's faces of a face that is associated, where none is named, as of the Rekognition API.
const ASSOCIATION_THRESHOLD_DEFAULT: f32 = 75.0;
/// Users of a page at most (Amazon Rekognition API, ListUsers), and of one that names no number.
pub(crate) const USERS_PAGE_MAX: u32 = 500;
/// Faces of one association.
const FACE_IDS: Member = required("FaceIds", Rule::TextList { of: FACE_ID, min: 1, max: 100 });
const USER: Member = required("UserId", USER_ID);

pub(crate) struct CreateUser;
pub(crate) struct DeleteUser;
pub(crate) struct ListUsers;
pub(crate) struct AssociateFaces;
pub(crate) struct DisassociateFaces;

impl Operation for CreateUser {
    const NAME: &'static str = "CreateUser";
    const MEMBERS: &'static [Member] = &[COLLECTION_ID, USER, CLIENT_REQUEST_TOKEN];
    type Input = api::CreateUserRequest;
    type Output = api::CreateUserResponse;

    async fn answer(
        services: &Services,
        context: &Context,
        input: Self::Input,
    ) -> Result<Self::Output, ApiError> {
        let collection = services.collection(context, &input.collection_id).await?;
        let request = v1::CreateUserRequest {
            collection: Some(collection_ref(&collection)),
            caller: Some(context.caller()),
            user_id: input.user_id,
            client_token: input.client_request_token.unwrap_or_default(),
        };
        answered(services.deps.ingestion.create_user(tonic::Request::new(request)).await)?;
        Ok(api::CreateUserResponse {})
    }
}

impl Operation for DeleteUser {
    const NAME: &'static str = "DeleteUser";
    const MEMBERS: &'static [Member] = &[COLLECTION_ID, USER, CLIENT_REQUEST_TOKEN];
    type Input = api::DeleteUserRequest;
    type Output = api::DeleteUserResponse;

    async fn answer(
        services: &Services,
        context: &Context,
        input: Self::Input,
    ) -> Result<Self::Output, ApiError> {
        let collection = services.collection(context, &input.collection_id).await?;
        let request = v1::DeleteUserRequest {
            collection: Some(collection_ref(&collection)),
            caller: Some(context.caller()),
            user_id: input.user_id,
            client_token: input.client_request_token.unwrap_or_default(),
        };
        answered(services.deps.ingestion.delete_user(tonic::Request::new(request)).await)?;
        Ok(api::DeleteUserResponse {})
    }
}

impl Operation for ListUsers {
    const NAME: &'static str = "ListUsers";
    const MEMBERS: &'static [Member] =
        &[COLLECTION_ID, optional("MaxResults", USERS_MAX), optional("NextToken", PAGE_TOKEN)];
    type Input = api::ListUsersRequest;
    type Output = api::ListUsersResponse;

    async fn answer(
        services: &Services,
        context: &Context,
        input: Self::Input,
    ) -> Result<Self::Output, ApiError> {
        let collection = services.collection(context, &input.collection_id).await?;
        let tenant = context.tenant();
        let listing = Listing { tenant, operation: Self::NAME, collection: Some(collection.uid) };
        let after = services.open(&listing, input.next_token.as_deref())?.unwrap_or_default();
        let users_max = positive(input.max_results).unwrap_or(USERS_PAGE_MAX);
        let collection = collection_ref(&collection);
        let (users, last) = page(services, collection, (after, users_max)).await?;
        let next_token = last.map(|last| services.seal(&listing, &last)).transpose()?;
        Ok(api::ListUsersResponse { users, next_token })
    }
}

/// A page of a collection's users after a place, and the place of the next where there are more.
pub(crate) async fn page(
    services: &Services,
    collection: v1::CollectionRef,
    (after, users_max): (Vec<u8>, u32),
) -> Result<(Vec<api::User>, Option<Vec<u8>>), ApiError> {
    let request = v1::ListUsersRequest { collection: Some(collection), after, users_max };
    let listed = answered(services.deps.query.list_users(tonic::Request::new(request)).await)?;
    let last = Some(listed.last).filter(|last| !last.is_empty());
    let user = |user: v1::ListedUser| {
        let user_status = user_status(user.status());
        api::User { user_id: user.user_id, user_status }
    };
    Ok((listed.users.into_iter().map(user).collect(), last))
}

impl Operation for AssociateFaces {
    const NAME: &'static str = "AssociateFaces";
    const MEMBERS: &'static [Member] =
        &[COLLECTION_ID, USER, FACE_IDS, optional("UserMatchThreshold", PERCENT), CLIENT_REQUEST_TOKEN];
    type Input = api::AssociateFacesRequest;
    type Output = api::AssociateFacesResponse;

    async fn answer(
        services: &Services,
        context: &Context,
        input: Self::Input,
    ) -> Result<Self::Output, ApiError> {
        let collection = services.collection(context, &input.collection_id).await?;
        let request = v1::AssociateFacesRequest {
            collection: Some(collection_ref(&collection)),
            caller: Some(context.caller()),
            user_id: input.user_id,
            face_ids: face_ids(&input.face_ids)?,
            threshold_similarity: input.user_match_threshold.unwrap_or(ASSOCIATION_THRESHOLD_DEFAULT),
            client_token: input.client_request_token.unwrap_or_default(),
        };
        let done = answered(services.deps.ingestion.associate_faces(tonic::Request::new(request)).await)?;
        let status = user_status(done.status());
        let failed = done.unassociated.into_iter().map(unsuccessful);
        Ok(api::AssociateFacesResponse {
            associated_faces: face_references(&done.associated)?,
            unsuccessful_face_associations: failed.collect::<Result<_, _>>()?,
            user_status: status,
        })
    }
}

impl Operation for DisassociateFaces {
    const NAME: &'static str = "DisassociateFaces";
    const MEMBERS: &'static [Member] = &[COLLECTION_ID, USER, CLIENT_REQUEST_TOKEN, FACE_IDS];
    type Input = api::DisassociateFacesRequest;
    type Output = api::DisassociateFacesResponse;

    async fn answer(
        services: &Services,
        context: &Context,
        input: Self::Input,
    ) -> Result<Self::Output, ApiError> {
        let collection = services.collection(context, &input.collection_id).await?;
        let request = v1::DisassociateFacesRequest {
            collection: Some(collection_ref(&collection)),
            caller: Some(context.caller()),
            user_id: input.user_id,
            face_ids: face_ids(&input.face_ids)?,
            client_token: input.client_request_token.unwrap_or_default(),
        };
        let done = answered(services.deps.ingestion.disassociate_faces(tonic::Request::new(request)).await)?;
        let status = user_status(done.status());
        let failed = done.not_disassociated.into_iter().map(unsuccessful);
        Ok(api::DisassociateFacesResponse {
            disassociated_faces: face_references(&done.disassociated)?,
            unsuccessful_face_disassociations: failed.collect::<Result<_, _>>()?,
            user_status: status,
        })
    }
}

fn unsuccessful(face: v1::UnassociatedFace) -> Result<api::UnsuccessfulFace, ApiError> {
    let of_match = face.reason == "LOW_MATCH_CONFIDENCE";
    Ok(api::UnsuccessfulFace {
        face_id: face_id_text(&face.face_id)?,
        user_id: some_text(face.user_id),
        confidence: of_match.then_some(face.similarity),
        reasons: vec![face.reason],
    })
}
