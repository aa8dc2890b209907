//! SearchFaces and SearchFacesByImage, with what the scores mean.

use vidimus_domain::limits::CANDIDATES_DEFAULT;
use vidimus_proto::api;
use vidimus_proto::internal::v1;

use super::shapes::{
    COLLECTION_ID, FACE_ID, FACES_MAX, IMAGE, PERCENT, QUALITY_FILTER, SEARCH_OPTIONS, THRESHOLD_DEFAULT,
    bounding_box, face, face_id, malformed_answer, meaning_headers, percent, positive, quality_filter,
    score_meaning,
};
use super::{Kind, Operation};
use crate::constraint::{Member, Rule, optional, required};
use crate::error::ApiError;
use crate::services::{Context, Services, answered, collection_ref};

pub(crate) struct SearchFaces;
pub(crate) struct SearchFacesByImage;

impl Operation for SearchFaces {
    const NAME: &'static str = "SearchFaces";
    const MEMBERS: &'static [Member] = &[
        COLLECTION_ID,
        required("FaceId", Rule::Text(FACE_ID)),
        optional("MaxFaces", FACES_MAX),
        optional("FaceMatchThreshold", PERCENT),
        SEARCH_OPTIONS,
    ];
    const KIND: Kind = Kind::Search;
    type Input = api::SearchFacesRequest;
    type Output = api::SearchFacesResponse;

    async fn answer(
        services: &Services,
        context: &Context,
        input: Self::Input,
    ) -> Result<Self::Output, ApiError> {
        let collection = services.collection(context, &input.collection_id).await?;
        let request = v1::SearchFacesRequest {
            collection: Some(collection_ref(&collection)),
            caller: Some(context.caller()),
            face_id: face_id(&input.face_id)?.to_bytes().to_vec(),
            faces_max: positive(input.max_faces).unwrap_or(CANDIDATES_DEFAULT),
            threshold_similarity: input.face_match_threshold.unwrap_or(THRESHOLD_DEFAULT),
            target_fpir: target_fpir(input.vidimus.as_ref(), context),
        };
        let found = answered(services.deps.query.search_faces(tonic::Request::new(request)).await)?;
        let version = collection.face_model_version.clone();
        Ok(api::SearchFacesResponse {
            searched_face_id: input.face_id,
            face_matches: face_matches(found.candidates, &version)?,
            face_model_version: version,
            vidimus: found.meaning.map(score_meaning),
        })
    }

    fn headers(found: &Self::Output) -> Vec<(&'static str, String)> {
        meaning_headers(found.vidimus.as_ref())
    }
}

impl Operation for SearchFacesByImage {
    const NAME: &'static str = "SearchFacesByImage";
    const MEMBERS: &'static [Member] = &[
        COLLECTION_ID,
        IMAGE,
        optional("MaxFaces", FACES_MAX),
        optional("FaceMatchThreshold", PERCENT),
        QUALITY_FILTER,
        SEARCH_OPTIONS,
    ];
    const KIND: Kind = Kind::Search;
    type Input = api::SearchFacesByImageRequest;
    type Output = api::SearchFacesByImageResponse;

    async fn answer(
        services: &Services,
        context: &Context,
        input: Self::Input,
    ) -> Result<Self::Output, ApiError> {
        let collection = services.collection(context, &input.collection_id).await?;
        let photo = services.photo(context, input.image).await?;
        let request = v1::SearchFacesByImageRequest {
            collection: Some(collection_ref(&collection)),
            caller: Some(context.caller()),
            photo: photo.bytes.clone(),
            faces_max: positive(input.max_faces).unwrap_or(CANDIDATES_DEFAULT),
            threshold_similarity: input.face_match_threshold.unwrap_or(THRESHOLD_DEFAULT),
            quality_filter: quality_filter(input.quality_filter.as_deref(), v1::QualityFilter::None),
            target_fpir: target_fpir(input.vidimus.as_ref(), context),
        };
        let query = &services.deps.query;
        let found = answered(query.search_faces_by_image(tonic::Request::new(request)).await)?;
        let searched = found.searched.unwrap_or_default();
        let version = collection.face_model_version.clone();
        Ok(api::SearchFacesByImageResponse {
            searched_face_bounding_box: bounding_box(searched.bounding_box),
            searched_face_confidence: percent(searched.confidence),
            face_matches: face_matches(found.candidates, &version)?,
            face_model_version: version,
            vidimus: found.meaning.map(score_meaning),
        })
    }

    fn headers(found: &Self::Output) -> Vec<(&'static str, String)> {
        meaning_headers(found.vidimus.as_ref())
    }
}

/// The FPIR that a search asks for: in its request, else in a header.
pub(super) fn target_fpir(options: Option<&api::SearchOptions>, context: &Context) -> Option<f64> {
    options.and_then(|options| options.target_fpir).or(context.options.target_fpir)
}

fn face_matches(
    candidates: Vec<v1::Candidate>,
    model_version: &str,
) -> Result<Vec<api::FaceMatch>, ApiError> {
    candidates.into_iter().map(|candidate| face_match(candidate, model_version)).collect()
}

fn face_match(candidate: v1::Candidate, model_version: &str) -> Result<api::FaceMatch, ApiError> {
    let view = candidate.face.ok_or_else(malformed_answer)?;
    let v1::Candidate { false_match_rate, cosine, similarity, .. } = candidate;
    Ok(api::FaceMatch {
        similarity,
        face: Some(face(view, model_version)?),
        vidimus: Some(api::CandidateMeaning { false_match_rate, cosine }),
    })
}
