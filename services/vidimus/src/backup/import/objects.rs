//! Users and records of an import, one at a time.

use std::collections::BTreeMap;

use bytes::Bytes;
use vidimus_domain::blob_key::BlobKey;
use vidimus_domain::codec::Stored;
use vidimus_domain::event::{AcceptedPhoto, Change};
use vidimus_domain::record::{Record, State, Write, expire, merge, with_named_claims};
use vidimus_domain::retention::Cutoffs;
use vidimus_domain::user::{self, Claim, User};
use vidimus_domain::{ErrorCode, FaceId, Failure};
use vidimus_ports::{PortResult, PutCondition};
use vidimus_runtime::errors::failure_from_port;
use vidimus_runtime::records::{Read, Written};

use super::{Importer, Outcome, Target, Unit};
use crate::backup::decoded;

/// How often a write begins again that somebody else was faster than.
const ATTEMPTS_MAX: usize = 16;

impl Importer {
    pub(super) async fn bring_in(&self, target: &Target, unit: Unit) -> Result<Outcome, Failure> {
        match unit {
            Unit::User { key, user } => self.bring_user(target, &key, &user).await,
            Unit::Gone(husk) => self.bring_gone(target, &husk).await,
            Unit::Record { record, photo } => self.bring_record(target, *record, photo).await,
        }
    }

    fn write(&self, target: &Target) -> Write {
        let now = self.deps.clock.now();
        let here = target.here.retention.cutoffs(now);
        let cutoffs = Cutoffs {
            faces: here.faces.max(target.exported.faces),
            photos: here.photos.max(target.exported.photos),
        };
        Write { now, nonce: self.deps.random.nonce(), cutoffs }
    }

    async fn bring_user(&self, target: &Target, key: &BlobKey, exported: &User) -> Result<Outcome, Failure> {
        for _ in 0..ATTEMPTS_MAX {
            let here = self.deps.blobs.get(key).await.map_err(failure_from_port)?;
            let (user, condition) = match here {
                None => (exported.clone(), PutCondition::IfAbsent),
                Some(blob) => {
                    let here = decoded::<User>(key.as_str(), &blob.bytes)?;
                    match user::merge(&here, exported, self.write(target)) {
                        Some(merged) => (merged, PutCondition::IfMatch(blob.etag)),
                        None => return Ok(Outcome::UserUnchanged),
                    }
                }
            };
            if self.put(key, user.encode().into(), condition).await? {
                return Ok(Outcome::UserWritten);
            }
        }
        Err(busy())
    }

    async fn bring_record(
        &self,
        target: &Target,
        exported: Record,
        photo: Option<Bytes>,
    ) -> Result<Outcome, Failure> {
        let Some(exported) = self.as_imported(target, exported, photo.is_some()) else {
            return Ok(Outcome::LeftOut);
        };
        let (part, image) = (exported.origin.part, exported.origin.image);
        for _ in 0..ATTEMPTS_MAX {
            let read = self.records.read(&part, image).await.map_err(failure_from_port)?;
            let exported = self.with_claims_that_count(target, &exported).await?;
            let record = match &read.record {
                // Its husk is put before it is removed: who finds no record looks for that after.
                None if self.exists(&BlobKey::gone(&part, image)).await? => return Ok(Outcome::DeletedHere),
                None => exported,
                Some(here) => match merge(here, &exported, self.write(target)) {
                    Some(merged) => merged,
                    None => return self.found_done(here, &exported).await.map_err(failure_from_port),
                },
            };
            let photo = self.put_photo(&read, &record, photo.as_ref()).await?;
            if self.records.write(&record, &read).await.map_err(failure_from_port)? == Written::Yes {
                self.say(&record).await.map_err(failure_from_port)?;
                return match read.record {
                    None => Ok(Outcome::Added { photo }),
                    Some(_) => {
                        self.forget_erased(&record).await.map_err(failure_from_port)?;
                        Ok(Outcome::Merged { photo })
                    }
                };
            }
        }
        Err(busy())
    }

    /// The record as it may come in: what has expired is erased, and no photo is named that the export does not have. None where
    /// it waited to be embedded, and now cannot be.
    fn as_imported(&self, target: &Target, exported: Record, has_photo: bool) -> Option<Record> {
        let mut record = expire(&exported, self.write(target)).unwrap_or(exported);
        record.photos_to_remove.clear();
        if !has_photo {
            record.photo = None;
        }
        (record.photo.is_some() || record.state != State::Accepted).then_some(record)
    }

    /// Without the claims that no user names. The users are read after the record that is to be written over, as where faces are
    /// associated: whoever takes a claim out in between has written that record too.
    async fn with_claims_that_count(&self, target: &Target, exported: &Record) -> Result<Record, Failure> {
        let claims = exported.faces.iter().filter_map(|face| face.live()?.user.clone());
        let mut named = BTreeMap::<Claim, Vec<FaceId>>::new();
        for claim in claims.collect::<Vec<_>>() {
            if named.contains_key(&claim) {
                continue;
            }
            let read = self.users.read(&target.here, &claim.0).await.map_err(failure_from_port)?;
            let current = read.user.filter(|user| user.is_current(&claim));
            named.insert(claim, current.map(|user| user.faces).unwrap_or_default());
        }
        let is_named = |face, claim: &Claim| named.get(claim).is_some_and(|faces| faces.contains(&face));
        Ok(with_named_claims(exported.clone(), is_named))
    }

    /// Where this or an earlier import has done all of it already, what was to follow is done again: whoever did it may have died.
    async fn found_done(&self, here: &Record, exported: &Record) -> PortResult<Outcome> {
        if here.nonce == exported.nonce {
            self.say(here).await?;
        }
        if here.faces.iter().any(|face| face.live().is_none()) {
            self.forget_erased(here).await?;
        }
        Ok(Outcome::Unchanged)
    }

    /// Puts the photo that the record names and the one here did not; whether it was needed.
    async fn put_photo(&self, over: &Read, record: &Record, photo: Option<&Bytes>) -> Result<bool, Failure> {
        let had = over.record.as_ref().and_then(|here| here.photo.as_ref());
        let (Some(named), Some(bytes)) = (&record.photo, photo) else { return Ok(false) };
        if had.is_some() {
            return Ok(false);
        }
        let key = BlobKey::photo(&record.origin.part, record.origin.image, named);
        // A key is never used for another photo: who finds one there has put it before.
        self.put(&key, bytes.clone(), PutCondition::IfAbsent).await?;
        Ok(true)
    }

    /// The index follows, and workers take a photo that waits.
    async fn say(&self, record: &Record) -> PortResult<()> {
        let (part, image) = (record.origin.part, record.origin.image);
        let at = self.deps.clock.now();
        let seen = record.faces.iter().map(|face| (face.number, face.version)).collect();
        self.changes.append(&Change { part, image, seen, at }).await?;
        if record.state == State::Accepted {
            self.accepted_photos.append(&AcceptedPhoto { part, image, at }).await?;
        }
        Ok(())
    }

    /// What was erased goes from older versions of the object too, and photos that have no use any more go.
    async fn forget_erased(&self, record: &Record) -> PortResult<()> {
        let (part, image) = (&record.origin.part, record.origin.image);
        self.deps.blobs.forget_versions(&BlobKey::record(part, image)).await?;
        for photo in &record.photos_to_remove {
            self.deps.blobs.delete(&BlobKey::photo(part, image, photo)).await?;
        }
        Ok(())
    }

    /// A record that was deleted where the export was taken: what is here of it is erased.
    async fn bring_gone(&self, target: &Target, husk: &Record) -> Result<Outcome, Failure> {
        let (part, image) = (husk.origin.part, husk.origin.image);
        let here = self.records.read(&part, image).await.map_err(failure_from_port)?;
        if here.record.is_some() {
            return self.bring_record(target, husk.clone(), None).await;
        }
        self.put(&BlobKey::gone(&part, image), husk.encode().into(), PutCondition::IfAbsent).await?;
        Ok(Outcome::DeletedHere)
    }
}

fn busy() -> Failure {
    Failure::new(ErrorCode::Conflict, "it is changed here all the time; import again")
}
