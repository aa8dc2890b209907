//! Photos that were accepted long ago and are not embedded: what was said on the log may be lost, so it is said again.
//!
//! While the log holds photos that no worker has committed, the old ones may well be among them: they are left to it for a day.
//! So a long queue does not grow by itself with every walk.

use std::time::Duration;

use vidimus_domain::event::AcceptedPhoto;
use vidimus_domain::record::{Face, Record, State, WantedModels, Write, with_models};
use vidimus_domain::time::ERASED_KEPT;
use vidimus_ports::{PortError, PortErrorKind, PortResult, Topic};
use vidimus_runtime::backlog::uncommitted;
use vidimus_runtime::records::Read;

use super::{Reconciled, Reconciler, Scope};

/// A photo that was accepted more recently is on its way.
const OLD: Duration = Duration::from_secs(600);

impl Reconciler {
    /// How long a photo may wait, as the log stands now, before it is said again.
    pub(super) async fn patience(&self) -> PortResult<Duration> {
        let queued = uncommitted(&*self.deps.log, Topic::Photos).await?;
        Ok(if queued == 0 { OLD } else { ERASED_KEPT })
    }

    /// Says the record's photo again where it has waited for too long.
    pub(super) async fn say_waiting(
        &self,
        scope: &Scope<'_>,
        record: &Record,
        found: &mut Reconciled,
    ) -> PortResult<()> {
        let waits = record.state == State::Accepted;
        if !waits || scope.now.since(record.changed_at) < scope.patience {
            return Ok(());
        }
        let (part, image) = (record.origin.part, record.origin.image);
        self.accepted_photos.append(&AcceptedPhoto { part, image, at: self.deps.clock.now() }).await?;
        self.metrics.photos_said_again.inc();
        found.waiting_photos += 1;
        Ok(())
    }

    /// Has templates of the collection's face model made for faces that have none: somebody who slept while the collection turned to
    /// it has brought them in. Whoever drives a move says what its target lacks.
    pub(super) async fn say_incomplete(&self, scope: &Scope<'_>, record: &Record) -> PortResult<()> {
        let lacks = record.lacking(&scope.wanted.own).next().is_some();
        if !lacks || record.photo.is_none() || scope.counts.is_some() {
            return Ok(());
        }
        // The walk may have begun before the collection turned.
        let believed = self.deps.catalog.collection_by_part(&record.origin.part).await;
        let failed = |failure| PortError::new(PortErrorKind::Unavailable, "read collection").because(failure);
        let believed = believed.map_err(failed)?;
        if believed.is_none_or(|collection| *collection.face_model() != scope.wanted.own) {
            return Ok(());
        }
        let (part, image) = (record.origin.part, record.origin.image);
        self.accepted_photos.append(&AcceptedPhoto { part, image, at: self.deps.clock.now() }).await?;
        self.metrics.photos_said_again.inc();
        Ok(())
    }

    /// Takes templates out of the record that a move has left there which is over: one that was given up, or whose writers were on their way
    /// when it came to its end. That none is under way is read from the store after the record. A later move to the same model writes every
    /// record again, and so this loses its compare-and-swap where it slept.
    pub(super) async fn drop_others(&self, scope: &Scope<'_>, read: &Read) -> PortResult<()> {
        let has_other = |face: &Face| face.live().is_some_and(|live| live.other_template.is_some());
        let Some(before) = read.record.as_ref().filter(|record| record.faces.iter().any(has_other)) else {
            return Ok(());
        };
        let failed = |failure| PortError::new(PortErrorKind::Unavailable, "read collection").because(failure);
        let live = self.deps.catalog.read_by_part(&before.origin.part).await.map_err(failed)?;
        let Some(collection) = live.filter(|collection| collection.placements.moving.is_none()) else {
            return Ok(());
        };
        let now = self.deps.clock.now();
        let cutoffs = scope.collection.retention.cutoffs(now);
        let write = Write { now, nonce: self.deps.random.nonce(), cutoffs };
        if let Some(after) = with_models(before, &WantedModels::of(&collection.placements), None, write) {
            // Whoever was faster leaves it to the next walk.
            self.records.write(&after, read).await?;
        }
        Ok(())
    }
}
