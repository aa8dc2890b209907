//! Filling a move's target: every record is said on the log, then the target is compared with the records.
//!
//! Where the target is of another face model the photos are said instead: workers give the faces their templates, and say the record.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::stream::{self, StreamExt, TryStreamExt};
use vidimus_domain::blob_key::BlobPrefix;
use vidimus_domain::event::{AcceptedPhoto, Change};
use vidimus_domain::{ErrorCode, Failure, ImageId, Nonce};
use vidimus_ports::{PortResult, Position, Topic};
use vidimus_runtime::backlog::uncommitted;
use vidimus_runtime::errors::failure_from_port;

use super::progress::MoveStep;
use super::{Driven, Mover};
use crate::reconcile::image_of;
use crate::retries::persist;

/// Changes that are appended at a time.
const CONCURRENT_APPENDS: usize = 16;
/// After so many it is asked how many changes wait.
const APPENDS_PER_LOOK: usize = 256;
/// Between two looks at how far indexing is.
const LOOK_AGAIN: Duration = Duration::from_millis(250);
/// Looks in a row at which a topic's consumers have not got any further, then the move stops: nobody works on it.
const LOOKS_MAX: usize = 2400;
/// How often what differs is said again, then the move stops: something is wrong with these records.
const ROUNDS_MAX: usize = 20;
/// The same where photos are embedded: each round tries each of them several times.
const EMBEDDING_ROUNDS_MAX: usize = 3;

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

/// Whether a topic's consumers get any further.
#[derive(Default)]
struct Watch {
    committed: u64,
    /// In a row, at which it was no further.
    looks: usize,
}

impl Watch {
    /// Looks at what each group has committed: where that is less than before the log is another one, which is new too.
    fn look(&mut self, committed: &[Vec<Position>]) {
        let sum = committed.iter().flatten().map(|place| place.offset).sum::<u64>();
        self.looks = if sum == self.committed { self.looks + 1 } else { 0 };
        self.committed = sum;
    }
}

impl Mover {
    /// Fills the target: on return it holds what the records say, and keeps to it.
    pub(super) async fn fill(&self, driven: &Driven<'_>) -> Result<(), Failure> {
        let (part, counts) = (driven.collection.part(), driven.counts);
        if driven.is_turning() {
            counts.step(MoveStep::Checking);
            self.check_photos(driven).await?;
        }
        counts.step(if driven.is_turning() { MoveStep::Embedding } else { MoveStep::Saying });
        let ends = self.say_all(driven).await?;
        self.until_projected(driven, ends).await?;
        counts.step(MoveStep::Comparing);
        let target = &driven.moving.other;
        let mut differing = self.reconciler.compare_target(driven.collection, target, counts).await?;
        let rounds_max = if driven.is_turning() { EMBEDDING_ROUNDS_MAX } else { ROUNDS_MAX };
        for _ in 0..rounds_max {
            if differing.is_empty() {
                return Ok(());
            }
            if driven.is_turning() {
                self.check_photos_of(driven, &differing).await?;
            }
            let mut ends = Ends::default();
            self.say_in_pace(driven, &differing, &mut ends).await?;
            self.until_projected(driven, ends).await?;
            counts.step(MoveStep::Comparing);
            differing = self.reconciler.still_differing(driven.collection, target, &differing).await?;
        }
        if differing.is_empty() {
            return Ok(());
        }
        let first = differing.first().map(ToString::to_string).unwrap_or_default();
        let hint = match driven.is_turning() {
            true => "; why photos were not embedded is told by `vidimus admin dead-letters list`",
            false => "",
        };
        let message =
            format!("{} records keep differing from the target's points, as {first}{hint}", differing.len());
        tracing::error!(%part, placement = %target, "{message}");
        Err(Failure::new(ErrorCode::Internal, message))
    }

    /// Says every record of the collection.
    async fn say_all(&self, driven: &Driven<'_>) -> Result<Ends, Failure> {
        let prefix = BlobPrefix::records(&driven.collection.part());
        let (mut after, mut ends) = (None, Ends::default());
        loop {
            let page = self.reconciler.next_page(&prefix, &mut after).await.map_err(failure_from_port)?;
            if page.is_empty() {
                return Ok(ends);
            }
            let images = page.iter().map(image_of).collect::<Result<Vec<_>, _>>()?;
            self.say_in_pace(driven, &images, &mut ends).await?;
        }
    }

    /// Says many records, as fast as they are worked on.
    async fn say_in_pace(
        &self,
        driven: &Driven<'_>,
        images: &[ImageId],
        ends: &mut Ends,
    ) -> Result<(), Failure> {
        for some in images.chunks(APPENDS_PER_LOOK) {
            self.check_under_way(driven).await?;
            self.keep_pace(driven).await?;
            for position in self.say(driven, some).await? {
                ends.appended(position);
            }
        }
        Ok(())
    }

    /// Says these records, or that their photos wait.
    async fn say(&self, driven: &Driven<'_>, images: &[ImageId]) -> Result<Vec<Position>, Failure> {
        let say = async |image: ImageId| persist!(self.retries, self.say_one(driven, image));
        let appends: Vec<_> = images.iter().map(|image| say(*image)).collect();
        let appending = stream::iter(appends).buffer_unordered(CONCURRENT_APPENDS);
        let said: Vec<Position> = appending.try_collect().await.map_err(failure_from_port)?;
        driven.counts.said(said.len() as u64);
        self.metrics.moved_records.inc_by(said.len() as u64);
        Ok(said)
    }

    async fn say_one(&self, driven: &Driven<'_>, image: ImageId) -> PortResult<Position> {
        let (part, at) = (driven.collection.part(), self.deps.clock.now());
        match driven.topic() {
            Topic::Photos => self.accepted_photos.append(&AcceptedPhoto { part, image, at }).await,
            _ => self.changes.append(&Change { part, image, seen: Vec::new(), at }).await,
        }
    }

    /// Waits while too much waits to be worked on: tenants' own enrolments are refused past the limit. Others may keep it there for
    /// long, and are waited for as long as it is worked on.
    async fn keep_pace(&self, driven: &Driven<'_>) -> Result<(), Failure> {
        let topic = driven.topic();
        let most = match topic {
            Topic::Photos => self.deps.waiting_photos_max,
            _ => self.deps.waiting_changes_max,
        };
        let log = &*self.deps.log;
        let mut watch = Watch::default();
        loop {
            let waiting = persist!(self.retries, uncommitted(log, topic)).map_err(failure_from_port)?;
            if waiting <= most {
                return Ok(());
            }
            self.check_under_way(driven).await?;
            watch.look(&self.committed(topic).await?);
            self.look_again(topic, &watch).await?;
        }
    }

    /// Waits until all that was said is projected: of photos that is said by who has embedded them.
    async fn until_projected(&self, driven: &Driven<'_>, ends: Ends) -> Result<(), Failure> {
        self.until_committed(driven, driven.topic(), &ends).await?;
        driven.counts.step(MoveStep::Projecting);
        if driven.topic() == Topic::Changes {
            return Ok(());
        }
        let mut ends = Ends::default();
        let states = persist!(self.retries, self.deps.log.state(Topic::Changes));
        for state in states.map_err(failure_from_port)? {
            // Of one that never had a record nothing is committed.
            if state.next_offset > 0 {
                ends.0.insert(state.partition, state.next_offset);
            }
        }
        self.until_committed(driven, Topic::Changes, &ends).await
    }

    /// Waits until every group has committed the topic up to there, or the log is another one: then what it lost is found by comparing.
    async fn until_committed(&self, driven: &Driven<'_>, topic: Topic, ends: &Ends) -> Result<(), Failure> {
        let incarnation = self.incarnation().await?;
        let mut watch = Watch::default();
        loop {
            let committed = self.committed(topic).await?;
            let now = self.incarnation().await?;
            if now != incarnation || committed.iter().all(|of_group| ends.are_committed(of_group)) {
                return Ok(());
            }
            self.check_under_way(driven).await?;
            watch.look(&committed);
            self.look_again(topic, &watch).await?;
        }
    }

    async fn incarnation(&self) -> Result<Nonce, Failure> {
        persist!(self.retries, self.deps.log.incarnation()).map_err(failure_from_port)
    }

    /// What each group has committed.
    async fn committed(&self, topic: Topic) -> Result<Vec<Vec<Position>>, Failure> {
        let mut committed = Vec::new();
        for group in topic.groups() {
            let of_group = persist!(self.retries, self.deps.log.committed(topic, group));
            committed.push(of_group.map_err(failure_from_port)?);
        }
        Ok(committed)
    }

    async fn look_again(&self, topic: Topic, watch: &Watch) -> Result<(), Failure> {
        if watch.looks >= LOOKS_MAX {
            let message = match topic {
                Topic::Photos => "photos wait to be embedded and nobody embeds them",
                _ => "changes wait to be projected and nobody projects them",
            };
            return Err(Failure::unavailable(message, LOOK_AGAIN));
        }
        self.deps.clock.sleep(LOOK_AGAIN).await;
        Ok(())
    }
}
