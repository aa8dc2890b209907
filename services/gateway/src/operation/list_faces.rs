//! ListFaces.

use serde::{Deserialize, Serialize};
use vidimus_proto::internal::v1;

use super::Operation;
use super::shapes::{COLLECTION_ID, FACE_IDS, Face, PAGE_SIZE, PAGE_TOKEN, USER_ID, face_ids, page_size};
use crate::constraint::{Member, optional};
use crate::error::{ApiError, ErrorType};
use crate::services::{Context, Services, answered, collection_ref};
use crate::token::Listing;

pub(super) struct ListFaces;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Input {
    collection_id: String,
    next_token: Option<String>,
    max_results: Option<u32>,
    user_id: Option<String>,
    face_ids: Option<Vec<String>>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Output {
    faces: Vec<Face>,
    face_model_version: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_token: Option<String>,
}

impl Operation for ListFaces {
    const NAME: &'static str = "ListFaces";
    const MEMBERS: &'static [Member] = &[
        COLLECTION_ID,
        optional("NextToken", PAGE_TOKEN),
        optional("MaxResults", PAGE_SIZE),
        optional("UserId", USER_ID),
        optional("FaceIds", FACE_IDS),
    ];
    type Input = Input;
    type Output = Output;

    async fn answer(services: &Services, context: &Context, input: Input) -> Result<Output, ApiError> {
        let collection = services.collection(context, &input.collection_id).await?;
        if let Some(user) = input.user_id {
            // No operation makes users yet, so there is none.
            return Err(ApiError::new(
                ErrorType::ResourceNotFound,
                format!("The user id: {user} does not exist"),
            ));
        }
        let tenant = context.tenant();
        let listing = Listing { tenant, operation: Self::NAME, collection: Some(collection.uid) };
        let request = v1::ListFacesRequest {
            collection: Some(collection_ref(&collection)),
            after_face_id: services.open(&listing, input.next_token.as_deref())?.unwrap_or_default(),
            faces_max: page_size(input.max_results),
            face_ids: face_ids(&input.face_ids.unwrap_or_default())?,
            user_id: String::new(),
        };
        let listed = answered(services.deps.query.list_faces(tonic::Request::new(request)).await)?;
        let version = &collection.face_model_version;
        let last = Some(listed.last_face_id).filter(|id| !id.is_empty());
        let faces = listed.faces.into_iter().map(|view| Face::new(view, version));
        Ok(Output {
            faces: faces.collect::<Result<_, _>>()?,
            face_model_version: version.clone(),
            next_token: last.map(|id| services.seal(&listing, &id)).transpose()?,
        })
    }
}
