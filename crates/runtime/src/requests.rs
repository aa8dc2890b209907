//! Reading what one role asks of another.

use vidimus_domain::user::User;
use vidimus_domain::{CollectionName, ErrorCode, FaceId, Failure, Part, UserId};
use vidimus_proto::internal::v1;

/// A collection as a request names it.
#[derive(Clone, Debug)]
pub struct NamedCollection {
    /// Its faces' part.
    pub part: Part,
    /// Its name.
    pub name: CollectionName,
}

/// Reads a request's collection.
///
/// # Errors
/// `InvalidParameter` where it is missing or malformed.
pub fn named_collection(collection: Option<&v1::CollectionRef>) -> Result<NamedCollection, Failure> {
    let collection = collection
        .ok_or_else(|| Failure::new(ErrorCode::InvalidParameter, "the request names no collection"))?;
    let part = Part { tenant: collection.tenant.parse()?, collection: collection.uid.parse()? };
    Ok(NamedCollection { part, name: collection.name.parse()? })
}

/// Reads a request's face ids.
///
/// # Errors
/// `InvalidParameter` where one is malformed.
pub fn face_ids(ids: &[Vec<u8>]) -> Result<Vec<FaceId>, Failure> {
    ids.iter().map(|bytes| FaceId::from_bytes(bytes).map_err(Failure::from)).collect()
}

/// What is answered where a collection is gone.
#[must_use]
pub fn no_such_collection(name: &CollectionName) -> Failure {
    Failure::new(ErrorCode::NotFound, format!("The collection id: {name} does not exist"))
}

/// What is answered where a user does not exist.
#[must_use]
pub fn no_such_user(user: &UserId) -> Failure {
    Failure::new(ErrorCode::NotFound, format!("The user id: {user} does not exist"))
}

/// What is told of a user: whether it has faces.
#[must_use]
pub fn user_status(user: &User) -> v1::UserStatus {
    if user.faces.is_empty() { v1::UserStatus::Created } else { v1::UserStatus::Active }
}

/// What an answer shows of a face.
#[must_use]
pub fn face_view(face: FaceId, shown: &vidimus_domain::point::ShownFace) -> v1::FaceView {
    v1::FaceView {
        face_id: face.to_bytes().to_vec(),
        bounding_box: Some(v1::BoundingBox {
            left: shown.bounding_box.left,
            top: shown.bounding_box.top,
            width: shown.bounding_box.width,
            height: shown.bounding_box.height,
        }),
        confidence: shown.confidence,
        external_image_id: shown.external_image_id.as_ref().map(ToString::to_string).unwrap_or_default(),
        user_id: shown.user.as_ref().map(|(user, _)| user.to_string()).unwrap_or_default(),
    }
}
