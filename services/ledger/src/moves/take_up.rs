//! Taking up moves by itself: what stands in the catalog when the ledger starts, and what stopped here because something was away.
//!
//! Whoever drove a move that stands when a ledger starts was most likely the one before it. It may also be another ledger that goes on
//! all the while: then both drive it, which does no harm and says records twice. So what others begin later is left to them.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use vidimus_domain::catalog::Collection;
use vidimus_domain::{Failure, Part, TenantId};
use vidimus_runtime::shutdown::Shutdown;

use super::{Mover, destination};

impl Mover {
    /// Takes up what stands now, and from time to time what stopped here.
    pub(crate) async fn take_up_for_ever(self: Arc<Self>, interval: Duration, shutdown: Shutdown) {
        let (mut has_seen_all, mut seen) = (false, HashSet::new());
        while !shutdown.has_begun() {
            let taken_up = async {
                let standing = if has_seen_all { Ok(()) } else { self.take_up_standing(&mut seen).await };
                has_seen_all = standing.is_ok();
                standing.and(self.take_up_stopped().await)
            };
            let taken_up = tokio::select! {
                taken_up = taken_up => taken_up,
                () = shutdown.begun() => return,
            };
            if let Err(failure) = taken_up {
                tracing::warn!(%failure, "looking for moves to take up failed; it begins again later");
            }
            tokio::select! {
                () = self.deps.clock.sleep(interval) => {}
                () = shutdown.begun() => return,
            }
        }
    }

    /// Takes up every move that the catalog has and that was never driven here, of tenants that were not `seen` yet. What fails in one
    /// tenant keeps no other from it.
    async fn take_up_standing(self: &Arc<Self>, seen: &mut HashSet<TenantId>) -> Result<(), Failure> {
        let mut failed = None;
        for tenant in self.deps.catalog.tenants().await? {
            if seen.contains(&tenant.id) {
                continue;
            }
            match self.deps.catalog.all_collections(tenant.id).await {
                Ok(collections) => {
                    let unknown = |collection: &&Collection| !self.driven().contains_key(&collection.part());
                    collections
                        .iter()
                        .filter(unknown)
                        .for_each(|collection| self.take_up_by_itself(collection));
                    seen.insert(tenant.id);
                }
                Err(failure) => failed = Some(failure),
            }
        }
        failed.map_or(Ok(()), Err)
    }

    /// Takes up those that stopped here because something was away. One that stopped for another reason waits for who mends that; of one
    /// that others have brought to its end the catalog says all.
    async fn take_up_stopped(self: &Arc<Self>) -> Result<(), Failure> {
        let stopped: Vec<Part> = {
            let driven = self.driven();
            driven.iter().filter(|(_, counts)| counts.may_pass()).map(|(part, _)| *part).collect()
        };
        for part in stopped {
            let collection = self.deps.catalog.read_by_part(&part).await?;
            match collection.filter(|collection| collection.placements.moving.is_some()) {
                Some(collection) => self.take_up_by_itself(&collection),
                None => drop(self.driven().remove(&part)),
            }
        }
        Ok(())
    }

    fn take_up_by_itself(self: &Arc<Self>, collection: &Collection) {
        let (part, placements) = (collection.part(), &collection.placements);
        let Some(moving) = &placements.moving else { return };
        let (target, face_model) = destination(collection, moving);
        if let Err(failure) = self.deps.face_models.of(face_model) {
            tracing::warn!(%failure, %part, placement = %target, "a move is not taken up here");
            return;
        }
        tracing::info!(%part, placement = %target, stage = ?moving.stage, "a move that stands is taken up");
        self.drive_in_background(collection);
    }
}
