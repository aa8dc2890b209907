//! `vidimus admin`: tenants, keys, collections, reconciling. It asks the running service; where none runs it opens the directory.

mod backup;
mod buckets;
pub mod bulk_index;
mod client;
pub mod collections;
pub mod dead_letters;
pub mod rebuild_index;
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
use vidimus_runtime::dead_letters::DeadLetters;

use crate::adapters;
use crate::config::Config;
use crate::output;
use crate::roles::Store;
use backup::{ExportArguments, ImportArguments};
use buckets::BucketCommand;
use bulk_index::BulkIndexArguments;
use collections::{AdminAudit, CollectionCommand};
use dead_letters::DeadLetterCommand;
use rebuild_index::RebuildIndexArguments;
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
    /// Bring many photos, or ready templates, into a collection (the service must run).
    BulkIndex(BulkIndexArguments),
    /// Write a tenant, or one of its collections, into a file.
    Export(ExportArguments),
    /// Bring an export in: what is absent, and what is newer in it. What was deleted here stays deleted.
    Import(ImportArguments),
    /// Photos of bulk jobs that could not be embedded.
    #[command(subcommand)]
    DeadLetters(DeadLetterCommand),
    /// Make a collection's index again from its records, or move it to another index collection, while the service answers.
    ///
    /// Every record of the collection is projected into another index collection, records and points are compared, then searches switch,
    /// and the old points go. What breaks off stands in the catalog: the same command takes it up. Without a flag the collection goes from
    /// one index collection of its kind to the next: MODEL, MODEL.2, … are shared by the collections of a face model, MODEL.UID, … are one
    /// collection's own. One that was left is entered again about two days later, when nothing can come late there any more.
    RebuildIndex(RebuildIndexArguments),
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

/// What takes more than one command.
enum Job {
    BulkIndex(BulkIndexArguments),
    Export(ExportArguments),
    Import(ImportArguments),
    RebuildIndex(RebuildIndexArguments),
}

impl What {
    /// The command that the service carries out; the arguments of a job, which takes more than one.
    fn command(self) -> Result<AdminCommand, Box<Job>> {
        Ok(match self {
            Self::BulkIndex(arguments) => return Err(Box::new(Job::BulkIndex(arguments))),
            Self::Export(arguments) => return Err(Box::new(Job::Export(arguments))),
            Self::Import(arguments) => return Err(Box::new(Job::Import(arguments))),
            Self::RebuildIndex(arguments) => return Err(Box::new(Job::RebuildIndex(arguments))),
            Self::Tenant(TenantCommand::Create { name }) => AdminCommand::CreateTenant { name },
            Self::Tenant(TenantCommand::List) => AdminCommand::ListTenants,
            Self::Tenant(TenantCommand::Disable { name }) => {
                AdminCommand::SetTenantDisabled { name, disabled: true }
            }
            Self::Tenant(TenantCommand::Enable { name }) => {
                AdminCommand::SetTenantDisabled { name, disabled: false }
            }
            Self::Tenant(TenantCommand::Delete { name }) => AdminCommand::DeleteTenant { name },
            Self::Key(KeyCommand::Create { tenant, label, may_get_photos }) => {
                AdminCommand::CreateKey { tenant, label, may_get_photos }
            }
            Self::Key(KeyCommand::List { tenant }) => AdminCommand::ListKeys { tenant },
            Self::Key(KeyCommand::Disable { id }) => AdminCommand::SetKeyDisabled { id, disabled: true },
            Self::Key(KeyCommand::Enable { id }) => AdminCommand::SetKeyDisabled { id, disabled: false },
            Self::Key(KeyCommand::Delete { id }) => AdminCommand::DeleteKey { id },
            Self::Bucket(command) => AdminCommand::Bucket(command),
            Self::Collection(command) => command.into(),
            Self::DeadLetters(command) => AdminCommand::DeadLetters(command),
            Self::Reconcile { full } => AdminCommand::Reconcile { full },
        })
    }
}

/// Runs an administrative command and prints its answer.
///
/// # Errors
/// Where the command is refused, or neither the service nor the directory can be reached.
pub async fn run(config: &Config, arguments: AdminArguments) -> anyhow::Result<ExitCode> {
    let command = match arguments.what.command() {
        Ok(command) => command,
        Err(job) => return carry_out(config, *job, arguments.json).await,
    };
    let answer = execute(config, command).await?;
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
        bail!(
            "set admin.addresses to the operators' addresses of the service's processes, and admin.token_file"
        );
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
    if matches!(command, AdminCommand::CreateCollection { .. }) {
        bail!(
            "no service runs on this directory: start it, it has the face model that collections are made with"
        );
    }
    if matches!(command, AdminCommand::Move(_)) {
        bail!("no service runs on this directory: start it, it makes the index again while it answers");
    }
    let log = match command {
        AdminCommand::SetRetention(_) | AdminCommand::DeadLetters(_) => {
            Some(adapters::open_log(config, Arc::clone(&random), &mut Registry::default()).await?.log)
        }
        _ => None,
    };
    let audit = log.clone().map(|log| AdminAudit { log, clock: clock.clone(), random: random.clone() });
    let dead_letters = log.map(|log| DeadLetters {
        log,
        blobs: blobs.clone(),
        clock: clock.clone(),
        random: random.clone(),
    });
    let deps = CatalogDeps { blobs, clock, random };
    let catalog = Arc::new(Catalog::new(deps, None));
    let service = AdminService { catalog, ledger: None, dead_letters, audit, face_models: None };
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

async fn carry_out(config: &Config, job: Job, json: bool) -> anyhow::Result<ExitCode> {
    match job {
        Job::BulkIndex(bulk) => bulk_index::run(config, bulk, json).await,
        Job::Export(export) => backup::export(config, export, json).await,
        Job::Import(import) => backup::import(config, import, json).await,
        Job::RebuildIndex(rebuild) => rebuild_index::run(config, rebuild, json).await,
    }
}
