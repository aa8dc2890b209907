//! The index: conditional writes, volatile until flushed.

use std::collections::BTreeMap;

use vidimus_domain::point::{LivePoint, Point, PointBody};
use vidimus_domain::{FaceId, Placement, Version};

use crate::log::PARTITIONS;

/// What lies in one index collection, and for every face the highest version that it ever had there.
#[derive(Clone, Default)]
struct Points {
    points: BTreeMap<FaceId, Point>,
    highest: BTreeMap<FaceId, Version>,
}

/// What became of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PointWrite {
    /// Left alone: there is a newer one or the same.
    Left,
    /// Written.
    Written,
    /// Written though the face had that version or a newer one before: I5 is broken.
    WentBack { had: Version },
}

#[derive(Default)]
pub struct Index {
    current: BTreeMap<Placement, Points>,
    flushed: BTreeMap<Placement, Points>,
    /// The connections' life: another one after a power loss.
    pub epoch: u64,
    must_project: [u64; PARTITIONS],
    projected: [u64; PARTITIONS],
}

impl Index {
    /// Writes a point over an older version of it or where there is none; over anything where `conditional` is false.
    pub fn write(&mut self, placement: &Placement, point: &Point, conditional: bool) -> PointWrite {
        let current = self.current.entry(placement.clone()).or_default();
        let there = current.points.get(&point.face).map(|old| old.version);
        if conditional && there.is_some_and(|version| version >= point.version) {
            return PointWrite::Left;
        }
        let had = current.highest.get(&point.face).copied();
        current.points.insert(point.face, point.clone());
        let highest = had.map_or(point.version, |had| had.max(point.version));
        current.highest.insert(point.face, highest);
        // The mark of an erased face may be written again after its day; it hides nothing and is removed again.
        let again = |had| matches!(point.body, PointBody::Erased { .. }) && had == point.version;
        match had {
            Some(had) if had >= point.version && there != Some(point.version) && !again(had) => {
                PointWrite::WentBack { had }
            }
            _ => PointWrite::Written,
        }
    }

    /// Removes a point where its version is this or less.
    pub fn remove(&mut self, placement: &Placement, face: FaceId, version_max: Version) -> bool {
        let Some(current) = self.current.get_mut(placement) else { return false };
        let goes = current.points.get(&face).is_some_and(|point| point.version <= version_max);
        goes && current.points.remove(&face).is_some()
    }

    /// Removes all points of an index collection. What comes there later comes for the first time.
    pub fn clear(&mut self, placement: &Placement) {
        self.current.remove(placement);
    }

    pub fn point(&self, placement: &Placement, face: FaceId) -> Option<&Point> {
        self.current.get(placement)?.points.get(&face)
    }

    pub fn points(&self, placement: &Placement) -> impl Iterator<Item = &Point> {
        self.current.get(placement).into_iter().flat_map(|current| current.points.values())
    }

    /// The index collections that hold something.
    pub fn placements(&self) -> impl Iterator<Item = &Placement> {
        let held = self.current.iter().filter(|(_, current)| !current.points.is_empty());
        held.map(|(placement, _)| placement)
    }

    /// The face's point, where it is live, whether expired or not.
    pub fn live_point(&self, placement: &Placement, face: FaceId) -> Option<&LivePoint> {
        match &self.point(placement, face)?.body {
            PointBody::Live(live) => Some(live),
            PointBody::Erased { .. } => None,
        }
    }

    pub fn flush(&mut self) {
        self.flushed = self.current.clone();
    }

    /// What was not flushed is gone, and so is every connection. Searches wait until the log's end is projected.
    pub fn lose_power(&mut self, commits: [u64; PARTITIONS], ends: [u64; PARTITIONS]) {
        self.current = self.flushed.clone();
        self.epoch += 1;
        self.must_project = ends;
        self.projected = commits;
    }

    /// An event was projected by someone who, connected to this very life of the index, began at the commit.
    pub fn projected(&mut self, partition: usize, next: u64) {
        self.projected[partition] = self.projected[partition].max(next);
    }

    pub fn is_ready(&self) -> bool {
        self.projected.iter().zip(&self.must_project).all(|(projected, must)| projected >= must)
    }
}
