//! Buckets: names that a tenant may use in `Image.S3Object`, mapped by an administrator. Nothing else can be read.

use vidimus_domain::blob_key::{BlobKey, BlobPrefix};
use vidimus_domain::catalog::{Bucket, ImportPrefix};
use vidimus_domain::ids::BucketName;
use vidimus_domain::{ErrorCode, Failure, TenantId, TenantName};
use vidimus_ports::PutCondition;

use super::{Catalog, changed_meanwhile};
use crate::errors::failure_from_port;

impl Catalog {
    /// Lets a tenant's bucket name stand for a prefix; one that stands for another prefix is changed.
    ///
    /// # Errors
    /// `NotFound` where there is no such tenant.
    pub async fn map_bucket(
        &self,
        tenant: &TenantName,
        name: BucketName,
        prefix: ImportPrefix,
    ) -> Result<Bucket, Failure> {
        let tenant = self.tenant(tenant).await?.id;
        let key = BlobKey::bucket(tenant, &name);
        let before = self.read::<Bucket>(&key).await?;
        let condition = before.map_or(PutCondition::IfAbsent, |(_, etag)| PutCondition::IfMatch(etag));
        let created_at = self.deps.clock.now();
        let bucket = Bucket { tenant, name, prefix, created_at, nonce: self.deps.random.nonce() };
        if self.write(&key, &bucket, condition).await? { Ok(bucket) } else { Err(changed_meanwhile()) }
    }

    /// A tenant's buckets.
    ///
    /// # Errors
    /// `NotFound` where there is no such tenant.
    pub async fn buckets(&self, tenant: &TenantName) -> Result<Vec<Bucket>, Failure> {
        let tenant = self.tenant(tenant).await?.id;
        let mut buckets = self.read_all::<Bucket>(&BlobPrefix::buckets(tenant)).await?;
        buckets.sort_by(|left, right| left.name.cmp(&right.name));
        Ok(buckets)
    }

    /// Lets a bucket's name stand for nothing any more.
    ///
    /// # Errors
    /// `NotFound` where there is no such tenant or bucket.
    pub async fn unmap_bucket(&self, tenant: &TenantName, name: &BucketName) -> Result<(), Failure> {
        let tenant = self.tenant(tenant).await?.id;
        let message = || format!("there is no bucket {name}");
        self.bucket(tenant, name).await?.ok_or_else(|| Failure::new(ErrorCode::NotFound, message()))?;
        self.deps.blobs.delete(&BlobKey::bucket(tenant, name)).await.map_err(failure_from_port)
    }

    /// A tenant's bucket, as it is now.
    ///
    /// # Errors
    /// Where the store fails.
    pub async fn bucket(&self, tenant: TenantId, name: &BucketName) -> Result<Option<Bucket>, Failure> {
        Ok(self.read::<Bucket>(&BlobKey::bucket(tenant, name)).await?.map(|(bucket, _)| bucket))
    }
}
