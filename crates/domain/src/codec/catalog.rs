//! The catalog objects' bytes.

use vidimus_proto::internal::v1;

use super::{DecodeError, FORMAT, Stored};
use crate::catalog::{AccessKey, Bucket, Collection, FaceModel, Secret, Tenant, UidEntry};
use crate::ids::{Nonce, Part};
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

impl Stored for Collection {
    type Proto = v1::Collection;

    fn format(proto: &v1::Collection) -> u32 {
        proto.format
    }

    fn to_proto(&self) -> v1::Collection {
        v1::Collection {
            format: FORMAT,
            tenant: self.tenant.to_string(),
            name: self.name.to_string(),
            uid: self.uid.to_string(),
            face_model_version: self.face_model_version.clone(),
            placement: self.placement.to_string(),
            image_id_key: self.image_id_key.to_vec(),
            created_at_ms: self.created_at.get(),
            deleted_at_ms: self.deleted_at.map(UnixMillis::get),
            nonce: self.nonce.to_bytes().to_vec(),
            key_id: String::new(),
            transform_id: String::new(),
            tags: self.tags.clone(),
            retention: None,
        }
    }

    fn from_proto(proto: v1::Collection) -> Result<Self, DecodeError> {
        Ok(Self {
            tenant: proto.tenant.parse()?,
            name: proto.name.parse()?,
            uid: proto.uid.parse()?,
            face_model_version: proto.face_model_version,
            placement: proto.placement.parse()?,
            image_id_key: proto.image_id_key.try_into().map_err(|_| DecodeError::Field("image_id_key"))?,
            created_at: UnixMillis::new(proto.created_at_ms),
            deleted_at: proto.deleted_at_ms.map(UnixMillis::new),
            tags: proto.tags,
            nonce: Nonce::from_bytes(&proto.nonce)?,
        })
    }
}

impl Stored for UidEntry {
    type Proto = v1::CollectionUid;

    fn format(proto: &v1::CollectionUid) -> u32 {
        proto.format
    }

    fn to_proto(&self) -> v1::CollectionUid {
        v1::CollectionUid {
            format: FORMAT,
            tenant: self.part.tenant.to_string(),
            uid: self.part.collection.to_string(),
            name: self.name.to_string(),
            placement: self.placement.to_string(),
            nonce: self.nonce.to_bytes().to_vec(),
        }
    }

    fn from_proto(proto: v1::CollectionUid) -> Result<Self, DecodeError> {
        Ok(Self {
            part: Part { tenant: proto.tenant.parse()?, collection: proto.uid.parse()? },
            name: proto.name.parse()?,
            placement: proto.placement.parse()?,
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
        v1::FaceModel { format: FORMAT, placement: self.placement.to_string(), number: self.number }
    }

    fn from_proto(proto: v1::FaceModel) -> Result<Self, DecodeError> {
        Ok(Self { placement: proto.placement.parse()?, number: proto.number })
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
