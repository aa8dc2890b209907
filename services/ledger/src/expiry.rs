//! Erasing what has expired, one record at a time: by compare-and-swap on what the record says then.

use std::sync::Arc;

use vidimus_domain::FaceId;
use vidimus_domain::blob_key::BlobKey;
use vidimus_domain::catalog::Collection;
use vidimus_domain::event::{Audit, AuditedAction, Change};
use vidimus_domain::record::{Record, State, Write, expire};
use vidimus_domain::retention::Cutoffs;
use vidimus_ports::PortResult;
use vidimus_runtime::audit::AuditLog;
use vidimus_runtime::changes::Changes;
use vidimus_runtime::records::{Read, Records, Written};

use crate::LedgerDeps;
use crate::metrics::Metrics;

/// Who the audit log says it was.
const PRINCIPAL: &str = "ledger";

/// A collection as it was read, and what had expired then. It stays expired, so this may be acted upon later.
pub(crate) struct Due<'a> {
    pub(crate) collection: &'a Collection,
    pub(crate) cutoffs: Cutoffs,
}

/// What was erased of a record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Erased {
    pub(crate) faces: u64,
    pub(crate) photos: u64,
}

/// Erases what has expired.
pub(crate) struct Expirer {
    deps: LedgerDeps,
    records: Records,
    changes: Changes,
    audit: AuditLog,
    metrics: Arc<Metrics>,
}

impl Expirer {
    pub(crate) fn new(deps: LedgerDeps, metrics: Arc<Metrics>) -> Self {
        Self {
            records: Records::new(Arc::clone(&deps.blobs), Arc::clone(&deps.clock)),
            changes: Changes::new(Arc::clone(&deps.log)),
            audit: AuditLog::new(Arc::clone(&deps.log)),
            deps,
            metrics,
        }
    }

    /// Erases what has expired of the record that was read. Nothing is erased where nothing has expired, or where somebody
    /// else was faster: the next sweep looks again.
    ///
    /// It is audited before it is done: a ledger that dies between says it again, and never erases unsaid.
    pub(crate) async fn expire(&self, due: &Due<'_>, read: &Read) -> PortResult<Erased> {
        let Some(before) = &read.record else { return Ok(Erased::default()) };
        let nonce = self.deps.random.nonce();
        let write = Write { now: self.deps.clock.now(), nonce, cutoffs: due.cutoffs };
        let Some(after) = expire(before, write) else { return Ok(Erased::default()) };
        let faces = erased_faces(before, &after);
        let photos = before.photo.is_some() && after.photo.is_none();
        self.say_audit(due.collection, (before, &after), faces.clone()).await?;
        if self.records.write(&after, read).await? == Written::ReadAgain {
            return Ok(Erased::default());
        }
        self.say_changed(&after).await?;
        self.records.forget_older(&after).await?;
        self.remove_photos(&after).await?;
        let erased = Erased { faces: faces.len() as u64, photos: photos.into() };
        self.metrics.expired_faces.inc_by(erased.faces);
        self.metrics.expired_photos.inc_by(erased.photos);
        Ok(erased)
    }

    async fn say_audit(
        &self,
        collection: &Collection,
        (before, after): (&Record, &Record),
        faces: Vec<FaceId>,
    ) -> PortResult<()> {
        let only_photo = before.photo.is_some() && after.photo.is_none() && after.state != State::Erased;
        let audit = Audit {
            part: collection.part(),
            collection: collection.name.to_string(),
            request_id: format!("retention-{}", after.nonce),
            principal: PRINCIPAL.to_owned(),
            at: after.changed_at,
            what: AuditedAction::Expiry { faces, photo_of: only_photo.then_some(after.origin.image) },
        };
        self.audit.append(&audit).await.map(drop)
    }

    async fn say_changed(&self, record: &Record) -> PortResult<()> {
        let change = Change {
            part: record.origin.part,
            image: record.origin.image,
            seen: record.faces.iter().map(|face| (face.number, face.version)).collect(),
            at: self.deps.clock.now(),
        };
        self.changes.append(&change).await.map(drop)
    }

    /// Removes what the record says is to go: whoever named it may have died before.
    pub(crate) async fn remove_photos(&self, record: &Record) -> PortResult<()> {
        for photo in &record.photos_to_remove {
            let key = BlobKey::photo(&record.origin.part, record.origin.image, photo);
            self.deps.blobs.delete(&key).await?;
        }
        Ok(())
    }
}

fn erased_faces(before: &Record, after: &Record) -> Vec<FaceId> {
    let lives = |record: &Record, number| record.face(number).is_some_and(|face| face.live().is_some());
    let gone = before.faces.iter().map(|face| face.number);
    let gone = gone.filter(|number| lives(before, *number) && !lives(after, *number));
    gone.map(|number| before.face_id(number)).collect()
}
