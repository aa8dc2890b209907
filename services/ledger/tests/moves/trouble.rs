//! Moves through outages and restarts, over fakes.

use std::sync::Arc;
use std::time::Duration;

use prometheus_client::registry::Registry;
use vidimus_domain::ImageId;
use vidimus_domain::codec::Stored;
use vidimus_domain::event::Change;
use vidimus_ledger::{Destination, Goal, Ledger, LedgerDeps, MoveState, Walk};
use vidimus_ports::faulty::FaultRates;
use vidimus_ports::{Append, EventLog, Position, Topic};

use super::super::world::World;

const QUIET: FaultRates =
    FaultRates { delay: 0.0, delay_max: Duration::ZERO, fail_before: 0.0, fail_after: 0.0 };
const TROUBLE: FaultRates = FaultRates { fail_before: 0.1, fail_after: 0.1, ..QUIET };
const OUTAGE: FaultRates = FaultRates { fail_before: 1.0, ..QUIET };

impl World {
    /// Lets time pass, and the others work who meet no trouble, until the move has ended here.
    async fn until_ended_through(&self, ledger: &Arc<Ledger>, rates: FaultRates) {
        self.until(async || {
            self.faults.set_rates(QUIET);
            self.embed_photos().await;
            self.index_changes(false).await;
            let has_ended = self.progress(ledger).await.state != MoveState::UnderWay;
            if !has_ended {
                self.faults.set_rates(rates);
            }
            has_ended
        })
        .await;
    }

    async fn is_moving(&self) -> bool {
        self.catalog.read_by_part(&self.part()).await.unwrap().unwrap().placements.moving.is_some()
    }

    /// Another collection's changes come as fast as they are worked on.
    async fn others_go_on(&self, changes: usize) {
        let mut reader = self.log.subscribe(Topic::Changes, "indexing").await.unwrap();
        for record in reader.next(changes, Duration::ZERO).await.unwrap() {
            let Position { partition, offset } = record.position;
            reader.commit(Position { partition, offset: offset + 1 }).await.unwrap();
            self.append_other().await;
        }
    }

    async fn append_other(&self) {
        let image = ImageId::from_random([77; 16]);
        let change = Change { part: self.part(), image, seen: Vec::new(), at: self.now() };
        let append = Append::new(&image.to_bytes(), change.encode());
        self.log.append(Topic::Changes, append).await.unwrap();
    }
}

#[tokio::test]
async fn what_fails_now_and_then_stops_no_move() {
    let world = World::new().await;
    super::enrolled(&world).await;
    let ledger = world.ledger();
    world.begin(&ledger, Destination::Another).await.unwrap();
    world.until_ended_through(&ledger, TROUBLE).await;
    let ended = world.progress(&ledger).await;
    assert_eq!((ended.state, ended.failure.as_str()), (MoveState::Done, ""));
    let counted = (ended.said_records, ended.compared_records, ended.differences);
    assert_eq!(counted, (3, 3, 0), "what was tried again is counted once");
    assert_eq!(world.points_in("model.2").await.len(), 2);
    assert_eq!(ledger.reconcile(Walk::Full).await.unwrap().differences, 0);
}

#[tokio::test]
async fn what_fails_now_and_then_keeps_no_collection_from_another_face_model() {
    let world = World::new().await;
    let [_, _, live] = super::enrolled(&world).await;
    let ledger = world.ledger();
    let to = Goal { face_model: Some("newer".to_owned()), ..Goal::default() };
    ledger.begin_move(world.collection.tenant, &world.collection.name, &to).await.unwrap();
    world.until_ended_through(&ledger, TROUBLE).await;
    let ended = world.progress(&ledger).await;
    assert_eq!((ended.state, ended.failure.as_str()), (MoveState::Done, ""));
    let record = world.read(&live).await.unwrap();
    assert_eq!(record.faces[0].live().unwrap().other_template, None, "the old one is gone");
}

#[tokio::test]
async fn a_long_outage_stops_a_move_and_it_goes_on_by_itself() {
    let world = World::new().await;
    super::enrolled(&world).await;
    let ledger = world.started_ledger();
    world.begin(&ledger, Destination::Another).await.unwrap();
    let began_at = world.now();
    world.until_ended_through(&ledger, OUTAGE).await;
    let stopped = world.progress(&ledger).await;
    assert_eq!(stopped.state, MoveState::Stopped);
    assert!(stopped.failure.contains("not available"), "{}", stopped.failure);
    assert!(world.now().since(began_at) >= Duration::from_secs(600), "for a good while it is tried again");
    world
        .until(async || {
            world.index_changes(false).await;
            !world.is_moving().await
        })
        .await;
    assert_eq!(world.placements().await.0, "model.2");
}

#[tokio::test]
async fn the_service_ends_while_a_move_waits_for_an_outages_end() {
    let world = World::new().await;
    super::enrolled(&world).await;
    let ledger = world.started_ledger();
    world.begin(&ledger, Destination::Another).await.unwrap();
    world.faults.set_rates(OUTAGE);
    let went_out_at = world.now();
    world.until(async || world.now().since(went_out_at) >= Duration::from_secs(60)).await;
    assert!(world.has_ended().await);
    world.faults.set_rates(QUIET);
    assert_eq!(world.progress(&ledger).await.failure, "the service ends");
}

#[tokio::test]
async fn a_ledger_that_starts_takes_up_what_stands() {
    let world = World::new().await;
    super::enrolled(&world).await;
    let (target, face_model) = ("model.2".parse().unwrap(), world.collection.face_model());
    world.catalog.begin_move(&world.part(), (&target, face_model)).await.unwrap();
    let ledger = world.started_ledger();
    world
        .until(async || {
            world.index_changes(false).await;
            !world.is_moving().await
        })
        .await;
    assert_eq!(world.placements().await.0, "model.2");
    assert_eq!(world.until_ended(&ledger).await.state, MoveState::Done);
}

#[tokio::test]
async fn a_ledger_leaves_what_it_cannot_bring_to_an_end() {
    let world = World::new().await;
    let strange = "strange".parse().unwrap();
    world.catalog.begin_move(&world.part(), (&"strange".parse().unwrap(), &strange)).await.unwrap();
    let ledger = world.started_ledger();
    let started_at = world.now();
    world.until(async || world.now().since(started_at) >= Duration::from_secs(60)).await;
    assert_eq!(world.progress(&ledger).await.state, MoveState::Standing, "it does not run the model");
}

/// One of them is held up until the other has come to the end.
#[tokio::test]
async fn two_ledgers_may_drive_the_same_move() {
    let world = World::new().await;
    super::enrolled(&world).await;
    let fast = world.ledger();
    world.begin(&fast, Destination::Another).await.unwrap();
    world.until(async || world.progress(&fast).await.said_records == 3).await;
    let deps = LedgerDeps { waiting_changes_max: 0, ..world.deps() };
    let slow = Ledger::new(deps, &mut Registry::default());
    world.begin(&slow, Destination::Another).await.unwrap();
    world
        .until(async || {
            world.index_changes(false).await;
            world.append_other().await;
            world.progress(&fast).await.state != MoveState::UnderWay
        })
        .await;
    for ledger in [&fast, &slow] {
        let ended = world.until_ended(ledger).await;
        assert_eq!((ended.state, ended.failure.as_str()), (MoveState::Done, ""));
    }
}

#[tokio::test]
async fn a_move_waits_behind_others_for_as_long_as_they_are_worked_on() {
    let world = World::new().await;
    super::enrolled(&world).await;
    for _ in 0..1100 {
        world.append_other().await;
    }
    let ledger = world.ledger();
    world.begin(&ledger, Destination::Another).await.unwrap();
    for _ in 0..3000 {
        world.others_go_on(2).await;
        world.clock.advance(Duration::from_millis(250));
        for _ in 0..3 {
            tokio::task::yield_now().await;
        }
    }
    let waiting = world.progress(&ledger).await;
    assert_eq!((waiting.state, waiting.failure.as_str(), waiting.said_records), (MoveState::UnderWay, "", 0));
    assert_eq!(world.until_ended(&ledger).await.state, MoveState::Done);
}

/// Where nobody works on what others have said it is no different from before.
#[tokio::test]
async fn a_move_does_not_wait_for_ever_behind_others() {
    let world = World::new().await;
    super::enrolled(&world).await;
    for _ in 0..1100 {
        world.append_other().await;
    }
    let ledger = world.ledger();
    world.begin(&ledger, Destination::Another).await.unwrap();
    world.until(async || world.progress(&ledger).await.state != MoveState::UnderWay).await;
    let stopped = world.progress(&ledger).await;
    assert!(stopped.failure.contains("nobody projects"), "{}", stopped.failure);
}
