//! Photos to templates, by the encoder that serves requests too.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use futures::{StreamExt as _, stream};
use indicatif::{ProgressBar, ProgressStyle};
use vidimus_domain::quality::{QualityFilter, SizePx, refusals};
use vidimus_onnx::EncoderConfig;
use vidimus_ports::{EncodedPhoto, EncoderError, FaceEncoder};

use super::dataset::Dataset;
use super::quality::Judged;

/// Photos that are read ahead for each thread, so that none waits.
pub const IN_FLIGHT_PER_WORKER: std::num::NonZeroUsize = std::num::NonZeroUsize::new(3).unwrap();

/// What came of the photos.
#[derive(Debug, Default)]
pub struct Encoded {
    /// Each person's faces in the order of the photos' names; people without one are left out.
    pub people: Vec<Vec<Judged>>,
    /// Photos without a face.
    pub without_face: Vec<PathBuf>,
    /// Files that are no photos that can be read.
    pub unreadable: Vec<PathBuf>,
}

/// What came of one photo.
enum Outcome {
    Face(Judged),
    NoFace,
    Unreadable,
}

/// Encodes the largest face of each photo.
///
/// # Errors
/// Where a file cannot be read or the encoder fails; a photo that cannot be decoded is counted.
pub async fn all(
    encoder: &dyn FaceEncoder,
    config: &EncoderConfig,
    dataset: Dataset,
) -> anyhow::Result<Encoded> {
    let progress = progress_bar(dataset.photo_count());
    let in_flight = config.queue_photos_max.get();
    let numbered = dataset.people.into_iter().enumerate();
    let photos = numbered.flat_map(|(person, it)| it.photos.into_iter().map(move |photo| (person, photo)));
    let outcomes =
        stream::iter(photos)
            .map(|(person, photo)| async move {
                one(encoder, &photo).await.map(|outcome| (person, photo, outcome))
            })
            .buffered(in_flight);
    futures::pin_mut!(outcomes);
    let mut encoded = Encoded::default();
    let mut last_person = None;
    while let Some(outcome) = outcomes.next().await {
        let (person, photo, outcome) = outcome?;
        match outcome {
            Outcome::Face(face) if last_person == Some(person) => {
                encoded.people.last_mut().context("a person without a face")?.push(face);
            }
            Outcome::Face(face) => {
                last_person = Some(person);
                encoded.people.push(vec![face]);
            }
            Outcome::NoFace => encoded.without_face.push(photo),
            Outcome::Unreadable => encoded.unreadable.push(photo),
        }
        progress.inc(1);
    }
    progress.finish_and_clear();
    Ok(encoded)
}

async fn one(encoder: &dyn FaceEncoder, photo: &Path) -> anyhow::Result<Outcome> {
    let bytes = tokio::fs::read(photo).await.with_context(|| format!("read {}", photo.display()))?;
    match encoder.encode(bytes.into()).await {
        Ok(encoded) => Ok(judged(encoded).map_or(Outcome::NoFace, Outcome::Face)),
        Err(EncoderError::Busy | EncoderError::Failed(_)) => {
            anyhow::bail!("the encoder failed on {}", photo.display())
        }
        Err(_) => Ok(Outcome::Unreadable),
    }
}

/// The largest face, and what each filter has against it.
fn judged(encoded: EncodedPhoto) -> Option<Judged> {
    let (width_px, height_px) = (encoded.width_px, encoded.height_px);
    let face = encoded.faces.into_iter().next()?;
    let size_px = SizePx::of(&face.bounding_box, width_px, height_px);
    let refusals = QualityFilter::ALL.map(|filter| refusals(&face, size_px, filter));
    Some(Judged { template: face.template, refusals })
}

/// A bar on standard error; none where that is no terminal.
fn progress_bar(photos: usize) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} photos, {per_sec}, {eta} left");
    ProgressBar::new(photos as u64).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}
