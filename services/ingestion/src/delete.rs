//! DeleteFaces: compare-and-swap → change → projection → photo → answer. It answers only when every named face can no
//! longer match (I3); where that cannot be said yet, the answer is a retryable error: the deletion is decided and will
//! be carried out.

use std::collections::{BTreeMap, HashSet};

use futures::stream::{self, StreamExt, TryStreamExt};
use vidimus_domain::catalog::Collection;
use vidimus_domain::event::{Audit, AuditedAction};
use vidimus_domain::record::{Erasure, Record, Write, erase, without_stale};
use vidimus_domain::{ErrorCode, FaceId, FaceNumber, Failure, ImageId, Part, UserId};
use vidimus_proto::internal::v1;
use vidimus_runtime::errors::failure_from_port;
use vidimus_runtime::records::Written;
use vidimus_runtime::requests::{NamedCollection, face_ids, named_collection, no_such_collection};

use crate::Ingestion;

/// Records that one deletion works on at a time.
const CONCURRENT_RECORDS: usize = 16;
/// How often a record is read and decided anew before a deletion gives up.
const ATTEMPTS_MAX: usize = 64;

/// What became of one face.
enum Fate {
    Erased,
    Unknown,
    HeldBy(UserId),
}

/// What became of the faces of one image.
struct Erased {
    image: ImageId,
    /// The record after it; none where there was none.
    record: Option<Record>,
    erasure: Erasure,
}

impl Ingestion {
    pub(crate) async fn delete(
        &self,
        request: v1::DeleteFacesRequest,
    ) -> Result<v1::DeleteFacesResponse, Failure> {
        let named = named_collection(request.collection.as_ref())?;
        let live = self.deps.catalog.collection_by_part(&named.part).await?;
        let collection = live.ok_or_else(|| no_such_collection(&named.name))?;
        let faces = distinct(face_ids(&request.face_ids)?);
        let erasing = by_image(&faces)
            .into_iter()
            .map(|(image, numbers)| self.erase_image(&collection, image, numbers));
        let erased: Vec<Erased> =
            stream::iter(erasing).buffer_unordered(CONCURRENT_RECORDS).try_collect().await?;
        let fates = fates(&erased);
        let gone = faces.iter().copied().filter(|face| matches!(fates.get(face), Some(Fate::Erased)));
        // It is decided now, so it is audited now, whatever becomes of the answer.
        self.audit_deletion(&named, &request, gone.collect()).await?;
        self.carry_out(&named.part, &erased).await?;
        Ok(response(&faces, &fates))
    }

    /// Has it projected and removes the photos, in this order: unsearchable first.
    async fn carry_out(&self, part: &Part, erased: &[Erased]) -> Result<(), Failure> {
        let touched = erased.iter().filter(|erased| !erased.erasure.erased.is_empty());
        let images = touched.clone().map(|erased| erased.image).collect::<Vec<_>>();
        if !images.is_empty() {
            self.project(part, &images, self.config.deletion_wait).await.map_err(decided)?;
        }
        for record in touched.filter_map(|erased| erased.record.as_ref()) {
            self.records.forget_older(record).await.map_err(failure_from_port).map_err(decided)?;
            self.remove_photos(record).await?;
        }
        Ok(())
    }

    /// Erases faces of one record and says so on the log. A deletion that finds its effect there says it again (rule 3).
    async fn erase_image(
        &self,
        collection: &Collection,
        image: ImageId,
        numbers: Vec<FaceNumber>,
    ) -> Result<Erased, Failure> {
        let part = &collection.part();
        for _ in 0..ATTEMPTS_MAX {
            let read = self.records.read(part, image).await.map_err(failure_from_port)?;
            let Some(before) = &read.record else {
                let erasure = Erasure { unknown: numbers, ..Erasure::default() };
                return Ok(Erased { image, record: None, erasure });
            };
            let now = self.deps.clock.now();
            let cutoffs = collection.retention.cutoffs(now);
            let write = Write { now, nonce: self.deps.random.nonce(), cutoffs };
            let stale = self.stale_claims(collection, before, &numbers).await?;
            let mut erasure = erase(&without_stale(before, &numbers, &stale), &numbers, write);
            let record = match erasure.record.take() {
                None => before.clone(),
                Some(record) => match self.records.write(&record, &read).await.map_err(failure_from_port)? {
                    Written::Yes => *record,
                    Written::ReadAgain => {
                        self.metrics.lost_races.inc();
                        continue;
                    }
                },
            };
            if !erasure.erased.is_empty() {
                self.say_changed(&record).await?;
            }
            return Ok(Erased { image, record: Some(record), erasure });
        }
        Err(Failure::new(
            ErrorCode::Throttled,
            "a photo is being enrolled or deleted by many at once; try again",
        ))
    }

    async fn audit_deletion(
        &self,
        named: &NamedCollection,
        request: &v1::DeleteFacesRequest,
        faces: Vec<FaceId>,
    ) -> Result<(), Failure> {
        let caller = request.caller.clone().unwrap_or_default();
        let audit = Audit {
            part: named.part,
            collection: named.name.to_string(),
            request_id: caller.request_id,
            principal: caller.principal,
            at: self.deps.clock.now(),
            what: AuditedAction::Deletion { faces },
        };
        self.audit.append(&audit).await.map_err(failure_from_port)?;
        Ok(())
    }
}

/// The record is erased and will be projected; only the caller cannot be told so yet.
fn decided(failure: Failure) -> Failure {
    tracing::warn!(%failure, "a deletion is decided but not projected yet");
    Failure::unavailable(
        "the deletion is decided and will be carried out; ask again to hear that it is done",
        failure.retry_after.unwrap_or(std::time::Duration::from_secs(1)),
    )
}

/// Each face once, where it was first named.
pub(crate) fn distinct(faces: Vec<FaceId>) -> Vec<FaceId> {
    let mut seen = HashSet::with_capacity(faces.len());
    faces.into_iter().filter(|face| seen.insert(*face)).collect()
}

/// The faces' numbers by image. An id without a number is no face's.
pub(crate) fn by_image(faces: &[FaceId]) -> BTreeMap<ImageId, Vec<FaceNumber>> {
    let mut images = BTreeMap::<ImageId, Vec<FaceNumber>>::new();
    for face in faces {
        if let Some(number) = face.number() {
            images.entry(face.image()).or_default().push(number);
        }
    }
    images
}

fn fates(erased: &[Erased]) -> BTreeMap<FaceId, Fate> {
    let mut fates = BTreeMap::new();
    for Erased { image, erasure, .. } in erased {
        fates.extend(erasure.erased.iter().map(|number| (image.face(*number), Fate::Erased)));
        fates.extend(erasure.unknown.iter().map(|number| (image.face(*number), Fate::Unknown)));
        let held = erasure.held_by_user.iter();
        fates.extend(held.map(|(number, user)| (image.face(*number), Fate::HeldBy(user.clone()))));
    }
    fates
}

fn response(faces: &[FaceId], fates: &BTreeMap<FaceId, Fate>) -> v1::DeleteFacesResponse {
    let mut response = v1::DeleteFacesResponse::default();
    for face in faces {
        let face_id = face.to_bytes().to_vec();
        let undeleted = |reason: &str, user_id: String| v1::UndeletedFace {
            face_id: face_id.clone(),
            user_id,
            reason: reason.to_owned(),
        };
        match fates.get(face) {
            Some(Fate::Erased) => response.deleted.push(face_id),
            Some(Fate::HeldBy(user)) => {
                response.undeleted.push(undeleted("ASSOCIATED_TO_AN_EXISTING_USER", user.to_string()));
            }
            Some(Fate::Unknown) | None => response.undeleted.push(undeleted("FACE_NOT_FOUND", String::new())),
        }
    }
    response
}
