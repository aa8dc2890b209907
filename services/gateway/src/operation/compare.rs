//! DetectFaces and CompareFaces: outside of collections; nothing is stored.

use vidimus_proto::api;
use vidimus_proto::internal::v1;

use super::Operation;
use super::shapes::{
    ATTRIBUTES, IMAGE, IMAGE_RULE, PERCENT, QUALITY_FILTER, THRESHOLD_DEFAULT, bounding_box, face_detail,
    meaning_headers, percent, quality_filter, score_meaning,
};
use crate::constraint::{Member, optional, required};
use crate::error::ApiError;
use crate::services::{Context, Services, answered};

pub(crate) struct DetectFaces;
pub(crate) struct CompareFaces;

impl Operation for DetectFaces {
    const NAME: &'static str = "DetectFaces";
    const MEMBERS: &'static [Member] = &[IMAGE, optional("Attributes", ATTRIBUTES)];
    type Input = api::DetectFacesRequest;
    type Output = api::DetectFacesResponse;

    async fn answer(
        services: &Services,
        context: &Context,
        input: Self::Input,
    ) -> Result<Self::Output, ApiError> {
        let photo = services.photo(context, input.image).await?;
        let request = v1::DetectFacesRequest {
            photo: photo.bytes.clone(),
            tenant: context.access.tenant.id.to_string(),
        };
        let found = answered(services.deps.query.detect_faces(tonic::Request::new(request)).await)?;
        Ok(api::DetectFacesResponse { face_details: found.faces.into_iter().map(face_detail).collect() })
    }
}

impl Operation for CompareFaces {
    const NAME: &'static str = "CompareFaces";
    const MEMBERS: &'static [Member] = &[
        required("SourceImage", IMAGE_RULE),
        required("TargetImage", IMAGE_RULE),
        optional("SimilarityThreshold", PERCENT),
        QUALITY_FILTER,
    ];
    type Input = api::CompareFacesRequest;
    type Output = api::CompareFacesResponse;

    async fn answer(
        services: &Services,
        context: &Context,
        input: Self::Input,
    ) -> Result<Self::Output, ApiError> {
        let source = services.photo(context, input.source_image).await?;
        let target = services.photo(context, input.target_image).await?;
        let request = v1::CompareFacesRequest {
            source: source.bytes.clone(),
            target: target.bytes.clone(),
            threshold_similarity: input.similarity_threshold.unwrap_or(THRESHOLD_DEFAULT),
            quality_filter: quality_filter(input.quality_filter.as_deref(), v1::QualityFilter::None),
            tenant: context.access.tenant.id.to_string(),
        };
        let compared = answered(services.deps.query.compare_faces(tonic::Request::new(request)).await)?;
        let source = compared.source.unwrap_or_default();
        let source = api::ComparedSourceImageFace {
            bounding_box: bounding_box(source.bounding_box),
            confidence: percent(source.confidence),
        };
        Ok(api::CompareFacesResponse {
            source_image_face: Some(source),
            face_matches: compared.matched.into_iter().map(matched).collect(),
            unmatched_faces: compared.unmatched.into_iter().map(face_detail).collect(),
            vidimus: compared.meaning.map(score_meaning),
        })
    }

    fn headers(compared: &Self::Output) -> Vec<(&'static str, String)> {
        meaning_headers(compared.vidimus.as_ref())
    }
}

fn matched(face: v1::ComparedFace) -> api::CompareFacesMatch {
    let v1::ComparedFace { face: detected, similarity, cosine, false_match_rate } = face;
    api::CompareFacesMatch {
        similarity,
        face: Some(face_detail(detected.unwrap_or_default())),
        vidimus: Some(api::CandidateMeaning { false_match_rate, cosine }),
    }
}
