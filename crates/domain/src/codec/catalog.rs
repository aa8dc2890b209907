//! The catalog objects' bytes.

use std::time::Duration;

use vidimus_proto::internal::v1;

use super::placements::{left_from_proto, left_to_proto, move_from_proto, move_to_proto};
use super::{DecodeError, FORMAT, Stored};
use crate::catalog::{AccessKey, Bucket, Collection, FaceModel, Secret, Tenant, UidEntry};
use crate::ids::{FaceModelName, Nonce, Part};
use crate::placements::Placements;
use crate::retention::{Retention, RetentionRule};
use crate::time::UnixMillis;

impl Stored for Tenant {
    type Proto = v1::Tenant;

    fn format(proto: &v1::Tenant) -> u32 {
        proto.format
    }

    fn to_proto(&self) -> v1::Tenant {
        v1::Tenant {
            format: FORMAT,
            id: self.id.to_string(),
            name: self.name.to_string(),
            account: self.account.clone(),
            disabled: self.disabled,
            created_at_ms: self.created_at.get(),
            deleted_at_ms: self.deleted_at.map(UnixMillis::get),
            nonce: self.nonce.to_bytes().to_vec(),
            key_id: String::new(),
        }
    }

    fn from_proto(proto: v1::Tenant) -> Result<Self, DecodeError> {
        Ok(Self {
            id: proto.id.parse()?,
            name: proto.name.parse()?,
            account: proto.account,
            disabled: proto.disabled,
            created_at: UnixMillis::new(proto.created_at_ms),
            deleted_at: proto.deleted_at_ms.map(UnixMillis::new),
            nonce: Nonce::from_bytes(&proto.nonce)?,
        })
    }
}

impl Stored for AccessKey {
    type Proto = v1::AccessKey;

    fn format(proto: &v1::AccessKey) -> u32 {
        proto.format
    }

    fn to_proto(&self) -> v1::AccessKey {
        v1::AccessKey {
            format: FORMAT,
            id: self.id.to_string(),
            tenant: self.tenant.to_string(),
            tenant_name: self.tenant_name.to_string(),
            secret: self.secret.reveal().to_owned(),
            label: self.label.clone(),
            disabled: self.disabled,
            created_at_ms: self.created_at.get(),
            nonce: self.nonce.to_bytes().to_vec(),
            key_id: String::new(),
            may_get_photos: self.may_get_photos,
        }
    }

    fn from_proto(proto: v1::AccessKey) -> Result<Self, DecodeError> {
        Ok(Self {
            id: proto.id.parse()?,
            tenant: proto.tenant.parse()?,
            tenant_name: proto.tenant_name.parse()?,
            secret: Secret::new(proto.secret),
            label: proto.label,
            disabled: proto.disabled,
            may_get_photos: proto.may_get_photos,
            created_at: UnixMillis::new(proto.created_at_ms),
            nonce: Nonce::from_bytes(&proto.nonce)?,
        })
    }
}

/// The format of what moves, or has moved, between index collections. An older program would write to one of them alone.
const WITH_PLACEMENTS: u32 = 2;
/// The format of what turns to another face model. An older program would write templates of one model into the index of the other.
const WITH_TWO_MODELS: u32 = 3;

impl Stored for Collection {
    type Proto = v1::Collection;

    const NEWEST: u32 = WITH_TWO_MODELS;

    fn format(proto: &v1::Collection) -> u32 {
        proto.format
    }

    fn to_proto(&self) -> v1::Collection {
        let Placements { read, face_model, moving, left } = &self.placements;
        let is_named_after = read.as_str() == face_model.as_str();
        let is_plain = is_named_after && moving.is_none() && left.is_empty();
        let format = match self.placements.face_models().len() {
            1 if is_plain => FORMAT,
            1 => WITH_PLACEMENTS,
            _ => WITH_TWO_MODELS,
        };
        v1::Collection {
            format,
            tenant: self.tenant.to_string(),
            name: self.name.to_string(),
            uid: self.uid.to_string(),
            face_model_version: self.face_model_version.clone(),
            placement: read.to_string(),
            image_id_key: self.image_id_key.to_vec(),
            created_at_ms: self.created_at.get(),
            deleted_at_ms: self.deleted_at.map(UnixMillis::get),
            nonce: self.nonce.to_bytes().to_vec(),
            key_id: String::new(),
            transform_id: String::new(),
            tags: self.tags.clone(),
            retention: retention_to_proto(&self.retention),
            face_model: if is_named_after { String::new() } else { face_model.to_string() },
            r#move: moving.as_ref().map(|moving| move_to_proto(moving, face_model)),
            left: left.iter().map(left_to_proto).collect(),
        }
    }

    fn from_proto(proto: v1::Collection) -> Result<Self, DecodeError> {
        let face_model = if proto.face_model.is_empty() { &proto.placement } else { &proto.face_model };
        let face_model: FaceModelName = face_model.parse()?;
        Ok(Self {
            tenant: proto.tenant.parse()?,
            name: proto.name.parse()?,
            uid: proto.uid.parse()?,
            face_model_version: proto.face_model_version,
            placements: Placements {
                read: proto.placement.parse()?,
                moving: proto.r#move.map(|moving| move_from_proto(moving, &face_model)).transpose()?,
                face_model,
                left: proto.left.into_iter().map(left_from_proto).collect::<Result<_, _>>()?,
            },
            image_id_key: proto.image_id_key.try_into().map_err(|_| DecodeError::Field("image_id_key"))?,
            created_at: UnixMillis::new(proto.created_at_ms),
            deleted_at: proto.deleted_at_ms.map(UnixMillis::new),
            tags: proto.tags,
            retention: proto.retention.map(retention_from_proto).transpose()?.unwrap_or_default(),
            nonce: Nonce::from_bytes(&proto.nonce)?,
        })
    }
}

fn retention_to_proto(retention: &Retention) -> Option<v1::Retention> {
    (*retention != Retention::default()).then(|| v1::Retention {
        faces_kept_ms: kept_to_proto(retention.rule.faces_kept()),
        photos_kept_ms: kept_to_proto(retention.rule.photos_kept()),
        faces_floor_ms: retention.faces_floor.get(),
        photos_floor_ms: retention.photos_floor.get(),
    })
}

fn retention_from_proto(proto: v1::Retention) -> Result<Retention, DecodeError> {
    Ok(Retention {
        rule: rule_from_proto(proto.faces_kept_ms, proto.photos_kept_ms)?,
        faces_floor: UnixMillis::new(proto.faces_floor_ms),
        photos_floor: UnixMillis::new(proto.photos_floor_ms),
    })
}

/// How long something is kept, in milliseconds; a rule's durations fit.
fn kept_to_proto(kept: Option<Duration>) -> Option<i64> {
    kept.map(|kept| i64::try_from(kept.as_millis()).unwrap_or(i64::MAX))
}

fn rule_from_proto(
    faces_kept_ms: Option<i64>,
    photos_kept_ms: Option<i64>,
) -> Result<RetentionRule, DecodeError> {
    let kept = |millis: i64| {
        u64::try_from(millis).map(Duration::from_millis).map_err(|_| DecodeError::Field("retention"))
    };
    let (faces, photos) = (faces_kept_ms.map(kept).transpose()?, photos_kept_ms.map(kept).transpose()?);
    RetentionRule::new(faces, photos).map_err(|_| DecodeError::Field("retention"))
}

impl Stored for UidEntry {
    type Proto = v1::CollectionUid;

    const NEWEST: u32 = WITH_PLACEMENTS;

    fn format(proto: &v1::CollectionUid) -> u32 {
        proto.format
    }

    fn to_proto(&self) -> v1::CollectionUid {
        v1::CollectionUid {
            format: if self.other_placements.is_empty() { FORMAT } else { WITH_PLACEMENTS },
            tenant: self.part.tenant.to_string(),
            uid: self.part.collection.to_string(),
            name: self.name.to_string(),
            placement: self.placement.to_string(),
            nonce: self.nonce.to_bytes().to_vec(),
            other_placements: self.other_placements.iter().map(ToString::to_string).collect(),
        }
    }

    fn from_proto(proto: v1::CollectionUid) -> Result<Self, DecodeError> {
        Ok(Self {
            part: Part { tenant: proto.tenant.parse()?, collection: proto.uid.parse()? },
            name: proto.name.parse()?,
            placement: proto.placement.parse()?,
            other_placements: proto
                .other_placements
                .iter()
                .map(|placement| placement.parse())
                .collect::<Result<_, _>>()?,
            nonce: Nonce::from_bytes(&proto.nonce)?,
        })
    }
}

impl Stored for FaceModel {
    type Proto = v1::FaceModel;

    fn format(proto: &v1::FaceModel) -> u32 {
        proto.format
    }

    fn to_proto(&self) -> v1::FaceModel {
        v1::FaceModel { format: FORMAT, placement: self.name.to_string(), number: self.number }
    }

    fn from_proto(proto: v1::FaceModel) -> Result<Self, DecodeError> {
        Ok(Self { name: proto.placement.parse()?, number: proto.number })
    }
}

impl Stored for Bucket {
    type Proto = v1::Bucket;

    fn format(proto: &v1::Bucket) -> u32 {
        proto.format
    }

    fn to_proto(&self) -> v1::Bucket {
        v1::Bucket {
            format: FORMAT,
            tenant: self.tenant.to_string(),
            name: self.name.to_string(),
            prefix: self.prefix.to_string(),
            created_at_ms: self.created_at.get(),
            nonce: self.nonce.to_bytes().to_vec(),
        }
    }

    fn from_proto(proto: v1::Bucket) -> Result<Self, DecodeError> {
        Ok(Self {
            tenant: proto.tenant.parse()?,
            name: proto.name.parse()?,
            prefix: proto.prefix.parse()?,
            created_at: UnixMillis::new(proto.created_at_ms),
            nonce: Nonce::from_bytes(&proto.nonce)?,
        })
    }
}
