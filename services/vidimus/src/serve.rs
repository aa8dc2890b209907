//! `vidimus serve`: open → start → bind → run → drain.

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
use vidimus_gateway::Gateway;
use vidimus_runtime::dead_letters::DeadLetters;
use vidimus_runtime::shutdown::Shutdown;
use vidimus_runtime::transport::RoleServer;

use crate::adapters::{self, Adapters, Opened};
use crate::admin::bulk_index::service::BulkService;
use crate::admin::collections::AdminAudit;
use crate::admin::service::AdminService;
use crate::backup::BackupDeps;
use crate::backup::service::BackupService;
use crate::config::Config;
use crate::keys::{self, Keys};
use crate::operators::{self, Administration, Operators};
use crate::roles::{self, Core, Role, RoleParams, Started, Store};

/// Where a running service is found: what the ready file says, and `service.json` in the data directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Running {
    /// The tenants' address, where this process has the gateway.
    pub tenants: Option<SocketAddr>,
    /// The operators' address.
    pub operators: SocketAddr,
    /// The address for roles of other processes, where there can be such.
    pub roles: Option<SocketAddr>,
    /// The process.
    pub pid: u32,
}

/// Where in the data directory a running service says where it is.
pub(crate) const SERVICE_FILE: &str = "service.json";

/// Listeners that are bound.
struct Bound {
    tenants: Option<TcpListener>,
    operators: TcpListener,
    roles: Option<TcpListener>,
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
    let mut registry = Registry::default();
    let opened = adapters::open(&config, &mut registry).await?;
    let service_file = service_file(&config)?;
    // What an earlier process said of itself is not true any more: nobody is to send the administration's token there.
    forget(service_file.as_deref());
    let bound = bind(&config).await?;
    let running = Running {
        tenants: bound.tenants.as_ref().map(TcpListener::local_addr).transpose()?,
        operators: bound.operators.local_addr()?,
        roles: bound.roles.as_ref().map(TcpListener::local_addr).transpose()?,
        pid: std::process::id(),
    };
    let adapters = decorate(opened.adapters.clone())?;
    let shutdown = Shutdown::new();
    let core = Core::assemble(&config, &opened, &adapters, &mut registry).await?;
    let admin = core.as_ref().map(|core| administration(&config, core, &adapters)).transpose()?.flatten();
    let params = RoleParams { config: &config, adapters: &adapters, core: core.clone(), shutdown: &shutdown };
    let started = roles::start(params, &mut registry)?;
    started.tell_health(&shutdown).await;
    let bulk = admin.as_ref().and_then(|admin| bulk(admin, &started, &adapters));
    let backup = admin.as_ref().zip(core.as_ref()).map(|of| backup(&config, of, &adapters)).transpose()?;
    let operators = Operators {
        registry: Arc::new(registry),
        searchable: started.searchable.clone(),
        shutdown: shutdown.clone(),
        admin,
        bulk,
        backup,
    };
    if let Some(file) = &service_file {
        write_json(file, &running)?;
    }
    tokio::spawn(say_ready(started.searchable.clone(), running, ready_file));
    run(&config, bound, (started, operators), &shutdown).await?;
    let drained = drain(&config, &opened, core.as_ref(), &shutdown).await;
    forget(service_file.as_deref());
    drained
}

/// Where this process says where it is: beside the stores that are its alone.
fn service_file(config: &Config) -> anyhow::Result<Option<PathBuf>> {
    if !config.is_used_embedded(Store::Blobs)? {
        return Ok(None);
    }
    Ok(Some(config.data()?.join(SERVICE_FILE)))
}

fn forget(service_file: Option<&Path>) {
    if let Some(file) = service_file {
        let _ = std::fs::remove_file(file);
    }
}

/// Administration, where there is a token for it.
fn administration(
    config: &Config,
    core: &Core,
    adapters: &Adapters,
) -> anyhow::Result<Option<Administration>> {
    let token = match &config.admin.token_file {
        Some(file) => keys::token_of(file)?,
        None if config.is_embedded(Store::Blobs)? => {
            Keys::new(config.data()?).admin_token(&*adapters.random)?
        }
        None => return Ok(None),
    };
    let audit = AdminAudit {
        log: Arc::clone(&core.log),
        clock: Arc::clone(&adapters.clock),
        random: Arc::clone(&adapters.random),
    };
    let has_ledger = config.has(Role::Ledger);
    let ledger = core.indexed.as_ref().filter(|_| has_ledger).map(|indexed| Arc::clone(&indexed.ledger));
    let dead_letters = DeadLetters {
        log: Arc::clone(&core.log),
        blobs: Arc::clone(&core.blobs),
        clock: Arc::clone(&adapters.clock),
        random: Arc::clone(&adapters.random),
    };
    let catalog = Arc::clone(&core.catalog);
    let service = AdminService {
        catalog,
        ledger,
        dead_letters: Some(dead_letters),
        audit: Some(audit),
        face_models: Some(Arc::clone(&core.face_models)),
    };
    Ok(Some(Administration { service, token }))
}

/// Bulk jobs of administrators, where this process knows an ingestion.
fn bulk(admin: &Administration, started: &Started, adapters: &Adapters) -> Option<BulkService> {
    Some(BulkService {
        ingestion: started.ingestion.clone()?,
        catalog: Arc::clone(&admin.service.catalog),
        clock: Arc::clone(&adapters.clock),
        random: Arc::clone(&adapters.random),
        token: admin.token.clone(),
    })
}

/// Exports and imports of administrators.
fn backup(
    config: &Config,
    (admin, core): (&Administration, &Core),
    adapters: &Adapters,
) -> anyhow::Result<BackupService> {
    let deps = BackupDeps {
        blobs: Arc::clone(&core.blobs),
        log: Arc::clone(&core.log),
        catalog: Arc::clone(&core.catalog),
        clock: Arc::clone(&adapters.clock),
        random: Arc::clone(&adapters.random),
        face_models: config.face_models()?,
        // Tenants' own enrolments are not refused for an import's sake.
        waiting_changes_max: Some(config.ingestion.backlog_changes_max / 2),
    };
    Ok(BackupService { deps, token: admin.token.clone() })
}

async fn bind(config: &Config) -> anyhow::Result<Bound> {
    let bind = async |name: &str, address: SocketAddr| {
        TcpListener::bind(address).await.with_context(|| format!("listen for {name} on {address}"))
    };
    let tenants = match config.has(Role::Gateway) {
        true => Some(bind("tenants", config.listen.tenants).await?),
        false => None,
    };
    let roles = match config.is_called() {
        true => Some(bind("roles", config.listen.roles_address()).await?),
        false => None,
    };
    Ok(Bound { tenants, operators: bind("operators", config.listen.operators).await?, roles })
}

/// Serves until a signal comes and what was asked before it is answered.
async fn run(
    config: &Config,
    bound: Bound,
    (started, operators): (Started, Operators),
    shutdown: &Shutdown,
) -> anyhow::Result<()> {
    let refuse_new = CancellationToken::new();
    tokio::spawn(operators::serve(bound.operators, operators, refuse_new.clone()));
    let Started { gateway, server, searchable, .. } = started;
    if let Some(gateway) = gateway.clone() {
        let ending = refuse_new.clone();
        tokio::spawn(async move { gateway.tell_health(searchable, ending.cancelled()).await });
    }
    let tenants = serve_tenants(bound.tenants, gateway, refuse_new.clone());
    let roles = serve_roles(bound.roles, server, refuse_new.clone());
    let serving = async { tokio::try_join!(tenants, roles) };
    tokio::pin!(serving);
    tokio::select! {
        ended = &mut serving => return ended.map(drop),
        signalled = ending_signal() => signalled?,
    }
    tracing::info!("shutting down: new work is refused");
    refuse_new.cancel();
    match tokio::time::timeout(config.shutdown_wait, serving).await {
        Ok(ended) => ended.map(drop)?,
        Err(_) => tracing::warn!("requests were still running when the wait was over"),
    }
    shutdown.begin();
    Ok(())
}

async fn serve_tenants(
    listener: Option<TcpListener>,
    gateway: Option<Gateway>,
    refuse_new: CancellationToken,
) -> anyhow::Result<()> {
    let (Some(listener), Some(gateway)) = (listener, gateway) else {
        refuse_new.cancelled().await;
        return Ok(());
    };
    let config = gateway.config().clone();
    vidimus_gateway::serve(listener, gateway.router(), &config, refuse_new).await.context("serve tenants")
}

async fn serve_roles(
    listener: Option<TcpListener>,
    server: RoleServer,
    refuse_new: CancellationToken,
) -> anyhow::Result<()> {
    let Some(listener) = listener else {
        refuse_new.cancelled().await;
        return Ok(());
    };
    server.serve(listener, refuse_new).await.context("serve roles")
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
async fn drain(
    config: &Config,
    opened: &Opened,
    core: Option<&Core>,
    shutdown: &Shutdown,
) -> anyhow::Result<()> {
    if !shutdown.drained(config.shutdown_wait).await {
        tracing::warn!("a role was still running when the wait was over");
        return opened.close(config.shutdown_wait).await;
    }
    opened.close(config.shutdown_wait).await?;
    if let Some(indexed) = core.and_then(|core| core.indexed.as_ref()) {
        indexed.baseline.ended_in_order().await?;
    }
    tracing::info!("ended in order");
    Ok(())
}

async fn say_ready(mut searchable: watch::Receiver<bool>, running: Running, ready_file: Option<PathBuf>) {
    if searchable.wait_for(|searchable| *searchable).await.is_err() {
        return;
    }
    let Running { tenants, operators, roles, pid } = &running;
    tracing::info!(?tenants, %operators, ?roles, pid, "ready");
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
