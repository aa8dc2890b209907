//! Ready templates: checked → one record without a photo → change → audit → answer.

use std::time::Duration;

use prost::Message as _;
use vidimus_domain::catalog::Collection;
use vidimus_domain::face::DetectedFace;
use vidimus_domain::geometry::{BoundingBox, Landmarks};
use vidimus_domain::ids::ImageSource;
use vidimus_domain::record::{Acceptance, Origin, ReadyFace, Record, WantedModels, Write, import};
use vidimus_domain::{ErrorCode, Failure, ImageId, RequestId, Template, UnixMillis};
use vidimus_proto::internal::v1;
use vidimus_runtime::errors::failure_from_port;
use vidimus_runtime::records::Written;
use vidimus_runtime::requests::{NamedCollection, named_collection};

use super::{invalid, job_request, name_in_job, state};
use crate::Ingestion;
use crate::enrol::{ATTEMPTS_MAX, refused};

/// Why templates are not taken for a while.
const TURNS: &str =
    "the collection turns to another face model, and templates are of one alone; try again when it has";

/// Templates on their way in.
struct Incoming {
    came_at: UnixMillis,
    named: NamedCollection,
    origin: Origin,
    job: RequestId,
    faces: Vec<ReadyFace>,
}

impl Ingestion {
    pub(crate) async fn take_templates(
        &self,
        request: v1::ImportTemplatesRequest,
    ) -> Result<v1::BulkState, Failure> {
        let came_at = self.deps.clock.now();
        let named = named_collection(request.collection.as_ref())?;
        let collection = self.live_collection(&named).await?;
        self.backlog.check().await?;
        let incoming = self.incoming_templates(&collection, (named, came_at), &request)?;
        let (record, is_new) = self.write_import(&incoming).await?;
        self.say_changed(&record).await?;
        let collection = self.check_still_live(&incoming.named).await?;
        if !record.has_models(&WantedModels::of(&collection.placements)) {
            check_turning(&collection)?;
            return Err(Failure::unavailable(TURNS, Duration::from_secs(1)));
        }
        if is_new {
            let numbers = record.remembered(&incoming.job).map(|own| own.faces.clone()).unwrap_or_default();
            let who = (&incoming.named, request.caller.as_ref());
            self.audit_bulk(who, (&incoming.job, &record), numbers).await?;
        }
        Ok(state(&record, &incoming.job, (&collection, self.deps.clock.now())))
    }

    /// Checks all of them: model, dimension, direction, length, names (I7).
    fn incoming_templates(
        &self,
        collection: &Collection,
        (named, came_at): (NamedCollection, UnixMillis),
        request: &v1::ImportTemplatesRequest,
    ) -> Result<Incoming, Failure> {
        check_turning(collection)?;
        let job = job_request(&request.job_id)?;
        let in_job = name_in_job(&job, &request.name)?;
        if request.face_model != collection.face_model().as_str() {
            let wanted = collection.face_model();
            let message =
                format!("the collection's templates are of {wanted}, not of {}", request.face_model);
            return Err(Failure::new(ErrorCode::InvalidParameter, message));
        }
        let known = self.deps.face_models.of(collection.face_model())?;
        let ready = |(number, ready): (usize, &v1::ReadyTemplate)| {
            ready_face(ready, known.dimension).map_err(|failure| {
                let message = format!("template {}: {}", number + 1, failure.message);
                Failure { message, ..failure }
            })
        };
        let faces = request.templates.iter().enumerate().map(ready).collect::<Result<Vec<_>, _>>()?;
        let digest = templates_digest(&request.templates);
        let source = ImageSource::Retry(&in_job);
        let image = ImageId::derived(&collection.image_id_key, &collection.part(), &digest, source);
        let (part, face_model) = (collection.part(), collection.face_model().clone());
        let origin = Origin { part, image, face_model, external_image_id: None };
        Ok(Incoming { came_at, named, origin, job, faces })
    }

    /// Reads, decides and writes until the record has the templates. Returns it and whether this call wrote it.
    async fn write_import(&self, incoming: &Incoming) -> Result<(Record, bool), Failure> {
        for _ in 0..ATTEMPTS_MAX {
            self.check_age(incoming.came_at)?;
            let origin = &incoming.origin;
            let read = self.records.read(&origin.part, origin.image).await.map_err(failure_from_port)?;
            // As it is in the store: a move that has begun has no use for these templates.
            let collection = self.check_still_live(&incoming.named).await?;
            check_turning(&collection)?;
            let now = self.deps.clock.now();
            let cutoffs = collection.retention.cutoffs(now);
            let write = Write { now, nonce: self.deps.random.nonce(), cutoffs };
            let bulk = (incoming.job.clone(), incoming.faces.clone());
            let imported = import(origin, read.record.as_ref(), bulk, write).map_err(refused)?;
            match (imported, &read.record) {
                (Acceptance::Changed(record), _) => {
                    let written = self.records.write(&record, &read).await.map_err(failure_from_port)?;
                    if written == Written::Yes {
                        return Ok((*record, true));
                    }
                }
                (_, Some(record)) => return Ok((record.clone(), false)),
                (_, None) => {}
            }
            self.metrics.lost_races.inc();
        }
        Err(Failure::new(
            ErrorCode::Throttled,
            "these templates are being imported by many at once; try again",
        ))
    }
}

fn ready_face(ready: &v1::ReadyTemplate, dimension: usize) -> Result<ReadyFace, Failure> {
    if ready.template.len() != dimension {
        let has = ready.template.len();
        let message = format!("it has {has} components, and the model's have {dimension}");
        return Err(Failure::new(ErrorCode::InvalidParameter, message));
    }
    let template = Template::stored(ready.template.clone());
    let template = template.map_err(|_| invalid("it has not unit length"))?;
    if !(0.0..=1.0).contains(&ready.confidence) {
        return Err(invalid("its confidence is not 0 to 1"));
    }
    let external_image_id = match ready.external_image_id.as_str() {
        "" => None,
        name => Some(name.parse()?),
    };
    let detected = DetectedFace {
        bounding_box: bounding_box(ready.bounding_box)?,
        landmarks: Landmarks::default(),
        confidence: ready.confidence,
        pose: None,
        quality: None,
        template,
    };
    Ok(ReadyFace { detected, external_image_id })
}

/// Templates have no photo that those of another face model could be made of.
fn check_turning(collection: &Collection) -> Result<(), Failure> {
    match WantedModels::of(&collection.placements).other {
        Some(_) => Err(Failure::unavailable(TURNS, Duration::from_secs(60))),
        None => Ok(()),
    }
}

/// The box where it is known; none is an empty one.
fn bounding_box(from: Option<v1::BoundingBox>) -> Result<BoundingBox, Failure> {
    let Some(v1::BoundingBox { left, top, width, height }) = from else {
        return Ok(BoundingBox::default());
    };
    let bounds = BoundingBox { left, top, width, height };
    if bounds.is_one() { Ok(bounds) } else { Err(invalid("its bounding box is none")) }
}

/// Other templates under the same name in the same job are another record.
fn templates_digest(templates: &[v1::ReadyTemplate]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    for ready in templates {
        hasher.update(&ready.encode_length_delimited_to_vec());
    }
    *hasher.finalize().as_bytes()
}
