//! Records whose collection turns to another face model: their faces are given a template of each model that is wanted.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use vidimus_domain::blob_key::BlobKey;
use vidimus_domain::geometry::Landmarks;
use vidimus_domain::record::{MadeTemplates, PhotoKey, Record, State, WantedModels, Write, with_models};
use vidimus_domain::{FaceModelName, Failure, ImageId, Part, Template};
use vidimus_ports::{BlobStore, Clock, PortError, PortErrorKind, Random};

use crate::catalog::Catalog;
use crate::records::{Records, Written};

/// How often a record is read and decided anew before it is given up.
const ATTEMPTS_MAX: usize = 32;

/// Brings records to have the templates that are wanted.
#[derive(Clone)]
pub struct Completion {
    blobs: Arc<dyn BlobStore>,
    catalog: Arc<Catalog>,
    records: Records,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq)]
pub enum Completed {
    /// It has them; where it had to be written, as it is now.
    Whole(Option<Box<Record>>),
    /// Some of its faces lack one, and it has no photo to make it of.
    WithoutPhoto,
    /// There is nothing to complete: the collection or the record is gone, or it has no faces.
    Gone,
}

/// Makes templates, as the encoder or the embedding role does.
#[async_trait]
pub trait MakeTemplates: Send + Sync {
    /// What may go wrong with it, and with the stores.
    type Error: From<PortError> + From<Failure> + Send;

    /// Templates of a photo's faces by that model, at these landmarks; none for a face that cannot be aligned.
    async fn make(
        &self,
        photo: Bytes,
        face_model: &FaceModelName,
        landmarks: Vec<Landmarks>,
    ) -> Result<Vec<Option<Template>>, Self::Error>;
}

impl Completion {
    /// Of the records and photos in `blobs`; the catalog says what is wanted.
    #[must_use]
    pub fn new(
        blobs: &Arc<dyn BlobStore>,
        catalog: &Arc<Catalog>,
        clock: &Arc<dyn Clock>,
        random: &Arc<dyn Random>,
    ) -> Self {
        Self {
            blobs: Arc::clone(blobs),
            catalog: Arc::clone(catalog),
            records: Records::new(Arc::clone(blobs), Arc::clone(clock)),
            clock: Arc::clone(clock),
            random: Arc::clone(random),
        }
    }

    /// Sees to it that every face of the record has a template of each face model that is wanted. What is wanted is read from the store
    /// after the record, so that it is no older than what the record has.
    ///
    /// # Errors
    /// Where a store or the maker fails, or the photo is not where the record says.
    pub async fn complete<M: MakeTemplates>(
        &self,
        (part, image): (&Part, ImageId),
        maker: &M,
    ) -> Result<Completed, M::Error> {
        let (mut written, mut missed) = (None, None);
        for _ in 0..ATTEMPTS_MAX {
            let read = self.records.read(part, image).await?;
            let enrolled = read.record.as_ref().filter(|record| record.state == State::Enrolled);
            let Some(before) = enrolled else { return Ok(Completed::Gone) };
            let Some(collection) = self.catalog.read_by_part(part).await? else { return Ok(Completed::Gone) };
            let wanted = WantedModels::of(&collection.placements);
            if before.has_models(&wanted) {
                return Ok(Completed::Whole(written));
            }
            let lacking = wanted.all().find(|model| before.lacking(model).next().is_some());
            let made = match (lacking, &before.photo) {
                (None, _) => None,
                (Some(_), None) => return Ok(Completed::WithoutPhoto),
                (Some(model), Some(photo)) => match self.made((before, photo), model, maker).await? {
                    Some(made) => Some(made),
                    // It went meanwhile, with its face or by a rule: the record says so when it is read again.
                    None if missed.replace(photo.clone()).as_ref() != Some(photo) => continue,
                    None => return Err(PortError::new(PortErrorKind::NotFound, "read photo").into()),
                },
            };
            let now = self.clock.now();
            let cutoffs = collection.retention.cutoffs(now);
            let write = Write { now, nonce: self.random.nonce(), cutoffs };
            let Some(after) = with_models(before, &wanted, made.as_ref(), write) else {
                let problem = "a face of this photo cannot be aligned for the other face model";
                return Err(PortError::new(PortErrorKind::Invalid, "embed faces of photo")
                    .because(problem)
                    .into());
            };
            if self.records.write(&after, &read).await? == Written::Yes {
                written = Some(Box::new(after));
            }
        }
        Err(PortError::new(PortErrorKind::Unavailable, "complete record")
            .because("many change it at once")
            .into())
    }

    async fn made<M: MakeTemplates>(
        &self,
        (record, photo): (&Record, &PhotoKey),
        model: &FaceModelName,
        maker: &M,
    ) -> Result<Option<MadeTemplates>, M::Error> {
        let key = BlobKey::photo(&record.origin.part, record.origin.image, photo);
        let Some(blob) = self.blobs.get(&key).await? else { return Ok(None) };
        let (numbers, landmarks): (Vec<_>, Vec<_>) =
            record.lacking(model).map(|(face, live)| (face.number, live.detected.landmarks)).unzip();
        let templates = maker.make(blob.bytes, model, landmarks).await?;
        let templates = numbers.into_iter().zip(templates).filter_map(|(number, made)| Some((number, made?)));
        Ok(Some(MadeTemplates { face_model: model.clone(), templates: templates.collect() }))
    }
}
