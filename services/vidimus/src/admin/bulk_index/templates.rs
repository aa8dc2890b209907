//! A job of ready templates.
//!
//! The file is JSON lines. The first says what the others are of: `{"model": "sface-2021dec", "dimension": 128}`. Each of the
//! others is a face: `{"template": [0.03, …], "external_image_id": "ada", "bounding_box": {"left": …, "top": …, "width": …,
//! "height": …}, "confidence": 0.99}`, of which only the template is needed; it has unit length. A thousand faces are a record.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, ensure};
use indicatif::ProgressBar;
use serde::Deserialize;
use tonic::Request;
use vidimus_domain::geometry::BoundingBox;
use vidimus_domain::limits::{TEMPLATE_DIMENSION_MAX, TEMPLATES_PER_RECORD_MAX};
use vidimus_domain::{ExternalImageId, Template};
use vidimus_proto::internal::v1;
use vidimus_runtime::errors::failure_from_status;

use super::Client;
use super::journal::{Answer, Journal};
use super::photos::said;

/// How often a record is sent before the job breaks off, and the pauses between: ten minutes in all.
const TRIES_MAX: u32 = 64;
const PAUSE_FIRST: Duration = Duration::from_millis(200);
const PAUSE_LAST: Duration = Duration::from_secs(10);

/// The first line.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    model: String,
    dimension: usize,
}

/// Any other line.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    template: Vec<f32>,
    #[serde(default)]
    external_image_id: String,
    #[serde(default)]
    bounding_box: Option<Bounds>,
    #[serde(default)]
    confidence: f32,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Bounds {
    left: f32,
    top: f32,
    width: f32,
    height: f32,
}

/// Faces on their way into one record, which is named after its first line.
#[derive(Default)]
struct Batch {
    name: String,
    templates: Vec<v1::ReadyTemplate>,
}

/// Sends every template of the file, a thousand to a record, and writes down what comes of each record and which lines are
/// refused.
pub(super) async fn run(
    client: Client,
    (target, file): (v1::BulkTarget, &Path),
    journal: &mut Journal,
    bar: &ProgressBar,
) -> anyhow::Result<()> {
    let opening = || format!("read {}", file.display());
    let mut lines = BufReader::new(File::open(file).with_context(opening)?).split(b'\n');
    let first = lines.next().context("the file is empty")?.with_context(opening)?;
    let header: Header = serde_json::from_slice(&first).context("the first line says model and dimension")?;
    ensure!(
        (1..=TEMPLATE_DIMENSION_MAX).contains(&header.dimension),
        "a template has 1 to {TEMPLATE_DIMENSION_MAX} components"
    );
    let mut sender = Sender { client, target, model: header.model, bar };
    let mut batch = Batch::default();
    for (number, line) in lines.enumerate() {
        let name = format!("line {}", number + 2);
        bar.inc_length(1);
        match ready(&line.with_context(opening)?, header.dimension) {
            Ok(template) => batch.push(&name, template),
            Err(reason) => {
                bar.inc(1);
                journal.write(&Answer::refused(name, reason))?;
            }
        }
        if batch.templates.len() == TEMPLATES_PER_RECORD_MAX {
            sender.send(std::mem::take(&mut batch), journal).await?;
        }
    }
    if batch.templates.is_empty() { Ok(()) } else { sender.send(batch, journal).await }
}

struct Sender<'a> {
    client: Client,
    target: v1::BulkTarget,
    model: String,
    bar: &'a ProgressBar,
}

impl Batch {
    fn push(&mut self, name: &str, template: v1::ReadyTemplate) {
        if self.templates.is_empty() {
            self.name = format!("record from {name}");
        }
        self.templates.push(template);
    }
}

impl Sender<'_> {
    async fn send(&mut self, batch: Batch, journal: &mut Journal) -> anyhow::Result<()> {
        let count = batch.templates.len() as u64;
        if !journal.has(&batch.name) {
            let request = v1::IndexTemplatesRequest {
                target: Some(self.target.clone()),
                name: batch.name.clone(),
                face_model: self.model.clone(),
                templates: batch.templates,
            };
            let state = self.tried(request).await.map_err(said)?;
            journal.write(&Answer::of(batch.name, &state))?;
        }
        self.bar.inc(count);
        Ok(())
    }

    /// Sends a record until it is taken, refused, or has been sent often enough: a service that is started anew is waited for.
    async fn tried(&mut self, request: v1::IndexTemplatesRequest) -> Result<v1::BulkState, tonic::Status> {
        let mut pause = PAUSE_FIRST;
        for _ in 1..TRIES_MAX {
            match self.client.index_templates(Request::new(request.clone())).await {
                Ok(state) => return Ok(state.into_inner()),
                Err(status) if !failure_from_status(&status).is_retryable() => return Err(status),
                Err(_) => tokio::time::sleep(pause).await,
            }
            pause = (pause * 2).min(PAUSE_LAST);
        }
        self.client.index_templates(Request::new(request)).await.map(tonic::Response::into_inner)
    }
}

/// What a file is known by across the runs of a job, whose records are named after its lines: BLAKE3, in hexadecimal digits.
///
/// # Errors
/// Where it cannot be read.
pub(super) fn digest(file: &Path) -> anyhow::Result<String> {
    let mut hasher = blake3::Hasher::new();
    let read = File::open(file).and_then(|file| hasher.update_reader(file).map(drop));
    read.with_context(|| format!("read {}", file.display()))?;
    Ok(hasher.finalize().to_hex().to_string())
}

/// Reads a line; why it is refused, where it is.
fn ready(line: &[u8], dimension: usize) -> Result<v1::ReadyTemplate, String> {
    let line: Line = serde_json::from_slice(line).map_err(|error| format!("it is no face: {error}"))?;
    if line.template.len() != dimension {
        return Err(format!("it has {} components, not {dimension}", line.template.len()));
    }
    Template::stored(line.template.clone()).map_err(|_| "it has not unit length".to_owned())?;
    if !line.external_image_id.is_empty() {
        line.external_image_id.parse::<ExternalImageId>().map_err(|error| error.to_string())?;
    }
    if !(0.0..=1.0).contains(&line.confidence) {
        return Err("its confidence is not 0 to 1".to_owned());
    }
    let bounds = line.bounding_box;
    let bounds = bounds.map(|Bounds { left, top, width, height }| BoundingBox { left, top, width, height });
    if bounds.is_some_and(|bounds| !bounds.is_one()) {
        return Err("its bounding box is none".to_owned());
    }
    let bounding_box =
        bounds.map(|BoundingBox { left, top, width, height }| v1::BoundingBox { left, top, width, height });
    Ok(v1::ReadyTemplate {
        template: line.template,
        external_image_id: line.external_image_id,
        bounding_box,
        confidence: line.confidence,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_checked_one_by_one() {
        let boxed = |width: &str| {
            let bounds = format!(r#"{{"left": 0, "top": 0, "width": {width}, "height": 0.1}}"#);
            format!(r#"{{"template": [1, 0, 0], "bounding_box": {bounds}}}"#)
        };
        let fine = r#"{"template": [0.6, 0.8], "external_image_id": "ada", "confidence": 0.5}"#;
        let read = ready(fine.as_bytes(), 2).unwrap();
        assert_eq!((read.template, read.external_image_id.as_str()), (vec![0.6, 0.8], "ada"));
        assert!(ready(br#"{"template": [0.6, 0.8]}"#, 2).is_ok());
        assert!(ready(b"{\"template\": [0.6, 0.8], \"external_image_id\": \"j\xf6rg\"}", 2).is_err());
        for (line, reason) in [
            (r#"{"template": [0.6, 0.8]}"#, "2 components, not 3"),
            (r#"{"template": [0.6, 0.9, 0.0]}"#, "unit length"),
            (r#"{"template": [1e39, 0.0, 0.0]}"#, "unit length"),
            (r#"{"template": [null, 0.0, 0.0]}"#, "no face"),
            (r#"{"template": [1, 0, 0], "external_image_id": "a b"}"#, "external image id"),
            (r#"{"template": [1, 0, 0], "confidence": 2}"#, "confidence"),
            (r#"{"template": [1, 0, 0], "name": "ada"}"#, "unknown field"),
            (&boxed("-0.1"), "bounding box"),
            (&boxed("1e39"), "bounding box"),
            ("", "no face"),
        ] {
            let error = ready(line.as_bytes(), 3).unwrap_err();
            assert!(error.contains(reason), "{line}: {error}");
        }
    }
}
