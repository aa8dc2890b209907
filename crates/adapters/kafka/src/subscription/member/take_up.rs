//! Taking up partitions: at the group's commit, and of one life of the log alone.

use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::{Offset, TopicPartitionList};
use vidimus_ports::{PortError, PortErrorKind, PortResult, Position};

use super::super::places::{Beginning, Place, start};
use super::{Member, Shared, numbers};
use crate::error::port_error;
use crate::queries::{Deadline, bounds, committed};
use crate::topics::LOOK_PAUSE;

/// How long a consumer that is given partitions asks for the log's life while it is not told.
const LIFE_WAIT: Duration = Duration::from_secs(3);
/// A partition that has less than was committed is looked at again after this long: a broker that leads no more may not know that yet.
const LOSS_WAIT: Duration = Duration::from_secs(2);

impl Shared {
    /// Takes up partitions, each at the group's commit.
    pub(super) fn assign(&self, client: &BaseConsumer<Member>, assigned: &TopicPartitionList) {
        if let Err(error) = self.take_up(client, &numbers(assigned)) {
            tracing::warn!(topic = self.topic.name(), %error, "assigned partitions could not be taken up");
            self.end(error.kind(), error.to_string());
        }
        if self.places().is_over() {
            let _ = client.incremental_assign(assigned);
        }
    }

    /// Does so; where they are of another life of the log, ends the consumer instead.
    fn take_up(&self, client: &BaseConsumer<Member>, partitions: &[u32]) -> PortResult<()> {
        let failed = port_error("take up partitions");
        let mut starts = self.starts(client, partitions)?;
        if !lost(&starts).is_empty() {
            std::thread::park_timeout(LOSS_WAIT);
            starts = self.starts(client, partitions)?;
        }
        // After the places were read: had another life begun before, this one would have ended before its topics were there.
        if !self.is_same_life()? {
            self.end_as_lost(None);
            return Ok(());
        }
        if let [first, ..] = lost(&starts)[..] {
            self.end_life(client, &lost(&starts))?;
            self.end_as_lost(Some(first.partition));
            return Ok(());
        }
        let mut list = TopicPartitionList::new();
        for (partition, place, beginning) in starts {
            if beginning == Beginning::Trimmed {
                self.tell_trimmed(partition);
            }
            self.places().assign(partition, place);
            let offset = Offset::Offset(place.next.cast_signed());
            list.add_partition_offset(&self.name, partition.cast_signed(), offset).map_err(&failed)?;
        }
        client.incremental_assign(&list).map_err(failed)
    }

    /// Partitions have less than was committed: ends the life of the log, and then has the group begin there at the oldest record. A process
    /// that dies between the two leaves it to the next to end another life.
    fn end_life(&self, client: &BaseConsumer<Member>, lost: &[Position]) -> PortResult<()> {
        let (said, ended) = std::sync::mpsc::sync_channel(1);
        let (incarnation, life) = (self.incarnation.clone(), self.life);
        self.runtime.spawn(async move { drop(said.send(incarnation.end_where_it_counts(life).await)) });
        let unanswered =
            |error| PortError::new(PortErrorKind::Unavailable, "end the log's life").because(error);
        ended.recv_timeout(2 * self.timeout).map_err(unanswered)??;
        let failed = port_error("commit the oldest records");
        let mut list = TopicPartitionList::new();
        for Position { partition, offset } in lost {
            let offset = Offset::Offset(offset.cast_signed());
            list.add_partition_offset(&self.name, partition.cast_signed(), offset).map_err(&failed)?;
        }
        client.commit(&list, CommitMode::Sync).map_err(failed)
    }

    /// Whether the log lives the life that this consumer has joined in. A broker may not know yet.
    fn is_same_life(&self) -> PortResult<bool> {
        let deadline = Deadline::after(LIFE_WAIT);
        loop {
            match self.incarnation.read_blocking() {
                Err(_) if !deadline.has_passed() => std::thread::park_timeout(LOOK_PAUSE),
                answered => return Ok(answered? == Some(self.life)),
            }
        }
    }

    /// Where the consumer begins in each of `partitions`.
    fn starts(
        &self,
        client: &BaseConsumer<Member>,
        partitions: &[u32],
    ) -> PortResult<Vec<(u32, Place, Beginning)>> {
        let deadline = Deadline::after(self.timeout);
        let committed = committed(client, &self.name, partitions, deadline)?;
        let mut starts = Vec::new();
        for partition in partitions {
            let commit = committed.iter().find(|place| place.partition == *partition);
            let bounds = bounds(client, &self.name, *partition, deadline)?;
            let (place, beginning) = start(commit.map(|place| place.offset), bounds);
            starts.push((*partition, place, beginning));
        }
        Ok(starts)
    }
}

/// The oldest records of the partitions that have less than was committed.
fn lost(starts: &[(u32, Place, Beginning)]) -> Vec<Position> {
    let lost = starts.iter().filter(|(_, _, beginning)| *beginning == Beginning::Anew);
    lost.map(|(partition, place, _)| Position { partition: *partition, offset: place.next }).collect()
}
