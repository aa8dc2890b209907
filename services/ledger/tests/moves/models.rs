//! Moves to another face model, over fakes. The test itself does what embedding workers do.

use std::sync::Arc;
use std::time::Duration;

use vidimus_domain::Template;
use vidimus_domain::codec::Stored;
use vidimus_domain::event::{AcceptedPhoto, Change};
use vidimus_domain::record::{MadeTemplates, Record, WantedModels, with_models};
use vidimus_ledger::{Goal, Ledger, MoveProgress, MoveState, Walk};
use vidimus_ports::{Append, EventLog, Position, Topic};

use super::super::world::World;
use super::DAY;

impl World {
    /// Embeds what the log says, as workers do.
    pub(super) async fn embed_photos(&self) {
        let mut reader = self.log.subscribe(Topic::Photos, "embedding").await.unwrap();
        for record in reader.next(1000, Duration::ZERO).await.unwrap() {
            let photo = AcceptedPhoto::decode(&record.payload).unwrap();
            self.embed_anew(&self.read_image(photo.image).await.unwrap()).await;
            let Position { partition, offset } = record.position;
            reader.commit(Position { partition, offset: offset + 1 }).await.unwrap();
        }
    }

    async fn embed_anew(&self, before: &Record) {
        let collection = self.catalog.read_by_part(&self.part()).await.unwrap().unwrap();
        let wanted = WantedModels::of(&collection.placements);
        let face_model = wanted.other.clone().unwrap();
        let template = Template::normalised(vec![1.0, 2.0, 2.0]).unwrap();
        let lacking = before.lacking(&face_model).map(|(face, _)| (face.number, template.clone()));
        let made = MadeTemplates { templates: lacking.collect(), face_model };
        let made = before.photo.is_some().then_some(&made);
        if let Some(after) = with_models(before, &wanted, made, self.write()) {
            self.store(&after).await;
        }
        let change =
            Change { part: self.part(), image: before.origin.image, seen: Vec::new(), at: self.now() };
        let append = Append::new(&change.image.to_bytes(), change.encode());
        self.log.append(Topic::Changes, append).await.unwrap();
    }

    async fn turn(&self, ledger: &Arc<Ledger>) -> MoveProgress {
        let to = Goal { face_model: Some("newer".to_owned()), ..Goal::default() };
        let (tenant, name) = (self.collection.tenant, &self.collection.name);
        ledger.begin_move(tenant, name, &to).await.unwrap();
        self.until(async || {
            self.embed_photos().await;
            self.index_changes(false).await;
            self.progress(ledger).await.state != MoveState::UnderWay
        })
        .await;
        self.progress(ledger).await
    }
}

#[tokio::test]
async fn a_collection_turns_to_another_face_model_and_faces_keep_their_ids() {
    let world = World::new().await;
    let [_, _, live] = super::enrolled(&world).await;
    let ledger = world.ledger();
    let ended = world.turn(&ledger).await;
    assert_eq!((ended.state, ended.failure.as_str()), (MoveState::Done, ""));
    assert_eq!((ended.from_model.as_str(), ended.to_model.as_str()), ("model", "newer"));
    let points = world.points_in("newer").await;
    let face = live.face_id(live.faces[0].number);
    assert!(points.iter().any(|point| point.face == face && point.erased_at.is_none()));
    assert_eq!(world.points_in("model").await, []);
    let now = world.catalog.read_by_part(&world.part()).await.unwrap().unwrap();
    assert_eq!((now.face_model().as_str(), now.face_model_version.as_str()), ("newer", "1.0"));
    let record = world.read(&live).await.unwrap();
    assert_eq!(record.origin.face_model.as_str(), "newer");
    let body = record.faces[0].live().unwrap();
    assert_eq!((body.detected.template.dimension(), &body.other_template), (3, &None), "the old one is gone");
    assert_eq!(record.faces[0].version, live.faces[0].version);
}

#[tokio::test]
async fn a_collection_whose_photos_are_gone_stays_as_it_is_and_says_so() {
    let world = World::new().await;
    super::enrolled(&world).await;
    world.set_retention(None, Some(DAY)).await;
    let ledger = world.ledger();
    let ended = world.turn(&ledger).await;
    assert_eq!(ended.state, MoveState::GivenUp);
    assert!(ended.failure.contains("1 faces of 1 records have no photo"), "{}", ended.failure);
    assert_eq!(world.placements().await, ("model".to_owned(), vec!["newer".to_owned()]));
}

#[tokio::test]
async fn a_model_that_the_service_does_not_run_is_refused() {
    let world = World::new().await;
    let to = Goal { face_model: Some("strange".to_owned()), ..Goal::default() };
    let (tenant, name) = (world.collection.tenant, &world.collection.name);
    let refused = world.ledger().begin_move(tenant, name, &to).await.unwrap_err();
    assert!(refused.message.contains("strange"), "{refused}");
}

/// Workers that embed nothing, as where none runs the model: what is committed is not taken for done.
#[tokio::test]
async fn reads_do_not_switch_where_photos_could_not_be_embedded() {
    let world = World::new().await;
    super::enrolled(&world).await;
    let ledger = world.ledger();
    let to = Goal { face_model: Some("newer".to_owned()), ..Goal::default() };
    let (tenant, name) = (world.collection.tenant, &world.collection.name);
    ledger.begin_move(tenant, name, &to).await.unwrap();
    world
        .until(async || {
            let mut reader = world.log.subscribe(Topic::Photos, "embedding").await.unwrap();
            for record in reader.next(1000, Duration::ZERO).await.unwrap() {
                let Position { partition, offset } = record.position;
                reader.commit(Position { partition, offset: offset + 1 }).await.unwrap();
            }
            world.index_changes(false).await;
            world.progress(&ledger).await.state != MoveState::UnderWay
        })
        .await;
    let stopped = world.progress(&ledger).await;
    assert_eq!(stopped.state, MoveState::Stopped);
    assert!(
        stopped.failure.contains("1 records") && stopped.failure.contains("dead-letters"),
        "{}",
        stopped.failure
    );
    assert_eq!(world.placements().await.0, "model", "the old templates are searched");
    // Mended, and begun again, it comes to its end.
    assert_eq!(world.turn(&ledger).await.state, MoveState::Done);
}

#[tokio::test]
async fn what_a_move_that_was_given_up_has_made_goes() {
    let world = World::new().await;
    let [_, _, live] = super::enrolled(&world).await;
    let target = (&"newer".parse().unwrap(), &"newer".parse().unwrap());
    let begun = world.catalog.begin_move(&world.part(), target).await.unwrap();
    world.embed_anew(&live).await;
    let ledger = world.ledger();
    let other = async || world.read(&live).await.unwrap().faces[0].live().unwrap().other_template.is_some();
    ledger.reconcile(Walk::Full).await.unwrap();
    assert!(other().await, "the move goes on");
    let moving = begun.placements.moving.as_ref().unwrap();
    assert!(world.catalog.cancel_move(&world.part(), moving).await.unwrap());
    ledger.reconcile(Walk::Full).await.unwrap();
    assert!(!other().await);
}
