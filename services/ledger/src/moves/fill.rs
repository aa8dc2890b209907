//! Filling a move's target: every record is said on the log, then the target is compared with the records.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::stream::{self, StreamExt, TryStreamExt};
use vidimus_domain::blob_key::BlobPrefix;
use vidimus_domain::catalog::Collection;
use vidimus_domain::event::Change;
use vidimus_domain::placements::Move;
use vidimus_domain::{Failure, ImageId, Part};
use vidimus_ports::{PortResult, Position, Topic};
use vidimus_runtime::backlog::uncommitted;
use vidimus_runtime::errors::failure_from_port;

use super::progress::MoveStep;
use super::{Counts, Mover};
use crate::reconcile::image_of;

/// Changes that are appended at a time.
const CONCURRENT_APPENDS: usize = 16;
/// After so many it is asked how many changes wait.
const APPENDS_PER_LOOK: usize = 256;
/// Between two looks at how far indexing is.
const LOOK_AGAIN: Duration = Duration::from_millis(250);
/// Looks in a row at which indexing has not got any further, then the move stops: nobody projects.
const LOOKS_MAX: usize = 2400;
/// How often what differs is said again, then the move stops: something is wrong with these records.
const ROUNDS_MAX: usize = 20;

/// Where the log ends, by partition, after what was appended.
#[derive(Default)]
struct Ends(BTreeMap<u32, u64>);

impl Ends {
    fn appended(&mut self, at: Position) {
        let end = self.0.entry(at.partition).or_default();
        *end = (*end).max(at.offset + 1);
    }

    fn are_committed(&self, committed: &[Position]) -> bool {
        self.0.iter().all(|(partition, end)| {
            committed.iter().any(|place| place.partition == *partition && place.offset >= *end)
        })
    }
}

impl Mover {
    /// Fills the target: on return it holds what the records say, and keeps to it.
    pub(super) async fn fill(
        &self,
        (collection, moving): (&Collection, &Move),
        counts: &Counts,
    ) -> Result<(), Failure> {
        let part = collection.part();
        counts.step(MoveStep::Saying);
        let ends = self.say_all((&part, moving), counts).await?;
        counts.step(MoveStep::Projecting);
        self.until_projected((&part, moving), &ends).await?;
        counts.step(MoveStep::Comparing);
        let mut differing = self.reconciler.compare_target(collection, &moving.other, counts).await?;
        for _ in 0..ROUNDS_MAX {
            if differing.is_empty() {
                return Ok(());
            }
            let mut ends = Ends::default();
            self.say_in_pace((&part, moving), &differing, (&mut ends, counts)).await?;
            self.until_projected((&part, moving), &ends).await?;
            differing = self.reconciler.still_differing(collection, &moving.other, &differing).await?;
        }
        let first = differing.first().map(ToString::to_string).unwrap_or_default();
        let message =
            format!("{} records keep differing from the target's points, as {first}", differing.len());
        tracing::error!(%part, placement = %moving.other, "{message}");
        Err(Failure::unavailable(message, LOOK_AGAIN))
    }

    /// Says every record of the collection.
    async fn say_all(&self, (part, moving): (&Part, &Move), counts: &Counts) -> Result<Ends, Failure> {
        let prefix = BlobPrefix::records(part);
        let (mut after, mut ends) = (None, Ends::default());
        loop {
            let page = self.reconciler.next_page(&prefix, &mut after).await.map_err(failure_from_port)?;
            if page.is_empty() {
                return Ok(ends);
            }
            let images = page.iter().map(image_of).collect::<Result<Vec<_>, _>>()?;
            self.say_in_pace((part, moving), &images, (&mut ends, counts)).await?;
        }
    }

    /// Says many records, as fast as they are projected.
    async fn say_in_pace(
        &self,
        (part, moving): (&Part, &Move),
        images: &[ImageId],
        (ends, counts): (&mut Ends, &Counts),
    ) -> Result<(), Failure> {
        for some in images.chunks(APPENDS_PER_LOOK) {
            self.check_under_way(part, moving).await?;
            self.keep_pace().await?;
            let said = self.say((part, some), counts).await?;
            for (partition, end) in said.0 {
                ends.appended(Position { partition, offset: end.saturating_sub(1) });
            }
        }
        Ok(())
    }

    /// Says these records.
    async fn say(&self, (part, images): (&Part, &[ImageId]), counts: &Counts) -> Result<Ends, Failure> {
        let at = self.deps.clock.now();
        let appends: Vec<_> = images
            .iter()
            .map(|image| async move {
                self.changes.append(&Change { part: *part, image: *image, seen: Vec::new(), at }).await
            })
            .collect();
        let appending = stream::iter(appends).buffer_unordered(CONCURRENT_APPENDS);
        let said: Vec<Position> = appending.try_collect().await.map_err(failure_from_port)?;
        counts.said(said.len() as u64);
        self.metrics.moved_records.inc_by(said.len() as u64);
        let mut ends = Ends::default();
        for position in said {
            ends.appended(position);
        }
        Ok(ends)
    }

    /// Waits while too many changes wait to be projected: tenants' own enrolments are refused past the limit.
    async fn keep_pace(&self) -> Result<(), Failure> {
        let mut least = u64::MAX;
        let mut looks = 0;
        loop {
            let waiting = uncommitted(&*self.deps.log, Topic::Changes).await.map_err(failure_from_port)?;
            if waiting <= self.deps.waiting_changes_max {
                return Ok(());
            }
            looks = if waiting < least { 0 } else { looks + 1 };
            least = least.min(waiting);
            self.look_again(looks).await?;
        }
    }

    /// Waits until indexing has committed all that was said, or the log is another one: then what it lost is found by comparing.
    async fn until_projected(&self, (part, moving): (&Part, &Move), ends: &Ends) -> Result<(), Failure> {
        let incarnation = self.deps.log.incarnation().await.map_err(failure_from_port)?;
        let (mut most, mut looks) = (0, 0);
        loop {
            let committed = self.committed().await.map_err(failure_from_port)?;
            let now = self.deps.log.incarnation().await.map_err(failure_from_port)?;
            if now != incarnation || committed.iter().all(|of_group| ends.are_committed(of_group)) {
                return Ok(());
            }
            self.check_under_way(part, moving).await?;
            let sum = committed.iter().flatten().map(|place| place.offset).sum::<u64>();
            looks = if sum > most { 0 } else { looks + 1 };
            most = most.max(sum);
            self.look_again(looks).await?;
        }
    }

    /// What each group has committed.
    async fn committed(&self) -> PortResult<Vec<Vec<Position>>> {
        let mut committed = Vec::new();
        for group in Topic::Changes.groups() {
            committed.push(self.deps.log.committed(Topic::Changes, group).await?);
        }
        Ok(committed)
    }

    async fn look_again(&self, looks: usize) -> Result<(), Failure> {
        if looks >= LOOKS_MAX {
            let message = "changes wait to be projected and nobody projects them";
            return Err(Failure::unavailable(message, LOOK_AGAIN));
        }
        self.deps.clock.sleep(LOOK_AGAIN).await;
        Ok(())
    }
}
