//! IndexFaces.

use vidimus_proto::api;
use vidimus_proto::internal::v1;

use super::shapes::{
    ATTRIBUTES, COLLECTION_ID, EXTERNAL_IMAGE_ID, IMAGE, QUALITY_FILTER, face, face_detail, malformed_answer,
    positive, quality_filter,
};
use super::{Kind, Operation};
use crate::constraint::{Member, Rule, optional};
use crate::error::ApiError;
use crate::services::{Context, Services, answered, collection_ref};

pub(crate) struct IndexFaces;

/// Seconds since the epoch up to the year 9999.
const TIME: Rule = Rule::Float { min: 0.0, max: 253_402_300_799.0 };

impl Operation for IndexFaces {
    const NAME: &'static str = "IndexFaces";
    const MEMBERS: &'static [Member] = &[
        COLLECTION_ID,
        IMAGE,
        optional("ExternalImageId", EXTERNAL_IMAGE_ID),
        optional("DetectionAttributes", ATTRIBUTES),
        optional("MaxFaces", Rule::Integer { min: 1, max: i32::MAX }),
        QUALITY_FILTER,
        optional("Vidimus", Rule::Structure(&[optional("ExpiresAt", TIME)])),
    ];
    const KIND: Kind = Kind::Enrolment;
    type Input = api::IndexFacesRequest;
    type Output = api::IndexFacesResponse;

    async fn answer(
        services: &Services,
        context: &Context,
        input: Self::Input,
    ) -> Result<Self::Output, ApiError> {
        let collection = services.collection(context, &input.collection_id).await?;
        let photo = services.photo(context, input.image).await?;
        let expires_at = input.vidimus.and_then(|options| options.expires_at).or(context.options.expires_at);
        let request = v1::IndexFacesRequest {
            collection: Some(collection_ref(&collection)),
            caller: Some(context.caller()),
            photo: photo.bytes.clone(),
            external_image_id: input.external_image_id.unwrap_or_default(),
            faces_max: positive(input.max_faces).unwrap_or_default(),
            retry_id: context.retry_id.clone(),
            quality_filter: quality_filter(input.quality_filter.as_deref(), v1::QualityFilter::Auto),
            expires_at_ms: expires_at.map(|seconds| (seconds * 1000.0) as i64),
        };
        let indexed = answered(services.deps.ingestion.index_faces(tonic::Request::new(request)).await)?;
        let version = &collection.face_model_version;
        let records = indexed.faces.into_iter().map(|face| face_record(face, version));
        let unindexed = indexed.unindexed.into_iter().map(unindexed_face);
        Ok(api::IndexFacesResponse {
            face_records: records.collect::<Result<_, _>>()?,
            face_model_version: version.clone(),
            unindexed_faces: unindexed.collect(),
        })
    }
}

fn face_record(indexed: v1::IndexedFace, model_version: &str) -> Result<api::FaceRecord, ApiError> {
    let view = indexed.face.ok_or_else(malformed_answer)?;
    let detail = face_detail(indexed.detected.unwrap_or_default());
    Ok(api::FaceRecord { face: Some(face(view, model_version)?), face_detail: Some(detail) })
}

fn unindexed_face(face: v1::UnindexedFace) -> api::UnindexedFace {
    let detail = face_detail(face.detected.unwrap_or_default());
    api::UnindexedFace { reasons: face.reasons, face_detail: Some(detail) }
}
