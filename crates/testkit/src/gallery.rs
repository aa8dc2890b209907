//! A data directory with a collection of synthetic faces: what benchmarks search.
//!
//! The templates have the scores of a real model's ([`vidimus_ports::conformance::galleries`]). They are written as records
//! without a photo, as a bulk import of ready templates would; the service finds at its next start that the index lacks
//! them, and projects them before it answers searches.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use serde_json::{Value, json};
use vidimus::adapters::open_blobs;
use vidimus::config::{Config, IndexPlace};
use vidimus_domain::catalog::{AccessKey, Collection};
use vidimus_domain::face::DetectedFace;
use vidimus_domain::geometry::{BoundingBox, Landmarks};
use vidimus_domain::record::{Enrolled, Enrolment, Origin, PhotoKey, Record, Write, enrol};
use vidimus_domain::retention::Cutoffs;
use vidimus_domain::{FaceId, ImageId, Template};
use vidimus_ports::conformance::galleries::Faces;
use vidimus_ports::{Clock, Random, SystemClock, SystemRandom};
use vidimus_runtime::catalog::{Catalog, CatalogDeps, NewCollection};
use vidimus_runtime::records::{Records, Written};

/// Faces of one record: the most that a bulk import gives one.
const FACES_PER_RECORD: usize = 1000;
/// One face of so many is another photo of the person before it.
const FACES_PER_MATE: usize = 10;
/// Face ids that are told.
const TOLD_MAX: usize = 2000;

/// What to make.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Faces of the collection.
    pub faces: usize,
    /// Draws the templates; the same seed draws the same.
    pub seed: u64,
    /// The tenant's name.
    pub tenant: String,
    /// The collection's name.
    pub collection: String,
}

/// Fills the empty data directory that `config` names, and says with which key its collection is asked, where the index will
/// lie, and the ids of up to 2,000 of its faces, spread evenly.
///
/// # Errors
/// Where the directory is in use or has such a tenant, or cannot be written.
pub async fn fill(config: &Config, wanted: &Wanted) -> anyhow::Result<Value> {
    let random: Arc<dyn Random> = Arc::new(SystemRandom);
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let blobs = open_blobs(config, Arc::clone(&random)).await?;
    let deps =
        CatalogDeps { blobs: Arc::clone(&blobs), clock: Arc::clone(&clock), random: Arc::clone(&random) };
    let (key, collection) = found_tenant(&Catalog::new(deps, None), config, wanted).await?;
    let records = Records::new(blobs, Arc::clone(&clock));
    let mut faces = Drawn { faces: Faces::new(wanted.seed), last: None, drawn: 0 };
    let mut ids = Vec::with_capacity(wanted.faces);
    while ids.len() < wanted.faces {
        let count = FACES_PER_RECORD.min(wanted.faces - ids.len());
        let templates = (0..count).map(|_| faces.next()).collect();
        let write = Write { now: clock.now(), nonce: random.nonce(), cutoffs: Cutoffs::default() };
        let record = record(&collection, ImageId::from_random(random.bytes16()), templates, write)?;
        let read = records.read(&record.origin.part, record.origin.image).await?;
        anyhow::ensure!(records.write(&record, &read).await? == Written::Yes, "somebody else writes here");
        ids.extend(record.faces.iter().map(|face| record.face_id(face.number)));
    }
    Ok(json!({
        "access_key_id": key.id.to_string(),
        "secret_access_key": key.secret.reveal(),
        "collection": collection.name.to_string(),
        "faces": ids.len(),
        "part": collection.part().index_key().to_string(),
        "index": index_folder(config)?.join(format!("{}.index", collection.placements.read)),
        "face_ids": spread(&ids),
    }))
}

fn index_folder(config: &Config) -> anyhow::Result<PathBuf> {
    match config.index_place()? {
        IndexPlace::Edge(folder) => Ok(folder),
        IndexPlace::Qdrant(_) => anyhow::bail!("galleries are made for an index in a directory"),
    }
}

async fn found_tenant(
    catalog: &Catalog,
    config: &Config,
    wanted: &Wanted,
) -> anyhow::Result<(AccessKey, Arc<Collection>)> {
    let tenant = catalog.create_tenant(wanted.tenant.parse()?).await?;
    let key = catalog.create_key(&tenant.name, "benchmark", false).await?;
    let face_model = config.model()?;
    let version = catalog.face_model_version(&face_model).await?;
    let new = NewCollection::new(tenant.id, wanted.collection.parse()?, face_model, version);
    Ok((key, catalog.create_collection(new).await?))
}

/// Faces as they come into a real collection: some are of a person who is there already.
struct Drawn {
    faces: Faces,
    last: Option<Template>,
    drawn: usize,
}

impl Drawn {
    fn next(&mut self) -> Template {
        self.drawn += 1;
        let mated = self.last.as_ref().filter(|_| self.drawn.is_multiple_of(FACES_PER_MATE));
        let template = match mated {
            Some(person) => self.faces.mate(person),
            None => self.faces.identity(),
        };
        self.last = Some(template.clone());
        template
    }
}

/// A record of ready templates, without a photo.
fn record(
    collection: &Collection,
    image: ImageId,
    templates: Vec<Template>,
    write: Write,
) -> anyhow::Result<Record> {
    let face_model = collection.face_model().clone();
    let origin = Origin { part: collection.part(), image, face_model, external_image_id: None };
    let enrolment = Enrolment {
        request: format!("gallery-{image}").parse()?,
        faces: templates.into_iter().map(detected).collect(),
        photo: PhotoKey::new(write.now, write.nonce),
        expires_at: None,
        photos_removed: Vec::new(),
    };
    match enrol(&origin, None, enrolment, write)? {
        Enrolled::Changed { record, .. } => Ok(Record { photo: None, ..*record }),
        Enrolled::AlreadyDone { .. } => anyhow::bail!("a new image was enrolled before"),
    }
}

fn detected(template: Template) -> DetectedFace {
    DetectedFace {
        bounding_box: BoundingBox { left: 0.25, top: 0.25, width: 0.5, height: 0.5 },
        landmarks: Landmarks::default(),
        confidence: 0.99,
        pose: None,
        quality: None,
        template,
    }
}

fn spread(ids: &[FaceId]) -> Vec<String> {
    let step = ids.len().div_ceil(TOLD_MAX).max(1);
    ids.iter().step_by(step).map(ToString::to_string).collect()
}

/// Reads what [`fill`] said.
///
/// # Errors
/// Where the file cannot be read or is something else.
pub fn read(path: &std::path::Path) -> anyhow::Result<Value> {
    let text = std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    serde_json::from_str(&text).with_context(|| format!("{} is not a gallery", path.display()))
}
