//! What a consumer has: its partitions, how far it is in each, and the records that wait to be given out.

use std::cmp::Ordering;
use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use vidimus_ports::{LogRecord, PortError, PortErrorKind, PortResult, Position};

/// Records that wait to be given out; while there are so many no more are read.
const RECORDS_MAX: usize = 1000;
/// Bytes that wait to be given out; while there are so many no more are read.
const BYTES_MAX: usize = 16 << 20;
/// The longest that a consumer may have a full buffer of which nothing is taken: then it ends, and its partitions are given to others.
pub(super) const WORK_MAX: Duration = Duration::from_secs(300);

/// How far a consumer is in a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// The offset that comes next.
    pub(crate) next: u64,
    /// What the group has committed; none where it has not.
    pub(crate) committed: Option<u64>,
}

/// What a record that came is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// The one that was to come.
    Next,
    /// A later one, and those before it are missing: trimmed, or damaged.
    Gap,
    /// An earlier one: the log was lost and begun anew.
    BegunAnew,
    /// One of a partition that is not the consumer's.
    NotOurs,
}

/// How a consumer begins in a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Beginning {
    /// At the commit, or at the oldest record where there is none.
    Next,
    /// At the oldest record, since the log was trimmed past the commit.
    Trimmed,
    /// Not at all: the partition has less than was committed, so the log was lost and begun anew.
    Anew,
}

/// What is to be done about a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It is made.
    Ours,
    /// It is made if the log reaches so far: this consumer has not been given so much.
    Ahead,
    /// Nothing: as much is committed.
    Done,
    /// Nothing: the partition is not this consumer's.
    NotOurs,
}

/// What is to be done about reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flow {
    /// It goes on as it does.
    Unchanged,
    /// It stops: the buffer is full.
    Pause,
    /// It goes on again: there is room.
    Resume,
    /// It ends: nothing has been taken for too long.
    Stuck,
}

/// A partition of a consumer's.
#[derive(Clone, Copy, Debug)]
struct Held {
    place: Place,
    /// The offset after the last record that was given out.
    given: Option<u64>,
    /// Whether it is on its way to another consumer: it is committed, and nothing more of it is given out.
    is_leaving: bool,
}

/// A consumer's partitions and waiting records.
#[derive(Debug, Default)]
pub(crate) struct Places {
    held: BTreeMap<u32, Held>,
    waiting: VecDeque<LogRecord>,
    waiting_bytes: usize,
    /// While reading has stopped: when it did, or when a record was last taken since.
    paused: Option<Instant>,
    /// Since when it has stood still in a partition whose records are damaged, and what was said of them.
    damaged: Option<(Instant, String)>,
    /// Why the consumer has ended.
    ended: Option<(PortErrorKind, String)>,
    pub(crate) closing: bool,
}

impl Places {
    /// Takes up a partition.
    pub(crate) fn assign(&mut self, partition: u32, place: Place) {
        self.held.insert(partition, Held { place, given: None, is_leaving: false });
    }

    /// Gives out no more of a partition that is about to be let go of.
    pub(crate) fn leave(&mut self, partition: u32) {
        if let Some(held) = self.held.get_mut(&partition) {
            held.is_leaving = true;
        }
        self.waiting.retain(|record| record.position.partition != partition);
        self.waiting_bytes = self.waiting.iter().map(bytes).sum();
    }

    /// Whether something of a partition was given out and is not committed.
    pub(crate) fn is_out(&self, partition: u32) -> bool {
        self.held.get(&partition).is_some_and(|held| held.given > held.place.committed)
    }

    /// Lets go of a partition, and of what waits of it.
    pub(crate) fn revoke(&mut self, partition: u32) {
        self.leave(partition);
        self.held.remove(&partition);
    }

    /// The partitions, each with the offset that comes next.
    pub(crate) fn next_places(&self) -> impl Iterator<Item = (u32, u64)> {
        self.held.iter().map(|(partition, held)| (*partition, held.place.next))
    }

    /// Whether damaged records were met.
    pub(crate) const fn is_damaged(&self) -> bool {
        self.damaged.is_some()
    }

    /// Damaged records were met.
    pub(crate) fn damage(&mut self, now: Instant, reason: String) {
        self.damaged = Some((now, reason));
    }

    /// Ends the consumer where it met damaged records so long ago.
    pub(crate) fn end_if_damaged(&mut self, now: Instant, patience: Duration) {
        if let Some((_, reason)) = self.damaged.take_if(|(since, _)| now.duration_since(*since) >= patience) {
            self.end(PortErrorKind::Corrupt, reason);
        }
    }

    /// Ends the consumer; the first reason counts. What waits is not given out any more.
    pub(crate) fn end(&mut self, kind: PortErrorKind, reason: String) {
        self.ended.get_or_insert((kind, reason));
        self.waiting.clear();
        self.waiting_bytes = 0;
    }

    pub(crate) fn is_over(&self) -> bool {
        self.closing || self.ended.is_some()
    }

    pub(crate) fn has_room(&self) -> bool {
        self.waiting.len() < RECORDS_MAX && self.waiting_bytes < BYTES_MAX
    }

    /// Whether reading has stopped.
    pub(crate) const fn is_paused(&self) -> bool {
        self.paused.is_some()
    }

    /// What is to be done about reading, which counts as done. What was stopped goes on once half of the buffer is free: the client
    /// library forgets at a stop what it has read ahead, and reads it again.
    pub(crate) fn flow(&mut self, now: Instant) -> Flow {
        let Some(since) = self.paused else {
            if self.has_room() {
                return Flow::Unchanged;
            }
            self.paused = Some(now);
            return Flow::Pause;
        };
        if self.waiting.len() <= RECORDS_MAX / 2 && self.waiting_bytes <= BYTES_MAX / 2 {
            self.paused = None;
            return Flow::Resume;
        }
        if now.duration_since(since) >= WORK_MAX { Flow::Stuck } else { Flow::Unchanged }
    }

    /// Has reading go on. Returns whether it had stopped.
    pub(crate) fn resume(&mut self) -> bool {
        self.paused.take().is_some()
    }

    /// What a record is that came from there.
    pub(crate) fn arrival(&self, position: Position) -> Arrival {
        let held = self.held.get(&position.partition).filter(|held| !held.is_leaving);
        let Some(Held { place, .. }) = held else { return Arrival::NotOurs };
        match position.offset.cmp(&place.next) {
            Ordering::Less => Arrival::BegunAnew,
            Ordering::Equal => Arrival::Next,
            Ordering::Greater => Arrival::Gap,
        }
    }

    /// Lets a record that came wait.
    pub(crate) fn take(&mut self, record: LogRecord) {
        let Some(held) = self.held.get_mut(&record.position.partition) else { return };
        held.place.next = record.position.offset + 1;
        self.waiting_bytes += bytes(&record);
        self.waiting.push_back(record);
    }

    /// Gives out up to `limit` records, oldest first.
    pub(crate) fn give(&mut self, limit: usize) -> PortResult<Vec<LogRecord>> {
        if let Some((kind, reason)) = &self.ended {
            return Err(PortError::new(*kind, "read log").because(reason.clone()));
        }
        let given: Vec<LogRecord> = self.waiting.drain(..limit.min(self.waiting.len())).collect();
        self.waiting_bytes -= given.iter().map(bytes).sum::<usize>();
        for LogRecord { position, .. } in &given {
            if let Some(held) = self.held.get_mut(&position.partition) {
                held.given = Some(position.offset + 1);
            }
        }
        if !given.is_empty() {
            self.paused = self.paused.map(|_| Instant::now());
        }
        Ok(given)
    }

    pub(crate) fn standing(&self, next: Position) -> Standing {
        let held = self.held.get(&next.partition).filter(|_| self.ended.is_none());
        let Some(Held { place, .. }) = held else { return Standing::NotOurs };
        if place.committed.is_some_and(|committed| committed >= next.offset) {
            return Standing::Done;
        }
        if next.offset > place.next { Standing::Ahead } else { Standing::Ours }
    }

    pub(crate) fn committed(&mut self, next: Position) {
        if let Some(Held { place, .. }) = self.held.get_mut(&next.partition) {
            place.committed = place.committed.max(Some(next.offset));
        }
    }
}

fn bytes(record: &LogRecord) -> usize {
    let headers = record.headers.iter().map(|header| header.name.len() + header.value.len());
    record.key.len() + record.payload.len() + headers.sum::<usize>()
}

/// Whether what is missing before a record at `offset` was trimmed, where the oldest record that the log has is the one at `first`. Our
/// topics have neither transactions nor compaction: what was not trimmed is damaged, and the client library has left it out.
pub(crate) const fn is_trimmed(offset: u64, first: u64) -> bool {
    first >= offset
}

/// Where a consumer begins in a partition whose records are those from `first` to before `next`.
pub(crate) fn start(committed: Option<u64>, (first, end): (u64, u64)) -> (Place, Beginning) {
    let (next, beginning) = match committed {
        Some(committed) if committed > end => (first, Beginning::Anew),
        Some(committed) if committed < first => (first, Beginning::Trimmed),
        Some(committed) => (committed, Beginning::Next),
        None => (first, Beginning::Next),
    };
    (Place { next, committed }, beginning)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(partition: u32, offset: u64) -> LogRecord {
        let payload = vec![0; 10].into();
        let position = Position { partition, offset };
        LogRecord { position, key: Default::default(), payload, headers: Vec::new() }
    }

    fn of(partition: u32, next: u64, committed: Option<u64>) -> Places {
        let mut places = Places::default();
        places.assign(partition, Place { next, committed });
        places
    }

    #[test]
    fn a_consumer_begins_at_its_commit_or_at_the_oldest_record() {
        for (committed, next, beginning) in [
            (None, 5, Beginning::Next),
            (Some(5), 5, Beginning::Next),
            (Some(9), 9, Beginning::Next),
            (Some(4), 5, Beginning::Trimmed),
            (Some(10), 5, Beginning::Anew),
        ] {
            assert_eq!(start(committed, (5, 9)), (Place { next, committed }, beginning));
        }
    }

    #[test]
    fn nothing_of_a_lost_partition_is_given_out_or_committed() {
        let mut places = of(1, 0, None);
        places.assign(2, Place { next: 0, committed: None });
        for (partition, offset) in [(1, 0), (2, 0), (1, 1)] {
            assert_eq!(places.arrival(Position { partition, offset }), Arrival::Next);
            places.take(record(partition, offset));
        }
        places.revoke(1);
        assert_eq!(places.arrival(Position { partition: 1, offset: 2 }), Arrival::NotOurs);
        assert_eq!(places.give(10).unwrap(), [record(2, 0)]);
        assert_eq!(places.waiting_bytes, 0);
        assert_eq!(places.standing(Position { partition: 1, offset: 1 }), Standing::NotOurs);
        assert_eq!(places.standing(Position { partition: 2, offset: 1 }), Standing::Ours);
    }

    #[test]
    fn commits_go_forward_only() {
        let mut places = of(1, 8, Some(5));
        for (offset, standing) in
            [(4, Standing::Done), (5, Standing::Done), (8, Standing::Ours), (9, Standing::Ahead)]
        {
            assert_eq!(places.standing(Position { partition: 1, offset }), standing);
        }
        places.committed(Position { partition: 1, offset: 8 });
        places.committed(Position { partition: 1, offset: 7 });
        assert_eq!(places.standing(Position { partition: 1, offset: 8 }), Standing::Done);
    }

    #[test]
    fn a_partition_that_leaves_is_out_until_what_was_given_is_committed() {
        let mut places = of(1, 5, Some(5));
        places.assign(2, Place { next: 0, committed: None });
        assert!(!places.is_out(1) && !places.is_out(2) && !places.is_out(3));
        for (partition, offset) in [(1, 5), (1, 6), (2, 0), (1, 7)] {
            places.take(record(partition, offset));
        }
        assert_eq!(places.give(3).unwrap().len(), 3);
        assert!(places.is_out(1) && places.is_out(2));
        places.leave(1);
        assert_eq!(places.arrival(Position { partition: 1, offset: 8 }), Arrival::NotOurs);
        assert_eq!(places.give(3).unwrap(), [], "what waited of it is given out no more");
        places.committed(Position { partition: 1, offset: 6 });
        assert!(places.is_out(1));
        assert_eq!(places.standing(Position { partition: 1, offset: 7 }), Standing::Ours);
        places.committed(Position { partition: 1, offset: 7 });
        assert!(!places.is_out(1) && places.is_out(2));
    }

    #[test]
    fn jumps_are_told() {
        let mut places = of(1, 3, None);
        for (offset, arrival) in [(3, Arrival::Next), (5, Arrival::Gap), (2, Arrival::BegunAnew)] {
            assert_eq!(places.arrival(Position { partition: 1, offset }), arrival);
        }
        // More was trimmed since it was read, where the oldest is later still.
        for (first, trimmed) in [(3, false), (4, false), (5, true), (6, true)] {
            assert_eq!(is_trimmed(5, first), trimmed, "{first}");
        }
        places.take(record(1, 5));
        assert_eq!(places.arrival(Position { partition: 1, offset: 6 }), Arrival::Next);
        assert_eq!(places.give(10).unwrap().len(), 1);
        places.end(PortErrorKind::Unavailable, "first".to_owned());
        places.end(PortErrorKind::Internal, "second".to_owned());
        let error = places.give(10).unwrap_err();
        assert!(error.kind() == PortErrorKind::Unavailable && error.to_string().contains("first"));
        let next = Position { partition: 1, offset: 6 };
        assert_eq!(places.standing(next), Standing::NotOurs, "it may be of a log that is lost");
    }

    #[test]
    fn reading_stops_while_the_buffer_is_full_and_ends_where_nothing_is_taken() {
        let mut places = of(1, 0, None);
        let now = Instant::now();
        assert_eq!(places.flow(now), Flow::Unchanged);
        for offset in 0..RECORDS_MAX as u64 {
            places.take(record(1, offset));
        }
        assert_eq!(places.flow(now), Flow::Pause);
        assert_eq!(places.flow(now), Flow::Unchanged);
        assert_eq!(places.flow(now + WORK_MAX), Flow::Stuck);
        assert_eq!(places.give(1).unwrap().len(), 1);
        assert_eq!(places.flow(now + WORK_MAX), Flow::Unchanged, "something was taken since");
        assert_eq!(places.give(RECORDS_MAX / 2).unwrap().len(), RECORDS_MAX / 2);
        assert_eq!(places.flow(now + WORK_MAX), Flow::Resume);
        assert_eq!(places.flow(now + WORK_MAX), Flow::Unchanged);
    }

    #[test]
    fn what_waits_has_bounds() {
        let mut places = of(1, 0, None);
        let mut offset = 0;
        while places.has_room() {
            places.take(record(1, offset));
            offset += 1;
        }
        assert_eq!(offset, RECORDS_MAX as u64);
        assert_eq!(places.give(7).unwrap().len(), 7);
        assert!(places.has_room());
        let mut longest = record(1, offset);
        longest.payload = vec![0; BYTES_MAX].into();
        places.take(longest);
        assert!(!places.has_room());
    }
}
