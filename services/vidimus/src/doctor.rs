//! `vidimus doctor`: says what is wrong with a configuration, a directory or a model, and what mends it.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use prometheus_client::registry::Registry;
use serde_json::json;
use vidimus_edge::EdgeIndex;
use vidimus_files::{Directory, FileBlobStore, FileEventLog, LogOptions, OpenError};
use vidimus_onnx::{OnnxEncoder, OnnxRuntime};
use vidimus_ports::random::SystemRandom;

use crate::adapters::{edge_config, load_models, open_bucket, open_index, open_log, runtime_path};
use crate::config::{BlobsPlace, Config, IndexPlace, LogPlace};
use crate::output;
use crate::roles::Role;

/// Flags of `doctor`.
#[derive(Debug, Args)]
pub struct DoctorArguments {
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// What one look found.
struct Finding {
    what: &'static str,
    result: anyhow::Result<String>,
}

/// Looks at everything that `serve` would open, one after the other, and prints what it finds. Fails where anything is
/// wrong. Directories that are not there yet are fine: `serve` makes them.
///
/// # Errors
/// Where the findings cannot be printed.
pub async fn run(config: &Config, arguments: &DoctorArguments) -> anyhow::Result<ExitCode> {
    let mut findings = vec![Finding {
        what: "configuration",
        result: config.check().map(|()| "everything set is known and fits together".to_owned()),
    }];
    findings.push(Finding { what: "model", result: model(config) });
    findings.push(Finding { what: "blobs", result: blobs(config).await.or_else(in_use_is_fine) });
    findings.push(Finding { what: "log", result: log(config).await.or_else(in_use_is_fine) });
    findings.push(Finding { what: "index", result: index(config).await.or_else(in_use_is_fine) });
    let healthy = findings.iter().all(|finding| finding.result.is_ok());
    print(&findings, arguments.json)?;
    Ok(if healthy { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What a running service has open it has found in order; more cannot be said from here.
fn in_use_is_fine(error: anyhow::Error) -> anyhow::Result<String> {
    match error.downcast_ref() {
        Some(OpenError::InUse { .. }) => Ok(format!("{error}: not looked into")),
        _ => Err(error),
    }
}

fn model(config: &Config) -> anyhow::Result<String> {
    if !config.has(Role::Embedding) {
        return Ok("no role of this process needs its files".to_owned());
    }
    let models = load_models(config)?;
    let runtime = OnnxRuntime::load(&runtime_path(config)?)?;
    let mut names = Vec::new();
    for model in models {
        OnnxEncoder::new(&config.encoder, &runtime, &model)?;
        names.push(model.manifest.name);
    }
    let said = if names.len() == 1 { "loads, its" } else { "load, their" };
    Ok(format!("{} {said} digests are right", names.join(" and ")))
}

async fn blobs(config: &Config) -> anyhow::Result<String> {
    let place = match config.blobs_place()? {
        BlobsPlace::Files(place) => place,
        BlobsPlace::S3(location) => {
            let (_, versioning) = open_bucket(config, location.clone(), Arc::new(SystemRandom)).await?;
            return Ok(format!("{location} does what it must; {versioning}"));
        }
    };
    if !place.exists() {
        return Ok(format!("{} will be made", place.display()));
    }
    FileBlobStore::open(Directory::open(&place)?, config.storage.reserve_bytes, Arc::new(SystemRandom))?;
    Ok(format!("{} opens", place.display()))
}

async fn log(config: &Config) -> anyhow::Result<String> {
    let place = match config.log_place()? {
        LogPlace::Files(place) => place,
        LogPlace::Kafka(uri) => {
            open_log(config, Arc::new(SystemRandom), &mut Registry::default()).await?;
            return Ok(format!("{uri} answers, and its topics are set up as they must be"));
        }
    };
    if !place.exists() {
        return Ok(format!("{} will be made", place.display()));
    }
    FileEventLog::open(Directory::open(&place)?, LogOptions::default(), &SystemRandom)?;
    Ok(format!("{} opens", place.display()))
}

async fn index(config: &Config) -> anyhow::Result<String> {
    match config.index_place()? {
        IndexPlace::Edge(place) => edge_index(config, place).await,
        IndexPlace::Qdrant(address) => {
            open_index(config).await?;
            Ok(format!("{address} answers, and its collections are set up as they must be"))
        }
    }
}

async fn edge_index(config: &Config, place: PathBuf) -> anyhow::Result<String> {
    if !place.exists() {
        return Ok(format!("{} will be made", place.display()));
    }
    // The index has no lock of its own: that of the blobs or of the log guards it.
    let guard = match (config.blobs_place()?, config.log_place()?) {
        (BlobsPlace::Files(folder), _) | (_, LogPlace::Files(folder)) => Some(folder),
        _ => None,
    };
    let _lock = guard.map(Directory::open).transpose()?;
    let index = EdgeIndex::open(edge_config(config, place.clone())).await?;
    let statistics = index.statistics().await?;
    let points: u64 = statistics.iter().map(|placement| placement.points).sum();
    Ok(format!("{} opens, {points} points in {} placements", place.display(), statistics.len()))
}

fn print(findings: &[Finding], as_json: bool) -> anyhow::Result<()> {
    let said = |finding: &Finding| match &finding.result {
        Ok(fine) => fine.clone(),
        Err(error) => format!("{error:#}"),
    };
    if as_json {
        let finding = |finding: &Finding| json!({ "what": finding.what, "fine": finding.result.is_ok(), "said": said(finding) });
        let all: Vec<_> = findings.iter().map(finding).collect();
        output::line(&serde_json::to_string(&all)?);
        return Ok(());
    }
    for finding in findings {
        let mark = if finding.result.is_ok() { "fine " } else { "WRONG" };
        output::line(&format!("{mark}  {:<13}  {}", finding.what, said(finding)));
    }
    Ok(())
}
