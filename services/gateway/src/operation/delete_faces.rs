//! DeleteFaces.

use vidimus_proto::api;
use vidimus_proto::internal::v1;

use super::Operation;
use super::shapes::{COLLECTION_ID, FACE_IDS, face_id_text, face_ids, some_text};
use crate::constraint::{Member, required};
use crate::error::ApiError;
use crate::services::{Context, Services, answered, collection_ref};

pub(crate) struct DeleteFaces;

impl Operation for DeleteFaces {
    const NAME: &'static str = "DeleteFaces";
    const MEMBERS: &'static [Member] = &[COLLECTION_ID, required("FaceIds", FACE_IDS)];
    type Input = api::DeleteFacesRequest;
    type Output = api::DeleteFacesResponse;

    async fn answer(
        services: &Services,
        context: &Context,
        input: Self::Input,
    ) -> Result<Self::Output, ApiError> {
        let collection = services.collection(context, &input.collection_id).await?;
        let request = v1::DeleteFacesRequest {
            collection: Some(collection_ref(&collection)),
            caller: Some(context.caller()),
            face_ids: face_ids(&input.face_ids)?,
        };
        let done = answered(services.deps.ingestion.delete_faces(tonic::Request::new(request)).await)?;
        let deleted = done.deleted.iter().map(|id| face_id_text(id));
        let undeleted = done.undeleted.into_iter().map(unsuccessful);
        Ok(api::DeleteFacesResponse {
            deleted_faces: deleted.collect::<Result<_, _>>()?,
            unsuccessful_face_deletions: undeleted.collect::<Result<_, _>>()?,
        })
    }
}

fn unsuccessful(face: v1::UndeletedFace) -> Result<api::UnsuccessfulFace, ApiError> {
    Ok(api::UnsuccessfulFace {
        face_id: face_id_text(&face.face_id)?,
        user_id: some_text(face.user_id),
        confidence: None,
        reasons: vec![face.reason],
    })
}
