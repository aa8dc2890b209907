//! The events' bytes.

use vidimus_proto::internal::v1;

use super::action::{action_from_proto, action_to_proto};
use super::{DecodeError, FORMAT, Stored};
use crate::event::{AcceptedPhoto, Audit, Change};
use crate::ids::{FaceNumber, ImageId, Part, Version};
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

impl Stored for AcceptedPhoto {
    type Proto = v1::AcceptedPhoto;

    fn format(proto: &v1::AcceptedPhoto) -> u32 {
        proto.format
    }

    fn to_proto(&self) -> v1::AcceptedPhoto {
        v1::AcceptedPhoto {
            format: FORMAT,
            image_id: self.image.to_bytes().to_vec(),
            tenant: self.part.tenant.to_string(),
            collection_uid: self.part.collection.to_string(),
            at_ms: self.at.get(),
        }
    }

    fn from_proto(proto: v1::AcceptedPhoto) -> Result<Self, DecodeError> {
        Ok(Self {
            part: Part { tenant: proto.tenant.parse()?, collection: proto.collection_uid.parse()? },
            image: ImageId::from_bytes(&proto.image_id)?,
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
