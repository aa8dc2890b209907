//! `vidimus admin`: tenants, keys, collections, reconciling. It asks the running service; where none runs it opens the directory.

mod buckets;
mod client;
pub mod collections;
pub mod service;

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::bail;
use clap::{Args, Subcommand};
use prometheus_client::registry::Registry;
use serde_json::Value;
use vidimus_files::OpenError;
use vidimus_ports::clock::SystemClock;
use vidimus_ports::random::SystemRandom;
use vidimus_ports::{Clock, Random};
use vidimus_runtime::catalog::{Catalog, CatalogDeps};

use crate::adapters;
use crate::config::Config;
use crate::output;
use crate::roles::Store;
use buckets::BucketCommand;
use collections::{AdminAudit, CollectionCommand};
use service::{AdminCommand, AdminService};

/// Flags of `admin`.
#[derive(Debug, Args)]
pub struct AdminArguments {
    /// What to administer.
    #[command(subcommand)]
    pub what: What,
    /// Print JSON.
    #[arg(long, global = true)]
    pub json: bool,
}

/// What can be administered.
#[derive(Debug, Subcommand)]
pub enum What {
    /// Tenants: organisations that own collections and keys.
    #[command(subcommand)]
    Tenant(TenantCommand),
    /// Access keys: what a tenant's applications sign with.
    #[command(subcommand)]
    Key(KeyCommand),
    /// Buckets: names that a tenant may use in `Image.S3Object`, each for a folder under the place of imports.
    #[command(subcommand)]
    Bucket(BucketCommand),
    /// Collections: what there is, and how long each keeps faces and photos.
    #[command(subcommand)]
    Collection(CollectionCommand),
    /// Compare records with the index now, and have mended what differs (the service must run).
    Reconcile {
        /// Look at every record, not only at those that have changed since the last time.
        #[arg(long)]
        full: bool,
    },
}

/// What can be done with tenants.
#[derive(Debug, Subcommand)]
pub enum TenantCommand {
    /// Make a tenant.
    Create {
        /// 1 to 255 of letters, digits, `_`, `.`, `-`.
        name: String,
    },
    /// List all tenants.
    List,
    /// Refuse all requests of a tenant.
    Disable {
        /// Its name.
        name: String,
    },
    /// Accept a tenant's requests again.
    Enable {
        /// Its name.
        name: String,
    },
    /// Delete a tenant that has no collections, with its keys.
    Delete {
        /// Its name.
        name: String,
    },
}

/// What can be done with keys.
#[derive(Debug, Subcommand)]
pub enum KeyCommand {
    /// Make a key; its secret is shown this once.
    Create {
        /// The tenant's name.
        tenant: String,
        /// For your own orientation.
        #[arg(long, default_value = "")]
        label: String,
        /// Whether its holder may fetch the photos of enrolled faces (gRPC `GetPhoto`).
        #[arg(long)]
        may_get_photos: bool,
    },
    /// List a tenant's keys.
    List {
        /// The tenant's name.
        tenant: String,
    },
    /// Refuse a key.
    Disable {
        /// The access key id.
        id: String,
    },
    /// Accept a key again.
    Enable {
        /// The access key id.
        id: String,
    },
    /// Delete a key.
    Delete {
        /// The access key id.
        id: String,
    },
}

impl From<What> for AdminCommand {
    fn from(what: What) -> Self {
        match what {
            What::Tenant(TenantCommand::Create { name }) => Self::CreateTenant { name },
            What::Tenant(TenantCommand::List) => Self::ListTenants,
            What::Tenant(TenantCommand::Disable { name }) => Self::SetTenantDisabled { name, disabled: true },
            What::Tenant(TenantCommand::Enable { name }) => Self::SetTenantDisabled { name, disabled: false },
            What::Tenant(TenantCommand::Delete { name }) => Self::DeleteTenant { name },
            What::Key(KeyCommand::Create { tenant, label, may_get_photos }) => {
                Self::CreateKey { tenant, label, may_get_photos }
            }
            What::Key(KeyCommand::List { tenant }) => Self::ListKeys { tenant },
            What::Key(KeyCommand::Disable { id }) => Self::SetKeyDisabled { id, disabled: true },
            What::Key(KeyCommand::Enable { id }) => Self::SetKeyDisabled { id, disabled: false },
            What::Key(KeyCommand::Delete { id }) => Self::DeleteKey { id },
            What::Bucket(command) => Self::Bucket(command),
            What::Collection(command) => command.into(),
            What::Reconcile { full } => Self::Reconcile { full },
        }
    }
}

/// Runs an administrative command and prints its answer.
///
/// # Errors
/// Where the command is refused, or neither the service nor the directory can be reached.
pub async fn run(config: &Config, arguments: AdminArguments) -> anyhow::Result<ExitCode> {
    let answer = execute(config, arguments.what.into()).await?;
    if arguments.json {
        output::line(&serde_json::to_string(&answer)?);
    } else {
        print(&answer);
    }
    Ok(ExitCode::SUCCESS)
}

async fn execute(config: &Config, command: AdminCommand) -> anyhow::Result<Value> {
    if !config.admin.addresses.is_empty() {
        return client::execute(config, &command).await;
    }
    if !config.is_embedded(Store::Blobs)? {
        bail!("set admin.addresses to the operators' addresses of the service's processes, and admin.token_file");
    }
    let random: Arc<dyn Random> = Arc::new(SystemRandom);
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let blobs = match adapters::open_blobs(config, Arc::clone(&random)).await {
        Ok(blobs) => blobs,
        Err(error) if matches!(error.downcast_ref(), Some(OpenError::InUse { .. })) => {
            return client::execute(config, &command).await;
        }
        Err(error) => return Err(error),
    };
    if matches!(command, AdminCommand::Reconcile { .. }) {
        bail!("no service runs on this directory: start it, it reconciles by itself");
    }
    let audit = match command {
        AdminCommand::SetRetention(_) => {
            let registry = &mut Registry::default();
            let log = adapters::open_log(config, Arc::clone(&random), registry).await?;
            Some(AdminAudit { log, clock: Arc::clone(&clock), random: Arc::clone(&random) })
        }
        _ => None,
    };
    let deps = CatalogDeps { blobs, clock, random };
    let service = AdminService { catalog: Arc::new(Catalog::new(deps, None)), ledger: None, audit };
    Ok(service.execute(command).await?)
}

/// Prints an answer for people: a list as a table, an object as `name: value` lines.
fn print(answer: &Value) {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    match answer {
        Value::Array(rows) if rows.is_empty() => output::note("none"),
        Value::Array(rows) => {
            let first = rows.first().and_then(Value::as_object);
            let headings: Vec<&str> =
                first.map(|row| row.keys().map(String::as_str).collect()).unwrap_or_default();
            let cells = |row: &Value| headings.iter().map(|heading| text(&row[*heading])).collect();
            output::table(&headings, &rows.iter().map(cells).collect::<Vec<_>>());
        }
        Value::Object(members) if members.is_empty() => output::note("done"),
        Value::Object(members) => {
            for (name, value) in members {
                output::line(&format!("{name}: {}", text(value)));
            }
        }
        other => output::line(&text(other)),
    }
}
