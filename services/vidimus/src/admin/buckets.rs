//! `vidimus admin bucket`.

use clap::Subcommand;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use vidimus_domain::Failure;
use vidimus_domain::catalog::Bucket;
use vidimus_runtime::catalog::Catalog;

/// What can be done with buckets.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum BucketCommand {
    /// Let a bucket's name stand for a folder.
    Map {
        /// The tenant's name.
        tenant: String,
        /// The bucket's name, as the tenant's applications say it: 3 to 255 of letters, digits, `_`, `.`, `-`.
        bucket: String,
        /// The folder, relative to the place of imports (`imports` in the configuration).
        prefix: String,
    },
    /// List a tenant's buckets.
    List {
        /// The tenant's name.
        tenant: String,
    },
    /// Let a bucket's name stand for nothing any more.
    Unmap {
        /// The tenant's name.
        tenant: String,
        /// The bucket's name.
        bucket: String,
    },
}

/// Carries a command out.
///
/// # Errors
/// Where the command is refused or the store fails.
pub async fn execute(catalog: &Catalog, command: BucketCommand) -> Result<Value, Failure> {
    match command {
        BucketCommand::Map { tenant, bucket, prefix } => {
            let mapped = catalog.map_bucket(&tenant.parse()?, bucket.parse()?, prefix.parse()?).await?;
            Ok(row(&mapped))
        }
        BucketCommand::List { tenant } => {
            Ok(catalog.buckets(&tenant.parse()?).await?.iter().map(row).collect())
        }
        BucketCommand::Unmap { tenant, bucket } => {
            catalog.unmap_bucket(&tenant.parse()?, &bucket.parse()?).await?;
            Ok(json!({}))
        }
    }
}

fn row(bucket: &Bucket) -> Value {
    json!({
        "bucket": bucket.name.as_str(),
        "prefix": bucket.prefix.as_str(),
        "created": bucket.created_at.day(),
    })
}
