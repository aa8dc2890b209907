//! What administration can do, wherever it runs.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use vidimus_domain::catalog::{AccessKey, Tenant};
use vidimus_domain::{ErrorCode, Failure};
use vidimus_ledger::{Ledger, Walk};
use vidimus_runtime::catalog::Catalog;
use vidimus_runtime::dead_letters::DeadLetters;
use vidimus_runtime::models::FaceModels;

use super::buckets::{self, BucketCommand};
use super::collections::{self, AdminAudit, SetRetention};
use super::dead_letters::{self, DeadLetterCommand};
use super::rebuild_index::{self, MoveCommand};

/// One administrative command, as it is sent to the running service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "snake_case", deny_unknown_fields)]
pub enum AdminCommand {
    /// Make a tenant.
    CreateTenant {
        /// Its name.
        name: String,
    },
    /// All tenants.
    ListTenants,
    /// Refuse or accept a tenant's requests.
    SetTenantDisabled {
        /// Its name.
        name: String,
        /// Whether they are refused.
        disabled: bool,
    },
    /// Delete a tenant without collections.
    DeleteTenant {
        /// Its name.
        name: String,
    },
    /// Make a key.
    CreateKey {
        /// Its tenant's name.
        tenant: String,
        /// For operators.
        label: String,
        /// Whether it may fetch the photos of enrolled faces.
        #[serde(default)]
        may_get_photos: bool,
    },
    /// A tenant's keys.
    ListKeys {
        /// Its name.
        tenant: String,
    },
    /// Refuse or accept a key.
    SetKeyDisabled {
        /// Its id.
        id: String,
        /// Whether it is refused.
        disabled: bool,
    },
    /// Delete a key.
    DeleteKey {
        /// Its id.
        id: String,
    },
    /// What tenants name buckets.
    Bucket(BucketCommand),
    /// Make a collection.
    CreateCollection {
        /// Its tenant's name.
        tenant: String,
        /// Its name.
        name: String,
        /// Whether it has an index collection of its own.
        large: bool,
    },
    /// A tenant's collections.
    ListCollections {
        /// Its name.
        tenant: String,
    },
    /// One collection.
    ShowCollection {
        /// Its tenant's name.
        tenant: String,
        /// Its name.
        name: String,
    },
    /// Set how long a collection keeps faces and photos.
    SetRetention(SetRetention),
    /// Photos that could not be embedded.
    DeadLetters(DeadLetterCommand),
    /// Move collections between index collections, which makes the index again.
    Move(MoveCommand),
    /// Compare records with points.
    Reconcile {
        /// All of them.
        full: bool,
    },
}

/// Carries commands out.
#[derive(Clone)]
pub struct AdminService {
    /// Tenants and keys.
    pub catalog: Arc<Catalog>,
    /// Reconciles; none where the service does not run.
    pub ledger: Option<Arc<Ledger>>,
    /// Photos that could not be embedded; none where the command does not need them.
    pub dead_letters: Option<DeadLetters>,
    /// Takes what is to be audited; none where the command needs no audit.
    pub audit: Option<AdminAudit>,
    /// Which new collections may have; none where the service does not run.
    pub face_models: Option<Arc<FaceModels>>,
}

impl AdminService {
    /// Carries a command out and returns what it has to say, without secrets but for a new key's.
    ///
    /// # Errors
    /// Where the command is refused or the store fails.
    pub async fn execute(&self, command: AdminCommand) -> Result<Value, Failure> {
        let catalog = &self.catalog;
        let done = || Ok(json!({}));
        match command {
            AdminCommand::CreateTenant { name } => Ok(tenant(&catalog.create_tenant(name.parse()?).await?)),
            AdminCommand::ListTenants => Ok(catalog.tenants().await?.iter().map(tenant).collect()),
            AdminCommand::SetTenantDisabled { name, disabled } => {
                catalog.set_tenant_disabled(&name.parse()?, disabled).await?;
                done()
            }
            AdminCommand::DeleteTenant { name } => {
                catalog.delete_tenant(&name.parse()?).await?;
                done()
            }
            AdminCommand::CreateKey { tenant, label, may_get_photos } => {
                let key = catalog.create_key(&tenant.parse()?, &label, may_get_photos).await?;
                Ok(json!({
                    "access_key_id": key.id.as_str(),
                    "secret_access_key": key.secret.reveal(),
                    "tenant": key.tenant_name.as_str(),
                    "label": key.label,
                }))
            }
            AdminCommand::ListKeys { tenant } => {
                Ok(catalog.keys(&tenant.parse()?).await?.iter().map(access_key).collect())
            }
            AdminCommand::SetKeyDisabled { id, disabled } => {
                catalog.set_key_disabled(&id.parse()?, disabled).await?;
                done()
            }
            AdminCommand::DeleteKey { id } => {
                catalog.delete_key(&id.parse()?).await?;
                done()
            }
            AdminCommand::Bucket(command) => buckets::execute(catalog, command).await,
            AdminCommand::CreateCollection { tenant, name, large } => {
                collections::create(catalog, self.face_models.as_deref(), (&tenant, &name), large).await
            }
            AdminCommand::ListCollections { tenant } => collections::list(catalog, &tenant).await,
            AdminCommand::ShowCollection { tenant, name } => collections::show(catalog, &tenant, &name).await,
            AdminCommand::SetRetention(set) => {
                collections::set_retention(catalog, self.audit.as_ref(), set).await
            }
            AdminCommand::DeadLetters(command) => {
                dead_letters::execute(self.dead_letters.as_ref(), command).await
            }
            AdminCommand::Move(command) => rebuild_index::execute(catalog, self.ledger()?, command).await,
            AdminCommand::Reconcile { full } => self.reconcile(full).await,
        }
    }

    /// Whether the command needs a role that this process does not have.
    #[must_use]
    pub const fn lacks(&self, command: &AdminCommand) -> bool {
        matches!(command, AdminCommand::Reconcile { .. } | AdminCommand::Move(_)) && self.ledger.is_none()
    }

    async fn reconcile(&self, full: bool) -> Result<Value, Failure> {
        let walk = if full { Walk::Full } else { Walk::Changed };
        Ok(json!(self.ledger()?.reconcile(walk).await?))
    }

    fn ledger(&self) -> Result<&Ledger, Failure> {
        let message = "it needs the running service";
        self.ledger.as_deref().ok_or_else(|| Failure::new(ErrorCode::Unavailable, message))
    }
}

fn tenant(tenant: &Tenant) -> Value {
    json!({
        "name": tenant.name.as_str(),
        "tenant_id": tenant.id.to_string(),
        "account": tenant.account,
        "state": match (tenant.deleted_at, tenant.disabled) {
            (Some(_), _) => "deleted",
            (None, true) => "disabled",
            (None, false) => "enabled",
        },
        "created": tenant.created_at.day(),
    })
}

fn access_key(key: &AccessKey) -> Value {
    json!({
        "access_key_id": key.id.as_str(),
        "label": key.label,
        "may_get_photos": key.may_get_photos,
        "state": if key.disabled { "disabled" } else { "enabled" },
        "created": key.created_at.day(),
    })
}
