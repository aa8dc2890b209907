//! SearchUsers and SearchUsersByImage.

use vidimus_domain::limits::CANDIDATES_DEFAULT;
use vidimus_proto::api;
use vidimus_proto::internal::v1;

use super::search::target_fpir;
use super::shapes::{
    COLLECTION_ID, FACE_ID, IMAGE, PERCENT, QUALITY_FILTER, SEARCH_OPTIONS, THRESHOLD_DEFAULT, USER_ID,
    USERS_MAX, face_detail, face_id, meaning_headers, positive, quality_filter, score_meaning, user_status,
};
use super::{Kind, Operation};
use crate::constraint::{Member, Rule, optional};
use crate::error::{ApiError, ErrorType};
use crate::services::{Context, Services, answered, collection_ref};

pub(crate) struct SearchUsers;
pub(crate) struct SearchUsersByImage;

impl Operation for SearchUsers {
    const NAME: &'static str = "SearchUsers";
    const MEMBERS: &'static [Member] = &[
        COLLECTION_ID,
        optional("UserId", USER_ID),
        optional("FaceId", Rule::Text(FACE_ID)),
        optional("UserMatchThreshold", PERCENT),
        optional("MaxUsers", USERS_MAX),
        SEARCH_OPTIONS,
    ];
    const KIND: Kind = Kind::Search;
    type Input = api::SearchUsersRequest;
    type Output = api::SearchUsersResponse;

    async fn answer(
        services: &Services,
        context: &Context,
        input: Self::Input,
    ) -> Result<Self::Output, ApiError> {
        let collection = services.collection(context, &input.collection_id).await?;
        let probe = probe(&input)?;
        let request = v1::SearchUsersRequest {
            collection: Some(collection_ref(&collection)),
            caller: Some(context.caller()),
            probe: Some(probe),
            users_max: positive(input.max_users).unwrap_or(CANDIDATES_DEFAULT),
            threshold_similarity: input.user_match_threshold.unwrap_or(THRESHOLD_DEFAULT),
            target_fpir: target_fpir(input.vidimus.as_ref(), context),
        };
        let found = answered(services.deps.query.search_users(tonic::Request::new(request)).await)?;
        Ok(api::SearchUsersResponse {
            user_matches: found.users.into_iter().map(user_match).collect(),
            face_model_version: collection.face_model_version.clone(),
            searched_face: input.face_id.map(|face_id| api::FaceReference { face_id }),
            searched_user: input.user_id.map(|user_id| api::UserReference { user_id }),
            vidimus: found.meaning.map(score_meaning),
        })
    }

    fn headers(found: &Self::Output) -> Vec<(&'static str, String)> {
        meaning_headers(found.vidimus.as_ref())
    }
}

fn probe(input: &api::SearchUsersRequest) -> Result<v1::search_users_request::Probe, ApiError> {
    use v1::search_users_request::Probe;
    match (&input.face_id, &input.user_id) {
        (Some(face), None) => Ok(Probe::FaceId(face_id(face)?.to_bytes().to_vec())),
        (None, Some(user)) => Ok(Probe::UserId(user.clone())),
        (Some(_), Some(_)) => Err(either("FaceId and UserId were both given: give one.")),
        (None, None) => Err(either("FaceId or UserId is needed.")),
    }
}

fn either(message: &str) -> ApiError {
    ApiError::new(ErrorType::InvalidParameter, format!("Request has invalid parameters: {message}"))
}

impl Operation for SearchUsersByImage {
    const NAME: &'static str = "SearchUsersByImage";
    const MEMBERS: &'static [Member] = &[
        COLLECTION_ID,
        IMAGE,
        optional("UserMatchThreshold", PERCENT),
        optional("MaxUsers", USERS_MAX),
        QUALITY_FILTER,
        SEARCH_OPTIONS,
    ];
    const KIND: Kind = Kind::Search;
    type Input = api::SearchUsersByImageRequest;
    type Output = api::SearchUsersByImageResponse;

    async fn answer(
        services: &Services,
        context: &Context,
        input: Self::Input,
    ) -> Result<Self::Output, ApiError> {
        let collection = services.collection(context, &input.collection_id).await?;
        let photo = services.photo(context, input.image).await?;
        let request = v1::SearchUsersByImageRequest {
            collection: Some(collection_ref(&collection)),
            caller: Some(context.caller()),
            photo: photo.bytes.clone(),
            users_max: positive(input.max_users).unwrap_or(CANDIDATES_DEFAULT),
            threshold_similarity: input.user_match_threshold.unwrap_or(THRESHOLD_DEFAULT),
            quality_filter: quality_filter(input.quality_filter.as_deref(), v1::QualityFilter::None),
            target_fpir: target_fpir(input.vidimus.as_ref(), context),
        };
        let query = &services.deps.query;
        let found = answered(query.search_users_by_image(tonic::Request::new(request)).await)?;
        let searched =
            found.searched.map(|face| api::SearchedFaceDetails { face_detail: Some(face_detail(face)) });
        Ok(api::SearchUsersByImageResponse {
            user_matches: found.users.into_iter().map(user_match).collect(),
            face_model_version: collection.face_model_version.clone(),
            searched_face: searched,
            unsearched_faces: found.unsearched.into_iter().map(unsearched).collect(),
            vidimus: found.meaning.map(score_meaning),
        })
    }

    fn headers(found: &Self::Output) -> Vec<(&'static str, String)> {
        meaning_headers(found.vidimus.as_ref())
    }
}

fn user_match(user: v1::UserCandidate) -> api::UserMatch {
    let user_status = user_status(user.status());
    let v1::UserCandidate { user_id, similarity, cosine, false_match_rate, .. } = user;
    api::UserMatch {
        similarity,
        user: Some(api::User { user_id, user_status }),
        vidimus: Some(api::CandidateMeaning { false_match_rate, cosine }),
    }
}

fn unsearched(face: v1::UnindexedFace) -> api::UnsearchedFace {
    let detail = face_detail(face.detected.unwrap_or_default());
    api::UnsearchedFace { face_details: Some(detail), reasons: face.reasons }
}
