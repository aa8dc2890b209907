//! Tags of collections.

use std::collections::BTreeMap;

use vidimus_domain::blob_key::BlobKey;
use vidimus_domain::catalog::Collection;
use vidimus_domain::{CollectionName, Failure, TenantId};
use vidimus_ports::PutCondition;

use super::{Catalog, changed_meanwhile};
use crate::requests::no_such_collection;

/// How often a collection is read and changed anew when others change it at the same time.
const ATTEMPTS_MAX: usize = 16;

impl Catalog {
    /// Changes a collection's tags. `change` says whether they may be so; where it says no nothing is changed, and false comes
    /// back. It may be asked several times, each time about the tags as they are then.
    ///
    /// # Errors
    /// `NotFound` where there is no such collection, `Conflict` where others change it all the time.
    pub async fn change_tags(
        &self,
        tenant: TenantId,
        name: &CollectionName,
        change: impl Fn(&mut BTreeMap<String, String>) -> bool,
    ) -> Result<bool, Failure> {
        let key = BlobKey::collection(tenant, name);
        for _ in 0..ATTEMPTS_MAX {
            let live = self.read::<Collection>(&key).await?.filter(|(found, _)| found.deleted_at.is_none());
            let (mut collection, etag) = live.ok_or_else(|| no_such_collection(name))?;
            if !change(&mut collection.tags) {
                return Ok(false);
            }
            collection.nonce = self.deps.random.nonce();
            if self.write(&key, &collection, PutCondition::IfMatch(etag)).await? {
                self.collections.forget();
                return Ok(true);
            }
        }
        Err(changed_meanwhile())
    }
}
