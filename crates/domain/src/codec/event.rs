//! The events' bytes.

use vidimus_proto::internal::v1;
use vidimus_proto::internal::v1::audit::What;

use super::user;
use super::{DecodeError, FORMAT, Stored};
use crate::event::{Audit, AuditedAction, Change, Probe};
use crate::ids::{FaceId, FaceNumber, ImageId, Part, Version};
use crate::time::UnixMillis;

impl Stored for Change {
    type Proto = v1::Change;

    fn format(proto: &v1::Change) -> u32 {
        proto.format
    }

    fn to_proto(&self) -> v1::Change {
        let seen = |(number, version): &(FaceNumber, Version)| v1::SeenFace {
            number: number.get().into(),
            version: version.get(),
        };
        v1::Change {
            format: FORMAT,
            tenant: self.part.tenant.to_string(),
            collection_uid: self.part.collection.to_string(),
            image_id: self.image.to_bytes().to_vec(),
            faces: self.seen.iter().map(seen).collect(),
            at_ms: self.at.get(),
        }
    }

    fn from_proto(proto: v1::Change) -> Result<Self, DecodeError> {
        let seen = |face: v1::SeenFace| Ok((FaceNumber::new(face.number)?, Version::new(face.version)));
        Ok(Self {
            part: Part { tenant: proto.tenant.parse()?, collection: proto.collection_uid.parse()? },
            image: ImageId::from_bytes(&proto.image_id)?,
            seen: proto.faces.into_iter().map(seen).collect::<Result<_, DecodeError>>()?,
            at: UnixMillis::new(proto.at_ms),
        })
    }
}

impl Stored for Audit {
    type Proto = v1::Audit;

    fn format(proto: &v1::Audit) -> u32 {
        proto.format
    }

    fn to_proto(&self) -> v1::Audit {
        v1::Audit {
            format: FORMAT,
            tenant: self.part.tenant.to_string(),
            collection_uid: self.part.collection.to_string(),
            collection: self.collection.clone(),
            request_id: self.request_id.clone(),
            principal: self.principal.clone(),
            at_ms: self.at.get(),
            what: Some(action_to_proto(&self.what)),
        }
    }

    fn from_proto(proto: v1::Audit) -> Result<Self, DecodeError> {
        Ok(Self {
            part: Part { tenant: proto.tenant.parse()?, collection: proto.collection_uid.parse()? },
            collection: proto.collection,
            request_id: proto.request_id,
            principal: proto.principal,
            at: UnixMillis::new(proto.at_ms),
            what: action_from_proto(proto.what.ok_or(DecodeError::Field("what"))?)?,
        })
    }
}

fn action_to_proto(action: &AuditedAction) -> What {
    match action {
        AuditedAction::Search { probe, threshold_cosine, faces_max, gallery_faces, candidates } => {
            let (probe_face_id, probe_digest) = match probe {
                Probe::Face(face) => (face.to_bytes().to_vec(), Vec::new()),
                Probe::Photo(digest) => (Vec::new(), digest.to_vec()),
            };
            let candidate = |(face, cosine): &(FaceId, f32)| v1::AuditedCandidate {
                face_id: face.to_bytes().to_vec(),
                cosine: *cosine,
            };
            What::Search(v1::AuditedSearch {
                probe_face_id,
                probe_digest,
                threshold_cosine: *threshold_cosine,
                faces_max: *faces_max,
                gallery_faces: *gallery_faces,
                candidates: candidates.iter().map(candidate).collect(),
            })
        }
        AuditedAction::Enrolment { image, faces } => What::Enrolment(v1::AuditedEnrolment {
            image_id: image.to_bytes().to_vec(),
            face_numbers: faces.iter().map(|number| u32::from(number.get())).collect(),
        }),
        AuditedAction::Deletion { faces } => What::Deletion(v1::AuditedDeletion {
            face_ids: faces.iter().map(|face| face.to_bytes().to_vec()).collect(),
        }),
        AuditedAction::UserSearch(search) => What::UserSearch(user::search_to_proto(search)),
    }
}

fn action_from_proto(what: What) -> Result<AuditedAction, DecodeError> {
    match what {
        What::Search(search) => Ok(AuditedAction::Search {
            probe: probe_from_proto(&search)?,
            threshold_cosine: search.threshold_cosine,
            faces_max: search.faces_max,
            gallery_faces: search.gallery_faces,
            candidates: search
                .candidates
                .iter()
                .map(|candidate| Ok((FaceId::from_bytes(&candidate.face_id)?, candidate.cosine)))
                .collect::<Result<_, DecodeError>>()?,
        }),
        What::Enrolment(enrolment) => Ok(AuditedAction::Enrolment {
            image: ImageId::from_bytes(&enrolment.image_id)?,
            faces: enrolment
                .face_numbers
                .into_iter()
                .map(|number| Ok(FaceNumber::new(number)?))
                .collect::<Result<_, DecodeError>>()?,
        }),
        What::Deletion(deletion) => Ok(AuditedAction::Deletion {
            faces: deletion
                .face_ids
                .iter()
                .map(|bytes| Ok(FaceId::from_bytes(bytes)?))
                .collect::<Result<_, DecodeError>>()?,
        }),
        What::UserSearch(search) => Ok(AuditedAction::UserSearch(user::search_from_proto(search)?)),
        _ => Err(DecodeError::Field("what")),
    }
}

fn probe_from_proto(search: &v1::AuditedSearch) -> Result<Probe, DecodeError> {
    if search.probe_face_id.is_empty() {
        let digest = search.probe_digest.as_slice().try_into();
        return digest.map(Probe::Photo).map_err(|_| DecodeError::Field("probe_digest"));
    }
    Ok(Probe::Face(FaceId::from_bytes(&search.probe_face_id)?))
}
