//! Tenants and their access keys.

use std::sync::Arc;

use vidimus_domain::blob_key::{BlobKey, BlobPrefix};
use vidimus_domain::catalog::{AccessKey, Secret, Tenant};
use vidimus_domain::{AccessKeyId, ErrorCode, Failure, TenantId, TenantName};
use vidimus_ports::PutCondition;

use super::{Access, Catalog, changed_meanwhile};
use crate::errors::failure_from_port;

/// The letters of access key ids (RFC 4648, base 32).
const KEY_ID_LETTERS: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
/// The letters of secrets: 64 that need no quoting.
const SECRET_LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-";

impl Catalog {
    /// Makes a tenant.
    ///
    /// # Errors
    /// `AlreadyExists` where there is one of that name.
    pub async fn create_tenant(&self, name: TenantName) -> Result<Tenant, Failure> {
        let tenant = Tenant {
            id: TenantId::from_random(self.deps.random.bytes16()),
            account: self.account_number(),
            disabled: false,
            created_at: self.deps.clock.now(),
            deleted_at: None,
            nonce: self.deps.random.nonce(),
            name,
        };
        if self.write(&BlobKey::tenant(&tenant.name), &tenant, PutCondition::IfAbsent).await? {
            return Ok(tenant);
        }
        Err(Failure::new(ErrorCode::AlreadyExists, format!("the tenant {} already exists", tenant.name)))
    }

    /// Twelve random digits, as accounts have in ARNs. They name nothing here, so they need not be unique.
    fn account_number(&self) -> String {
        let random = u128::from_be_bytes(self.deps.random.bytes16());
        format!("{:012}", random % 1_000_000_000_000)
    }

    /// All tenants, deleted ones too while something of them is left.
    ///
    /// # Errors
    /// Where the store fails.
    pub async fn tenants(&self) -> Result<Vec<Tenant>, Failure> {
        let mut tenants = self.read_all::<Tenant>(&BlobPrefix::tenants()).await?;
        tenants.sort_by(|left, right| left.name.cmp(&right.name));
        Ok(tenants)
    }

    /// The tenant of that name.
    ///
    /// # Errors
    /// `NotFound` where there is none or it is deleted.
    pub async fn tenant(&self, name: &TenantName) -> Result<Tenant, Failure> {
        let read = self.read::<Tenant>(&BlobKey::tenant(name)).await?.map(|(tenant, _)| tenant);
        read.filter(|tenant| tenant.deleted_at.is_none()).ok_or_else(|| no_such_tenant(name))
    }

    /// Refuses, or accepts again, all keys of a tenant.
    ///
    /// # Errors
    /// `NotFound` where there is no such tenant.
    pub async fn set_tenant_disabled(&self, name: &TenantName, disabled: bool) -> Result<(), Failure> {
        self.change_tenant(name, |tenant| tenant.disabled = disabled).await
    }

    /// Deletes a tenant that has no collections, and its keys. Its entry stays until the ledger finds nothing left of it.
    ///
    /// # Errors
    /// `NotFound` where there is no such tenant, `QuotaExceeded` where it has collections.
    pub async fn delete_tenant(&self, name: &TenantName) -> Result<(), Failure> {
        let tenant = self.tenant(name).await?;
        let collections = self.all_collections(tenant.id).await?.len();
        if collections > 0 {
            let message = format!("the tenant {name} has {collections} collections: delete them first");
            return Err(Failure::new(ErrorCode::QuotaExceeded, message));
        }
        for key in self.keys(name).await? {
            self.delete_key(&key.id).await?;
        }
        let now = self.deps.clock.now();
        self.change_tenant(name, |tenant| tenant.deleted_at = Some(now)).await
    }

    async fn change_tenant(
        &self,
        name: &TenantName,
        change: impl FnOnce(&mut Tenant),
    ) -> Result<(), Failure> {
        let key = BlobKey::tenant(name);
        let live = self.read::<Tenant>(&key).await?.filter(|(tenant, _)| tenant.deleted_at.is_none());
        let (mut tenant, etag) = live.ok_or_else(|| no_such_tenant(name))?;
        change(&mut tenant);
        tenant.nonce = self.deps.random.nonce();
        if !self.write(&key, &tenant, PutCondition::IfMatch(etag)).await? {
            return Err(changed_meanwhile());
        }
        self.accesses.forget();
        self.wait_out_lease().await;
        Ok(())
    }

    /// Forgets a deleted tenant of which nothing is left, but for its id: no import may bring that back.
    ///
    /// # Errors
    /// Where the store fails.
    pub async fn forget_tenant(&self, tenant: &Tenant) -> Result<(), Failure> {
        self.write(&BlobKey::dead_tenant(tenant.id), tenant, PutCondition::IfAbsent).await?;
        self.deps.blobs.delete(&BlobKey::tenant(&tenant.name)).await.map_err(failure_from_port)
    }

    /// Makes an access key for a tenant.
    ///
    /// # Errors
    /// `NotFound` where there is no such tenant.
    pub async fn create_key(
        &self,
        name: &TenantName,
        label: &str,
        may_get_photos: bool,
    ) -> Result<AccessKey, Failure> {
        let tenant = self.tenant(name).await?;
        let key = AccessKey {
            id: self.random_text("VDMS", 16, KEY_ID_LETTERS).parse::<AccessKeyId>()?,
            tenant: tenant.id,
            tenant_name: tenant.name,
            secret: Secret::new(self.random_text("", 40, SECRET_LETTERS)),
            label: label.to_owned(),
            disabled: false,
            may_get_photos,
            created_at: self.deps.clock.now(),
            nonce: self.deps.random.nonce(),
        };
        if self.write(&BlobKey::access_key(&key.id), &key, PutCondition::IfAbsent).await? {
            return Ok(key);
        }
        Err(changed_meanwhile())
    }

    /// `start` and `length` random letters. Both alphabets have a power of two of letters, so all are as likely.
    fn random_text(&self, start: &str, length: usize, letters: &[u8]) -> String {
        let mut bytes = vec![0; length];
        self.deps.random.fill(&mut bytes);
        let random = bytes.iter().map(|byte| char::from(letters[usize::from(*byte) % letters.len()]));
        start.chars().chain(random).collect()
    }

    /// A tenant's keys.
    ///
    /// # Errors
    /// `NotFound` where there is no such tenant.
    pub async fn keys(&self, name: &TenantName) -> Result<Vec<AccessKey>, Failure> {
        let tenant = self.tenant(name).await?;
        let all = self.read_all::<AccessKey>(&BlobPrefix::access_keys()).await?;
        Ok(all.into_iter().filter(|key| key.tenant == tenant.id).collect())
    }

    /// Refuses, or accepts again, a key.
    ///
    /// # Errors
    /// `NotFound` where there is no such key.
    pub async fn set_key_disabled(&self, id: &AccessKeyId, disabled: bool) -> Result<(), Failure> {
        let key = BlobKey::access_key(id);
        let (mut access_key, etag) = self.read::<AccessKey>(&key).await?.ok_or_else(|| no_such_key(id))?;
        access_key.disabled = disabled;
        access_key.nonce = self.deps.random.nonce();
        if !self.write(&key, &access_key, PutCondition::IfMatch(etag)).await? {
            return Err(changed_meanwhile());
        }
        self.accesses.forget();
        self.wait_out_lease().await;
        Ok(())
    }

    /// Removes a key.
    ///
    /// # Errors
    /// `NotFound` where there is no such key.
    pub async fn delete_key(&self, id: &AccessKeyId) -> Result<(), Failure> {
        let key = BlobKey::access_key(id);
        if self.read::<AccessKey>(&key).await?.is_none() {
            return Err(no_such_key(id));
        }
        self.deps.blobs.delete(&key).await.map_err(failure_from_port)?;
        self.accesses.forget();
        self.wait_out_lease().await;
        Ok(())
    }

    /// A key with its owner, at most five seconds old, whether in force or not (see [`Access::is_enabled`]).
    ///
    /// # Errors
    /// Where the store fails.
    pub async fn access_key(&self, id: &AccessKeyId) -> Result<Option<Arc<Access>>, Failure> {
        let key = BlobKey::access_key(id);
        if let Some(cached) = self.accesses.get(&key, self.deps.clock.now()) {
            return Ok(Some(cached));
        }
        let reading = self.accesses.begin(self.deps.clock.now());
        let Some((access_key, _)) = self.read::<AccessKey>(&key).await? else {
            return Ok(None);
        };
        let owner = self.read::<Tenant>(&BlobKey::tenant(&access_key.tenant_name)).await?;
        let Some((tenant, _)) = owner.filter(|(tenant, _)| tenant.id == access_key.tenant) else {
            return Ok(None);
        };
        let access = Arc::new(Access { tenant, key: access_key });
        self.accesses.remember(&reading, key, Arc::clone(&access));
        Ok(Some(access))
    }
}

fn no_such_tenant(name: &TenantName) -> Failure {
    Failure::new(ErrorCode::NotFound, format!("there is no tenant {name}"))
}

fn no_such_key(id: &AccessKeyId) -> Failure {
    Failure::new(ErrorCode::NotFound, format!("there is no access key {id}"))
}
