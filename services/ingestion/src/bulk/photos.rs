//! Accepting a photo: photo → record → said on the log → audit → answer.

use bytes::Bytes;
use vidimus_domain::blob_key::BlobKey;
use vidimus_domain::catalog::Collection;
use vidimus_domain::event::AcceptedPhoto;
use vidimus_domain::ids::ImageSource;
use vidimus_domain::limits::PHOTO_OBJECT_BYTES_MAX;
use vidimus_domain::record::{Acceptance, BulkPhoto, Origin, PhotoKey, Record, State, Write, accept};
use vidimus_domain::{ErrorCode, ExternalImageId, Failure, ImageId, RequestId, UnixMillis};
use vidimus_ports::PutCondition;
use vidimus_proto::internal::v1;
use vidimus_runtime::errors::failure_from_port;
use vidimus_runtime::records::{Read, Written};
use vidimus_runtime::requests::{NamedCollection, named_collection};
use vidimus_runtime::traces;

use super::{job_request, name_in_job, state};
use crate::Ingestion;
use crate::enrol::{ATTEMPTS_MAX, refused};

/// Photos up to this are hashed on the thread that has them: 280 kB took some 0.06 ms in a profile of a bulk job.
const HASHED_HERE_BYTES_MAX: usize = 512 * 1024;

/// A photo on its way in.
struct Incoming {
    came_at: UnixMillis,
    named: NamedCollection,
    origin: Origin,
    job: RequestId,
    photo: Bytes,
}

/// The record that holds the photo.
struct Taken {
    record: Record,
    /// Whether this call accepted it.
    is_new: bool,
}

impl Ingestion {
    pub(crate) async fn take_photo(&self, request: v1::AcceptPhotoRequest) -> Result<v1::BulkState, Failure> {
        let came_at = self.deps.clock.now();
        let named = named_collection(request.collection.as_ref())?;
        let collection = self.live_collection(&named).await?;
        if request.photo.len() > PHOTO_OBJECT_BYTES_MAX {
            let message = format!("the photo has more than {PHOTO_OBJECT_BYTES_MAX} bytes");
            return Err(Failure::new(ErrorCode::ImageTooLarge, message));
        }
        self.photos_backlog.check().await?;
        self.backlog.check().await?;
        let incoming = incoming(&collection, (named, came_at), &request).await?;
        let taken = self.write_acceptance(&incoming).await?;
        if taken.record.state == State::Accepted {
            // Who finds it accepted says it again: whoever accepted it may have died before it was said (rule 3).
            self.say_accepted(&taken.record).await?;
        }
        let collection = self.check_still_live(&incoming.named).await?;
        if taken.is_new {
            let who = (&incoming.named, request.caller.as_ref());
            self.audit_bulk(who, (&incoming.job, &taken.record), Vec::new()).await?;
        }
        Ok(state(&taken.record, &incoming.job, (&collection, self.deps.clock.now())))
    }

    /// Reads, decides and writes until the record has the photo, or somebody else's.
    async fn write_acceptance(&self, incoming: &Incoming) -> Result<Taken, Failure> {
        for _ in 0..ATTEMPTS_MAX {
            self.check_age(incoming.came_at)?;
            let origin = &incoming.origin;
            let read = self.records.read(&origin.part, origin.image).await.map_err(failure_from_port)?;
            if let Some(taken) = self.attempt_acceptance(incoming, read).await? {
                return Ok(taken);
            }
            self.metrics.lost_races.inc();
        }
        let message = "this photo is being enrolled or deleted by many at once; try again";
        Err(Failure::new(ErrorCode::Throttled, message))
    }

    /// One attempt; none where the record is to be read again. The photo is put only where the record will name it.
    async fn attempt_acceptance(&self, incoming: &Incoming, read: Read) -> Result<Option<Taken>, Failure> {
        let collection = self.live_collection(&incoming.named).await?;
        let now = self.deps.clock.now();
        let cutoffs = collection.retention.cutoffs(now);
        let write = Write { now, nonce: self.deps.random.nonce(), cutoffs };
        let photo = PhotoKey::new(now, self.deps.random.nonce());
        let photos_removed = self.remove_old_photos(&read).await?;
        let bulk = BulkPhoto { request: incoming.job.clone(), photo: photo.clone(), photos_removed };
        let accepted = accept(&incoming.origin, read.record.as_ref(), bulk, write).map_err(refused)?;
        let record = match (accepted, &read.record) {
            (Acceptance::Changed(record), _) => record,
            (_, Some(record)) => return Ok(Some(Taken { record: record.clone(), is_new: false })),
            (_, None) => return Ok(None),
        };
        let key = BlobKey::photo(&incoming.origin.part, incoming.origin.image, &photo);
        let put = self.deps.blobs.put(&key, incoming.photo.clone(), PutCondition::IfAbsent);
        let put = traces::step("put photo", put).await;
        put.map_err(failure_from_port)?;
        match self.records.write(&record, &read).await.map_err(failure_from_port)? {
            Written::Yes => {
                self.remove_photos(&record).await?;
                Ok(Some(Taken { record: *record, is_new: true }))
            }
            Written::ReadAgain => {
                if let Err(error) = self.deps.blobs.delete(&key).await {
                    tracing::warn!(%error, "a photo that no record names stays for a day");
                }
                Ok(None)
            }
        }
    }

    async fn say_accepted(&self, record: &Record) -> Result<(), Failure> {
        let Origin { part, image, .. } = record.origin;
        let photo = AcceptedPhoto { part, image, at: self.deps.clock.now() };
        self.accepted_photos.append(&photo).await.map_err(failure_from_port)?;
        Ok(())
    }
}

async fn incoming(
    collection: &Collection,
    (named, came_at): (NamedCollection, UnixMillis),
    request: &v1::AcceptPhotoRequest,
) -> Result<Incoming, Failure> {
    let job = job_request(&request.job_id)?;
    let external_image_id = match request.external_image_id.as_str() {
        "" => None,
        name => Some(name.parse::<ExternalImageId>()?),
    };
    let in_job = name_in_job(&job, &request.name)?;
    let source = external_image_id.as_ref().map_or(ImageSource::Retry(&in_job), ImageSource::External);
    let photo = request.photo.clone();
    let digest = digest_of(photo.clone()).await?;
    let image = ImageId::derived(&collection.image_id_key, &collection.part(), &digest, source);
    let (part, face_model) = (collection.part(), collection.face_model().clone());
    let origin = Origin { part, image, face_model, external_image_id };
    Ok(Incoming { came_at, named, origin, job, photo })
}

/// Hashing a large photo takes milliseconds: not on this thread.
async fn digest_of(photo: Bytes) -> Result<[u8; 32], Failure> {
    if photo.len() <= HASHED_HERE_BYTES_MAX {
        return Ok(*blake3::hash(&photo).as_bytes());
    }
    let hashing = tokio::task::spawn_blocking(move || *blake3::hash(&photo).as_bytes());
    hashing.await.map_err(|_| Failure::new(ErrorCode::Internal, "internal error"))
}
