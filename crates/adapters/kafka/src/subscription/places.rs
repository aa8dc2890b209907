//! What a consumer has: its partitions, how far it is in each, and the records that wait to be given out.

use std::collections::{BTreeMap, VecDeque};

use vidimus_ports::{LogRecord, PortError, PortErrorKind, PortResult, Position};

/// Records that wait to be given out; while there are so many no more are read.
const RECORDS_MAX: usize = 1000;
/// Bytes that wait to be given out; while there are so many no more are read.
const BYTES_MAX: usize = 16 << 20;

/// How far a consumer is in a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// The offset that comes next.
    pub(crate) next: u64,
    /// What the group has committed; none where it has not, or where that was another log's.
    pub(crate) committed: Option<u64>,
}

/// What a record that came is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// The one that was to come.
    Next,
    /// A later one: those before it were trimmed.
    Trimmed,
    /// An earlier one: the log was lost and begun anew.
    BegunAnew,
    /// One of a partition that is not the consumer's.
    NotOurs,
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

/// A consumer's partitions and waiting records.
#[derive(Debug, Default)]
pub(crate) struct Places {
    places: BTreeMap<u32, Place>,
    waiting: VecDeque<LogRecord>,
    waiting_bytes: usize,
    /// Why the consumer has ended.
    ended: Option<(PortErrorKind, String)>,
    pub(crate) closing: bool,
}

impl Places {
    /// Takes up a partition.
    pub(crate) fn assign(&mut self, partition: u32, place: Place) {
        self.places.insert(partition, place);
    }

    /// Lets go of a partition, and of what waits of it.
    pub(crate) fn revoke(&mut self, partition: u32) {
        self.places.remove(&partition);
        self.waiting.retain(|record| record.position.partition != partition);
        self.waiting_bytes = self.waiting.iter().map(bytes).sum();
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

    /// Lets a record that came wait, if it may be given out.
    pub(crate) fn arrive(&mut self, record: LogRecord) -> Arrival {
        let Position { partition, offset } = record.position;
        let Some(place) = self.places.get_mut(&partition) else { return Arrival::NotOurs };
        if offset < place.next {
            return Arrival::BegunAnew;
        }
        let arrival = if offset == place.next { Arrival::Next } else { Arrival::Trimmed };
        place.next = offset + 1;
        self.waiting_bytes += bytes(&record);
        self.waiting.push_back(record);
        arrival
    }

    /// Gives out up to `limit` records, oldest first.
    pub(crate) fn give(&mut self, limit: usize) -> PortResult<Vec<LogRecord>> {
        if let Some((kind, reason)) = &self.ended {
            return Err(PortError::new(*kind, "read log").because(reason.clone()));
        }
        let given: Vec<LogRecord> = self.waiting.drain(..limit.min(self.waiting.len())).collect();
        self.waiting_bytes -= given.iter().map(bytes).sum::<usize>();
        Ok(given)
    }

    pub(crate) fn standing(&self, next: Position) -> Standing {
        let Some(place) = self.places.get(&next.partition) else { return Standing::NotOurs };
        if place.committed.is_some_and(|committed| committed >= next.offset) {
            return Standing::Done;
        }
        if next.offset > place.next { Standing::Ahead } else { Standing::Ours }
    }

    pub(crate) fn committed(&mut self, next: Position) {
        if let Some(place) = self.places.get_mut(&next.partition) {
            place.committed = place.committed.max(Some(next.offset));
        }
    }
}

fn bytes(record: &LogRecord) -> usize {
    let headers = record.headers.iter().map(|header| header.name.len() + header.value.len());
    record.key.len() + record.payload.len() + headers.sum::<usize>()
}

/// Where a consumer begins in a partition whose records are those from `first` to before `next`.
pub(crate) fn start(committed: Option<u64>, (first, next): (u64, u64)) -> (Place, Arrival) {
    match committed {
        Some(committed) if committed > next => (Place { next: first, committed: None }, Arrival::BegunAnew),
        Some(committed) if committed < first => {
            (Place { next: first, committed: Some(committed) }, Arrival::Trimmed)
        }
        Some(committed) => (Place { next: committed, committed: Some(committed) }, Arrival::Next),
        None => (Place { next: first, committed: None }, Arrival::Next),
    }
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
        for (committed, bounds, next, floor, arrival) in [
            (None, (5, 9), 5, None, Arrival::Next),
            (Some(5), (5, 9), 5, Some(5), Arrival::Next),
            (Some(9), (5, 9), 9, Some(9), Arrival::Next),
            (Some(4), (5, 9), 5, Some(4), Arrival::Trimmed),
            (Some(10), (5, 9), 5, None, Arrival::BegunAnew),
        ] {
            assert_eq!(start(committed, bounds), (Place { next, committed: floor }, arrival));
        }
    }

    #[test]
    fn nothing_of_a_lost_partition_is_given_out_or_committed() {
        let mut places = of(1, 0, None);
        places.assign(2, Place { next: 0, committed: None });
        for (partition, offset) in [(1, 0), (2, 0), (1, 1)] {
            assert_eq!(places.arrive(record(partition, offset)), Arrival::Next);
        }
        places.revoke(1);
        assert_eq!(places.arrive(record(1, 2)), Arrival::NotOurs);
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
    fn jumps_are_told() {
        let mut places = of(1, 3, None);
        assert_eq!(places.arrive(record(1, 5)), Arrival::Trimmed);
        assert_eq!(places.arrive(record(1, 6)), Arrival::Next);
        assert_eq!(places.arrive(record(1, 0)), Arrival::BegunAnew);
        assert_eq!(places.give(10).unwrap().len(), 2);
        places.end(PortErrorKind::Unavailable, "first".to_owned());
        places.end(PortErrorKind::Internal, "second".to_owned());
        let error = places.give(10).unwrap_err();
        assert!(error.kind() == PortErrorKind::Unavailable && error.to_string().contains("first"));
    }

    #[test]
    fn what_waits_has_bounds() {
        let mut places = of(1, 0, None);
        let mut offset = 0;
        while places.has_room() {
            places.arrive(record(1, offset));
            offset += 1;
        }
        assert_eq!(offset, RECORDS_MAX as u64);
        assert_eq!(places.give(7).unwrap().len(), 7);
        assert!(places.has_room());
        let mut longest = record(1, offset);
        longest.payload = vec![0; BYTES_MAX].into();
        places.arrive(longest);
        assert!(!places.has_room());
    }
}
