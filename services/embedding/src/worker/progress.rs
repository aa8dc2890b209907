//! How far a worker is. Photos end in any order; a partition is committed up to the first that has not ended.

use std::collections::{BTreeMap, VecDeque};

use vidimus_ports::Position;

use super::photo::Ended;

/// Of each partition, in order, what was taken and is not committed.
#[derive(Default)]
pub(super) struct Progress {
    partitions: BTreeMap<u32, VecDeque<Taken>>,
}

struct Taken {
    offset: u64,
    is_done: bool,
}

impl Progress {
    pub(super) fn taken(&mut self, position: Position) {
        let taken = self.partitions.entry(position.partition).or_default();
        taken.push_back(Taken { offset: position.offset, is_done: false });
    }

    pub(super) fn ended(&mut self, position: Position, ended: Ended) {
        let taken = self.partitions.entry(position.partition).or_default();
        for taken in taken.iter_mut().filter(|taken| taken.offset == position.offset) {
            taken.is_done |= ended == Ended::Done;
        }
    }

    /// The places that may be committed now.
    pub(super) fn take_done(&mut self) -> Vec<Position> {
        let mut done = Vec::new();
        for (partition, taken) in &mut self.partitions {
            let count = taken.iter().take_while(|taken| taken.is_done).count();
            let last = taken.drain(..count).next_back();
            done.extend(last.map(|last| Position { partition: *partition, offset: last.offset + 1 }));
        }
        done
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ended_out_of_order_waits_for_what_is_before_it() {
        let place = |partition, offset| Position { partition, offset };
        let mut progress = Progress::default();
        for position in [place(0, 5), place(0, 6), place(0, 7), place(1, 1), place(1, 2)] {
            progress.taken(position);
        }
        progress.ended(place(0, 6), Ended::Done);
        assert!(progress.take_done().is_empty());
        progress.ended(place(0, 5), Ended::Done);
        progress.ended(place(1, 1), Ended::Done);
        progress.ended(place(1, 2), Ended::LeftForLater);
        assert_eq!(progress.take_done(), [place(0, 7), place(1, 2)]);
        assert!(progress.take_done().is_empty(), "nothing is committed twice");
        progress.ended(place(0, 7), Ended::Done);
        assert_eq!(progress.take_done(), [place(0, 8)]);
    }
}
