//! `vidimus admin import`.

use std::path::PathBuf;

use anyhow::Context;
use axum::body::Body;
use clap::Args;

use super::{Place, bytes, connection, file, place, progress_bar};
use crate::backup::format::Reader;
use crate::backup::import::{Imported, Importer};
use crate::backup::service::IMPORT_PATH;
use crate::config::Config;
use crate::output;

/// Flags of `admin import`.
#[derive(Clone, Debug, Args)]
pub struct ImportArguments {
    /// The file that `admin export` made.
    pub file: PathBuf,
}

/// Checks the whole file first: nothing of a damaged one comes in.
pub(super) async fn run(config: &Config, arguments: &ImportArguments) -> anyhow::Result<Imported> {
    let path = arguments.file.as_path();
    let length = std::fs::metadata(path).with_context(|| format!("look at {}", path.display()))?.len();
    let bar = progress_bar(Some(length)).with_message("checking");
    let lines = output::in_lines(&bar, bytes);
    file::check(path, &bar).await.with_context(|| format!("check {}", path.display()))?;
    drop(lines);
    bar.finish_and_clear();
    let bar = progress_bar(Some(length)).with_message("importing");
    let _lines = output::in_lines(&bar, bytes);
    let chunks = file::chunks(path, &bar).await?;
    let imported = match place(config).await? {
        Place::Service(service) => {
            let asking = async {
                let answer = service.post(IMPORT_PATH, Body::from_stream(chunks)).await?;
                let said = connection::said(answer).await?;
                serde_json::from_str(&said).context("read the service's answer")
            };
            connection::while_moving(asking, || bar.position()).await
        }
        Place::Here(deps) => {
            Importer::new(*deps).run(&mut Reader::new(chunks)).await.map_err(anyhow::Error::from)
        }
    };
    bar.finish_and_clear();
    imported.context("the import broke off: what was brought in stays, import again")
}
