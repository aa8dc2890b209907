//! IndexFaces: photo → faces → record → change → projection → answer.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tonic::Request;
use vidimus_domain::blob_key::BlobKey;
use vidimus_domain::catalog::Collection;
use vidimus_domain::codec::{detected_from_proto, detected_to_proto};
use vidimus_domain::event::{Audit, AuditedAction};
use vidimus_domain::face::DetectedFace;
use vidimus_domain::ids::ImageSource;
use vidimus_domain::point::ShownFace;
use vidimus_domain::record::{
    Enrolled, Enrolment, Origin, PhotoKey, Record, Refusal, WantedModels, Write, enrol, is_fresh,
};
use vidimus_domain::retention::Horizon;
use vidimus_domain::time::READ_FRESH;
use vidimus_domain::{ErrorCode, ExternalImageId, FaceNumber, Failure, ImageId, RequestId, UnixMillis};
use vidimus_ports::PutCondition;
use vidimus_proto::internal::v1;
use vidimus_runtime::completion::Completed;
use vidimus_runtime::errors::{failure_from_port, failure_from_status};
use vidimus_runtime::records::{Read, Written};
use vidimus_runtime::requests::{NamedCollection, face_view, named_collection, no_such_collection};
use vidimus_runtime::traces;

use crate::Ingestion;
use crate::chosen::{Chosen, Embedded};
use crate::maker::{Maker, NotMade};

/// How often a record is read and decided anew before a writer gives up.
pub(crate) const ATTEMPTS_MAX: usize = 32;

/// An enrolment that has slept for longer than this since it came in is given up. The record remembers requests for a day:
/// one that outlived the memory could enrol a face again that was deleted meanwhile.
const ENROLMENT_AGE_MAX: Duration = READ_FRESH;

/// How often a photo is embedded because the collection has turned to another face model meanwhile.
const TURNS_MAX: usize = 4;

/// One photo on its way in.
struct Incoming {
    came_at: UnixMillis,
    named: NamedCollection,
    origin: Origin,
    request: RequestId,
    photo: Bytes,
    faces: Vec<DetectedFace>,
    /// From when on its new faces do not match.
    expires_at: Option<UnixMillis>,
}

/// A photo that was put, and when: its record is written within an hour (rule 7).
struct StoredPhoto {
    key: PhotoKey,
    put_at: UnixMillis,
}

/// A record that holds the enrolment.
struct Done {
    record: Record,
    faces: Vec<FaceNumber>,
}

/// What came of one attempt to write it.
enum Attempt {
    Done(Box<Done>),
    /// Somebody else was faster.
    ReadAgain,
    /// The record's faces are of another face model than those that were found.
    OtherFaceModel,
}

impl Ingestion {
    pub(crate) async fn enrol_photo(
        &self,
        request: v1::IndexFacesRequest,
    ) -> Result<v1::IndexFacesResponse, Failure> {
        let came_at = self.deps.clock.now();
        let named = named_collection(request.collection.as_ref())?;
        let mut collection = self.live_collection(&named).await?;
        check_expiry(request.expires_at_ms.map(UnixMillis::new), came_at)?;
        self.backlog.check().await?;
        for _ in 0..TURNS_MAX {
            let embedded = self.embed(&collection, &request).await?;
            let chosen = Chosen::of(embedded, &request);
            if chosen.faces.is_empty() {
                return Ok(v1::IndexFacesResponse { faces: Vec::new(), unindexed: chosen.unindexed() });
            }
            let incoming =
                Incoming { came_at, ..self.incoming(&collection, &request, chosen.faces.clone())? };
            if let Some(done) = self.write_record(&incoming).await? {
                self.say_changed(&done.record).await?;
                self.await_searchable(&done.record).await;
                let collection = self.check_complete(&named, &done.record).await?;
                self.audit_enrolment(&named, &request, &done).await?;
                return Ok(response(&done, &chosen, collection.horizon(self.deps.clock.now())));
            }
            self.complete(&incoming.origin).await?;
            collection = self.check_still_live(&named).await?;
        }
        let message = "the collection turns to another face model; try again";
        Err(Failure::unavailable(message, Duration::from_secs(1)))
    }

    /// The collection, as it is once the record has templates of every face model that it wants: while it turns to another one an
    /// enrolment is answered only then, and so nothing that was acknowledged is missing when reads switch.
    async fn check_complete(
        &self,
        named: &NamedCollection,
        record: &Record,
    ) -> Result<Arc<Collection>, Failure> {
        let mut record = Cow::Borrowed(record);
        loop {
            let collection = self.check_still_live(named).await?;
            if record.has_models(&WantedModels::of(&collection.placements)) {
                return Ok(collection);
            }
            match self.complete(&record.origin).await? {
                Completed::Whole(Some(after)) => record = Cow::Owned(*after),
                // Somebody else has done it, who may have died before it was said (rule 3).
                Completed::Whole(None) => {
                    self.say_changed(&record).await?;
                    self.await_searchable(&record).await;
                    return Ok(collection);
                }
                Completed::Gone => return Ok(collection),
                Completed::WithoutPhoto => {
                    let message =
                        "the collection turns to another face model, and the photo is gone; try again";
                    return Err(Failure::unavailable(message, Duration::from_secs(1)));
                }
            }
            self.say_changed(&record).await?;
            self.await_searchable(&record).await;
        }
    }

    /// Gives the faces of the record templates of every face model that is wanted.
    async fn complete(&self, origin: &Origin) -> Result<Completed, Failure> {
        let maker = Maker { embedding: Arc::clone(&self.deps.embedding), tenant: origin.part.tenant };
        let completed = self.completion.complete((&origin.part, origin.image), &maker).await;
        completed.map_err(|NotMade(failure)| failure)
    }

    pub(crate) async fn live_collection(&self, named: &NamedCollection) -> Result<Arc<Collection>, Failure> {
        let collection = self.deps.catalog.collection_by_part(&named.part).await?;
        collection.ok_or_else(|| no_such_collection(&named.name))
    }

    /// An enrolment into a collection that was deleted meanwhile is not acknowledged (rule 10).
    pub(crate) async fn check_still_live(&self, named: &NamedCollection) -> Result<Arc<Collection>, Failure> {
        let live = self.deps.catalog.read_by_part(&named.part).await?;
        live.ok_or_else(|| no_such_collection(&named.name))
    }

    async fn embed(
        &self,
        collection: &Collection,
        request: &v1::IndexFacesRequest,
    ) -> Result<Embedded, Failure> {
        let embed = v1::EmbedRequest {
            photo: request.photo.clone(),
            face_model: collection.face_model().to_string(),
            faces_max: 0,
            tenant: collection.tenant.to_string(),
        };
        let answer = self.deps.embedding.embed(Request::new(embed)).await;
        let answer = answer.map_err(|status| failure_from_status(&status))?.into_inner();
        let read = answer.faces.into_iter().map(detected_from_proto).collect::<Result<_, _>>();
        let (width_px, height_px) = (answer.width_px, answer.height_px);
        read.map(|faces| Embedded { faces, width_px, height_px }).map_err(|error| {
            tracing::error!(%error, "embedding answered something that is no face");
            Failure::new(ErrorCode::Internal, "internal error")
        })
    }

    fn incoming(
        &self,
        collection: &Collection,
        request: &v1::IndexFacesRequest,
        faces: Vec<DetectedFace>,
    ) -> Result<Incoming, Failure> {
        let external_image_id = match request.external_image_id.as_str() {
            "" => None,
            name => Some(name.parse::<ExternalImageId>()?),
        };
        let image = self.image_id(collection, request, external_image_id.as_ref());
        let origin = Origin {
            part: collection.part(),
            image,
            face_model: collection.face_model().clone(),
            external_image_id,
        };
        let request_id = self.request_id(&request.retry_id)?;
        Ok(Incoming {
            came_at: self.deps.clock.now(),
            named: NamedCollection { part: collection.part(), name: collection.name.clone() },
            origin,
            request: request_id,
            photo: request.photo.clone(),
            faces,
            expires_at: request.expires_at_ms.map(UnixMillis::new),
        })
    }

    fn image_id(
        &self,
        collection: &Collection,
        request: &v1::IndexFacesRequest,
        external: Option<&ExternalImageId>,
    ) -> ImageId {
        let source = match (external, request.retry_id.as_str()) {
            (Some(name), _) => ImageSource::External(name),
            (None, "") => return ImageId::from_random(self.deps.random.bytes16()),
            (None, retry) => ImageSource::Retry(retry),
        };
        let digest = blake3::hash(&request.photo);
        ImageId::derived(&collection.image_id_key, &collection.part(), digest.as_bytes(), source)
    }

    /// What the request is known by across its retries. The client's text is hashed: any text will do.
    fn request_id(&self, retry_id: &str) -> Result<RequestId, Failure> {
        let text = match retry_id {
            "" => format!("nonce-{}", self.deps.random.nonce()),
            retry => format!("retry-{}", blake3::hash(retry.as_bytes()).to_hex()),
        };
        Ok(text.parse()?)
    }

    /// Gives up what came in too long ago: what it would find may be remembered no more.
    pub(crate) fn check_age(&self, came_at: UnixMillis) -> Result<(), Failure> {
        if self.deps.clock.now().since(came_at) < ENROLMENT_AGE_MAX {
            return Ok(());
        }
        Err(Failure::unavailable("the enrolment took too long; try again", Duration::from_secs(1)))
    }

    /// Reads, decides and writes until the record holds the enrolment. None where its faces are of another face model.
    async fn write_record(&self, incoming: &Incoming) -> Result<Option<Done>, Failure> {
        let mut stored = None;
        for _ in 0..ATTEMPTS_MAX {
            self.check_age(incoming.came_at)?;
            let origin = &incoming.origin;
            let read = self.records.read(&origin.part, origin.image).await.map_err(failure_from_port)?;
            match self.attempt(incoming, &read, &mut stored).await? {
                Attempt::Done(done) => {
                    self.drop_unnamed(&done.record, stored).await;
                    return Ok(Some(*done));
                }
                Attempt::OtherFaceModel => return Ok(None),
                Attempt::ReadAgain => self.metrics.lost_races.inc(),
            };
        }
        Err(Failure::new(
            ErrorCode::Throttled,
            "this photo is being enrolled or deleted by many at once; try again",
        ))
    }

    async fn attempt(
        &self,
        incoming: &Incoming,
        read: &Read,
        stored: &mut Option<StoredPhoto>,
    ) -> Result<Attempt, Failure> {
        if let Some(remembered) = read.record.as_ref().and_then(|record| record.remembered(&incoming.request))
        {
            let faces = remembered.faces.clone();
            let done = read.record.clone().map(|record| Attempt::Done(Box::new(Done { record, faces })));
            return Ok(done.unwrap_or(Attempt::ReadAgain));
        }
        let collection = self.live_collection(&incoming.named).await?;
        // One time for all that is decided here: a face that is live for the choice of the photo is so for the transition.
        let now = self.deps.clock.now();
        let cutoffs = collection.retention.cutoffs(now);
        let write = Write { now, nonce: self.deps.random.nonce(), cutoffs };
        check_expiry(incoming.expires_at, now)?;
        let photo = self.stored_photo(incoming, read, (write, stored)).await?;
        let photos_removed = self.remove_old_photos(read).await?;
        let enrolment = Enrolment {
            request: incoming.request.clone(),
            faces: incoming.faces.clone(),
            photo,
            expires_at: incoming.expires_at,
            photos_removed,
        };
        let enrolled = match enrol(&incoming.origin, read.record.as_ref(), enrolment, write) {
            Err(Refusal::OtherFaceModel) => return Ok(Attempt::OtherFaceModel),
            enrolled => enrolled.map_err(refused)?,
        };
        let Enrolled::Changed { record, faces, .. } = enrolled else {
            return Ok(Attempt::ReadAgain);
        };
        match self.records.write(&record, read).await.map_err(failure_from_port)? {
            Written::Yes => Ok(Attempt::Done(Box::new(Done { record: *record, faces }))),
            Written::ReadAgain => Ok(Attempt::ReadAgain),
        }
    }

    /// The photo's key, put where the record will need it and it was not put within the hour.
    async fn stored_photo(
        &self,
        incoming: &Incoming,
        read: &Read,
        (write, stored): (Write, &mut Option<StoredPhoto>),
    ) -> Result<PhotoKey, Failure> {
        let now = write.now;
        let enrolled =
            read.record.as_ref().filter(|record| record.live_faces(write.horizon()).next().is_some());
        if let Some(named) = enrolled.and_then(|record| record.photo_kept(write.cutoffs)) {
            return Ok(named.clone());
        }
        if let Some(stored) = stored.as_ref().filter(|stored| is_fresh(stored.put_at, now)) {
            return Ok(stored.key.clone());
        }
        let key = PhotoKey::new(now, self.deps.random.nonce());
        let blob_key = BlobKey::photo(&incoming.origin.part, incoming.origin.image, &key);
        let put = self.deps.blobs.put(&blob_key, incoming.photo.clone(), PutCondition::IfAbsent);
        traces::step("put photo", put).await.map_err(failure_from_port)?;
        *stored = Some(StoredPhoto { key: key.clone(), put_at: now });
        Ok(key)
    }

    /// Removes the photos that the record before names as to be removed.
    pub(crate) async fn remove_old_photos(&self, read: &Read) -> Result<Vec<PhotoKey>, Failure> {
        let Some(record) = &read.record else {
            return Ok(Vec::new());
        };
        self.remove_photos(record).await?;
        Ok(record.photos_to_remove.clone())
    }

    pub(crate) async fn remove_photos(&self, record: &Record) -> Result<(), Failure> {
        for photo in &record.photos_to_remove {
            let key = BlobKey::photo(&record.origin.part, record.origin.image, photo);
            self.deps.blobs.delete(&key).await.map_err(failure_from_port)?;
        }
        Ok(())
    }

    /// Removes this attempt's photo where the record turned out not to need it. Should that fail, the ledger removes it
    /// after a day.
    async fn drop_unnamed(&self, record: &Record, stored: Option<StoredPhoto>) {
        let Some(stored) = stored.filter(|stored| record.photo.as_ref() != Some(&stored.key)) else {
            return;
        };
        let key = BlobKey::photo(&record.origin.part, record.origin.image, &stored.key);
        if let Err(error) = self.deps.blobs.delete(&key).await {
            tracing::warn!(%error, "a photo that no record names stays for a day");
        }
    }

    /// Waits for the projection as long as configured, and no longer: the consumer of the log is the safety net.
    async fn await_searchable(&self, record: &Record) {
        let images = [record.origin.image];
        let projected = self.project(&record.origin.part, &images, self.config.searchable_wait).await;
        if let Err(failure) = projected {
            self.metrics.answered_unprojected.inc();
            tracing::warn!(%failure, "an enrolment is answered before it is searchable");
        }
    }

    async fn audit_enrolment(
        &self,
        named: &NamedCollection,
        request: &v1::IndexFacesRequest,
        done: &Done,
    ) -> Result<(), Failure> {
        let caller = request.caller.clone().unwrap_or_default();
        let what = AuditedAction::Enrolment { image: done.record.origin.image, faces: done.faces.clone() };
        let audit = Audit {
            part: named.part,
            collection: named.name.to_string(),
            request_id: caller.request_id,
            principal: caller.principal,
            at: self.deps.clock.now(),
            what,
        };
        self.audit.append(&audit).await.map_err(failure_from_port)?;
        Ok(())
    }
}

pub(crate) fn refused(refusal: Refusal) -> Failure {
    Failure::new(ErrorCode::QuotaExceeded, refusal.to_string())
}

/// An expiry that a client asks for lies ahead.
fn check_expiry(expires_at: Option<UnixMillis>, now: UnixMillis) -> Result<(), Failure> {
    if expires_at.is_some_and(|expires_at| expires_at <= now) {
        let message = "The faces' expiry must be in the future.";
        return Err(Failure::new(ErrorCode::InvalidParameter, message));
    }
    Ok(())
}

fn response(done: &Done, chosen: &Chosen, horizon: Horizon) -> v1::IndexFacesResponse {
    let indexed = |(position, number): (usize, &FaceNumber)| {
        let live = done.record.face(*number)?.live_at(horizon)?;
        let shown = ShownFace {
            bounding_box: live.detected.bounding_box,
            confidence: live.detected.confidence,
            external_image_id: done.record.external_image_id_of(live).cloned(),
            user: live.user.clone(),
        };
        // A retry may have found fewer faces than it detects now: then what is stored is shown.
        let detected = chosen.faces.get(position).unwrap_or(&live.detected);
        Some(v1::IndexedFace {
            face: Some(face_view(done.record.face_id(*number), &shown)),
            detected: Some(detected_to_proto(detected, false)),
        })
    };
    v1::IndexFacesResponse {
        faces: done.faces.iter().enumerate().filter_map(indexed).collect(),
        unindexed: chosen.unindexed(),
    }
}
