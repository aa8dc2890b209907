//! SearchFaces and SearchFacesByImage, with what the scores mean.

use serde::{Deserialize, Serialize};
use vidimus_domain::limits::CANDIDATES_DEFAULT;
use vidimus_proto::internal::v1;

use super::Operation;
use super::shapes::{
    BoundingBox, COLLECTION_ID, FACE_ID, FACES_MAX, Face, IMAGE, Image, PERCENT, QUALITY_FILTER, face_id,
    malformed_answer, percent, quality_filter,
};
use crate::constraint::{Member, Rule, optional, required};
use crate::error::ApiError;
use crate::services::{Context, Services, answered, collection_ref};

/// Least similarity of a search that names none, as of the Rekognition API.
const THRESHOLD_DEFAULT: f32 = 80.0;

pub(super) struct SearchFaces;
pub(super) struct SearchFacesByImage;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ByFace {
    collection_id: String,
    face_id: String,
    max_faces: Option<u32>,
    face_match_threshold: Option<f32>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ByImage {
    collection_id: String,
    image: Image,
    max_faces: Option<u32>,
    face_match_threshold: Option<f32>,
    quality_filter: Option<String>,
}

/// The answer to both; what was searched for is the one or the other.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Found {
    #[serde(skip_serializing_if = "Option::is_none")]
    searched_face_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    searched_face_bounding_box: Option<BoundingBox>,
    #[serde(skip_serializing_if = "Option::is_none")]
    searched_face_confidence: Option<f32>,
    face_matches: Vec<FaceMatch>,
    face_model_version: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    vidimus: Option<Meaning>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct FaceMatch {
    similarity: f32,
    face: Face,
    vidimus: CandidateMeaning,
}

/// What one candidate's score means.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct CandidateMeaning {
    /// Share of comparisons of different people that score as high or higher.
    false_match_rate: f64,
    cosine: f32,
}

/// What the search's threshold means.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Meaning {
    /// Share of comparisons of different people that reach the threshold.
    false_match_rate: f64,
    /// How many strangers of this collection reach it on average.
    expected_strangers: f64,
    /// Whether the rate lies outside what was measured.
    extrapolated: bool,
    gallery_faces: u64,
    threshold_cosine: f32,
}

impl Operation for SearchFaces {
    const NAME: &'static str = "SearchFaces";
    const MEMBERS: &'static [Member] = &[
        COLLECTION_ID,
        required("FaceId", Rule::Text(FACE_ID)),
        optional("MaxFaces", FACES_MAX),
        optional("FaceMatchThreshold", PERCENT),
    ];
    type Input = ByFace;
    type Output = Found;

    async fn answer(services: &Services, context: &Context, input: ByFace) -> Result<Found, ApiError> {
        let collection = services.collection(context, &input.collection_id).await?;
        let request = v1::SearchFacesRequest {
            collection: Some(collection_ref(&collection)),
            caller: Some(context.caller()),
            face_id: face_id(&input.face_id)?.to_bytes().to_vec(),
            faces_max: input.max_faces.unwrap_or(CANDIDATES_DEFAULT),
            threshold_similarity: input.face_match_threshold.unwrap_or(THRESHOLD_DEFAULT),
            target_fpir: None,
        };
        let found = answered(services.deps.query.search_faces(tonic::Request::new(request)).await)?;
        let found = Found::new(found, &collection.face_model_version)?;
        Ok(Found { searched_face_id: Some(input.face_id), ..found })
    }

    fn headers(found: &Found) -> Vec<(&'static str, String)> {
        found.headers()
    }
}

impl Operation for SearchFacesByImage {
    const NAME: &'static str = "SearchFacesByImage";
    const MEMBERS: &'static [Member] = &[
        COLLECTION_ID,
        IMAGE,
        optional("MaxFaces", FACES_MAX),
        optional("FaceMatchThreshold", PERCENT),
        optional("QualityFilter", QUALITY_FILTER),
    ];
    type Input = ByImage;
    type Output = Found;

    async fn answer(services: &Services, context: &Context, input: ByImage) -> Result<Found, ApiError> {
        let photo = input.image.into_photo()?;
        let collection = services.collection(context, &input.collection_id).await?;
        let request = v1::SearchFacesByImageRequest {
            collection: Some(collection_ref(&collection)),
            caller: Some(context.caller()),
            photo,
            faces_max: input.max_faces.unwrap_or(CANDIDATES_DEFAULT),
            threshold_similarity: input.face_match_threshold.unwrap_or(THRESHOLD_DEFAULT),
            quality_filter: quality_filter(input.quality_filter.as_deref(), v1::QualityFilter::None),
            target_fpir: None,
        };
        let query = &services.deps.query;
        let mut found = answered(query.search_faces_by_image(tonic::Request::new(request)).await)?;
        let searched = found.searched.take().unwrap_or_default();
        let found = Found::new(found, &collection.face_model_version)?;
        Ok(Found {
            searched_face_bounding_box: searched.bounding_box.map(Into::into),
            searched_face_confidence: Some(percent(searched.confidence)),
            ..found
        })
    }

    fn headers(found: &Found) -> Vec<(&'static str, String)> {
        found.headers()
    }
}

impl Found {
    fn new(response: v1::SearchResponse, model_version: &str) -> Result<Self, ApiError> {
        let matches = response.candidates.into_iter().map(|candidate| face_match(candidate, model_version));
        Ok(Self {
            searched_face_id: None,
            searched_face_bounding_box: None,
            searched_face_confidence: None,
            face_matches: matches.collect::<Result<_, _>>()?,
            face_model_version: model_version.to_owned(),
            vidimus: response.meaning.map(Into::into),
        })
    }

    fn headers(&self) -> Vec<(&'static str, String)> {
        let Some(meaning) = &self.vidimus else { return Vec::new() };
        vec![
            ("x-vidimus-fmr", format!("{:.3e}", meaning.false_match_rate)),
            ("x-vidimus-expected-strangers", format!("{:.3e}", meaning.expected_strangers)),
            ("x-vidimus-extrapolated", meaning.extrapolated.to_string()),
            ("x-vidimus-gallery-faces", meaning.gallery_faces.to_string()),
        ]
    }
}

fn face_match(candidate: v1::Candidate, model_version: &str) -> Result<FaceMatch, ApiError> {
    let view = candidate.face.ok_or_else(malformed_answer)?;
    Ok(FaceMatch {
        similarity: candidate.similarity,
        face: Face::new(view, model_version)?,
        vidimus: CandidateMeaning { false_match_rate: candidate.false_match_rate, cosine: candidate.cosine },
    })
}

impl From<v1::ScoreMeaning> for Meaning {
    fn from(meaning: v1::ScoreMeaning) -> Self {
        Self {
            false_match_rate: meaning.false_match_rate,
            expected_strangers: meaning.expected_strangers,
            extrapolated: meaning.extrapolated,
            gallery_faces: meaning.gallery_faces,
            threshold_cosine: meaning.threshold_cosine,
        }
    }
}
