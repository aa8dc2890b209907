//! The catalog's objects: tenants, access keys, collections.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use crate::ids::{
    AccessKeyId, BucketName, CollectionName, CollectionUid, FaceModelName, InvalidId, Nonce, Part, Placement,
    TenantId, TenantName,
};
use crate::placements::Placements;
use crate::point::Gallery;
use crate::retention::{Horizon, Retention};
use crate::time::UnixMillis;

/// An organisation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tenant {
    /// Its id.
    pub id: TenantId,
    /// Its name, unique, for operators.
    pub name: TenantName,
    /// Its twelve-digit account number, as ARNs show it.
    pub account: String,
    /// Whether its keys are refused.
    pub disabled: bool,
    /// When it was made.
    pub created_at: UnixMillis,
    /// When it was deleted: its entry stays until nothing of it is left.
    pub deleted_at: Option<UnixMillis>,
    /// Marks the write that made this state.
    pub nonce: Nonce,
}

/// A secret: its `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a secret.
    pub fn new(secret: impl Into<String>) -> Self {
        Self(secret.into())
    }

    /// The secret, for checking a signature or for showing it once to whom it was made for.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Secret(…)")
    }
}

/// A tenant's access key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessKey {
    /// Its id, which requests name.
    pub id: AccessKeyId,
    /// Whose it is.
    pub tenant: TenantId,
    /// Its owner's name, which names the owner's entry.
    pub tenant_name: TenantName,
    /// What signs.
    pub secret: Secret,
    /// For operators.
    pub label: String,
    /// Whether it is refused.
    pub disabled: bool,
    /// Whether its holder may fetch the photos of enrolled faces.
    pub may_get_photos: bool,
    /// When it was made.
    pub created_at: UnixMillis,
    /// Marks the write that made this state.
    pub nonce: Nonce,
}

/// A tenant's gallery.
#[derive(Clone, PartialEq, Eq)]
pub struct Collection {
    /// Whose it is.
    pub tenant: TenantId,
    /// Its name.
    pub name: CollectionName,
    /// Its uid: a name may be used again, a uid never is.
    pub uid: CollectionUid,
    /// The face model version as clients see it: `1.0` first.
    pub face_model_version: String,
    /// The index collections that hold its points, and of which face models these are.
    pub placements: Placements,
    /// Keys the hash that image ids are derived by. It stays in the catalog.
    pub image_id_key: [u8; 32],
    /// When it was made.
    pub created_at: UnixMillis,
    /// When it was deleted.
    pub deleted_at: Option<UnixMillis>,
    /// What its tenant has tagged it with.
    pub tags: BTreeMap<String, String>,
    /// How long its faces and photos are kept.
    pub retention: Retention,
    /// Marks the write that made this state.
    pub nonce: Nonce,
}

impl Collection {
    /// Its faces' part.
    #[must_use]
    pub const fn part(&self) -> Part {
        Part { tenant: self.tenant, collection: self.uid }
    }

    /// The face model whose templates it is searched by (I7).
    #[must_use]
    pub const fn face_model(&self) -> &FaceModelName {
        &self.placements.face_model
    }

    /// Its address in the index: where it is searched, listed and counted.
    #[must_use]
    pub fn gallery(&self) -> Gallery {
        self.gallery_in(&self.placements.read)
    }

    /// Its addresses in the index that projections are written to, each with the face model whose templates go there.
    pub fn written_galleries(&self) -> impl Iterator<Item = (Gallery, &FaceModelName)> {
        self.placements.written().map(|(placement, model)| (self.gallery_in(placement), model))
    }

    /// Its address in that index collection.
    #[must_use]
    pub fn gallery_in(&self, placement: &Placement) -> Gallery {
        Gallery { part: self.part(), placement: placement.clone() }
    }

    /// Which of its faces can match at `now`.
    #[must_use]
    pub fn horizon(&self, now: UnixMillis) -> Horizon {
        self.retention.horizon(now)
    }
}

impl fmt::Debug for Collection {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Collection")
            .field("part", &self.part())
            .field("name", &self.name)
            .field("placements", &self.placements)
            .field("deleted_at", &self.deleted_at)
            .finish_non_exhaustive()
    }
}

/// What is known of a collection by its uid: where to look for the collection itself. It outlives the collection until
/// nothing of it is left. The uid is alive where the collection of that name has it and is not deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UidEntry {
    /// Whose it is.
    pub part: Part,
    /// The collection's name.
    pub name: CollectionName,
    /// The index collection that its points were in first.
    pub placement: Placement,
    /// Others that hold points of it, or may have done so: a move's target is here before anything is written there.
    pub other_placements: Vec<Placement>,
    /// Marks the write that made this state.
    pub nonce: Nonce,
}

impl UidEntry {
    /// Everywhere in the index where something of the collection may lie.
    pub fn galleries(&self) -> impl Iterator<Item = Gallery> {
        let all = std::iter::once(&self.placement).chain(&self.other_placements);
        all.map(|placement| Gallery { part: self.part, placement: placement.clone() })
    }
}

/// A face model's number in the catalog: its version as clients see it is `{number}.0`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FaceModel {
    /// Its name.
    pub name: FaceModelName,
    /// Its number, from 1.
    pub number: u32,
}

/// A bucket's name as a tenant says it, and what an administrator lets it stand for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bucket {
    /// Whose name it is.
    pub tenant: TenantId,
    /// The name.
    pub name: BucketName,
    /// Where its objects lie.
    pub prefix: ImportPrefix,
    /// When it was made.
    pub created_at: UnixMillis,
    /// Marks the write that made this state.
    pub nonce: Nonce,
}

/// A folder under the place that photos are imported from: names of `[a-zA-Z0-9_.\-]` that do not begin with a dot, with `/`
/// between them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ImportPrefix(String);

impl ImportPrefix {
    /// Its text, without a slash at either end.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ImportPrefix {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let text = text.strip_suffix('/').unwrap_or(text);
        let plain = |name: &str| {
            let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
            !name.is_empty() && !name.starts_with('.') && name.bytes().all(allowed)
        };
        if text.len() > 1024 || !text.split('/').all(plain) {
            return Err(InvalidId::new(
                "prefix",
                "it must be names of letters, digits, `_`, `.`, `-` with `/` between",
            ));
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for ImportPrefix {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_stay_below_their_root() {
        for (text, read) in [("acme", "acme"), ("acme/2026-01/", "acme/2026-01"), ("a.b/c_d", "a.b/c_d")] {
            assert_eq!(text.parse::<ImportPrefix>().unwrap().as_str(), read);
        }
        for bad in ["", "/", "/etc", "a//b", "a/../b", ".ssh", "a/.", "a b", "a\\b", &"x".repeat(1025)] {
            assert!(bad.parse::<ImportPrefix>().is_err(), "{bad:?}");
        }
    }
}
