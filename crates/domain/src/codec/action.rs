//! What an audit record says was done.

use std::time::Duration;

use vidimus_proto::internal::v1;
use vidimus_proto::internal::v1::audit::What;
use vidimus_proto::internal::v1::audited_user_change::Kind;

use super::{DecodeError, user};
use crate::event::{AuditedAction, Probe, UserChange};
use crate::ids::{FaceId, FaceNumber, ImageId};

pub(super) fn action_to_proto(action: &AuditedAction) -> What {
    match action {
        AuditedAction::Search { probe, threshold_cosine, faces_max, gallery_faces, candidates } => {
            What::Search(v1::AuditedSearch {
                threshold_cosine: *threshold_cosine,
                faces_max: *faces_max,
                gallery_faces: *gallery_faces,
                candidates: candidates.iter().map(candidate_to_proto).collect(),
                ..probe_to_proto(probe)
            })
        }
        AuditedAction::Enrolment { image, faces } => What::Enrolment(v1::AuditedEnrolment {
            image_id: image.to_bytes().to_vec(),
            face_numbers: faces.iter().map(|number| u32::from(number.get())).collect(),
        }),
        AuditedAction::Deletion { faces } => What::Deletion(v1::AuditedDeletion { face_ids: ids(faces) }),
        AuditedAction::PhotoRead { face } => {
            What::PhotoRead(v1::AuditedPhotoRead { face_id: face.to_bytes().to_vec() })
        }
        AuditedAction::UserChange { change, user, faces } => What::UserChange(v1::AuditedUserChange {
            kind: kind_to_proto(*change).into(),
            user_id: user.to_string(),
            face_ids: ids(faces),
        }),
        AuditedAction::RetentionChange { faces_kept, photos_kept } => {
            What::RetentionChange(v1::AuditedRetentionChange {
                faces_kept_ms: faces_kept.map(millis),
                photos_kept_ms: photos_kept.map(millis),
            })
        }
        AuditedAction::Expiry { faces, photo_of } => What::Expiry(v1::AuditedExpiry {
            face_ids: ids(faces),
            image_id: photo_of.map(|image| image.to_bytes().to_vec()).unwrap_or_default(),
        }),
        AuditedAction::UserSearch(search) => What::UserSearch(user::search_to_proto(search)),
    }
}

pub(super) fn action_from_proto(what: What) -> Result<AuditedAction, DecodeError> {
    Ok(match what {
        What::Search(search) => AuditedAction::Search {
            probe: probe_from_proto(&search)?,
            threshold_cosine: search.threshold_cosine,
            faces_max: search.faces_max,
            gallery_faces: search.gallery_faces,
            candidates: search
                .candidates
                .iter()
                .map(|candidate| Ok((FaceId::from_bytes(&candidate.face_id)?, candidate.cosine)))
                .collect::<Result<_, DecodeError>>()?,
        },
        What::Enrolment(enrolment) => AuditedAction::Enrolment {
            image: ImageId::from_bytes(&enrolment.image_id)?,
            faces: enrolment
                .face_numbers
                .into_iter()
                .map(|number| Ok(FaceNumber::new(number)?))
                .collect::<Result<_, DecodeError>>()?,
        },
        What::Deletion(deletion) => AuditedAction::Deletion { faces: faces(&deletion.face_ids)? },
        What::PhotoRead(read) => AuditedAction::PhotoRead { face: FaceId::from_bytes(&read.face_id)? },
        What::UserChange(change) => AuditedAction::UserChange {
            change: kind_from_proto(change.kind())?,
            user: change.user_id.parse()?,
            faces: faces(&change.face_ids)?,
        },
        What::RetentionChange(change) => AuditedAction::RetentionChange {
            faces_kept: change.faces_kept_ms.map(duration).transpose()?,
            photos_kept: change.photos_kept_ms.map(duration).transpose()?,
        },
        What::UserSearch(search) => AuditedAction::UserSearch(user::search_from_proto(search)?),
        What::Expiry(expiry) => AuditedAction::Expiry {
            faces: faces(&expiry.face_ids)?,
            photo_of: match expiry.image_id.as_slice() {
                [] => None,
                bytes => Some(ImageId::from_bytes(bytes)?),
            },
        },
    })
}

fn ids(faces: &[FaceId]) -> Vec<Vec<u8>> {
    faces.iter().map(|face| face.to_bytes().to_vec()).collect()
}

fn faces(ids: &[Vec<u8>]) -> Result<Vec<FaceId>, DecodeError> {
    ids.iter().map(|bytes| Ok(FaceId::from_bytes(bytes)?)).collect()
}

fn candidate_to_proto((face, cosine): &(FaceId, f32)) -> v1::AuditedCandidate {
    v1::AuditedCandidate { face_id: face.to_bytes().to_vec(), cosine: *cosine }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

fn duration(millis: i64) -> Result<Duration, DecodeError> {
    u64::try_from(millis).map(Duration::from_millis).map_err(|_| DecodeError::Field("kept_ms"))
}

const fn kind_to_proto(change: UserChange) -> Kind {
    match change {
        UserChange::Created => Kind::Created,
        UserChange::Deleted => Kind::Deleted,
        UserChange::Associated => Kind::Associated,
        UserChange::Disassociated => Kind::Disassociated,
    }
}

const fn kind_from_proto(kind: Kind) -> Result<UserChange, DecodeError> {
    match kind {
        Kind::Created => Ok(UserChange::Created),
        Kind::Deleted => Ok(UserChange::Deleted),
        Kind::Associated => Ok(UserChange::Associated),
        Kind::Disassociated => Ok(UserChange::Disassociated),
        Kind::Unspecified => Err(DecodeError::Field("kind")),
    }
}

/// The probe's members of a search; the others are empty.
fn probe_to_proto(probe: &Probe) -> v1::AuditedSearch {
    let empty = v1::AuditedSearch::default();
    match probe {
        Probe::Face(face) => v1::AuditedSearch { probe_face_id: face.to_bytes().to_vec(), ..empty },
        Probe::Photo(digest) => v1::AuditedSearch { probe_digest: digest.to_vec(), ..empty },
    }
}

fn probe_from_proto(search: &v1::AuditedSearch) -> Result<Probe, DecodeError> {
    if search.probe_face_id.is_empty() {
        let digest = search.probe_digest.as_slice().try_into();
        return digest.map(Probe::Photo).map_err(|_| DecodeError::Field("probe_digest"));
    }
    Ok(Probe::Face(FaceId::from_bytes(&search.probe_face_id)?))
}
