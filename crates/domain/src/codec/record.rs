//! The record's bytes.

use vidimus_proto::internal::v1;

use super::{DecodeError, FORMAT, Stored};
use crate::face::{DetectedFace, Pose, Quality};
use crate::geometry::{BoundingBox, Landmarks, Point};
use crate::ids::{FaceNumber, ImageId, Nonce, Part, Version};
use crate::record::{
    Face, FaceBody, LiveFace, Origin, OtherTemplate, PhotoKey, Record, RememberedRequest, State,
};
use crate::template::Template;
use crate::time::UnixMillis;

/// The format of a record whose faces have templates of two face models. An older program would drop one of them.
const WITH_TWO_MODELS: u32 = 2;

impl Stored for Record {
    type Proto = v1::Record;

    const NEWEST: u32 = WITH_TWO_MODELS;

    fn format(proto: &v1::Record) -> u32 {
        proto.format
    }

    fn to_proto(&self) -> v1::Record {
        let (state, refusal) = state_to_proto(&self.state);
        let has_two = |face: &Face| face.live().is_some_and(|live| live.other_template.is_some());
        v1::Record {
            format: if self.faces.iter().any(has_two) { WITH_TWO_MODELS } else { FORMAT },
            tenant: self.origin.part.tenant.to_string(),
            collection_uid: self.origin.part.collection.to_string(),
            image_id: self.origin.image.to_bytes().to_vec(),
            face_model_version: self.origin.face_model.to_string(),
            external_image_id: self
                .origin
                .external_image_id
                .as_ref()
                .map(ToString::to_string)
                .unwrap_or_default(),
            state: state.into(),
            refusal,
            version: self.version.get(),
            photo: self.photo.as_ref().map(photo_to_proto),
            photos_to_remove: self.photos_to_remove.iter().map(photo_to_proto).collect(),
            faces: self.faces.iter().map(face_to_proto).collect(),
            next_number: self.next_number,
            requests: self.requests.iter().map(request_to_proto).collect(),
            nonce: self.nonce.to_bytes().to_vec(),
            changed_at_ms: self.changed_at.get(),
            key_id: String::new(),
            transform_id: String::new(),
        }
    }

    fn from_proto(proto: v1::Record) -> Result<Self, DecodeError> {
        // A record that is sealed or transformed cannot be read as if it were not.
        if !proto.key_id.is_empty() || !proto.transform_id.is_empty() {
            return Err(DecodeError::Field("key_id"));
        }
        Ok(Self {
            state: state_from_proto(proto.state(), &proto.refusal)?,
            origin: Origin {
                part: Part { tenant: proto.tenant.parse()?, collection: proto.collection_uid.parse()? },
                image: ImageId::from_bytes(&proto.image_id)?,
                face_model: proto.face_model_version.parse()?,
                external_image_id: optional_text(&proto.external_image_id)?,
            },
            version: version(proto.version)?,
            photo: proto.photo.map(photo_from_proto).transpose()?,
            photos_to_remove: all(proto.photos_to_remove, photo_from_proto)?,
            faces: faces(proto.faces)?,
            next_number: proto.next_number,
            requests: all(proto.requests, request_from_proto)?,
            nonce: Nonce::from_bytes(&proto.nonce)?,
            changed_at: UnixMillis::new(proto.changed_at_ms),
        })
    }
}

fn all<P, T>(protos: Vec<P>, convert: impl Fn(P) -> Result<T, DecodeError>) -> Result<Vec<T>, DecodeError> {
    protos.into_iter().map(convert).collect()
}

/// A version that can grow.
fn version(version: u64) -> Result<Version, DecodeError> {
    let version = Version::new(version);
    if version < Version::MAX { Ok(version) } else { Err(DecodeError::Field("version")) }
}

/// Faces in the order of their numbers, each of which was given once.
fn faces(protos: Vec<v1::Face>) -> Result<Vec<Face>, DecodeError> {
    let faces = all(protos, face_from_proto)?;
    let is_ordered = faces.windows(2).all(|pair| pair[0].number < pair[1].number);
    if is_ordered { Ok(faces) } else { Err(DecodeError::Field("number")) }
}

/// An empty text is none.
fn optional_text<T: std::str::FromStr>(text: &str) -> Result<Option<T>, T::Err> {
    if text.is_empty() { Ok(None) } else { text.parse().map(Some) }
}

fn state_to_proto(state: &State) -> (v1::RecordState, String) {
    match state {
        State::Accepted => (v1::RecordState::Accepted, String::new()),
        State::Enrolled => (v1::RecordState::Enrolled, String::new()),
        State::Refused(reason) => (v1::RecordState::Refused, reason.clone()),
        State::Erased => (v1::RecordState::Erased, String::new()),
    }
}

fn state_from_proto(state: v1::RecordState, refusal: &str) -> Result<State, DecodeError> {
    match state {
        v1::RecordState::Accepted => Ok(State::Accepted),
        v1::RecordState::Enrolled => Ok(State::Enrolled),
        v1::RecordState::Refused => Ok(State::Refused(refusal.to_owned())),
        v1::RecordState::Erased => Ok(State::Erased),
        v1::RecordState::Unspecified => Err(DecodeError::Field("state")),
    }
}

fn photo_to_proto(photo: &PhotoKey) -> v1::Photo {
    v1::Photo {
        day: photo.day.clone(),
        nonce: photo.nonce.to_bytes().to_vec(),
        put_at_ms: photo.put_at.get(),
    }
}

fn photo_from_proto(photo: v1::Photo) -> Result<PhotoKey, DecodeError> {
    Ok(PhotoKey {
        day: photo.day,
        nonce: Nonce::from_bytes(&photo.nonce)?,
        put_at: UnixMillis::new(photo.put_at_ms),
    })
}

fn request_to_proto(request: &RememberedRequest) -> v1::EnrolmentRequest {
    v1::EnrolmentRequest {
        id: request.id.to_string(),
        at_ms: request.at.get(),
        face_numbers: request.faces.iter().map(|number| u32::from(number.get())).collect(),
    }
}

fn request_from_proto(request: v1::EnrolmentRequest) -> Result<RememberedRequest, DecodeError> {
    Ok(RememberedRequest {
        id: request.id.parse()?,
        at: UnixMillis::new(request.at_ms),
        faces: all(request.face_numbers, |number| Ok(FaceNumber::new(number)?))?,
    })
}

fn face_to_proto(face: &Face) -> v1::Face {
    let live = face.live();
    let user = live.and_then(|live| live.user.as_ref());
    v1::Face {
        number: face.number.get().into(),
        version: face.version.get(),
        enrolled_at_ms: face.enrolled_at.get(),
        expires_at_ms: live.and_then(|live| live.expires_at).map(UnixMillis::get),
        erased_at_ms: match face.body {
            FaceBody::Erased { at } => Some(at.get()),
            FaceBody::Live(_) => None,
        },
        detected: live.map(|live| detected_to_proto(&live.detected, true)),
        user_id: user.map(|(id, _)| id.to_string()).unwrap_or_default(),
        user_generation: user.map(|(_, generation)| *generation).unwrap_or_default(),
        external_image_id: live
            .and_then(|live| live.external_image_id.as_ref())
            .map(ToString::to_string)
            .unwrap_or_default(),
        other_template: live.and_then(|live| live.other_template.as_ref()).map(other_to_proto),
    }
}

fn other_to_proto(other: &OtherTemplate) -> v1::OtherTemplate {
    v1::OtherTemplate {
        face_model: other.face_model.to_string(),
        template: other.template.values().to_vec(),
        made_for_ms: other.made_for.get(),
    }
}

fn other_from_proto(other: v1::OtherTemplate) -> Result<OtherTemplate, DecodeError> {
    Ok(OtherTemplate {
        face_model: other.face_model.parse()?,
        made_for: UnixMillis::new(other.made_for_ms),
        template: Template::stored(other.template).map_err(|_| DecodeError::Field("other_template"))?,
    })
}

fn face_from_proto(face: v1::Face) -> Result<Face, DecodeError> {
    let body = match (face.erased_at_ms, face.detected) {
        (Some(at), None) => FaceBody::Erased { at: UnixMillis::new(at) },
        (None, Some(detected)) => FaceBody::Live(LiveFace {
            detected: detected_from_proto(detected)?,
            other_template: face.other_template.map(other_from_proto).transpose()?,
            expires_at: face.expires_at_ms.map(UnixMillis::new),
            user: optional_text(&face.user_id)?.map(|user| (user, face.user_generation)),
            external_image_id: optional_text(&face.external_image_id)?,
        }),
        _ => return Err(DecodeError::Field("detected")),
    };
    Ok(Face {
        number: FaceNumber::new(face.number)?,
        version: version(face.version)?,
        enrolled_at: UnixMillis::new(face.enrolled_at_ms),
        body,
    })
}

/// Landmarks as a message.
#[must_use]
pub fn landmarks_to_proto(landmarks: &Landmarks) -> v1::FaceLandmarks {
    v1::FaceLandmarks { points: landmarks.iter().map(|point| v1::Point { x: point.x, y: point.y }).collect() }
}

/// Landmarks.
///
/// # Errors
/// Where there are not five.
pub fn landmarks_from_proto(landmarks: v1::FaceLandmarks) -> Result<Landmarks, DecodeError> {
    let points: Vec<_> = landmarks.points.iter().map(|point| Point { x: point.x, y: point.y }).collect();
    Landmarks::try_from(points).map_err(|_| DecodeError::Field("landmarks"))
}

/// Templates at landmarks, as embedding answers them.
///
/// # Errors
/// Where one has not unit length.
pub fn templates_from_proto(answer: v1::EmbedAtResponse) -> Result<Vec<Option<Template>>, DecodeError> {
    let template = |face: v1::EmbeddedFace| match face.template.is_empty() {
        true => Ok(None),
        false => Template::stored(face.template).map(Some).map_err(|_| DecodeError::Field("template")),
    };
    answer.faces.into_iter().map(template).collect()
}

/// A detected face as a message, with its template or without.
#[must_use]
pub fn detected_to_proto(face: &DetectedFace, with_template: bool) -> v1::DetectedFace {
    let bounds = face.bounding_box;
    v1::DetectedFace {
        bounding_box: Some(v1::BoundingBox {
            left: bounds.left,
            top: bounds.top,
            width: bounds.width,
            height: bounds.height,
        }),
        landmarks: landmarks_to_proto(&face.landmarks).points,
        confidence: face.confidence,
        pose: face.pose.map(|pose| v1::Pose { roll: pose.roll, yaw: pose.yaw, pitch: pose.pitch }),
        quality: face
            .quality
            .map(|quality| v1::Quality { brightness: quality.brightness, sharpness: quality.sharpness }),
        template: if with_template { face.template.values().to_vec() } else { Vec::new() },
    }
}

/// A detected face with its template.
///
/// # Errors
/// Where a part is missing or the template has not unit length.
pub fn detected_from_proto(face: v1::DetectedFace) -> Result<DetectedFace, DecodeError> {
    let bounds = face.bounding_box.ok_or(DecodeError::Field("bounding_box"))?;
    let landmarks = landmarks_from_proto(v1::FaceLandmarks { points: face.landmarks })?;
    Ok(DetectedFace {
        bounding_box: BoundingBox {
            left: bounds.left,
            top: bounds.top,
            width: bounds.width,
            height: bounds.height,
        },
        landmarks,
        confidence: face.confidence,
        pose: face.pose.map(|pose| Pose { roll: pose.roll, yaw: pose.yaw, pitch: pose.pitch }),
        quality: face
            .quality
            .map(|quality| Quality { brightness: quality.brightness, sharpness: quality.sharpness }),
        template: Template::stored(face.template).map_err(|_| DecodeError::Field("template"))?,
    })
}
