//! Enrolling while the collection turns to another face model.
#![expect(clippy::unwrap_used, reason = "all of this is a test")]

mod world;

use std::sync::Arc;

use tonic::Request;
use vidimus_domain::catalog::Collection;
use vidimus_domain::record::{Record, WantedModels};
use vidimus_domain::{ErrorCode, FaceId, FaceModelName};
use vidimus_ports::Clock;
use vidimus_proto::internal::v1;
use vidimus_proto::internal::v1::ingestion_server::Ingestion as _;
use vidimus_runtime::errors::failure_from_status;
use vidimus_runtime::records::Records;

use world::World;

impl World {
    async fn turn(&self) -> Arc<Collection> {
        let target = (&"newer".parse().unwrap(), &newer());
        self.catalog.begin_move(&self.collection.part(), target).await.unwrap()
    }

    async fn switch(&self) -> Arc<Collection> {
        let part = self.collection.part();
        let now = self.catalog.read_by_part(&part).await.unwrap().unwrap();
        assert!(self.catalog.switch_move(&part, now.placements.moving.as_ref().unwrap()).await.unwrap());
        self.catalog.read_by_part(&part).await.unwrap().unwrap()
    }

    async fn record_of(&self, face: FaceId) -> Record {
        let clock: Arc<dyn Clock> = self.clock.clone();
        let records = Records::new(self.blobs.clone(), clock);
        records.read(&self.collection.part(), face.image()).await.unwrap().record.unwrap()
    }
}

fn newer() -> FaceModelName {
    "newer".parse().unwrap()
}

fn dimensions(record: &Record, model: &FaceModelName) -> Vec<Option<usize>> {
    let live = record.faces.iter().filter_map(|face| face.live());
    live.map(|live| record.template_of(live, model).map(|template| template.dimension())).collect()
}

#[tokio::test]
async fn an_enrolment_is_answered_when_its_faces_have_templates_of_both() {
    let world = World::new().await;
    let turning = world.turn().await;
    let faces = world.enrol(world.photo("2")).await.unwrap();
    let record = world.record_of(faces[0]).await;
    assert!(record.has_models(&WantedModels::of(&turning.placements)));
    assert_eq!(dimensions(&record, world.collection.face_model()), [Some(2), Some(2)]);
    assert_eq!(dimensions(&record, &newer()), [Some(3), Some(3)]);
    // Reads have switched: what is written by then is of the newer model first, and of the other for who has not heard of it.
    let switched = world.switch().await;
    let later = world.enrol(world.photo("1")).await.unwrap();
    let record = world.record_of(later[0]).await;
    assert_eq!(record.origin.face_model, newer());
    assert!(record.has_models(&WantedModels::of(&switched.placements)));
}

/// A face that joins others of its photo after the collection has turned gives these templates of the newer model first.
#[tokio::test]
async fn a_record_of_the_old_model_is_completed_before_faces_join_it() {
    let world = World::new().await;
    let named = |photo| {
        let request = world.photo(photo);
        v1::IndexFacesRequest { external_image_id: "ada".to_owned(), ..request }
    };
    let first = world.enrol(named("2")).await.unwrap();
    assert_eq!(dimensions(&world.record_of(first[0]).await, &newer()), [None, None]);
    world.turn().await;
    world.switch().await;
    assert_eq!(world.delete(&first[..1]).await.unwrap().deleted.len(), 1);
    let again = world.enrol(named("2")).await.unwrap();
    assert_eq!(again[1], first[1], "the face that is there keeps its id");
    let record = world.record_of(first[1]).await;
    assert_eq!(record.origin.face_model, newer());
    assert_eq!(dimensions(&record, &newer()), [Some(3), Some(3)]);
}

#[tokio::test]
async fn templates_are_not_taken_while_the_collection_turns() {
    let world = World::new().await;
    world.turn().await;
    let request = v1::ImportTemplatesRequest {
        collection: world.reference(),
        job_id: "job".to_owned(),
        name: "some".to_owned(),
        face_model: "model".to_owned(),
        templates: vec![v1::ReadyTemplate { template: vec![1.0, 0.0], ..Default::default() }],
        ..Default::default()
    };
    let refused = world.ingestion.import_templates(Request::new(request)).await.unwrap_err();
    let failure = failure_from_status(&refused);
    assert_eq!(failure.code, ErrorCode::Unavailable, "{failure}");
    assert!(failure.retry_after.is_some());
}
