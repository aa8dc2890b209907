//! Partitions and who reads them: for logs whose consumers all live in one process, and how far a group is behind in any log.

use crate::event_log::{Committed, TopicState};

/// The partition of `key`: FNV-1a with 64 bits (Fowler, Noll, Vo), modulo the number of partitions. Zero where there
/// are none.
#[must_use]
pub fn partition_of(key: &[u8], partitions: u32) -> u32 {
    const OFFSET_BASIS: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0100_0000_01b3;
    let hash = key.iter().fold(OFFSET_BASIS, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(PRIME));
    // The upper half: the lower bits of FNV-1a hardly depend on the upper bits of the bytes.
    (hash >> 32).checked_rem(u64::from(partitions)).unwrap_or(0) as u32
}

/// How many records of each partition a group has not committed. Without a commit it begins at the oldest.
#[must_use]
pub fn lag(states: &[TopicState], committed: &[Committed]) -> Vec<(u32, u64)> {
    let behind = |state: &TopicState| {
        let commit = committed.iter().find(|place| place.partition == state.partition);
        let begins = commit.map_or(state.first_offset, |place| place.offset.max(state.first_offset));
        (state.partition, state.next_offset.saturating_sub(begins))
    };
    states.iter().map(behind).collect()
}

/// The live consumers of one group. Every partition is one consumer's, as long as there is one, and they share the
/// partitions evenly, in turn by the order in which they joined.
#[derive(Debug, Default)]
pub struct Membership {
    members: Vec<u64>,
    joined: u64,
}

impl Membership {
    /// Adds a consumer and returns its number, which no other ever has.
    pub fn join(&mut self) -> u64 {
        self.joined += 1;
        self.members.push(self.joined);
        self.joined
    }

    /// Removes a consumer; its partitions are the others' from now on.
    pub fn leave(&mut self, member: u64) {
        self.members.retain(|other| *other != member);
    }

    /// Whether `partition` is `member`'s.
    #[must_use]
    pub fn owns(&self, member: u64, partition: u32) -> bool {
        let turn = (partition as usize).checked_rem(self.members.len());
        turn.is_some_and(|turn| self.members[turn] == member)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_partition_is_one_consumers() {
        let mut group = Membership::default();
        let members = [group.join(), group.join(), group.join()];
        for left in 0..=members.len() {
            for partition in 0..8 {
                let owners = members.iter().filter(|member| group.owns(**member, partition)).count();
                assert_eq!(owners, usize::from(left < members.len()), "{left} left, partition {partition}");
            }
            if let Some(member) = members.get(left) {
                group.leave(*member);
            }
        }
    }

    #[test]
    fn a_group_is_behind_by_what_is_there_and_not_committed() {
        let state = |partition| TopicState { partition, first_offset: 10, next_offset: 30 };
        let committed = [(1, 10), (2, 25), (3, 30), (4, 4), (5, 99)]
            .map(|(partition, offset)| Committed { partition, offset });
        let behind = lag(&[0, 1, 2, 3, 4, 5].map(state), &committed);
        assert_eq!(behind, [(0, 20), (1, 20), (2, 5), (3, 0), (4, 20), (5, 0)]);
    }

    #[test]
    fn keys_spread_over_the_partitions() {
        let mut counts = [0; 4];
        for key in 0..4000_u32 {
            counts[partition_of(&key.to_le_bytes(), 4) as usize] += 1;
        }
        assert!(counts.iter().all(|count| (800..1200).contains(count)), "{counts:?}");
        assert_eq!(partition_of(b"any", 0), 0);
    }
}
