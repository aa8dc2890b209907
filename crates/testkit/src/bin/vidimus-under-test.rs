//! `vidimus serve` with its ports wrapped as the environment says; see the crate.

use std::env;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use clap::Parser;
use vidimus::adapters::Adapters;
use vidimus::cli::{Cli, Command};
use vidimus::config::{Config, IndexPlace};
use vidimus::serve::serve;
use vidimus_ports::FaceIndex;
use vidimus_runtime::telemetry;
use vidimus_testkit::snapshots::{SNAPSHOT, Snapshots};
use vidimus_testkit::{ahead, strike};

fn main() -> anyhow::Result<()> {
    let cli = Cli::parse();
    let Command::Serve(arguments) = cli.command else {
        anyhow::bail!("only `serve` is under test; the other commands are `vidimus`");
    };
    let config = Config::load(&cli.settings)?.with_serve(&arguments);
    config.check()?;
    telemetry::begin(&config.logs.filter, config.logs.format)?;
    let runtime = tokio::runtime::Runtime::new().context("start the async runtime")?;
    let index = match config.index_place()? {
        IndexPlace::Edge(folder) => Some(folder),
        IndexPlace::Qdrant(_) => None,
    };
    runtime.block_on(serve(config, arguments.ready_file, |adapters| wrap(adapters, index)))
}

fn wrap(adapters: Adapters, index_directory: Option<PathBuf>) -> anyhow::Result<Adapters> {
    let variable = |name: &str| env::var(name).ok();
    let index = match (variable(SNAPSHOT), index_directory, adapters.index) {
        (Some(copy), Some(directory), Some(index)) => {
            Some(Arc::new(Snapshots::new(index, directory, PathBuf::from(copy))) as Arc<dyn FaceIndex>)
        }
        (_, _, index) => index,
    };
    let adapters = Adapters { index, ..adapters };
    strike::wrap(ahead::wrap(adapters, variable)?, variable)
}
