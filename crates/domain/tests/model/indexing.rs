//! Indexing: projects records into the index, asked for or told by the log.

use std::collections::BTreeMap;

use vidimus_domain::point::{Point, PointBody};
use vidimus_domain::record::{Projection, is_fresh, projection};
use vidimus_domain::{FaceId, FaceModelName, FaceNumber, ImageId, Placement, UnixMillis, Version};

use crate::executor::{Lost, Process};
use crate::log::Assigned;
use crate::random::{hours, millis, minutes};
use crate::rules::Rule;
use crate::world::short;

/// Reads the record as it is now and writes its points; where it is gone, removes the points that were seen. On return
/// a search sees it.
///
/// It looks where to write before it reads, and not again after it wrote: whatever it is relied upon for was in the store before it
/// looked. So where it knows nothing of a move that has begun, the move's own walk, a lease later, says that too.
pub async fn project(
    process: &Process,
    epoch: u64,
    image: ImageId,
    seen: &[(FaceNumber, Version)],
) -> Result<(), Lost> {
    loop {
        let began = process.now();
        let believed = match process.keeps(Rule::PlacementsAreLeased) {
            true => process.believed_placements(),
            false => process.placements_believed_for(hours(1)),
        };
        let read = process.read_record(image).await?;
        let projected = |model: &FaceModelName| match &read.record {
            Some(record) if process.keeps(Rule::ModelsGoWithPlacements) => {
                kept(process, projection(record, model, process.now()))
            }
            Some(record) => kept(process, projection(record, &record.origin.face_model, process.now())),
            None => {
                process.count("a record was gone");
                let remove = seen.iter().map(|(number, version)| (image.face(*number), *version)).collect();
                Projection { remove, ..Projection::default() }
            }
        };
        let written = believed.written().map(|(placement, model)| (placement.clone(), projected(model)));
        if apply(process, epoch, began, written.collect()).await? {
            return Ok(());
        }
        process.count("indexing read again");
    }
}

/// With its rule broken, an erased face's point is removed at once.
fn kept(process: &Process, mut projection: Projection) -> Projection {
    if !process.keeps(Rule::ErasedPointsStay) {
        let (live, erased): (Vec<_>, Vec<_>) =
            projection.write.into_iter().partition(|point| matches!(point.body, PointBody::Live(_)));
        projection.write = live;
        projection.remove.extend(erased.iter().map(|point| (point.face, point.version)));
    }
    projection
}

/// Writes one point after the other, into one placement after the other. False where meanwhile an hour has passed since it began.
async fn apply(
    process: &Process,
    epoch: u64,
    began: UnixMillis,
    written: Vec<(Placement, Projection)>,
) -> Result<bool, Lost> {
    let fresh = || is_fresh(began, process.now()) || !process.keeps(Rule::IndexingFreshness);
    for (placement, projection) in &written {
        for point in &projection.write {
            if !fresh() {
                return Ok(false);
            }
            write_point(process, epoch, placement.clone(), point.clone()).await?;
        }
        for (face, version) in &projection.remove {
            if !fresh() {
                return Ok(false);
            }
            remove_point(process, epoch, placement.clone(), (*face, *version)).await?;
        }
    }
    Ok(true)
}

async fn write_point(process: &Process, epoch: u64, placement: Placement, point: Point) -> Result<(), Lost> {
    let (image, number) = (short(point.face.image()), point.face.number().map_or(0, FaceNumber::get));
    let body = if matches!(point.body, PointBody::Live(_)) { "live" } else { "erased" };
    let name = format!("writes {body} point {image}/{number} into {placement}");
    let write = process.effect(name, move |world| {
        world.write_point(&placement, &point);
        world.index.epoch
    });
    connected(process, epoch, write.await?)
}

async fn remove_point(
    process: &Process,
    epoch: u64,
    placement: Placement,
    (face, version): (FaceId, Version),
) -> Result<(), Lost> {
    let name = format!("removes point {} from {placement}", short(face.image()));
    let remove = process.effect(name, move |world| {
        if world.index.remove(&placement, face, version) {
            world.count("an erased point was removed");
        }
        world.index.epoch
    });
    connected(process, epoch, remove.await?)
}

/// A call over a connection that was made to an earlier life of the index fails.
fn connected(process: &Process, epoch: u64, now: u64) -> Result<(), Lost> {
    if epoch == now || !process.keeps(Rule::RestartAtCommit) {
        return Ok(());
    }
    process.count("indexing lost its connection");
    Err(Lost)
}

/// What a consumer has of a partition.
#[derive(Clone, Copy)]
struct Place {
    generation: u64,
    next: u64,
    committed: u64,
}

struct Consumer<'a> {
    process: &'a Process,
    number: usize,
    epoch: u64,
    incarnation: u64,
    places: BTreeMap<usize, Place>,
}

/// Consumes the log, for ever; after any failure it begins again at the commit.
pub async fn consume(process: Process, number: usize) {
    loop {
        let (epoch, incarnation) = process.with(|world| (world.index.epoch, world.log.incarnation));
        let consumer = Consumer { process: &process, number, epoch, incarnation, places: BTreeMap::new() };
        let Err(Lost) = consumer.run().await;
        process.sleep(millis(200)).await;
    }
}

impl Consumer<'_> {
    async fn run(mut self) -> Result<std::convert::Infallible, Lost> {
        loop {
            let any = self.take_some().await?;
            let uncommitted = self.places.values().any(|place| place.next > place.committed);
            if uncommitted && self.process.with(|world| world.random.chance(400)) {
                self.flush_and_commit().await?;
            } else if any || uncommitted || self.is_behind() {
                self.process.sleep(millis(100)).await;
            } else {
                let longest = self.process.with(|world| world.random.between(minutes(1), hours(6)));
                self.process.sleep_until_append(longest).await;
            }
        }
    }

    fn is_behind(&self) -> bool {
        let ends = self.process.with(|world| world.log.ends());
        self.places.iter().any(|(partition, place)| place.next < ends[*partition])
    }

    /// Projects a few events of each of its partitions. Returns whether there were any.
    async fn take_some(&mut self) -> Result<bool, Lost> {
        let mut any = false;
        for partition in self.assigned().await? {
            let place = self.places[&partition];
            let read = self
                .process
                .effect("reads the log".to_owned(), move |world| world.log.read(partition, place.next, 3));
            for change in read.await? {
                any = true;
                project(self.process, self.epoch, change.image, &change.seen).await?;
                self.advance(partition);
            }
        }
        Ok(any)
    }

    /// Asks which partitions are its own; where others have read one meanwhile, begins there at the commit.
    async fn assigned(&mut self) -> Result<Vec<usize>, Lost> {
        let number = self.number;
        let assignment = self.process.with(|world| {
            let now = world.now;
            (world.log.incarnation, world.log.assignment(number, now))
        });
        if assignment.0 != self.incarnation {
            return Err(Lost);
        }
        let mut partitions = Vec::new();
        for Assigned { partition, generation, committed } in assignment.1 {
            if self.places.get(&partition).is_none_or(|place| place.generation != generation) {
                self.places.insert(partition, Place { generation, next: committed, committed });
            }
            partitions.push(partition);
        }
        self.places.retain(|partition, _| partitions.contains(partition));
        Ok(partitions)
    }

    fn advance(&mut self, partition: usize) {
        let Some(place) = self.places.get_mut(&partition) else { return };
        place.next += 1;
        let (next, epoch, incarnation) = (place.next, self.epoch, self.incarnation);
        self.process.with(|world| {
            if world.index.epoch == epoch && world.log.incarnation == incarnation {
                world.index.projected(partition, next);
            }
        });
    }

    async fn flush_and_commit(&mut self) -> Result<(), Lost> {
        if self.process.keeps(Rule::FlushBeforeCommit) {
            let flush = self.process.effect("flushes".to_owned(), |world| {
                world.index.flush();
                world.index.epoch
            });
            connected(self.process, self.epoch, flush.await?)?;
        }
        let incarnation = self.incarnation;
        for (partition, place) in &mut self.places {
            let (partition, next) = (*partition, place.next);
            let commit = self.process.effect(format!("commits {partition}: {next}"), move |world| {
                world.log.commit(incarnation, partition, next);
                let committed = world.log.commits()[partition];
                world.index.projected(partition, committed);
            });
            commit.await?;
            place.committed = next;
        }
        Ok(())
    }
}
