//! The bytes of users, of client tokens, and of what is audited of users.

use vidimus_proto::internal::v1;

use super::{DecodeError, FORMAT, Stored};
use crate::event::{UserCandidate, UserProbe, UserSearch};
use crate::ids::{FaceId, Nonce, Part};
use crate::time::UnixMillis;
use crate::user::{ClientToken, TokenKey, User};

fn faces_to_proto(faces: &[FaceId]) -> Vec<Vec<u8>> {
    faces.iter().map(|face| face.to_bytes().to_vec()).collect()
}

fn faces_from_proto(ids: &[Vec<u8>]) -> Result<Vec<FaceId>, DecodeError> {
    ids.iter().map(|bytes| Ok(FaceId::from_bytes(bytes)?)).collect()
}

fn token_to_proto(token: Option<TokenKey>) -> Vec<u8> {
    token.map(|token| token.to_bytes().to_vec()).unwrap_or_default()
}

/// No bytes are none.
fn token_from_proto(bytes: &[u8]) -> Result<Option<TokenKey>, DecodeError> {
    if bytes.is_empty() { Ok(None) } else { Ok(Some(TokenKey::from_bytes(bytes)?)) }
}

impl Stored for User {
    type Proto = v1::User;

    fn format(proto: &v1::User) -> u32 {
        proto.format
    }

    fn to_proto(&self) -> v1::User {
        v1::User {
            format: FORMAT,
            tenant: self.part.tenant.to_string(),
            collection_uid: self.part.collection.to_string(),
            user_id: self.id.as_ref().map(ToString::to_string).unwrap_or_default(),
            generation: self.generation,
            face_ids: faces_to_proto(&self.faces),
            created_at_ms: self.created_at.get(),
            changed_at_ms: self.changed_at.get(),
            nonce: self.nonce.to_bytes().to_vec(),
            created_with: token_to_proto(self.created_with),
            deleted_with: token_to_proto(self.deleted_with),
            key_id: String::new(),
        }
    }

    fn from_proto(proto: v1::User) -> Result<Self, DecodeError> {
        Ok(Self {
            part: Part { tenant: proto.tenant.parse()?, collection: proto.collection_uid.parse()? },
            id: match proto.user_id.as_str() {
                "" => None,
                id => Some(id.parse()?),
            },
            generation: proto.generation,
            faces: faces_from_proto(&proto.face_ids)?,
            created_at: UnixMillis::new(proto.created_at_ms),
            changed_at: UnixMillis::new(proto.changed_at_ms),
            nonce: Nonce::from_bytes(&proto.nonce)?,
            created_with: token_from_proto(&proto.created_with)?,
            deleted_with: token_from_proto(&proto.deleted_with)?,
        })
    }
}

impl Stored for ClientToken {
    type Proto = v1::ClientToken;

    fn format(proto: &v1::ClientToken) -> u32 {
        proto.format
    }

    fn to_proto(&self) -> v1::ClientToken {
        v1::ClientToken { format: FORMAT, parameters: self.parameters.to_vec(), at_ms: self.at.get() }
    }

    fn from_proto(proto: v1::ClientToken) -> Result<Self, DecodeError> {
        let parameters = proto.parameters.try_into().map_err(|_| DecodeError::Field("parameters"))?;
        Ok(Self { parameters, at: UnixMillis::new(proto.at_ms) })
    }
}

pub(super) fn search_to_proto(search: &UserSearch) -> v1::AuditedUserSearch {
    let candidate = |candidate: &UserCandidate| v1::AuditedUserCandidate {
        user_id: candidate.user.to_string(),
        face_id: candidate.face.to_bytes().to_vec(),
        cosine: candidate.cosine,
    };
    let mut proto = v1::AuditedUserSearch {
        threshold_cosine: search.threshold_cosine,
        users_max: search.users_max,
        gallery_faces: search.gallery_faces,
        candidates: search.candidates.iter().map(candidate).collect(),
        ..v1::AuditedUserSearch::default()
    };
    match &search.probe {
        UserProbe::Face(face) => proto.probe_face_id = face.to_bytes().to_vec(),
        UserProbe::User(user) => proto.probe_user_id = user.to_string(),
        UserProbe::Photo(digest) => proto.probe_digest = digest.to_vec(),
    }
    proto
}

pub(super) fn search_from_proto(proto: v1::AuditedUserSearch) -> Result<UserSearch, DecodeError> {
    let candidate = |candidate: &v1::AuditedUserCandidate| {
        let (user, face) = (candidate.user_id.parse()?, FaceId::from_bytes(&candidate.face_id)?);
        Ok(UserCandidate { user, face, cosine: candidate.cosine })
    };
    Ok(UserSearch {
        probe: probe_from_proto(&proto)?,
        threshold_cosine: proto.threshold_cosine,
        users_max: proto.users_max,
        gallery_faces: proto.gallery_faces,
        candidates: proto.candidates.iter().map(candidate).collect::<Result<_, DecodeError>>()?,
    })
}

fn probe_from_proto(search: &v1::AuditedUserSearch) -> Result<UserProbe, DecodeError> {
    if !search.probe_face_id.is_empty() {
        return Ok(UserProbe::Face(FaceId::from_bytes(&search.probe_face_id)?));
    }
    if !search.probe_user_id.is_empty() {
        return Ok(UserProbe::User(search.probe_user_id.parse()?));
    }
    let digest = search.probe_digest.as_slice().try_into();
    digest.map(UserProbe::Photo).map_err(|_| DecodeError::Field("probe_digest"))
}
