//! What several operations share: rows of constraints, and the way from what roles say to what clients see.

use vidimus_domain::limits::{PAGE_DEFAULT, PHOTO_BYTES_MAX};
use vidimus_domain::{ErrorCode, FaceId, Failure};
use vidimus_proto::api;
use vidimus_proto::internal::v1;

use crate::constraint::{BUCKET, Member, NAME, NAME_OR_COLON, Rule, TOKEN, Text, UUID, optional, required};
use crate::error::ApiError;

pub(super) const COLLECTION_ID: Member = required("CollectionId", Rule::Text(Text::of(1, 255).like(NAME)));
pub(super) const FACE_ID: Text = Text::of(0, usize::MAX).like(UUID);
pub(super) const EXTERNAL_IMAGE_ID: Rule = Rule::Text(Text::of(1, 255).like(NAME_OR_COLON));
pub(super) const USER_ID: Rule = Rule::Text(Text::of(1, 128).like(NAME_OR_COLON));
pub(super) const CLIENT_REQUEST_TOKEN: Member =
    optional("ClientRequestToken", Rule::Text(Text::of(1, 64).like(TOKEN)));
pub(super) const PERCENT: Rule = Rule::Float { min: 0.0, max: 100.0 };
pub(super) const FACES_MAX: Rule = Rule::Integer { min: 1, max: 4096 };
pub(super) const USERS_MAX: Rule = Rule::Integer { min: 1, max: 500 };
pub(super) const PAGE_SIZE: Rule = Rule::Integer { min: 0, max: 4096 };
pub(super) const PAGE_TOKEN: Rule = Rule::Text(Text::of(0, 255));
pub(super) const FACE_IDS: Rule = Rule::TextList { of: FACE_ID, min: 1, max: 4096 };
pub(super) const QUALITY_FILTER: Member =
    optional("QualityFilter", Rule::Text(Text::one_of(&["NONE", "AUTO", "LOW", "MEDIUM", "HIGH"])));
pub(super) const IMAGE_RULE: Rule = Rule::Structure(&[
    optional("Bytes", Rule::Photo { bytes_max: PHOTO_BYTES_MAX }),
    optional(
        "S3Object",
        Rule::Structure(&[
            optional("Bucket", Rule::Text(Text::of(3, 255).like(BUCKET))),
            optional("Name", Rule::Text(Text::of(1, 1024))),
            optional("Version", Rule::Text(Text::of(1, 1024))),
        ]),
    ),
]);
pub(super) const IMAGE: Member = required("Image", IMAGE_RULE);
/// What Vidimus adds to searches.
pub(super) const SEARCH_OPTIONS: Member =
    optional("Vidimus", Rule::Structure(&[optional("TargetFpir", Rule::Float { min: 0.0, max: 1.0 })]));
/// All are accepted; none but `DEFAULT`'s has an effect: what infers what a person is or feels is not offered.
pub(super) const ATTRIBUTES: Rule = Rule::TextList {
    of: Text::one_of(&[
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
    ]),
    min: 0,
    max: usize::MAX,
};

/// Least similarity of a search that names none, as of the Rekognition API.
pub(super) const THRESHOLD_DEFAULT: f32 = 80.0;

/// Landmarks in the order of `DetectedFace`.
const LANDMARKS: [&str; 5] = ["eyeLeft", "eyeRight", "nose", "mouthLeft", "mouthRight"];

/// The quality filter that a request names, or `default`.
pub(super) fn quality_filter(name: Option<&str>, default: v1::QualityFilter) -> i32 {
    let named = name.map(|name| format!("QUALITY_FILTER_{name}"));
    let filter = named.and_then(|name| v1::QualityFilter::from_str_name(&name));
    filter.unwrap_or(default).into()
}

/// The size of a page that a request asks for; 0 asks for the default.
pub(super) fn page_size(max_results: Option<i32>) -> u32 {
    positive(max_results).unwrap_or(PAGE_DEFAULT)
}

/// A number that a request may leave out, or give as 0 for the default.
pub(super) fn positive(number: Option<i32>) -> Option<u32> {
    number.and_then(|number| u32::try_from(number).ok()).filter(|number| *number > 0)
}

/// Face ids as roles take them, each once, in the order of the request.
pub(super) fn face_ids(texts: &[String]) -> Result<Vec<Vec<u8>>, ApiError> {
    let mut seen = std::collections::HashSet::new();
    let mut ids = Vec::with_capacity(texts.len());
    for text in texts {
        let id = face_id(text)?;
        if seen.insert(id) {
            ids.push(id.to_bytes().to_vec());
        }
    }
    Ok(ids)
}

/// Reads a face id.
pub(super) fn face_id(text: &str) -> Result<FaceId, ApiError> {
    text.parse::<FaceId>().map_err(|error| Failure::from(error).into())
}

/// A face id that a role sent.
pub(super) fn face_id_text(bytes: &[u8]) -> Result<String, ApiError> {
    FaceId::from_bytes(bytes).map(|id| id.to_string()).map_err(|_| malformed_answer())
}

/// Face ids that a role sent, as references.
pub(super) fn face_references(ids: &[Vec<u8>]) -> Result<Vec<api::FaceReference>, ApiError> {
    ids.iter().map(|id| Ok(api::FaceReference { face_id: face_id_text(id)? })).collect()
}

/// A role sent what it never should.
pub(super) fn malformed_answer() -> ApiError {
    Failure::new(ErrorCode::Internal, "a role sent a malformed answer").into()
}

/// A share of 0 to 1 as 0 to 100.
pub(super) fn percent(share: f32) -> f32 {
    (share * 100.0).clamp(0.0, 100.0)
}

/// An empty text is none.
pub(super) fn some_text(text: String) -> Option<String> {
    Some(text).filter(|text| !text.is_empty())
}

pub(super) fn bounding_box(from: Option<v1::BoundingBox>) -> Option<api::BoundingBox> {
    let v1::BoundingBox { left, top, width, height } = from.unwrap_or_default();
    Some(api::BoundingBox { width, height, left, top })
}

/// What is shown of an enrolled face; `model_version` is the collection's.
pub(super) fn face(view: v1::FaceView, model_version: &str) -> Result<api::Face, ApiError> {
    let id = FaceId::from_bytes(&view.face_id).map_err(|_| malformed_answer())?;
    Ok(api::Face {
        face_id: id.to_string(),
        bounding_box: bounding_box(view.bounding_box),
        image_id: id.image().to_string(),
        external_image_id: some_text(view.external_image_id),
        confidence: percent(view.confidence),
        index_faces_model_version: model_version.to_owned(),
        user_id: some_text(view.user_id),
    })
}

/// What was seen of a face.
pub(super) fn face_detail(face: v1::DetectedFace) -> api::FaceDetail {
    let named = LANDMARKS.into_iter().zip(face.landmarks);
    let landmark =
        |(name, point): (&str, v1::Point)| api::Landmark { r#type: name.to_owned(), x: point.x, y: point.y };
    api::FaceDetail {
        bounding_box: bounding_box(face.bounding_box),
        confidence: percent(face.confidence),
        landmarks: named.map(landmark).collect(),
        pose: face.pose.map(|v1::Pose { roll, yaw, pitch }| api::Pose { roll, yaw, pitch }),
        quality: face
            .quality
            .map(|from| api::ImageQuality { brightness: from.brightness, sharpness: from.sharpness }),
    }
}

/// What a threshold means.
pub(super) fn score_meaning(meaning: v1::ScoreMeaning) -> api::ScoreMeaning {
    api::ScoreMeaning {
        false_match_rate: meaning.false_match_rate,
        expected_strangers: meaning.expected_strangers,
        extrapolated: meaning.extrapolated,
        gallery_faces: meaning.gallery_faces,
        threshold_cosine: meaning.threshold_cosine,
        threshold_similarity: meaning.threshold_similarity,
    }
}

/// Response headers that say what `Vidimus` says to clients that drop unknown JSON members.
pub(super) fn meaning_headers(meaning: Option<&api::ScoreMeaning>) -> Vec<(&'static str, String)> {
    let Some(meaning) = meaning else { return Vec::new() };
    vec![
        ("x-vidimus-fmr", format!("{:.3e}", meaning.false_match_rate)),
        ("x-vidimus-expected-strangers", format!("{:.3e}", meaning.expected_strangers)),
        ("x-vidimus-extrapolated", meaning.extrapolated.to_string()),
        ("x-vidimus-gallery-faces", meaning.gallery_faces.to_string()),
        ("x-vidimus-threshold-similarity", format!("{:.3}", meaning.threshold_similarity)),
    ]
}

/// A user's status as the API names it.
pub(super) fn user_status(status: v1::UserStatus) -> String {
    let name = match status {
        v1::UserStatus::Active => "ACTIVE",
        v1::UserStatus::Updating => "UPDATING",
        v1::UserStatus::Creating => "CREATING",
        v1::UserStatus::Created | v1::UserStatus::Unspecified => "CREATED",
    };
    name.to_owned()
}
