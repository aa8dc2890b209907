//! ListFaces.

use vidimus_domain::catalog::Collection;
use vidimus_proto::api;
use vidimus_proto::internal::v1;

use super::Operation;
use super::shapes::{COLLECTION_ID, FACE_IDS, PAGE_SIZE, PAGE_TOKEN, USER_ID, face, face_ids, page_size};
use crate::constraint::{Member, optional};
use crate::error::ApiError;
use crate::services::{Context, Services, answered, collection_ref};
use crate::token::Listing;

pub(crate) struct ListFaces;

impl Operation for ListFaces {
    const NAME: &'static str = "ListFaces";
    const MEMBERS: &'static [Member] = &[
        COLLECTION_ID,
        optional("NextToken", PAGE_TOKEN),
        optional("MaxResults", PAGE_SIZE),
        optional("UserId", USER_ID),
        optional("FaceIds", FACE_IDS),
    ];
    type Input = api::ListFacesRequest;
    type Output = api::ListFacesResponse;

    async fn answer(
        services: &Services,
        context: &Context,
        input: Self::Input,
    ) -> Result<Self::Output, ApiError> {
        let collection = services.collection(context, &input.collection_id).await?;
        let tenant = context.tenant();
        let listing = Listing { tenant, operation: Self::NAME, collection: Some(collection.uid) };
        let wanted = Page {
            after: services.open(&listing, input.next_token.as_deref())?.unwrap_or_default(),
            faces_max: page_size(input.max_results),
            face_ids: face_ids(&input.face_ids)?,
            user_id: input.user_id.unwrap_or_default(),
        };
        let (faces, last) = page(services, &collection, wanted).await?;
        Ok(api::ListFacesResponse {
            faces,
            face_model_version: collection.face_model_version.clone(),
            next_token: last.map(|id| services.seal(&listing, &id)).transpose()?,
        })
    }
}

/// A page of a collection's faces that is asked for.
pub(crate) struct Page {
    /// The last face id of the page before; empty: from the first.
    pub(crate) after: Vec<u8>,
    pub(crate) faces_max: u32,
    /// Empty: all.
    pub(crate) face_ids: Vec<Vec<u8>>,
    /// Empty: of all users and of none.
    pub(crate) user_id: String,
}

/// The page's faces, and its last face id where there are more.
pub(crate) async fn page(
    services: &Services,
    collection: &Collection,
    wanted: Page,
) -> Result<(Vec<api::Face>, Option<Vec<u8>>), ApiError> {
    let request = v1::ListFacesRequest {
        collection: Some(collection_ref(collection)),
        after_face_id: wanted.after,
        faces_max: wanted.faces_max,
        face_ids: wanted.face_ids,
        user_id: wanted.user_id,
    };
    let listed = answered(services.deps.query.list_faces(tonic::Request::new(request)).await)?;
    let last = Some(listed.last_face_id).filter(|id| !id.is_empty());
    let faces = listed.faces.into_iter().map(|view| face(view, &collection.face_model_version));
    Ok((faces.collect::<Result<_, _>>()?, last))
}
