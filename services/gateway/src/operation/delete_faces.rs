//! DeleteFaces.

use serde::{Deserialize, Serialize};
use vidimus_proto::internal::v1;

use super::Operation;
use super::shapes::{COLLECTION_ID, FACE_IDS, face_id_text, face_ids};
use crate::constraint::{Member, required};
use crate::error::ApiError;
use crate::services::{Context, Services, answered, collection_ref};

pub(super) struct DeleteFaces;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Input {
    collection_id: String,
    face_ids: Vec<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Output {
    deleted_faces: Vec<String>,
    unsuccessful_face_deletions: Vec<UnsuccessfulFaceDeletion>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct UnsuccessfulFaceDeletion {
    face_id: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    user_id: String,
    reasons: [String; 1],
}

impl Operation for DeleteFaces {
    const NAME: &'static str = "DeleteFaces";
    const MEMBERS: &'static [Member] = &[COLLECTION_ID, required("FaceIds", FACE_IDS)];
    type Input = Input;
    type Output = Output;

    async fn answer(services: &Services, context: &Context, input: Input) -> Result<Output, ApiError> {
        let collection = services.collection(context, &input.collection_id).await?;
        let request = v1::DeleteFacesRequest {
            collection: Some(collection_ref(&collection)),
            caller: Some(context.caller()),
            face_ids: face_ids(&input.face_ids)?,
        };
        let done = answered(services.deps.ingestion.delete_faces(tonic::Request::new(request)).await)?;
        let deleted = done.deleted.iter().map(|id| face_id_text(id));
        let undeleted = done.undeleted.into_iter().map(unsuccessful);
        Ok(Output {
            deleted_faces: deleted.collect::<Result<_, _>>()?,
            unsuccessful_face_deletions: undeleted.collect::<Result<_, _>>()?,
        })
    }
}

fn unsuccessful(face: v1::UndeletedFace) -> Result<UnsuccessfulFaceDeletion, ApiError> {
    let face_id = face_id_text(&face.face_id)?;
    Ok(UnsuccessfulFaceDeletion { face_id, user_id: face.user_id, reasons: [face.reason] })
}
