//! `vidimus evaluate`: what the encoder is worth on labelled photos, 1:1 and open-set 1:N, by the terms of ISO/IEC
//! 19795-1.

mod dataset;
mod encode;
mod identification;
mod intervals;
mod quality;
mod report;
mod verification;

use std::io::Write;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::ensure;
use clap::Args;
use vidimus_domain::Template;
use vidimus_onnx::{EncoderConfig, Manifest, Model, OnnxEncoder, OnnxRuntime};

use dataset::Dataset;
use encode::Encoded;
use quality::Judged;
use report::{Photos, Report};

/// Measure accuracy on a folder of labelled photos: a folder for each person in it. Of each photo the largest face counts.
#[derive(Debug, Args)]
pub struct EvaluateArguments {
    /// The folder; a folder for each person in it.
    folder: PathBuf,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    /// Threads that encode (default: as the service is configured).
    #[arg(long, value_name = "N")]
    threads: Option<NonZeroUsize>,
}

/// What an evaluation stands on.
#[derive(Debug)]
pub struct EvaluateDeps {
    /// The model, its digests checked.
    pub model: Model,
    /// What runs it.
    pub runtime: OnnxRuntime,
    /// How the service encodes.
    pub encoder: EncoderConfig,
}

/// Encodes the folder's photos and writes the figures to `output`; the progress is shown on standard error.
///
/// # Errors
/// Where the model or the folder cannot be read, or the folder has too few people for a figure.
pub async fn run(
    deps: EvaluateDeps,
    arguments: EvaluateArguments,
    output: &mut (dyn Write + Send),
) -> anyhow::Result<()> {
    let EvaluateDeps { model, runtime, mut encoder } = deps;
    encoder.workers = arguments.threads.unwrap_or(encoder.workers);
    encoder.queue_photos_max = encoder.workers.saturating_mul(encode::IN_FLIGHT_PER_WORKER);
    let dataset = Dataset::read(&arguments.folder)?;
    let face_encoder = OnnxEncoder::new(&encoder, &runtime, &model)?;
    let begun = Instant::now();
    let encoded = encode::all(&face_encoder, &encoder, dataset).await?;
    let photos = Photos::of(&encoded, begun.elapsed().as_secs_f64(), encoder.workers);
    let report = tokio::task::spawn_blocking(move || figures(&encoded, &model.manifest, photos)).await??;
    report.write(arguments.json, output)
}

/// The figures of encoded photos.
fn figures(encoded: &Encoded, manifest: &Manifest, photos: Photos) -> anyhow::Result<Report> {
    let templates = |faces: &Vec<Judged>| faces.iter().map(|face| face.template.clone()).collect();
    let people: &Vec<Vec<Template>> = &encoded.people.iter().map(templates).collect();
    let mated = people.iter().filter(|person| person.len() >= 2).count();
    ensure!(mated >= 1, "no person has two photos with a face: there is nothing to compare");
    ensure!(people.len() > mated, "no person has one photo only: there is nobody to be a stranger");
    let calibration = manifest.calibration()?;
    let verification = verification::measure(people, &manifest.calibration.false_match_rates)?;
    Ok(Report {
        model: manifest.name.clone(),
        photos,
        quality: quality::measure(&encoded.people, verification.strictest_cosine()),
        verification,
        identification: identification::measure(people, &calibration)?,
    })
}

#[cfg(test)]
mod tests;
