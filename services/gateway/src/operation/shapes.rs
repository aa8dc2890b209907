//! Shapes that several operations share, and their rows.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};
use vidimus_domain::limits::{PAGE_DEFAULT, PHOTO_BYTES_MAX};
use vidimus_domain::{ErrorCode, FaceId, Failure};
use vidimus_proto::internal::v1;

use crate::constraint::{BUCKET, Member, NAME, NAME_OR_COLON, Rule, Text, UUID, optional, required};
use crate::error::{ApiError, ErrorType};

pub(super) const COLLECTION_ID: Member = required("CollectionId", Rule::Text(Text::of(1, 255).like(NAME)));
pub(super) const FACE_ID: Text = Text::of(0, usize::MAX).like(UUID);
pub(super) const EXTERNAL_IMAGE_ID: Rule = Rule::Text(Text::of(1, 255).like(NAME_OR_COLON));
pub(super) const USER_ID: Rule = Rule::Text(Text::of(1, 128).like(NAME_OR_COLON));
pub(super) const PERCENT: Rule = Rule::Float { min: 0.0, max: 100.0 };
pub(super) const FACES_MAX: Rule = Rule::Integer { min: 1, max: 4096 };
pub(super) const PAGE_SIZE: Rule = Rule::Integer { min: 0, max: 4096 };
pub(super) const PAGE_TOKEN: Rule = Rule::Text(Text::of(0, 255));
pub(super) const FACE_IDS: Rule = Rule::TextList { of: FACE_ID, min: 1, max: 4096 };
pub(super) const QUALITY_FILTER: Rule = Rule::Text(Text::one_of(&["NONE", "AUTO", "LOW", "MEDIUM", "HIGH"]));
pub(super) const IMAGE: Member = required(
    "Image",
    Rule::Structure(&[
        optional("Bytes", Rule::Photo { bytes_max: PHOTO_BYTES_MAX }),
        optional(
            "S3Object",
            Rule::Structure(&[
                optional("Bucket", Rule::Text(Text::of(3, 255).like(BUCKET))),
                optional("Name", Rule::Text(Text::of(1, 1024))),
                optional("Version", Rule::Text(Text::of(1, 1024))),
            ]),
        ),
    ]),
);

/// A photo in a request.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Image {
    bytes: Option<Photo>,
    #[serde(rename = "S3Object")]
    s3_object: Option<serde::de::IgnoredAny>,
}

#[derive(Debug)]
struct Photo(Bytes);

impl<'de> Deserialize<'de> for Photo {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let decoded = STANDARD.decode(text).map_err(|_| D::Error::custom("not standard base64"))?;
        Ok(Self(decoded.into()))
    }
}

impl Image {
    /// The photo's bytes.
    pub(super) fn into_photo(self) -> Result<Bytes, ApiError> {
        match (self.bytes, self.s3_object) {
            (Some(photo), None) => Ok(photo.0),
            (None, Some(_)) => Err(ApiError::new(
                ErrorType::InvalidS3Object,
                "Unable to get object metadata from S3: no bucket is mapped here. Send the photo as Image.Bytes.",
            )),
            (Some(_), Some(_)) => Err(either("Image.Bytes and Image.S3Object were both given: give one.")),
            (None, None) => Err(either("Image needs Bytes or S3Object.")),
        }
    }
}

fn either(message: &str) -> ApiError {
    ApiError::new(ErrorType::InvalidParameter, format!("Request has invalid parameters: {message}"))
}

/// The quality filter that a request names, or `default`.
pub(super) fn quality_filter(name: Option<&str>, default: v1::QualityFilter) -> i32 {
    let named = name.map(|name| format!("QUALITY_FILTER_{name}"));
    let filter = named.and_then(|name| v1::QualityFilter::from_str_name(&name));
    filter.unwrap_or(default).into()
}

/// The size of a page that a request asks for; 0 asks for the default.
pub(super) fn page_size(max_results: Option<u32>) -> u32 {
    max_results.filter(|size| *size > 0).unwrap_or(PAGE_DEFAULT)
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

/// A role sent what it never should.
pub(super) fn malformed_answer() -> ApiError {
    Failure::new(ErrorCode::Internal, "a role sent a malformed answer").into()
}

/// `BoundingBox`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct BoundingBox {
    width: f32,
    height: f32,
    left: f32,
    top: f32,
}

impl From<v1::BoundingBox> for BoundingBox {
    fn from(from: v1::BoundingBox) -> Self {
        Self { width: from.width, height: from.height, left: from.left, top: from.top }
    }
}

/// `Face`: what is shown of an enrolled face.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Face {
    face_id: String,
    bounding_box: BoundingBox,
    image_id: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    external_image_id: String,
    confidence: f32,
    index_faces_model_version: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    user_id: String,
}

impl Face {
    /// `model_version` is the collection's.
    pub(super) fn new(view: v1::FaceView, model_version: &str) -> Result<Self, ApiError> {
        let id = FaceId::from_bytes(&view.face_id).map_err(|_| malformed_answer())?;
        Ok(Self {
            face_id: id.to_string(),
            bounding_box: view.bounding_box.unwrap_or_default().into(),
            image_id: id.image().to_string(),
            external_image_id: view.external_image_id,
            confidence: percent(view.confidence),
            index_faces_model_version: model_version.to_owned(),
            user_id: view.user_id,
        })
    }
}

/// A share of 0 to 1 as 0 to 100.
pub(super) fn percent(share: f32) -> f32 {
    (share * 100.0).clamp(0.0, 100.0)
}

/// `FaceDetail`: what was seen of a face. Attributes that infer what a person is or feels are not offered.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct FaceDetail {
    bounding_box: BoundingBox,
    confidence: f32,
    landmarks: Vec<Landmark>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pose: Option<Pose>,
    #[serde(skip_serializing_if = "Option::is_none")]
    quality: Option<Quality>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Landmark {
    r#type: &'static str,
    x: f32,
    y: f32,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Pose {
    roll: f32,
    yaw: f32,
    pitch: f32,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Quality {
    brightness: f32,
    sharpness: f32,
}

/// Landmarks in the order of `DetectedFace`.
const LANDMARKS: [&str; 5] = ["eyeLeft", "eyeRight", "nose", "mouthLeft", "mouthRight"];

impl From<v1::DetectedFace> for FaceDetail {
    fn from(face: v1::DetectedFace) -> Self {
        let named = LANDMARKS.into_iter().zip(face.landmarks);
        let landmark =
            |(r#type, point): (&'static str, v1::Point)| Landmark { r#type, x: point.x, y: point.y };
        let quality = |from: v1::Quality| Quality { brightness: from.brightness, sharpness: from.sharpness };
        Self {
            bounding_box: face.bounding_box.unwrap_or_default().into(),
            confidence: percent(face.confidence),
            landmarks: named.map(landmark).collect(),
            pose: face.pose.map(|from| Pose { roll: from.roll, yaw: from.yaw, pitch: from.pitch }),
            quality: face.quality.map(quality),
        }
    }
}
