//! How well and how fast searches go at a size: `cargo run -p vidimus-edge --example recall -- --faces 200000`.

#[path = "../tests/measure/mod.rs"]
mod measure;

use std::io::{Write as _, stdout};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use measure::{How, Outcome, Population, false_match_rates};
use tempfile::TempDir;
use vidimus_domain::UnixMillis;
use vidimus_edge::{EdgeConfig, EdgeIndex, PlacementStatistics, SearchEffort};
use vidimus_ports::FaceIndex as _;
use vidimus_ports::conformance::galleries::QUANTILES;

/// Recall, candidate recall, latency, build time and size of the vector index, on galleries with SFace's quantiles.
#[derive(Parser)]
struct Arguments {
    /// Identities to enrol.
    #[arg(long, default_value_t = 20_000)]
    faces: usize,
    /// Probes of either kind: mated and non-mated.
    #[arg(long, default_value_t = 1_000)]
    probes: usize,
    /// Beam widths to measure besides the one that a search takes by itself.
    #[arg(long, value_delimiter = ',')]
    ef: Vec<usize>,
    /// The largest part to expect: gives the graphs their shape. Default: as many as are enrolled.
    #[arg(long)]
    largest_part_faces: Option<u64>,
    /// Threads that build graphs.
    #[arg(long)]
    indexing_threads: Option<usize>,
    /// Where to put the index; default: a folder that is removed again.
    #[arg(long)]
    folder: Option<PathBuf>,
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let temporary = TempDir::new()?;
    let mut config = EdgeConfig::new(arguments.folder.clone().unwrap_or_else(|| temporary.path().to_owned()));
    config.largest_part_faces = arguments.largest_part_faces.unwrap_or(arguments.faces as u64);
    config.indexing_threads = arguments.indexing_threads.unwrap_or(config.indexing_threads);
    let index = Arc::new(EdgeIndex::open(config).await?);
    let population = Population::draw(arguments.seed, arguments.faces, arguments.probes)?;
    let built = build(&index, &population).await?;
    let statistics = index.statistics().await?.pop().context("one placement")?;
    report(&arguments, &built, &statistics)?;
    measure(&arguments, &index, &population).await?;
    index.close(Duration::from_secs(60)).await?;
    Ok(())
}

/// How long it took until all faces were written, and until all graphs were built.
struct Built {
    written: Duration,
    optimized: Duration,
}

async fn build(index: &EdgeIndex, population: &Population) -> Result<Built> {
    let bar = ProgressBar::new(population.faces.len() as u64)
        .with_style(ProgressStyle::with_template("enrolling {wide_bar} {human_pos}/{human_len} {eta}")?);
    let begun = Instant::now();
    population.enrol(index, |faces| bar.inc(faces as u64)).await?;
    bar.finish_and_clear();
    let written = begun.elapsed();
    let spinner = ProgressBar::new_spinner().with_message("building graphs");
    spinner.enable_steady_tick(Duration::from_millis(200));
    index.optimized().await?;
    spinner.finish_and_clear();
    let optimized = begun.elapsed();
    // Lets go of the engine's log.
    index.flush(UnixMillis::default()).await?;
    Ok(Built { written, optimized })
}

fn report(arguments: &Arguments, built: &Built, statistics: &PlacementStatistics) -> Result<()> {
    let mut out = stdout().lock();
    let faces = arguments.faces as u64;
    writeln!(out, "faces                 {faces}")?;
    writeln!(out, "written after         {:.1} s", built.written.as_secs_f64())?;
    writeln!(out, "graphs built after    {:.1} s", built.optimized.as_secs_f64())?;
    writeln!(out, "segments              {}", statistics.segments)?;
    writeln!(out, "indexed vectors       {}", statistics.indexed_vectors)?;
    writeln!(out, "bytes a face          {}", statistics.disk_bytes / faces.max(1))?;
    writeln!(out, "of these, its links   {}", statistics.graph_bytes / faces.max(1))?;
    Ok(())
}

async fn measure(arguments: &Arguments, index: &Arc<EdgeIndex>, population: &Population) -> Result<()> {
    let mates = population.scan(&population.mates);
    let strangers = population.scan(&population.strangers);
    let mut out = stdout().lock();
    let rates = false_match_rates(&strangers, population.faces.len());
    for (quantile, rate) in QUANTILES.iter().zip(rates) {
        let model = quantile.false_match_rate;
        writeln!(out, "FMR at cosine {}   {rate:.1e} (model: {model:.0e})", quantile.cosine)?;
    }
    writeln!(out, "\neffort     probes     {}", Outcome::HEADING)?;
    let own = SearchEffort::for_part(population.faces.len() as u64);
    let others = arguments.ef.iter().map(|ef| Some(SearchEffort::Graph { ef: *ef }));
    for effort in [None].into_iter().chain(others).chain([Some(SearchEffort::Exact)]) {
        for (who, probes) in [("mated", &mates), ("non-mated", &strangers)] {
            let how = How { effort, ..How::USUAL };
            let outcome = population.search(index, probes, how).await?;
            writeln!(out, "{:<9}  {who:<9}  {outcome}", name(effort.unwrap_or(own)))?;
        }
    }
    Ok(())
}

fn name(effort: SearchEffort) -> String {
    match effort {
        SearchEffort::Exact => "exact".to_owned(),
        SearchEffort::Graph { ef } => format!("ef {ef}"),
    }
}
