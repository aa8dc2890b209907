//! Fills an empty data directory with a collection of synthetic faces, and prints as JSON how it is asked.

use std::io::Write as _;

use clap::Parser;
use vidimus::cli::Settings;
use vidimus::config::Config;
use vidimus_testkit::gallery::{Wanted, fill};

/// Fills an empty data directory (`--data`) with a tenant, a key and a collection of synthetic faces. Start the service on it
/// afterwards: it projects them before it says that it is ready.
#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    settings: Settings,
    /// Faces of the collection.
    #[arg(long, default_value_t = 100_000)]
    faces: usize,
    /// Draws the templates; the same seed draws the same.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    #[arg(long, default_value = "benchmark")]
    tenant: String,
    #[arg(long, default_value = "gallery")]
    collection: String,
}

fn main() -> anyhow::Result<()> {
    let Arguments { settings, faces, seed, tenant, collection } = Arguments::parse();
    let config = Config::load(&settings)?;
    config.check()?;
    let runtime = tokio::runtime::Runtime::new()?;
    let said = runtime.block_on(fill(&config, &Wanted { faces, seed, tenant, collection }))?;
    writeln!(std::io::stdout().lock(), "{said}")?;
    Ok(())
}
