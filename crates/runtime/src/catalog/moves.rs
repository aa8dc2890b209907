//! Moves of collections between index collections ([`vidimus_domain::placements`]): what is believed of them, and how it changes.

use std::sync::Arc;

use vidimus_domain::blob_key::BlobKey;
use vidimus_domain::catalog::{Collection, UidEntry};
use vidimus_domain::placements::{Move, Placements};
use vidimus_domain::{
    CollectionName, ErrorCode, FaceModelName, Failure, Part, Placement, TenantId, UnixMillis,
};
use vidimus_ports::PutCondition;

use super::{Catalog, changed_meanwhile};
use crate::requests::no_such_collection;

/// How often a collection is read and changed anew when others change it at the same time.
const ATTEMPTS_MAX: usize = 16;

impl Catalog {
    /// A tenant's collection of that name as it is now.
    ///
    /// # Errors
    /// `NotFound` where there is none.
    pub async fn read_collection(
        &self,
        tenant: TenantId,
        name: &CollectionName,
    ) -> Result<Arc<Collection>, Failure> {
        let read = self.read::<Collection>(&BlobKey::collection(tenant, name)).await?;
        let live = read.map(|(found, _)| found).filter(|found| found.deleted_at.is_none());
        live.map(Arc::new).ok_or_else(|| no_such_collection(name))
    }

    /// Begins a move of the collection to `target`, where there is nothing of it, for templates of that face model: from now on
    /// projections are written there too, and one lease later ([`Catalog::until_believed`]) by everybody.
    ///
    /// # Errors
    /// `NotFound` where the collection is gone; `AlreadyExists` where a move is under way or the target may not be entered now.
    pub async fn begin_move(
        &self,
        part: &Part,
        (target, face_model): (&Placement, &FaceModelName),
    ) -> Result<Arc<Collection>, Failure> {
        // The uid's entry comes first: whatever is written there is found when the collection is cleared away.
        self.name_placement(part, target).await?;
        let now = self.deps.clock.now();
        let begun = |placements: &Placements| {
            let begun = placements.begun((target, face_model), now);
            begun.map(Some).map_err(|refusal| Failure::new(ErrorCode::AlreadyExists, refusal.to_string()))
        };
        let (collection, _) = self.change_placements(part, begun).await?;
        Ok(collection)
    }

    /// Has the move's target read from now on, and its face model be the collection's. False where the move is not at that stage.
    ///
    /// # Errors
    /// `NotFound` where the collection is gone.
    pub async fn switch_move(&self, part: &Part, of: &Move) -> Result<bool, Failure> {
        let face_model_version = self.face_model_version(&of.face_model).await?;
        let switched = |collection: &Collection| {
            let placements = collection.placements.switched(of)?;
            Some(Collection {
                placements,
                face_model_version: face_model_version.clone(),
                ..collection.clone()
            })
        };
        Ok(self.change(part, |collection| Ok(switched(collection))).await?.1)
    }

    /// Ends a move whose source nobody reads any more. False where the move is not at that stage.
    ///
    /// # Errors
    /// `NotFound` where the collection is gone.
    pub async fn finish_move(&self, part: &Part, of: &Move) -> Result<bool, Failure> {
        let now = self.left_at();
        Ok(self.change_placements(part, |placements| Ok(placements.finished(of, now))).await?.1)
    }

    /// Gives a move up whose target nobody reads yet. False where the move is not at that stage.
    ///
    /// # Errors
    /// `NotFound` where the collection is gone.
    pub async fn cancel_move(&self, part: &Part, of: &Move) -> Result<bool, Failure> {
        let now = self.left_at();
        Ok(self.change_placements(part, |placements| Ok(placements.cancelled(of, now))).await?.1)
    }

    /// Has a placement cleared where something of the collection was found that should not be there.
    ///
    /// # Errors
    /// `NotFound` where the collection is gone.
    pub async fn found_in(&self, part: &Part, placement: &Placement) -> Result<(), Failure> {
        self.name_placement(part, placement).await?;
        let now = self.left_at();
        let found = |placements: &Placements| {
            let found = placements.found_in(placement, now);
            Ok((found != *placements).then_some(found))
        };
        self.change_placements(part, found).await.map(drop)
    }

    /// A placement that was left has been cleared between these times, or others are clean for long enough: both are remembered.
    ///
    /// # Errors
    /// `NotFound` where the collection is gone.
    pub async fn cleared(
        &self,
        part: &Part,
        cleared: Option<(&Placement, UnixMillis)>,
    ) -> Result<(), Failure> {
        let now = self.deps.clock.now();
        let change = |placements: &Placements| {
            Ok(match cleared {
                Some((placement, began_at)) => placements.cleared(placement, (began_at, now)),
                None => placements.tidied(now),
            })
        };
        self.change_placements(part, change).await.map(drop)
    }

    /// Waits until every process believes what the catalog says now.
    pub async fn until_believed(&self) {
        self.wait_out_lease().await;
    }

    /// When nobody begins any more to write to what is left now.
    fn left_at(&self) -> UnixMillis {
        self.deps.clock.now().plus(self.lease.unwrap_or_default())
    }

    /// Changes the placements of a live collection, unless there is nothing to change: then false comes back.
    async fn change_placements(
        &self,
        part: &Part,
        change: impl Fn(&Placements) -> Result<Option<Placements>, Failure>,
    ) -> Result<(Arc<Collection>, bool), Failure> {
        let changed = |collection: &Collection| {
            let placements = change(&collection.placements)?;
            Ok(placements.map(|placements| Collection { placements, ..collection.clone() }))
        };
        self.change(part, changed).await
    }

    /// Changes a live collection, unless there is nothing to change: then false comes back.
    async fn change(
        &self,
        part: &Part,
        change: impl Fn(&Collection) -> Result<Option<Collection>, Failure>,
    ) -> Result<(Arc<Collection>, bool), Failure> {
        for _ in 0..ATTEMPTS_MAX {
            let gone = || Failure::new(ErrorCode::NotFound, "the collection is gone");
            let name = self.read_by_part(part).await?.ok_or_else(gone)?.name.clone();
            let key = BlobKey::collection(part.tenant, &name);
            let read = self.read::<Collection>(&key).await?;
            let live = |found: &Collection| found.uid == part.collection && found.deleted_at.is_none();
            let (before, etag) = read.filter(|(found, _)| live(found)).ok_or_else(gone)?;
            let Some(mut collection) = change(&before)? else {
                return Ok((Arc::new(before), false));
            };
            collection.nonce = self.deps.random.nonce();
            if self.write(&key, &collection, PutCondition::IfMatch(etag)).await? {
                self.collections.forget();
                return Ok((Arc::new(collection), true));
            }
        }
        Err(changed_meanwhile())
    }

    /// Sees to it that the uid's entry names the placement.
    async fn name_placement(&self, part: &Part, placement: &Placement) -> Result<(), Failure> {
        let key = BlobKey::collection_uid(part.tenant, part.collection);
        for _ in 0..ATTEMPTS_MAX {
            let gone = || Failure::new(ErrorCode::NotFound, "the collection is gone");
            let (mut entry, etag) = self.read::<UidEntry>(&key).await?.ok_or_else(gone)?;
            if entry.galleries().any(|gallery| gallery.placement == *placement) {
                return Ok(());
            }
            entry.other_placements.push(placement.clone());
            entry.nonce = self.deps.random.nonce();
            if self.write(&key, &entry, PutCondition::IfMatch(etag)).await? {
                return Ok(());
            }
        }
        Err(changed_meanwhile())
    }
}

#[cfg(test)]
mod tests;
