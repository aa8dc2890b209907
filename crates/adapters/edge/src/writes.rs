//! Writing and removing points. Blocking.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};

use qdrant_edge::{
    ConditionalInsertOperation, PointInsertOperations, PointOperations, PointStructPersisted,
    UpdateOperation, VectorPersisted, VectorStructPersisted,
};
use vidimus_domain::point::{Point, PointBody};
use vidimus_domain::{FaceId, Part, Version};
use vidimus_ports::RemoveIf;

use crate::disk;
use crate::error::{EdgeError, EdgeResult};
use crate::filter::{self, Replace};
use crate::payload;
use crate::shard::{Shard, VECTOR};

/// Points of one engine operation at most: its lock is held, and its log record written, for so many.
const OPERATION_POINTS_MAX: usize = 1_000;

impl Shard {
    /// Writes each point where there is none or an older one of the part. The engine has one condition for an
    /// operation, so points go by their version: a record's faces mostly share theirs.
    ///
    /// # Errors
    /// [`EdgeError::Dimension`] or [`EdgeError::Number`] before anything is written; [`EdgeError::DiskFull`], and then every
    /// erased point is written where the room sufficed for that; else where the engine fails, and then some points may be
    /// written.
    pub fn write(&self, part: &Part, points: &[Point], replace: Replace) -> EdgeResult<()> {
        let (mut live, mut erased) = (Vec::new(), Vec::new());
        for point in newest(points) {
            match &point.body {
                PointBody::Live(body) => {
                    self.require_dimension(body.template.dimension())?;
                    live.push(point);
                }
                PointBody::Erased { .. } => erased.push(point),
            }
        }
        if !erased.is_empty() {
            self.require_room(self.free_bytes_min / 4)?;
            self.write_versions(part, &erased, replace)?;
        }
        if self.require_room(self.free_bytes_min).is_err() {
            // An erased face's siblings are written with it: those that are there already need no room.
            live = self.unwritten(part, live)?;
        }
        if !live.is_empty() {
            self.require_room(self.free_bytes_min)?;
            self.write_versions(part, &live, replace)?;
        }
        Ok(())
    }

    /// The points that are not there at their version or a newer one.
    fn unwritten<'a>(&self, part: &Part, points: Vec<&'a Point>) -> EdgeResult<Vec<&'a Point>> {
        let faces: Vec<FaceId> = points.iter().map(|point| point.face).collect();
        let stored: HashMap<FaceId, Version> =
            self.get(part, &faces)?.iter().map(|point| (point.face, point.version)).collect();
        let is_written =
            |point: &Point| stored.get(&point.face).is_some_and(|version| *version >= point.version);
        Ok(points.into_iter().filter(|point| !is_written(point)).collect())
    }

    fn write_versions(&self, part: &Part, points: &[&Point], replace: Replace) -> EdgeResult<()> {
        let mut by_version: BTreeMap<Version, Vec<PointStructPersisted>> = BTreeMap::new();
        for point in points {
            by_version.entry(point.version).or_default().push(persisted(part, point)?);
        }
        for (version, mut points) in by_version {
            while !points.is_empty() {
                let rest = points.split_off(points.len().min(OPERATION_POINTS_MAX));
                self.upsert(filter::replaceable(part, version, replace), points)?;
                points = rest;
            }
        }
        Ok(())
    }

    fn upsert(&self, condition: qdrant_edge::Filter, points: Vec<PointStructPersisted>) -> EdgeResult<()> {
        let operation = PointOperations::UpsertPointsConditional(ConditionalInsertOperation {
            points_op: PointInsertOperations::PointsList(points),
            condition,
            update_mode: None,
        });
        Ok(self.engine.update(UpdateOperation::PointOperation(operation))?)
    }

    /// Removes each point that is the part's and not newer than was seen.
    ///
    /// # Errors
    /// Where the engine fails; some points may be removed then.
    pub fn remove(&self, part: &Part, points: &[RemoveIf]) -> EdgeResult<()> {
        let mut by_version: BTreeMap<Version, Vec<FaceId>> = BTreeMap::new();
        for point in points {
            by_version.entry(point.version_max).or_default().push(point.face);
        }
        for (version_max, faces) in by_version {
            for faces in faces.chunks(OPERATION_POINTS_MAX) {
                self.delete(filter::removable(part, faces, version_max))?;
            }
        }
        Ok(())
    }

    /// Removes all points of the part.
    ///
    /// # Errors
    /// Where the engine fails; some points may be removed then.
    pub fn remove_part(&self, part: &Part) -> EdgeResult<()> {
        self.delete(filter::any(part))
    }

    fn delete(&self, filter: qdrant_edge::Filter) -> EdgeResult<()> {
        let operation = PointOperations::DeletePointsByFilter(filter);
        Ok(self.engine.update(UpdateOperation::PointOperation(operation))?)
    }

    /// Deletions ask for less than enrolments, so they are let through for longer.
    fn require_room(&self, needed_bytes: u64) -> EdgeResult<()> {
        let path = self.engine.path();
        let free_bytes = disk::free_bytes(path).map_err(EdgeError::io(path))?;
        if free_bytes < needed_bytes {
            return Err(EdgeError::DiskFull { path: path.to_owned(), free_bytes, needed_bytes });
        }
        Ok(())
    }
}

/// Of points with the same id the newest, the first of those of one version: as if they had been written in turn.
fn newest(points: &[Point]) -> impl Iterator<Item = &Point> {
    let mut newest: HashMap<FaceId, &Point> = HashMap::with_capacity(points.len());
    for point in points {
        match newest.entry(point.face) {
            Entry::Occupied(mut entry) if entry.get().version < point.version => {
                entry.insert(point);
            }
            Entry::Occupied(_) => {}
            Entry::Vacant(entry) => {
                entry.insert(point);
            }
        }
    }
    newest.into_values()
}

fn persisted(part: &Part, point: &Point) -> EdgeResult<PointStructPersisted> {
    let mut vectors = HashMap::new();
    if let PointBody::Live(live) = &point.body {
        vectors.insert(VECTOR.to_owned(), VectorPersisted::Dense(live.template.values().to_vec()));
    }
    Ok(PointStructPersisted {
        id: filter::point_id(point.face),
        // An erased point has an empty set of named vectors.
        vector: VectorStructPersisted::Named(vectors),
        payload: Some(payload::encode(part, point)?),
    })
}
