//! Moving a collection between index collections, over fakes. The test itself does what indexing does.

mod models;
mod trouble;

use std::sync::Arc;
use std::time::Duration;

use vidimus_domain::codec::Stored;
use vidimus_domain::event::Change;
use vidimus_domain::placements::MoveStage;
use vidimus_domain::record::{Record, projection};
use vidimus_domain::{CollectionUid, ErrorCode, Placement};
use vidimus_ledger::{Destination, Goal, Ledger, MoveProgress, MoveState, Walk};
use vidimus_ports::{EventLog, FaceIndex, ListedPoint, Listing, Position, RemoveIf, Topic};

use super::DAY;
use super::world::World;

impl World {
    /// Consumes what the log has, as indexing does; or only says so.
    async fn index_changes(&self, is_lost: bool) {
        let mut reader = self.log.subscribe(Topic::Changes, "indexing").await.unwrap();
        for record in reader.next(1000, Duration::ZERO).await.unwrap() {
            if !is_lost {
                self.index_change(&Change::decode(&record.payload).unwrap()).await;
            }
            let Position { partition, offset } = record.position;
            reader.commit(Position { partition, offset: offset + 1 }).await.unwrap();
        }
    }

    async fn index_change(&self, change: &Change) {
        let Some(collection) = self.catalog.collection_by_part(&change.part).await.unwrap() else { return };
        let Some(record) = self.read_image(change.image).await else { return };
        for (gallery, model) in collection.written_galleries() {
            let wanted = projection(&record, model, self.now());
            let remove = wanted.remove.iter().map(|(face, max)| RemoveIf { face: *face, version_max: *max });
            let remove = remove.collect::<Vec<_>>();
            self.index.write(&gallery, &wanted.write).await.unwrap();
            self.index.remove(&gallery, &remove).await.unwrap();
        }
    }

    async fn points_in(&self, placement: &str) -> Vec<ListedPoint> {
        let gallery = self.collection.gallery_in(&placement.parse().unwrap());
        self.index.scroll(&gallery, Listing::Everything, None, 1000).await.unwrap()
    }

    fn has_placement(&self, placement: &str) -> bool {
        self.index.has_placement(&placement.parse().unwrap())
    }

    async fn begin(&self, ledger: &Arc<Ledger>, to: Destination) -> Result<MoveProgress, ErrorCode> {
        let (tenant, name) = (self.collection.tenant, &self.collection.name);
        let to = Goal { destination: to, face_model: None };
        ledger.begin_move(tenant, name, &to).await.map_err(|failure| failure.code)
    }

    async fn progress(&self, ledger: &Arc<Ledger>) -> MoveProgress {
        ledger.move_progress(self.collection.tenant, &self.collection.name).await.unwrap()
    }

    /// Lets time pass and indexing work until the move has ended.
    async fn until_ended(&self, ledger: &Arc<Ledger>) -> MoveProgress {
        self.until(async || {
            self.index_changes(false).await;
            self.progress(ledger).await.state != MoveState::UnderWay
        })
        .await;
        self.progress(ledger).await
    }

    /// The placement that is read, and those that are to be cleared.
    async fn placements(&self) -> (String, Vec<String>) {
        let now = self.catalog.read_by_part(&self.part()).await.unwrap().unwrap();
        let to_clear = now.placements.to_clear().map(Placement::to_string).collect();
        (now.placements.read.to_string(), to_clear)
    }
}

/// A live face, one that was erased now, and one of which nothing is left.
async fn enrolled(world: &World) -> [Record; 3] {
    let [old, erased, live] =
        [world.enrol(1, Some("old")).await, world.enrol(2, None).await, world.enrol(3, None).await];
    let old = world.erase(&old).await;
    world.clock.advance(DAY * 2);
    let erased = world.erase(&erased).await;
    for record in [&old, &erased, &live] {
        world.project(record).await;
    }
    [old, erased, live]
}

#[tokio::test]
async fn the_index_is_made_again_of_the_records() {
    let world = World::new().await;
    let [_, erased, live] = enrolled(&world).await;
    let ledger = world.ledger();
    let begun = world.begin(&ledger, Destination::Another).await.unwrap();
    assert_eq!((begun.state, begun.to.as_str()), (MoveState::UnderWay, "model.2"));
    let ended = world.until_ended(&ledger).await;
    assert_eq!((ended.state, ended.failure.as_str()), (MoveState::Done, ""));
    assert_eq!((ended.said_records, ended.compared_records, ended.differences), (3, 3, 0));
    let points = world.points_in("model.2").await;
    let of = |record: &Record| {
        let face = record.face_id(record.faces[0].number);
        points.iter().find(|point| point.face == face).map(|point| (point.version, point.erased_at.is_some()))
    };
    assert_eq!(of(&live), Some((live.faces[0].version, false)));
    assert_eq!(of(&erased), Some((erased.faces[0].version, true)), "the mark of what was erased lately");
    assert_eq!(points.len(), 2);
    assert_eq!(world.points_in("model").await, []);
    assert_eq!(world.placements().await, ("model.2".to_owned(), vec!["model".to_owned()]));
    assert_eq!(ledger.reconcile(Walk::Full).await.unwrap().differences, 0);
}

#[tokio::test]
async fn what_was_not_projected_is_said_again() {
    let world = World::new().await;
    enrolled(&world).await;
    let ledger = world.ledger();
    world.begin(&ledger, Destination::Another).await.unwrap();
    world.until(async || world.progress(&ledger).await.said_records == 3).await;
    // All of it is lost, and committed.
    world.index_changes(true).await;
    let ended = world.until_ended(&ledger).await;
    assert_eq!((ended.state, ended.differences), (MoveState::Done, 2));
    assert_eq!(world.points_in("model.2").await.len(), 2);
}

#[tokio::test]
async fn reads_do_not_switch_while_nobody_projects() {
    let world = World::new().await;
    enrolled(&world).await;
    let ledger = world.ledger();
    world.begin(&ledger, Destination::Another).await.unwrap();
    world.until(async || world.progress(&ledger).await.state != MoveState::UnderWay).await;
    let stopped = world.progress(&ledger).await;
    assert_eq!(stopped.state, MoveState::Stopped);
    assert!(stopped.failure.contains("nobody projects"), "{}", stopped.failure);
    assert_eq!(world.placements().await.0, "model");
    // Begun again, it is taken up.
    world.begin(&ledger, Destination::Named("model.2".to_owned())).await.unwrap();
    assert_eq!(world.until_ended(&ledger).await.state, MoveState::Done);
}

#[tokio::test]
async fn another_process_takes_a_move_up_where_it_stands() {
    let world = World::new().await;
    enrolled(&world).await;
    for stage in [MoveStage::Filling, MoveStage::Leaving] {
        let part = world.part();
        let target = if stage == MoveStage::Filling { "model.2" } else { "model.3" };
        let begun = world
            .catalog
            .begin_move(&part, (&target.parse().unwrap(), world.collection.face_model()))
            .await
            .unwrap();
        if stage == MoveStage::Leaving {
            let listed = world.blobs_images().await;
            for image in listed {
                world.index_change(&Change { part, image, seen: Vec::new(), at: world.now() }).await;
            }
            let moving = begun.placements.moving.as_ref().unwrap();
            assert!(world.catalog.switch_move(&part, moving).await.unwrap());
        }
        let ledger = world.ledger();
        assert_eq!(world.progress(&ledger).await.state, MoveState::Standing);
        let elsewhere = world.begin(&ledger, Destination::Own).await;
        assert_eq!(elsewhere, Err(ErrorCode::AlreadyExists));
        world.begin(&ledger, Destination::Shared).await.unwrap();
        assert_eq!(world.until_ended(&ledger).await.state, MoveState::Done);
        assert_eq!(world.placements().await.0, target);
        assert_eq!(world.points_in(target).await.len(), 2);
    }
}

#[tokio::test]
async fn a_target_that_holds_something_is_cleared_and_another_is_taken() {
    let world = World::new().await;
    let [_, _, live] = enrolled(&world).await;
    let strange = projection(&live, world.collection.face_model(), world.now()).write;
    world.index.write(&world.collection.gallery_in(&"model.2".parse().unwrap()), &strange).await.unwrap();
    let ledger = world.ledger();
    let named = world.begin(&ledger, Destination::Named("model.2".to_owned())).await;
    assert_eq!(named, Err(ErrorCode::Conflict));
    let begun = world.begin(&ledger, Destination::Another).await.unwrap();
    assert_eq!(begun.to, "model.3");
    assert_eq!(world.until_ended(&ledger).await.state, MoveState::Done);
    assert_eq!(world.points_in("model.2").await, []);
}

#[tokio::test]
async fn what_was_left_is_cleared_until_nothing_can_come_and_then_forgotten() {
    let world = World::new().await;
    let [_, _, live] = enrolled(&world).await;
    let ledger = world.ledger();
    world.begin(&ledger, Destination::Another).await.unwrap();
    assert_eq!(world.until_ended(&ledger).await.state, MoveState::Done);
    let back = world.begin(&ledger, Destination::Named("model".to_owned())).await;
    assert_eq!(back, Err(ErrorCode::AlreadyExists), "something may come late there");
    // A projection that slept comes late.
    world.project(&live).await;
    assert_eq!(world.points_in("model").await.len(), 1);
    ledger.reconcile(Walk::Changed).await.unwrap();
    assert_eq!(world.points_in("model").await, []);
    assert_eq!(world.placements().await.1, ["model"], "another one may come");
    world.clock.advance(DAY * 2);
    ledger.reconcile(Walk::Changed).await.unwrap();
    assert_eq!(world.placements().await.1.len(), 0);
    let early = world.begin(&ledger, Destination::Named("model".to_owned())).await;
    assert_eq!(early, Err(ErrorCode::AlreadyExists), "a clearing may come late");
    world.clock.advance(DAY * 2);
    ledger.reconcile(Walk::Changed).await.unwrap();
    world.begin(&ledger, Destination::Named("model".to_owned())).await.unwrap();
    assert_eq!(world.until_ended(&ledger).await.state, MoveState::Done);
    assert_eq!(world.placements().await.0, "model");
}

#[tokio::test]
async fn a_placement_of_its_own_is_dropped_when_it_is_left() {
    let world = World::new().await;
    let [_, _, live] = enrolled(&world).await;
    let ledger = world.ledger();
    let own = world.begin(&ledger, Destination::Own).await.unwrap().to;
    assert_eq!(world.until_ended(&ledger).await.state, MoveState::Done);
    assert!(world.has_placement("model"), "others may be there");
    assert!(world.has_placement(&own));
    world.begin(&ledger, Destination::Named("model.2".to_owned())).await.unwrap();
    assert_eq!(world.until_ended(&ledger).await.state, MoveState::Done);
    assert!(!world.has_placement(&own));
    // A projection that slept makes it again.
    let late = projection(&live, world.collection.face_model(), world.now()).write;
    world.index.write(&world.collection.gallery_in(&own.parse().unwrap()), &late).await.unwrap();
    world.clock.advance(DAY * 2);
    ledger.reconcile(Walk::Changed).await.unwrap();
    assert!(!world.has_placement(&own));
    assert_eq!(world.placements().await, ("model.2".to_owned(), Vec::new()));
}

#[tokio::test]
async fn another_collections_own_placement_is_not_entered() {
    let world = World::new().await;
    let other = CollectionUid::from_random([9; 16]);
    let named = Destination::Named(format!("model.{other}.2"));
    assert_eq!(world.begin(&world.ledger(), named).await, Err(ErrorCode::InvalidParameter));
}

#[tokio::test]
async fn a_move_that_is_given_up_leaves_nothing_in_its_target() {
    let world = World::new().await;
    enrolled(&world).await;
    let ledger = world.ledger();
    let (tenant, name) = (world.collection.tenant, &world.collection.name);
    let none = ledger.cancel_move(tenant, name).await.unwrap_err();
    assert_eq!(none.code, ErrorCode::NotFound);
    world.begin(&ledger, Destination::Own).await.unwrap();
    world.until(async || world.progress(&ledger).await.said_records == 3).await;
    world.index_changes(false).await;
    let given_up = ledger.cancel_move(tenant, name).await.unwrap();
    assert_eq!(given_up.state, MoveState::GivenUp);
    world.until(async || world.progress(&ledger).await.state == MoveState::Stopped).await;
    assert!(!world.has_placement(&given_up.to));
    assert_eq!(world.placements().await.0, "model");
    assert_eq!(world.points_in("model").await.len(), 2);
}

#[tokio::test]
async fn a_dead_collections_points_go_wherever_they_lie() {
    let world = World::new().await;
    enrolled(&world).await;
    let model = world.collection.face_model();
    let target = model.own_placement(world.collection.uid, 1).unwrap();
    world.catalog.begin_move(&world.part(), (&target, model)).await.unwrap();
    let own = target.to_string();
    for image in world.blobs_images().await {
        world.index_change(&Change { part: world.part(), image, seen: Vec::new(), at: world.now() }).await;
    }
    assert_eq!((world.points_in("model").await.len(), world.points_in(&own).await.len()), (2, 2));
    world.catalog.delete_collection(world.collection.tenant, &world.collection.name).await.unwrap();
    world.ledger().reconcile(Walk::Changed).await.unwrap();
    assert_eq!((world.points_in("model").await.len(), world.points_in(&own).await.len()), (0, 0));
    assert!(world.has_placement("model") && !world.has_placement(&own));
}
