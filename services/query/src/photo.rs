//! The photo that an enrolled face came from.

use vidimus_domain::blob_key::BlobKey;
use vidimus_domain::event::{Audit, AuditedAction};
use vidimus_domain::{ErrorCode, FaceId, Failure};
use vidimus_proto::internal::v1;
use vidimus_runtime::errors::failure_from_port;

use crate::Query;

impl Query {
    /// Whoever is given a photo is on the audit log before.
    pub(crate) async fn photo(&self, request: v1::GetPhotoRequest) -> Result<v1::GetPhotoResponse, Failure> {
        let (named, collection) = self.searchable_collection(request.collection.as_ref()).await?;
        let face = FaceId::from_bytes(&request.face_id)?;
        let now = self.deps.clock.now();
        let horizon = collection.retention.horizon(now);
        let cutoffs = collection.retention.cutoffs(now);
        let read = self.records.read(&collection.part(), face.image()).await.map_err(failure_from_port)?;
        let live = read.record.filter(|record| {
            let number = face.number().and_then(|number| record.face(number));
            number.is_some_and(|face| face.live_at(horizon).is_some())
        });
        let record = live.ok_or_else(|| not_there(face, "was not found in the collection"))?;
        let key = record.photo_kept(cutoffs).ok_or_else(|| not_there(face, "has no photo that is kept"))?;
        let key = BlobKey::photo(&record.origin.part, record.origin.image, key);
        let blob = self.deps.blobs.get(&key).await.map_err(failure_from_port)?;
        let blob = blob.ok_or_else(|| not_there(face, "has no photo that is kept"))?;
        let caller = request.caller.unwrap_or_default();
        let audit = Audit {
            part: named.part,
            collection: named.name.to_string(),
            request_id: caller.request_id,
            principal: caller.principal,
            at: now,
            what: AuditedAction::PhotoRead { face },
        };
        self.audit.append(&audit).await.map_err(failure_from_port)?;
        Ok(v1::GetPhotoResponse { photo: blob.bytes })
    }
}

fn not_there(face: FaceId, why: &str) -> Failure {
    Failure::new(ErrorCode::NotFound, format!("The face id: {face} {why}"))
}
