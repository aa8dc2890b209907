//! `vidimus admin export | import`: a tenant, or one of its collections, as a file. Through the running service, else on the directory
//! itself.

mod connection;
mod export;
mod file;
mod import;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::bail;
use indicatif::{ProgressBar, ProgressStyle};
use prometheus_client::registry::Registry;
use vidimus_files::OpenError;
use vidimus_ports::clock::SystemClock;
use vidimus_ports::random::SystemRandom;
use vidimus_ports::{Clock, Random};
use vidimus_runtime::catalog::{Catalog, CatalogDeps};

use crate::adapters;
use crate::backup::BackupDeps;
use crate::config::Config;
use crate::output;
use crate::roles::Store;
use connection::Connection;

pub use export::ExportArguments;
pub use import::ImportArguments;

/// How often a bar moves by itself.
const TICK: Duration = Duration::from_millis(200);

/// Who does it.
enum Place {
    Service(Connection),
    /// No service runs on the directory: this process works in it.
    Here(Box<BackupDeps>),
}

/// Exports.
///
/// # Errors
/// Where there is no such tenant or collection, the output file exists, or it cannot be made whole.
pub(super) async fn export(
    config: &Config,
    arguments: ExportArguments,
    json: bool,
) -> anyhow::Result<ExitCode> {
    let exported = export::run(config, arguments).await?;
    tell(serde_json::to_value(exported)?, json)
}

/// Imports.
///
/// # Errors
/// Where the file is damaged, or the import is refused or breaks off. Its status is 2 where collections of a tenant were left out.
pub(super) async fn import(
    config: &Config,
    arguments: ImportArguments,
    json: bool,
) -> anyhow::Result<ExitCode> {
    let imported = import::run(config, &arguments).await?;
    let left_out = imported.collections_left_out.clone();
    let status = tell(serde_json::to_value(imported)?, json)?;
    for why in left_out.values() {
        output::note(&format!("left out: {why}"));
    }
    Ok(if left_out.is_empty() { status } else { ExitCode::from(2) })
}

fn tell(answer: serde_json::Value, json: bool) -> anyhow::Result<ExitCode> {
    if json {
        output::line(&serde_json::to_string(&answer)?);
    } else {
        super::print(&answer);
    }
    Ok(ExitCode::SUCCESS)
}

async fn place(config: &Config) -> anyhow::Result<Place> {
    if !config.admin.addresses.is_empty() {
        return Ok(Place::Service(Connection::open(config).await?));
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
            return Ok(Place::Service(Connection::open(config).await?));
        }
        Err(error) => return Err(error),
    };
    let log = adapters::open_log(config, Arc::clone(&random), &mut Registry::default()).await?.log;
    let catalog_deps =
        CatalogDeps { blobs: Arc::clone(&blobs), clock: Arc::clone(&clock), random: Arc::clone(&random) };
    let catalog = Arc::new(Catalog::new(catalog_deps, None));
    let face_models = config.face_models()?;
    let deps = BackupDeps { blobs, log, catalog, clock, random, face_models, waiting_changes_max: None };
    Ok(Place::Here(Box::new(deps)))
}

/// A bar on standard error. Without a length it only counts.
fn progress_bar(bytes: Option<u64>) -> ProgressBar {
    let template = match bytes {
        Some(_) => "{msg} {bar:40} {bytes}/{total_bytes}, {bytes_per_sec}, {eta} left",
        None => "{msg} {spinner} {bytes}, {bytes_per_sec}",
    };
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    let bar = bytes.map_or_else(ProgressBar::no_length, ProgressBar::new).with_style(style);
    bar.enable_steady_tick(TICK);
    bar
}

/// A number of bytes as people read it.
fn bytes(count: u64) -> String {
    indicatif::HumanBytes(count).to_string()
}
