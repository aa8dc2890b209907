//! Where objects lie in the blob store. A key can only be made from the ids that it is of, so nothing of a tenant
//! can be named without the tenant (I1).

use std::fmt;

use crate::ids::{
    AccessKeyId, BucketName, CollectionName, CollectionUid, ImageId, InvalidId, Nonce, Part, TenantId,
    TenantName,
};
use crate::record::PhotoKey;
use crate::user::{TokenKey, UserKey};

/// The key of one object: printable ASCII without `..`, at most 1,024 characters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlobKey(String);

/// The start that a listing's keys share; ends in `/`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlobPrefix(String);

fn in_part(part: &Part, rest: fmt::Arguments<'_>) -> String {
    format!("tenants/{}/collections/{}/{rest}", part.tenant, part.collection)
}

/// Names are case-sensitive and of up to 255 characters, file names are not everywhere: keys hold their hashes.
fn name_hash(name: &str) -> String {
    blake3::hash(name.as_bytes()).to_hex()[..32].to_owned()
}

impl BlobKey {
    /// A photo's record.
    #[must_use]
    pub fn record(part: &Part, image: ImageId) -> Self {
        Self(in_part(part, format_args!("records/{image}")))
    }

    /// A photo.
    #[must_use]
    pub fn photo(part: &Part, image: ImageId, photo: &PhotoKey) -> Self {
        Self(in_part(part, format_args!("photos/{}/{image}-{}", photo.day, photo.nonce)))
    }

    /// A tenant's catalog object, by the hash of its name.
    #[must_use]
    pub fn tenant(name: &TenantName) -> Self {
        Self(format!("catalog/tenants/{}", name_hash(name.as_str())))
    }

    /// A secret of the service's own, which its processes share.
    #[must_use]
    pub fn service_secret(name: &'static str) -> Self {
        Self(format!("service/secrets/{name}"))
    }

    /// The face model that has this number in the catalog.
    #[must_use]
    pub fn face_model(number: u32) -> Self {
        Self(format!("catalog/face-models/{number:05}"))
    }

    /// An access key's catalog object. Which tenant it is of is what the object says.
    #[must_use]
    pub fn access_key(id: &AccessKeyId) -> Self {
        Self(format!("catalog/keys/{id}"))
    }

    /// A collection's catalog object, by the hash of its name.
    #[must_use]
    pub fn collection(tenant: TenantId, name: &CollectionName) -> Self {
        Self(format!("tenants/{tenant}/catalog/collections/{}", name_hash(name.as_str())))
    }

    /// A tenant's bucket, by the hash of its name.
    #[must_use]
    pub fn bucket(tenant: TenantId, name: &BucketName) -> Self {
        Self(format!("tenants/{tenant}/catalog/buckets/{}", name_hash(name.as_str())))
    }

    /// What is known of a collection by its uid, dead ones too.
    #[must_use]
    pub fn collection_uid(tenant: TenantId, uid: CollectionUid) -> Self {
        Self(format!("tenants/{tenant}/catalog/uids/{uid}"))
    }

    /// A user of a collection.
    #[must_use]
    pub fn user(part: &Part, user: UserKey) -> Self {
        Self(in_part(part, format_args!("users/{user}")))
    }

    /// A client's token, by the day on which it was first seen.
    #[must_use]
    pub fn client_token(part: &Part, day: &str, token: TokenKey) -> Self {
        Self(in_part(part, format_args!("tokens/{day}/{token}")))
    }

    /// A batch of audit records: what one partition of the audit topic held from `first_offset` on.
    #[must_use]
    pub fn audit_batch(incarnation: &Nonce, partition: u32, first_offset: u64) -> Self {
        Self(format!("audit/{incarnation}/{partition:05}/{first_offset:020}"))
    }

    /// A key that a listing returned.
    ///
    /// # Errors
    /// Where it is no key: empty, too long, with characters or parts that no key has.
    pub fn listed(text: &str) -> Result<Self, InvalidId> {
        let fine = |part: &str| {
            !part.is_empty()
                && !part.starts_with('.')
                && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
        };
        if text.len() > 1024 || !text.split('/').all(fine) {
            return Err(InvalidId::new("blob key", "it has parts that no key has"));
        }
        Ok(Self(text.to_owned()))
    }

    /// Its text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The last part of the key.
    #[must_use]
    pub fn name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or_default()
    }
}

impl BlobPrefix {
    /// All records of a collection.
    #[must_use]
    pub fn records(part: &Part) -> Self {
        Self(in_part(part, format_args!("records/")))
    }

    /// All photos of a collection, oldest day first.
    #[must_use]
    pub fn photos(part: &Part) -> Self {
        Self(in_part(part, format_args!("photos/")))
    }

    /// A collection's users, deleted ones too, in the order of their keys.
    #[must_use]
    pub fn users(part: &Part) -> Self {
        Self(in_part(part, format_args!("users/")))
    }

    /// A collection's client tokens, oldest day first.
    #[must_use]
    pub fn client_tokens(part: &Part) -> Self {
        Self(in_part(part, format_args!("tokens/")))
    }

    /// All that lies under a collection's uid.
    #[must_use]
    pub fn collection_contents(part: &Part) -> Self {
        Self(in_part(part, format_args!("")))
    }

    /// All tenants.
    #[must_use]
    pub fn tenants() -> Self {
        Self("catalog/tenants/".to_owned())
    }

    /// All face models, in the order of their numbers.
    #[must_use]
    pub fn face_models() -> Self {
        Self("catalog/face-models/".to_owned())
    }

    /// All access keys.
    #[must_use]
    pub fn access_keys() -> Self {
        Self("catalog/keys/".to_owned())
    }

    /// A tenant's collections, by the hash of their names.
    #[must_use]
    pub fn collections(tenant: TenantId) -> Self {
        Self(format!("tenants/{tenant}/catalog/collections/"))
    }

    /// A tenant's collection uids, dead ones too.
    #[must_use]
    pub fn collection_uids(tenant: TenantId) -> Self {
        Self(format!("tenants/{tenant}/catalog/uids/"))
    }

    /// A tenant's buckets.
    #[must_use]
    pub fn buckets(tenant: TenantId) -> Self {
        Self(format!("tenants/{tenant}/catalog/buckets/"))
    }

    /// All that is of a tenant but its entry in the catalog and its keys.
    #[must_use]
    pub fn tenant_contents(tenant: TenantId) -> Self {
        Self(format!("tenants/{tenant}/"))
    }

    /// All audit batches.
    #[must_use]
    pub fn audit() -> Self {
        Self("audit/".to_owned())
    }

    /// One audit partition's batches, in order.
    #[must_use]
    pub fn audit_partition(incarnation: &Nonce, partition: u32) -> Self {
        Self(format!("audit/{incarnation}/{partition:05}/"))
    }

    /// Its text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for BlobKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listed_keys_stay_within_the_store() {
        let part =
            Part { tenant: TenantId::from_random([1; 16]), collection: CollectionUid::from_random([2; 16]) };
        let record = BlobKey::record(&part, ImageId::from_random([3; 16]));
        assert_eq!(BlobKey::listed(record.as_str()), Ok(record));
        for bad in ["", "/etc", "a//b", "a/../b", ".hidden", "a/b\n", "a\\b", &"x".repeat(1025)] {
            assert!(BlobKey::listed(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn collection_keys_are_case_sensitive() {
        let tenant = TenantId::from_random([1; 16]);
        let key = |name: &str| BlobKey::collection(tenant, &name.parse().unwrap()).as_str().to_lowercase();
        assert_ne!(key("staff"), key("Staff"));
    }
}
