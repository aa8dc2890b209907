//! Qdrant's gRPC API over Qdrant Edge; see `vidimus_testkit::qdrant_dev`.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};
use vidimus_runtime::shutdown::Shutdown;
use vidimus_runtime::telemetry::{self, LogFormat};
use vidimus_testkit::qdrant_dev::{QdrantDevOptions, serve};

/// What an optimisation that is left behind may still take of the end.
const THREADS_PATIENCE: Duration = Duration::from_millis(500);

/// A Qdrant server for development: one node, durable in a folder, strict.
#[derive(Parser)]
struct Arguments {
    /// The folder that everything lies in.
    #[arg(long)]
    data: PathBuf,
    /// Where to listen for gRPC; port 0 takes a free one.
    #[arg(long, default_value_t = SocketAddr::from((Ipv4Addr::LOCALHOST, 6334)))]
    listen: SocketAddr,
    /// A file that is written with the address once it listens.
    #[arg(long)]
    ready_file: Option<PathBuf>,
    /// What every call must bring.
    #[arg(long, env = "QDRANT_DEV_API_KEY", hide_env_values = true)]
    api_key: Option<String>,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    telemetry::begin("info", LogFormat::Text)?;
    let runtime = tokio::runtime::Runtime::new().context("start the async runtime")?;
    let outcome = runtime.block_on(run(arguments));
    runtime.shutdown_timeout(THREADS_PATIENCE);
    outcome
}

async fn run(arguments: Arguments) -> Result<()> {
    let shutdown = Shutdown::new();
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let begin = shutdown.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        begin.begin();
    });
    let Arguments { data, listen, ready_file, api_key } = arguments;
    serve(QdrantDevOptions { data, listen, api_key, ready_file }, shutdown).await
}
