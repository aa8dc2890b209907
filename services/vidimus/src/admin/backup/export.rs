//! `vidimus admin export`.

use std::path::PathBuf;

use axum::body::Body;
use clap::Args;
use futures::StreamExt;
use tokio::sync::mpsc;

use super::file::{Beside, Contents};
use super::{Place, bytes, connection, place, progress_bar};
use crate::backup::Scope;
use crate::backup::export::Exporter;
use crate::backup::service::{CHUNKS_AHEAD, EXPORT_PATH};
use crate::config::Config;
use crate::output;

/// Flags of `admin export`.
#[derive(Clone, Debug, Args)]
pub struct ExportArguments {
    /// The tenant's name.
    #[arg(long)]
    pub tenant: String,
    /// One of its collections; else all of them, with the tenant's access keys and buckets.
    #[arg(long)]
    pub collection: Option<String>,
    /// The file to make. It must not exist.
    #[arg(long, value_name = "FILE")]
    pub output: PathBuf,
}

pub(super) async fn run(config: &Config, arguments: ExportArguments) -> anyhow::Result<Contents> {
    let scope = Scope { tenant: arguments.tenant, collection: arguments.collection };
    let mut file = Beside::begin(&arguments.output)?;
    let bar = progress_bar(None).with_message("exporting");
    let _lines = output::in_lines(&bar, bytes);
    match place(config).await? {
        Place::Service(service) => {
            let asked = Body::from(serde_json::to_vec(&scope)?);
            let answer = connection::in_time(service.post(EXPORT_PATH, asked)).await?;
            let mut chunks = connection::chunks(answer);
            while let Some(chunk) = chunks.next().await {
                let chunk = chunk?;
                file.write(&chunk).await?;
                bar.inc(chunk.len() as u64);
            }
        }
        Place::Here(deps) => {
            let exporter = Exporter::new(*deps);
            let plan = exporter.plan(scope).await?;
            let (sender, mut receiver) = mpsc::channel(CHUNKS_AHEAD);
            tokio::spawn(async move { exporter.run(plan, sender).await });
            while let Some(chunk) = receiver.recv().await {
                file.write(&chunk).await?;
                bar.inc(chunk.len() as u64);
            }
        }
    }
    bar.set_message("checking");
    let contents = file.finish().await?;
    bar.finish_and_clear();
    Ok(contents)
}
