//! Photos that were accepted long ago and are not embedded: what was said on the log may be lost, so it is said again.
//!
//! While the log holds photos that no worker has committed, the old ones may well be among them: they are left to it for a day.
//! So a long queue does not grow by itself with every walk.

use std::time::Duration;

use vidimus_domain::event::AcceptedPhoto;
use vidimus_domain::record::{Record, State};
use vidimus_domain::time::ERASED_KEPT;
use vidimus_ports::{PortResult, Topic};
use vidimus_runtime::backlog::uncommitted;

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
        let (part, image) = (record.origin.part, record.origin.image);
        self.accepted_photos.append(&AcceptedPhoto { part, image, at: self.deps.clock.now() }).await?;
        self.metrics.photos_said_again.inc();
        Ok(())
    }
}
