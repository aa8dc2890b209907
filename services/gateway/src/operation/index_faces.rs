//! IndexFaces.

use serde::{Deserialize, Serialize};
use vidimus_proto::internal::v1;

use super::Operation;
use super::shapes::{
    COLLECTION_ID, EXTERNAL_IMAGE_ID, Face, FaceDetail, IMAGE, Image, QUALITY_FILTER, malformed_answer,
    quality_filter,
};
use crate::constraint::{Member, Rule, Text, optional};
use crate::error::ApiError;
use crate::services::{Context, Services, answered, collection_ref};

pub(super) struct IndexFaces;

/// All are accepted; none but `DEFAULT`'s has an effect: see [`FaceDetail`].
const ATTRIBUTES: [&str; 14] = [
    "DEFAULT",
    "ALL",
    "AGE_RANGE",
    "BEARD",
    "EMOTIONS",
    "EYE_DIRECTION",
    "EYEGLASSES",
    "EYES_OPEN",
    "GENDER",
    "MOUTH_OPEN",
    "MUSTACHE",
    "FACE_OCCLUDED",
    "SMILE",
    "SUNGLASSES",
];

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Input {
    collection_id: String,
    image: Image,
    external_image_id: Option<String>,
    max_faces: Option<u32>,
    quality_filter: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Output {
    face_records: Vec<FaceRecord>,
    face_model_version: String,
    unindexed_faces: Vec<UnindexedFace>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct FaceRecord {
    face: Face,
    face_detail: FaceDetail,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct UnindexedFace {
    reasons: Vec<String>,
    face_detail: FaceDetail,
}

impl Operation for IndexFaces {
    const NAME: &'static str = "IndexFaces";
    const MEMBERS: &'static [Member] = &[
        COLLECTION_ID,
        IMAGE,
        optional("ExternalImageId", EXTERNAL_IMAGE_ID),
        optional(
            "DetectionAttributes",
            Rule::TextList { of: Text::one_of(&ATTRIBUTES), min: 0, max: usize::MAX },
        ),
        optional("MaxFaces", Rule::Integer { min: 1, max: i32::MAX }),
        optional("QualityFilter", QUALITY_FILTER),
    ];
    type Input = Input;
    type Output = Output;

    async fn answer(services: &Services, context: &Context, input: Input) -> Result<Output, ApiError> {
        let photo = input.image.into_photo()?;
        let collection = services.collection(context, &input.collection_id).await?;
        let request = v1::IndexFacesRequest {
            collection: Some(collection_ref(&collection)),
            caller: Some(context.caller()),
            photo,
            external_image_id: input.external_image_id.unwrap_or_default(),
            faces_max: input.max_faces.unwrap_or_default(),
            retry_id: context.retry_id.clone(),
            quality_filter: quality_filter(input.quality_filter.as_deref(), v1::QualityFilter::Auto),
            expires_at_ms: None,
        };
        let indexed = answered(services.deps.ingestion.index_faces(tonic::Request::new(request)).await)?;
        let version = &collection.face_model_version;
        let records = indexed.faces.into_iter().map(|face| face_record(face, version));
        let unindexed = indexed.unindexed.into_iter().map(unindexed_face);
        Ok(Output {
            face_records: records.collect::<Result<_, _>>()?,
            face_model_version: version.clone(),
            unindexed_faces: unindexed.collect(),
        })
    }
}

fn face_record(indexed: v1::IndexedFace, model_version: &str) -> Result<FaceRecord, ApiError> {
    let view = indexed.face.ok_or_else(malformed_answer)?;
    let detected = indexed.detected.unwrap_or_default();
    Ok(FaceRecord { face: Face::new(view, model_version)?, face_detail: detected.into() })
}

fn unindexed_face(face: v1::UnindexedFace) -> UnindexedFace {
    UnindexedFace { reasons: face.reasons, face_detail: face.detected.unwrap_or_default().into() }
}
