//! `vidimus models`: brings face models and ONNX Runtime into the models directory, lists and verifies them.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use serde::Serialize;
use vidimus_onnx::{Imported, Manifest, ModelFile, ModelStore, OnnxError, import_model, import_runtime};

/// Face models and ONNX Runtime.
#[derive(Debug, Args)]
pub struct ModelsArguments {
    /// Print JSON.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: ModelsCommand,
}

/// What to do with models.
#[derive(Debug, Subcommand)]
enum ModelsCommand {
    /// Bring published model files, and ONNX Runtime, into the models directory.
    ///
    /// The files are found by their digests, prepared for ONNX Runtime (block-quantised weights become floats) and written
    /// all at once. Repeating an import does nothing.
    Import(ImportArguments),
    /// List the models that are there.
    List,
    /// Check every file's digest.
    Verify {
        /// The model; every one without it.
        name: Option<String>,
    },
}

/// What to import.
#[derive(Debug, Args)]
struct ImportArguments {
    /// Published model files, or directories of them
    #[arg(long, value_name = "PATH", num_args = 1.., required_unless_present = "onnxruntime")]
    from: Vec<PathBuf>,
    /// The shared library of ONNX Runtime 1.31 or later (libonnxruntime.so)
    #[arg(long, value_name = "FILE")]
    onnxruntime: Option<PathBuf>,
    /// The manifest of a model of your own [default: sface-2021dec, which is built in]
    #[arg(long, value_name = "FILE", requires = "from")]
    manifest: Option<PathBuf>,
}

/// One line of an answer.
#[derive(Serialize)]
struct Line {
    name: String,
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<ModelLine>,
}

/// What a listing says of a model.
#[derive(Serialize)]
struct ModelLine {
    version: String,
    dimension: usize,
    files: Vec<ModelFile>,
}

/// Runs the command on the models directory and writes its answer to `output`.
///
/// # Errors
/// Where an import fails, or a verified file is missing or wrong; the message names the command that mends it.
pub fn run(store: &ModelStore, arguments: &ModelsArguments, output: &mut dyn Write) -> anyhow::Result<()> {
    let lines = match &arguments.command {
        ModelsCommand::Import(import_arguments) => import(store, import_arguments)?,
        ModelsCommand::List => list(store)?,
        ModelsCommand::Verify { name } => verify(store, name.as_deref())?,
    };
    print(&lines, arguments.json, store.dir(), output)?;
    match lines.iter().filter(|line| line.reason.is_some()).count() {
        0 => Ok(()),
        wrong => bail!("{wrong} of {} are missing or wrong in {}", lines.len(), store.dir().display()),
    }
}

fn import(store: &ModelStore, arguments: &ImportArguments) -> anyhow::Result<Vec<Line>> {
    let mut lines = Vec::new();
    if !arguments.from.is_empty() {
        let manifest = match &arguments.manifest {
            Some(path) => {
                let text = fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
                Manifest::parse(&text, &path.display().to_string())?
            }
            None => Manifest::builtin()?,
        };
        lines.push(Line::imported(&manifest.name, import_model(store, &manifest, &arguments.from)?));
    }
    if let Some(library) = &arguments.onnxruntime {
        lines.push(Line::imported("onnxruntime", import_runtime(store, library)?));
    }
    Ok(lines)
}

fn list(store: &ModelStore) -> anyhow::Result<Vec<Line>> {
    let mut lines = Vec::new();
    for name in store.names()? {
        lines.push(Line::of(name.clone(), "present", store.manifest(&name)));
    }
    if store.runtime_path().exists() {
        lines.push(Line { name: "onnxruntime".to_owned(), state: "present", reason: None, model: None });
    }
    Ok(lines)
}

fn verify(store: &ModelStore, name: Option<&str>) -> anyhow::Result<Vec<Line>> {
    let mut names = match name {
        Some(name) => vec![name.to_owned()],
        None => store.names()?,
    };
    if names.is_empty() {
        names.push(Manifest::builtin()?.name);
    }
    let mut lines: Vec<Line> = names
        .into_iter()
        .map(|name| {
            let checked = store.load(&name).map(|model| model.manifest);
            Line::of(name, "verified", checked)
        })
        .collect();
    let reason = store.verify_runtime().err().map(|error| error.to_string());
    let state = if reason.is_none() { "verified" } else { "wrong" };
    lines.push(Line { name: "onnxruntime".to_owned(), state, reason, model: None });
    Ok(lines)
}

impl Line {
    fn imported(name: &str, imported: Imported) -> Self {
        let state = match imported {
            Imported::Written => "imported",
            Imported::AlreadyThere => "already there",
        };
        Self { name: name.to_owned(), state, reason: None, model: None }
    }

    fn of(name: String, state: &'static str, manifest: Result<Manifest, OnnxError>) -> Self {
        match manifest {
            Ok(manifest) => {
                let files = manifest.files().map(Clone::clone).into();
                let (version, dimension) = (manifest.version, manifest.embedder.dimension);
                Self { name, state, reason: None, model: Some(ModelLine { version, dimension, files }) }
            }
            Err(error) => Self { name, state: "wrong", reason: Some(error.to_string()), model: None },
        }
    }
}

fn print(lines: &[Line], json: bool, dir: &Path, output: &mut dyn Write) -> anyhow::Result<()> {
    if json {
        serde_json::to_writer_pretty(&mut *output, lines)?;
        writeln!(output)?;
        return Ok(());
    }
    if lines.is_empty() {
        writeln!(output, "no models in {}: run `vidimus models import --from DIR`", dir.display())?;
    }
    for line in lines {
        writeln!(output, "{:<20} {}", line.name, line.reason.as_deref().unwrap_or(line.state))?;
        let Some(model) = &line.model else { continue };
        writeln!(output, "  version {}, {} dimensions", model.version, model.dimension)?;
        for file in &model.files {
            let digest = file.sha256.as_deref().unwrap_or_default();
            writeln!(output, "  {}  {}  ({})", digest, file.name, file.licence)?;
        }
    }
    Ok(())
}

#[cfg(test)]
#[path = "models_tests.rs"]
mod tests;
