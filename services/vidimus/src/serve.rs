//! `vidimus serve`: open → start → bind → run → drain.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use prometheus_client::registry::Registry;
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use vidimus_edge::EdgeIndex;
use vidimus_ledger::{Ledger, Walk};
use vidimus_runtime::dead_letters::DeadLetters;
use vidimus_runtime::models::FaceModels;
use vidimus_runtime::shutdown::Shutdown;

use crate::adapters::{self, Adapters, Opened};
use crate::admin::bulk_index::service::BulkService;
use crate::admin::collections::AdminAudit;
use crate::admin::service::AdminService;
use crate::config::Config;
use crate::keys::Keys;
use crate::operators::{self, Operators};
use crate::roles::{self, RoleParams, Roles};

/// Where a running service is found: what the ready file says, and `service.json` in the data directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Running {
    /// The tenants' address.
    pub tenants: SocketAddr,
    /// The operators' address.
    pub operators: SocketAddr,
    /// The process.
    pub pid: u32,
}

/// Where in the data directory a running service says where it is.
pub(crate) const SERVICE_FILE: &str = "service.json";

/// In the index's folder, from an orderly end to the next start: the life of the log that it has everything of.
const INDEX_MARKER: &str = "log-incarnation";

/// Listeners that are bound.
struct Bound {
    tenants: TcpListener,
    operators: TcpListener,
}

/// Runs the service until SIGTERM or SIGINT. `decorate` may wrap the adapters: tests do.
///
/// # Errors
/// Where something cannot be opened or bound, or the index cannot be flushed at the end.
pub async fn serve(
    config: Config,
    ready_file: Option<PathBuf>,
    decorate: impl FnOnce(Adapters) -> anyhow::Result<Adapters>,
) -> anyhow::Result<()> {
    let opened = adapters::open(&config).await?;
    // What an earlier process said of itself is not true any more: nobody is to send the administration's token there.
    let _ = std::fs::remove_file(config.data()?.join(SERVICE_FILE));
    let bound = bind(&config).await?;
    let adapters = decorate(opened.adapters.clone())?;
    let shutdown = Shutdown::new();
    let mut registry = Registry::default();
    let catalog = roles::catalog(&adapters);
    let placement = config.model()?;
    let face_models = Arc::new(FaceModels {
        face_model_version: catalog.face_model_version(&placement).await?,
        calibration: opened.model.manifest.calibration()?,
        dimension: adapters.encoder.dimension(),
        placement,
    });
    let ledger = roles::ledger(&adapters, &catalog, &mut registry);
    know_the_index(&config, &adapters, &ledger).await?;
    let keys = Keys::new(config.data()?);
    let params = RoleParams {
        config: &config,
        catalog: Arc::clone(&catalog),
        ledger,
        face_models,
        token_key: keys.page_tokens(&*adapters.random)?,
        shutdown: &shutdown,
    };
    let roles = roles::start_all(&adapters, params, &mut registry);
    tokio::spawn(say_recovered(roles.searchable.clone(), opened.edge()));
    let audit = AdminAudit {
        log: Arc::clone(&adapters.log),
        clock: Arc::clone(&adapters.clock),
        random: Arc::clone(&adapters.random),
    };
    let admin_token = keys.admin_token(&*adapters.random)?;
    let bulk = BulkService {
        ingestion: Arc::clone(&roles.ingestion),
        catalog: Arc::clone(&catalog),
        clock: Arc::clone(&adapters.clock),
        random: Arc::clone(&adapters.random),
        token: admin_token.clone(),
    };
    let dead_letters = DeadLetters {
        log: Arc::clone(&adapters.log),
        blobs: Arc::clone(&adapters.blobs),
        clock: Arc::clone(&adapters.clock),
        random: Arc::clone(&adapters.random),
    };
    let operators = Operators {
        registry: Arc::new(registry),
        searchable: roles.searchable.clone(),
        shutdown: shutdown.clone(),
        admin: AdminService {
            catalog,
            ledger: Some(Arc::clone(&roles.ledger)),
            dead_letters: Some(dead_letters),
            audit: Some(audit),
        },
        bulk,
        admin_token,
    };
    run(&config, bound, (roles, operators), ready_file.as_deref(), &shutdown).await?;
    let drained = drain(&config, &opened, &shutdown).await;
    let _ = std::fs::remove_file(config.data()?.join(SERVICE_FILE));
    drained
}

/// Before an index that is not known to have what this log's life has said (it or the log was lost, or the service did not end
/// in order) is searched, everything is compared: what differs is said on the log, and searches wait until that is projected.
async fn know_the_index(config: &Config, adapters: &Adapters, ledger: &Ledger) -> anyhow::Result<()> {
    let marker = config.places()?.index.join(INDEX_MARKER);
    let incarnation = adapters.log.incarnation().await?.to_string();
    let known = std::fs::read_to_string(&marker).is_ok_and(|known| known == incarnation);
    match std::fs::remove_file(&marker) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("remove {}", marker.display()));
        }
        _ => {}
    }
    if known {
        return Ok(());
    }
    match ledger.reconcile(Walk::Full).await {
        Ok(found) => tracing::info!(?found, "the index was new to the log: everything was compared"),
        Err(failure) => tracing::error!(%failure, "not everything could be compared with the index"),
    }
    Ok(())
}

/// After an orderly end the index needs no comparing at the next start.
async fn mark_the_index(config: &Config, adapters: &Adapters) -> anyhow::Result<()> {
    let marker = config.places()?.index.join(INDEX_MARKER);
    let incarnation = adapters.log.incarnation().await?.to_string();
    std::fs::write(&marker, incarnation).with_context(|| format!("write {}", marker.display()))
}

async fn bind(config: &Config) -> anyhow::Result<Bound> {
    let bind = async |name: &str, address: SocketAddr| {
        TcpListener::bind(address).await.with_context(|| format!("listen for {name} on {address}"))
    };
    Ok(Bound {
        tenants: bind("tenants", config.listen.tenants).await?,
        operators: bind("operators", config.listen.operators).await?,
    })
}

/// Serves until a signal comes and what was asked before it is answered.
async fn run(
    config: &Config,
    bound: Bound,
    (roles, operators): (Roles, Operators),
    ready_file: Option<&Path>,
    shutdown: &Shutdown,
) -> anyhow::Result<()> {
    let running = Running {
        tenants: bound.tenants.local_addr()?,
        operators: bound.operators.local_addr()?,
        pid: std::process::id(),
    };
    write_json(&config.data()?.join(SERVICE_FILE), &running)?;
    let refuse_new = CancellationToken::new();
    let not_ready = refuse_new.clone();
    tokio::spawn(operators::serve(bound.operators, operators, not_ready));
    tokio::spawn(say_ready(roles.searchable.clone(), running, ready_file.map(Path::to_owned)));
    let gateway_config = roles.gateway.config().clone();
    let serving =
        vidimus_gateway::serve(bound.tenants, roles.gateway.router(), &gateway_config, refuse_new.clone());
    tokio::pin!(serving);
    tokio::select! {
        ended = &mut serving => return ended.context("serve tenants"),
        signalled = ending_signal() => signalled?,
    }
    tracing::info!("shutting down: new work is refused");
    refuse_new.cancel();
    match tokio::time::timeout(config.shutdown_wait, serving).await {
        Ok(ended) => ended.context("serve tenants")?,
        Err(_) => tracing::warn!("requests were still running when the wait was over"),
    }
    shutdown.begin();
    Ok(())
}

async fn ending_signal() -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("watch SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("watch SIGINT")?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

/// Waits for the roles' tasks, which flush and commit, then closes the index.
async fn drain(config: &Config, opened: &Opened, shutdown: &Shutdown) -> anyhow::Result<()> {
    if !shutdown.drained(config.shutdown_wait).await {
        tracing::warn!("a role was still running when the wait was over");
        return opened.close(config.shutdown_wait).await;
    }
    opened.close(config.shutdown_wait).await?;
    mark_the_index(config, &opened.adapters).await?;
    tracing::info!("ended in order");
    Ok(())
}

/// What the index lacked of the last moments before this start is projected again by the time that searches are answered.
async fn say_recovered(mut searchable: watch::Receiver<bool>, edge: Arc<EdgeIndex>) {
    if searchable.wait_for(|searchable| *searchable).await.is_ok() {
        edge.recovered();
    }
}

async fn say_ready(mut searchable: watch::Receiver<bool>, running: Running, ready_file: Option<PathBuf>) {
    if searchable.wait_for(|searchable| *searchable).await.is_err() {
        return;
    }
    tracing::info!(tenants = %running.tenants, operators = %running.operators, pid = running.pid, "ready");
    if let Some(path) = ready_file
        && let Err(error) = write_json(&path, &running)
    {
        tracing::error!(%error, "the ready file cannot be written");
    }
}

/// Writes beside and renames, so that a reader sees all of it or nothing.
fn write_json(path: &Path, running: &Running) -> anyhow::Result<()> {
    let beside = path.with_extension("new");
    let write = || -> std::io::Result<()> {
        std::fs::write(&beside, serde_json::to_vec(running)?)?;
        std::fs::rename(&beside, path)
    };
    write().with_context(|| format!("write {}", path.display()))
}
