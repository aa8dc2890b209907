//! One accepted photo: read its record as it is now, encode, write what came of it, say so.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::{Semaphore, SemaphorePermit};
use vidimus_domain::blob_key::BlobKey;
use vidimus_domain::catalog::Collection;
use vidimus_domain::event::{AcceptedPhoto, Change};
use vidimus_domain::face::DetectedFace;
use vidimus_domain::geometry::Landmarks;
use vidimus_domain::quality::{QualityFilter, SizePx, refusals};
use vidimus_domain::record::{Record, State, WantedModels, Write, embedded, refuse, set_aside};
use vidimus_domain::{ErrorCode, FaceModelName, Failure, Template};
use vidimus_ports::{EncodedPhoto, EncoderError, FaceEncoder, LogRecord, PortError, PortErrorKind, Topic};
use vidimus_runtime::completion::{Completed, MakeTemplates};
use vidimus_runtime::dead_letters::dead_letter;
use vidimus_runtime::records::{Read, Written};
use vidimus_runtime::{stored, traces};

use super::{PAUSE_FIRST, WRITTEN_EVERY, Worker};

/// How often a record is read and decided anew before it counts as a failure.
const ATTEMPTS_MAX: usize = 32;
/// The pause before an encoder that was busy is asked again.
const BUSY_PAUSE: Duration = Duration::from_millis(20);

/// How work on a photo has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// Its record says what came of it, and that is said.
    Done,
    /// Shutdown has begun: whoever comes next does it.
    LeftForLater,
    /// It is too new for this process: one of a newer version does it.
    TooNew,
}

/// What the encoder made of a photo.
enum Verdict {
    Faces(Vec<DetectedFace>),
    Refused(String),
}

/// Why it did not work.
enum Trouble {
    /// Something is away, full or busy: it is tried again for as long as that takes.
    Later(String),
    /// It would fail again.
    Wrong(String),
    /// A newer version of the program has written it.
    TooNew(String),
}

impl From<PortError> for Trouble {
    fn from(error: PortError) -> Self {
        match error.kind() {
            PortErrorKind::Unavailable | PortErrorKind::Full => Self::Later(error.to_string()),
            PortErrorKind::TooNew => Self::TooNew(error.to_string()),
            _ => Self::Wrong(error.to_string()),
        }
    }
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Self {
        match failure.code {
            ErrorCode::Unavailable | ErrorCode::Throttled | ErrorCode::Conflict => {
                Self::Later(failure.message)
            }
            _ => Self::Wrong(failure.message),
        }
    }
}

impl Worker {
    /// Works on a photo until it is done or shutdown begins.
    pub(super) async fn work(&self, record: LogRecord) -> Ended {
        let (mut failures, mut pause) = (0, PAUSE_FIRST);
        let mut doom: Option<String> = None;
        loop {
            let tried = match &doom {
                None => self.embed(&record).await,
                Some(reason) => self.give_up(&record, reason).await,
            };
            match tried {
                Ok(outcome) => {
                    self.metrics.photo(outcome);
                    return Ended::Done;
                }
                Err(Trouble::Later(_)) if self.shutdown.has_begun() => return Ended::LeftForLater,
                Err(Trouble::Later(reason)) => {
                    self.metrics.retries.inc();
                    tracing::warn!(reason, position = ?record.position, "a photo waits to be embedded");
                }
                Err(Trouble::TooNew(reason)) => {
                    self.metrics.retries.inc();
                    tracing::error!(reason, position = ?record.position, "a photo is left to a newer process");
                    return Ended::TooNew;
                }
                Err(Trouble::Wrong(reason)) => {
                    self.metrics.retries.inc();
                    tracing::error!(reason, position = ?record.position, "a photo could not be embedded");
                    failures += 1;
                    if failures >= self.config.tries_max.get() {
                        doom.get_or_insert(reason);
                    }
                }
            }
            if self.shutdown.has_begun() {
                return Ended::LeftForLater;
            }
            self.pause(&mut pause).await;
        }
    }

    async fn embed(&self, record: &LogRecord) -> Result<&'static str, Trouble> {
        let photo = decode(record)?;
        let reading = self.leave(&self.reading).await?;
        let Some(collection) = self.deps.catalog.collection_by_part(&photo.part).await? else {
            return Ok("GONE");
        };
        let read = self.records.read(&photo.part, photo.image).await?;
        let Some(before) = read.record.as_ref() else { return Ok("GONE") };
        if before.state != State::Accepted {
            drop(reading);
            if let Some(outcome) = self.complete(before).await? {
                return Ok(outcome);
            }
            self.say_again(before).await?;
            return Ok("DONE_BEFORE");
        }
        let encoder = self.encoder(collection.face_model())?;
        let Some(bytes) = self.photo(before).await? else {
            return Err(Trouble::Wrong("its photo is not in the store".to_owned()));
        };
        let encoding = self.leave(&self.encoding).await?;
        drop(reading);
        let verdict = traces::step("embed photo", self.encode(encoder, bytes)).await?;
        drop(encoding);
        self.wait_for_others().await;
        let (outcome, after) = self.conclude(&collection, read, &verdict).await?;
        if let Some(after) = after {
            self.complete(&after).await?;
        }
        Ok(outcome)
    }

    /// Leave to read a photo, or to have it encoded; none any more where shutdown has begun.
    async fn leave<'a>(&self, to: &'a Semaphore) -> Result<SemaphorePermit<'a>, Trouble> {
        match to.acquire().await {
            Ok(permit) if !self.shutdown.has_begun() => Ok(permit),
            _ => Err(Trouble::Later("the service is shutting down".to_owned())),
        }
    }

    /// Until the next time to write.
    async fn wait_for_others(&self) {
        let into = self.deps.clock.now().get().rem_euclid(WRITTEN_EVERY.as_millis() as i64);
        self.deps.clock.sleep(WRITTEN_EVERY - Duration::from_millis(into as u64)).await;
    }

    fn encoder(&self, face_model: &FaceModelName) -> Result<&Arc<dyn FaceEncoder>, Trouble> {
        let encoders = &self.deps.encoders;
        encoders.of(face_model).ok_or_else(|| {
            Trouble::Wrong(format!("this worker runs the face model {}, not {face_model}", encoders.names()))
        })
    }

    /// Gives the faces of a photo, whose record was read or written before this, templates of every face model that their collection wants,
    /// and says so. None where there was nothing to do.
    async fn complete(&self, record: &Record) -> Result<Option<&'static str>, Trouble> {
        // A move that is not known yet begins to say records only later, and then says this one.
        let believed = self.deps.catalog.collection_by_part(&record.origin.part).await?;
        if believed.is_none_or(|collection| record.has_models(&WantedModels::of(&collection.placements))) {
            return Ok(None);
        }
        let of = (&record.origin.part, record.origin.image);
        let _reading = self.leave(&self.reading).await?;
        match self.completion.complete(of, &ByEncoders(self)).await? {
            Completed::Whole(Some(after)) => {
                self.remove_photos(&after).await?;
                self.say_changed(&after).await?;
                Ok(Some("EMBEDDED_AGAIN"))
            }
            Completed::WithoutPhoto => {
                tracing::warn!(image = %of.1, "a face has no photo to be embedded anew from");
                Ok(None)
            }
            Completed::Whole(None) | Completed::Gone => Ok(None),
        }
    }

    /// Asks the encoder whenever it has room. What it says of the photo itself is no trouble.
    async fn retried<T, F: Future<Output = Result<T, EncoderError>> + Send>(
        &self,
        ask: impl Fn() -> F + Send,
    ) -> Result<Result<T, EncoderError>, Trouble> {
        loop {
            match ask().await {
                Err(EncoderError::Busy) if self.shutdown.has_begun() => {
                    return Err(Trouble::Later("the service is shutting down".to_owned()));
                }
                Err(EncoderError::Busy) => self.deps.clock.sleep(BUSY_PAUSE).await,
                Err(EncoderError::Failed(error)) => return Err(error.into()),
                answered => return Ok(answered),
            }
        }
    }

    /// Who finds the photo done says so again: whoever did it may have died before (rule 3).
    async fn say_again(&self, record: &Record) -> Result<(), Trouble> {
        if matches!(record.state, State::Refused(_)) {
            return self.remove_photos(record).await;
        }
        self.say_changed(record).await
    }

    async fn photo(&self, record: &Record) -> Result<Option<Bytes>, Trouble> {
        let Some(key) = &record.photo else { return Ok(None) };
        let key = BlobKey::photo(&record.origin.part, record.origin.image, key);
        Ok(self.deps.blobs.get(&key).await?.map(|blob| blob.bytes))
    }

    async fn encode(&self, encoder: &Arc<dyn FaceEncoder>, photo: Bytes) -> Result<Verdict, Trouble> {
        Ok(match self.retried(|| encoder.encode(photo.clone())).await? {
            Ok(encoded) => verdict(encoded),
            Err(no_photo) => Verdict::Refused(no_photo.to_string()),
        })
    }

    /// Writes the verdict over what was read, by compare-and-swap. Every photo of one image has the same bytes, so the
    /// verdict holds for whatever the record says by then.
    async fn conclude(
        &self,
        collection: &Collection,
        mut read: Read,
        verdict: &Verdict,
    ) -> Result<(&'static str, Option<Record>), Trouble> {
        for _ in 0..ATTEMPTS_MAX {
            let Some(before) = &read.record else { return Ok(("GONE", None)) };
            let write = self.write_by(collection);
            let after = match verdict {
                Verdict::Faces(faces) => {
                    embedded(before, (collection.face_model(), faces.clone()), None, write)
                        .map_err(|refusal| Trouble::Wrong(refusal.to_string()))?
                }
                Verdict::Refused(reason) => refuse(before, reason, write),
            };
            let Some(after) = after else {
                self.say_again(before).await?;
                return Ok(("DONE_BEFORE", Some(before.clone())));
            };
            if self.records.write(&after, &read).await? == Written::Yes {
                self.remove_photos(&after).await?;
                self.say_changed(&after).await?;
                let outcome = if after.state == State::Enrolled { "ENROLLED" } else { "REFUSED" };
                return Ok((outcome, Some(after)));
            }
            read = self.records.read(&before.origin.part, before.origin.image).await?;
        }
        Err(Trouble::Later("the record is being changed by many at once".to_owned()))
    }

    /// Names the photo in the dead letters and sets it aside. To be named there twice does no harm.
    async fn give_up(&self, record: &LogRecord, reason: &str) -> Result<&'static str, Trouble> {
        self.deps.log.append(Topic::PhotosDead, dead_letter(record, reason)).await?;
        let Ok(photo) = decode(record) else { return Ok("DEAD") };
        for _ in 0..ATTEMPTS_MAX {
            let Some(collection) = self.deps.catalog.collection_by_part(&photo.part).await? else {
                return Ok("DEAD");
            };
            let read = match self.records.read(&photo.part, photo.image).await.map_err(Trouble::from) {
                Ok(read) => read,
                // A record that cannot be read cannot be written either.
                Err(Trouble::Wrong(_)) => return Ok("DEAD"),
                Err(later) => return Err(later),
            };
            let write = self.write_by(&collection);
            let Some(after) = read.record.as_ref().and_then(|before| set_aside(before, reason, write)) else {
                return Ok("DEAD");
            };
            if self.records.write(&after, &read).await? == Written::Yes {
                return Ok("DEAD");
            }
        }
        Err(Trouble::Later("the record is being changed by many at once".to_owned()))
    }

    fn write_by(&self, collection: &Collection) -> Write {
        let now = self.deps.clock.now();
        Write { now, nonce: self.deps.random.nonce(), cutoffs: collection.retention.cutoffs(now) }
    }

    async fn say_changed(&self, record: &Record) -> Result<(), Trouble> {
        let change = Change {
            part: record.origin.part,
            image: record.origin.image,
            seen: record.faces.iter().map(|face| (face.number, face.version)).collect(),
            at: self.deps.clock.now(),
        };
        self.changes.append(&change).await?;
        Ok(())
    }

    async fn remove_photos(&self, record: &Record) -> Result<(), Trouble> {
        for photo in &record.photos_to_remove {
            let key = BlobKey::photo(&record.origin.part, record.origin.image, photo);
            self.deps.blobs.delete(&key).await?;
        }
        Ok(())
    }
}

/// Has a worker's encoders make templates.
struct ByEncoders<'a>(&'a Worker);

#[async_trait]
impl MakeTemplates for ByEncoders<'_> {
    type Error = Trouble;

    async fn make(
        &self,
        photo: Bytes,
        face_model: &FaceModelName,
        landmarks: Vec<Landmarks>,
    ) -> Result<Vec<Option<Template>>, Trouble> {
        let encoder = self.0.encoder(face_model)?;
        let _encoding = self.0.leave(&self.0.encoding).await?;
        let made = self.0.retried(|| encoder.embed_at(photo.clone(), landmarks.clone())).await?;
        made.map_err(|no_photo| Trouble::Wrong(no_photo.to_string()))
    }
}

fn decode(record: &LogRecord) -> Result<AcceptedPhoto, Trouble> {
    Ok(stored::decode("read accepted photo", &record.payload)?)
}

/// The faces that are fit to enrol, by the filter that enrolling one photo has by default; why not, where there is none.
fn verdict(encoded: EncodedPhoto) -> Verdict {
    let (mut fit, mut reasons) = (Vec::new(), Vec::new());
    for face in encoded.faces {
        let size = SizePx::of(&face.bounding_box, encoded.width_px, encoded.height_px);
        let refused = refusals(&face, size, QualityFilter::AUTO);
        if refused.is_empty() {
            fit.push(face);
        }
        for reason in refused.iter().map(|reason| reason.as_str()) {
            if !reasons.contains(&reason) {
                reasons.push(reason);
            }
        }
    }
    match (fit.is_empty(), reasons.is_empty()) {
        (false, _) => Verdict::Faces(fit),
        (true, true) => Verdict::Refused("no face was found".to_owned()),
        (true, false) => Verdict::Refused(format!("no face is good enough: {}", reasons.join(", "))),
    }
}
