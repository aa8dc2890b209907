//! Searches that sleep while the collection moves to another index collection and what it has left is cleared.

use std::sync::Arc;

use tonic::Request;
use vidimus_domain::catalog::Collection;
use vidimus_domain::point::{Gallery, PointBody};
use vidimus_domain::{FaceId, FaceModelName, Placement};
use vidimus_ports::FaceIndex;
use vidimus_ports::faulty::{Fault, Gate, Moment, Stage};
use vidimus_proto::internal::v1;
use vidimus_proto::internal::v1::query_server::Query as _;

use super::world::{World, by_model, code};

impl World {
    /// Has the collection moved, and what it leaves cleared, while a question sleeps before the index is asked.
    async fn moved_meanwhile<T: Send + 'static>(
        self: &Arc<Self>,
        ask: impl AsyncFnOnce(Arc<Self>) -> T + 'static,
    ) -> T {
        let gate = Gate::closed();
        self.faults.script(Stage::IndexRead, Moment::Before, 0, Fault::Pause(gate.clone()));
        let asking = ask(Arc::clone(self));
        let moving = async {
            gate.reached_by(1).await;
            self.move_and_clear().await;
            gate.open();
        };
        futures::future::join(asking, moving).await.0
    }

    async fn move_and_clear(&self) {
        let part = self.collection.part();
        let left = self.catalog.read_by_part(&part).await.unwrap().unwrap().gallery();
        let moving = async || {
            let now = self.catalog.read_by_part(&part).await.unwrap().unwrap();
            now.placements.moving.clone().unwrap()
        };
        assert!(self.catalog.switch_move(&part, &moving().await).await.unwrap());
        assert!(self.catalog.finish_move(&part, &moving().await).await.unwrap());
        self.index.remove_part(&left).await.unwrap();
    }

    async fn begin_move_to(&self, placement: &Placement, model: &FaceModelName) -> Arc<Collection> {
        self.catalog.begin_move(&self.collection.part(), (placement, model)).await.unwrap()
    }

    /// Begins a move, and fills its target.
    async fn begin_move(&self) {
        let placement: Placement = "model.2".parse().unwrap();
        let begun = self.begin_move_to(&placement, self.collection.face_model()).await;
        let gallery: Gallery = begun.gallery();
        let everything = vidimus_ports::Listing::Everything;
        let listed = self.index.scroll(&gallery, everything, None, 1000).await.unwrap();
        let faces = listed.iter().map(|point| point.face).collect::<Vec<_>>();
        let points = self.index.get(&gallery, &faces).await.unwrap();
        self.index.write(&begun.gallery_in(&placement), &points).await.unwrap();
    }
}

/// A world with two faces near each other, whose collection is on its way.
async fn moving_world() -> (Arc<World>, [FaceId; 2]) {
    let world = World::new().await;
    let faces = [world.face(10.0, None).await, world.face(11.0, None).await];
    world.begin_move().await;
    (Arc::new(world), faces)
}

#[tokio::test]
async fn a_search_that_slept_looks_where_the_collection_lies_now() {
    let (world, [probe, other]) = moving_world().await;
    let answer = world
        .moved_meanwhile(async move |world| {
            let request = v1::SearchFacesRequest {
                collection: world.reference(),
                face_id: probe.to_bytes().to_vec(),
                threshold_similarity: 50.0,
                ..v1::SearchFacesRequest::default()
            };
            code(world.query.search_faces(Request::new(request)).await).unwrap()
        })
        .await;
    let found: Vec<_> = answer.candidates.iter().map(|hit| hit.face.clone().unwrap().face_id).collect();
    assert_eq!(found, [other.to_bytes().to_vec()]);
}

#[tokio::test]
async fn listings_and_counts_that_slept_look_again_too() {
    let (world, faces) = moving_world().await;
    let listed = world
        .moved_meanwhile(async |world| {
            let request =
                v1::ListFacesRequest { collection: world.reference(), ..v1::ListFacesRequest::default() };
            code(world.query.list_faces(Request::new(request)).await).unwrap()
        })
        .await;
    assert_eq!(listed.faces.len(), faces.len());
    let (world, faces) = moving_world().await;
    let counted = world
        .moved_meanwhile(async |world| {
            let request = v1::CountFacesRequest { collection: world.reference() };
            code(world.query.count_faces(Request::new(request)).await).unwrap()
        })
        .await;
    assert_eq!(counted.faces, faces.len() as u64);
}

/// A search by a photo that slept while the collection turned embeds the photo anew: no template of one model is compared with those
/// of the other (I7).
#[tokio::test]
async fn a_search_that_slept_while_the_collection_turned_is_made_by_the_other_model() {
    let world = World::new().await;
    let face = world.face(10.0, None).await;
    let target: Placement = "newer".parse().unwrap();
    let begun = world.begin_move_to(&target, &"newer".parse().unwrap()).await;
    let mut points = world.index.get(&begun.gallery(), &[face]).await.unwrap();
    for point in &mut points {
        if let PointBody::Live(live) = &mut point.body {
            live.template = by_model(&live.template, "newer");
        }
    }
    world.index.write(&begun.gallery_in(&target), &points).await.unwrap();
    let world = Arc::new(world);
    let by_photo = world
        .moved_meanwhile(async |world| {
            let request = v1::SearchFacesByImageRequest {
                collection: world.reference(),
                photo: "12".into(),
                threshold_similarity: 50.0,
                ..v1::SearchFacesByImageRequest::default()
            };
            code(world.query.search_faces_by_image(Request::new(request)).await).unwrap()
        })
        .await;
    let found: Vec<_> = by_photo.candidates.iter().map(|hit| hit.face.clone().unwrap().face_id).collect();
    assert_eq!(found, [face.to_bytes().to_vec()]);
    let now = world.catalog.read_by_part(&world.collection.part()).await.unwrap().unwrap();
    assert_eq!((now.face_model().as_str(), now.face_model_version.as_str()), ("newer", "1.0"));
}
