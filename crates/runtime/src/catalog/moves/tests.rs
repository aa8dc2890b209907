use std::time::Duration;

use vidimus_ports::clock::ManualClock;
use vidimus_ports::memory::MemoryBlobStore;
use vidimus_ports::random::SeededRandom;

use super::super::{CACHE_MAX_AGE, CatalogDeps, NewCollection};
use super::*;

const DAY: Duration = Duration::from_secs(86_400);

struct World {
    clock: Arc<ManualClock>,
    deps: CatalogDeps,
    part: Part,
    tenant: TenantId,
}

impl World {
    async fn new() -> Self {
        let clock = Arc::new(ManualClock::new(UnixMillis::new(1_800_000_000_000)));
        let blobs = Arc::new(MemoryBlobStore::new(clock.clone()));
        let deps = CatalogDeps { blobs, clock: clock.clone(), random: Arc::new(SeededRandom::new(7)) };
        let catalog = Catalog::new(deps.clone(), None);
        let tenant = catalog.create_tenant("acme".parse().unwrap()).await.unwrap().id;
        let (name, face_model) = ("staff".parse().unwrap(), "model".parse().unwrap());
        let new = NewCollection::new(tenant, name, face_model, "1.0".to_owned());
        let part = catalog.create_collection(new).await.unwrap().part();
        Self { clock, deps, part, tenant }
    }

    fn catalog(&self) -> Catalog {
        Catalog::new(self.deps.clone(), None)
    }
}

fn model() -> FaceModelName {
    "model".parse().unwrap()
}

fn placement(name: &str) -> Placement {
    name.parse().unwrap()
}

fn written(collection: &Collection) -> Vec<String> {
    collection.written_galleries().map(|(gallery, _)| gallery.placement.to_string()).collect()
}

#[tokio::test]
async fn a_move_goes_its_way_and_the_uid_knows_every_placement() {
    let world = World::new().await;
    let (catalog, part) = (world.catalog(), world.part);
    assert_eq!(written(&catalog.collection_by_part(&part).await.unwrap().unwrap()), ["model"]);
    let begun = catalog.begin_move(&part, (&placement("model.2"), &model())).await.unwrap();
    assert_eq!(written(&begun), ["model", "model.2"]);
    let told = catalog.collection_by_part(&part).await.unwrap().unwrap();
    assert_eq!(written(&told), ["model", "model.2"], "this process is told at once");
    let refused = catalog.begin_move(&part, (&placement("model.3"), &model())).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::AlreadyExists);
    let filling = begun.placements.moving.clone().unwrap();
    assert!(catalog.switch_move(&part, &filling).await.unwrap());
    assert!(!catalog.switch_move(&part, &filling).await.unwrap(), "once");
    assert!(!catalog.cancel_move(&part, &filling).await.unwrap(), "too late");
    let leaving = catalog.read_by_part(&part).await.unwrap().unwrap().placements.moving.clone().unwrap();
    assert!(catalog.finish_move(&part, &leaving).await.unwrap());
    let moved = catalog.collection_by_part(&part).await.unwrap().unwrap();
    assert_eq!(written(&moved), ["model.2"]);
    assert_eq!(moved.placements.to_clear().collect::<Vec<_>>(), [&placement("model")]);

    catalog.delete_collection(world.tenant, &moved.name).await.unwrap();
    let dead = catalog.dead_collections(world.tenant).await.unwrap();
    let everywhere: Vec<_> = dead[0].galleries.iter().map(|gallery| gallery.placement.as_str()).collect();
    assert_eq!(everywhere, ["model", "model.2", "model.3"]);
    let gone = catalog.begin_move(&part, (&placement("model.4"), &model())).await.unwrap_err();
    assert_eq!(gone.code, ErrorCode::NotFound);
}

#[tokio::test]
async fn others_believe_it_one_lease_later() {
    let world = World::new().await;
    let (catalog, part) = (world.catalog(), world.part);
    let other = Catalog::new(world.deps.clone(), Some(CACHE_MAX_AGE));
    other.collection_by_part(&part).await.unwrap();
    catalog.begin_move(&part, (&placement("model.2"), &model())).await.unwrap();
    assert_eq!(written(&other.collection_by_part(&part).await.unwrap().unwrap()), ["model"]);
    world.clock.advance(CACHE_MAX_AGE);
    assert_eq!(written(&other.collection_by_part(&part).await.unwrap().unwrap()), ["model", "model.2"]);
}

#[tokio::test]
async fn what_was_left_is_clean_after_its_time() {
    let world = World::new().await;
    let (catalog, part) = (world.catalog(), world.part);
    let begun = catalog.begin_move(&part, (&placement("model.2"), &model())).await.unwrap();
    assert!(catalog.cancel_move(&part, begun.placements.moving.as_ref().unwrap()).await.unwrap());
    let target = placement("model.2");
    let again = catalog.begin_move(&part, (&target, &model())).await.unwrap_err();
    assert_eq!(again.code, ErrorCode::AlreadyExists);
    for (passes, open) in [(Duration::from_secs(60), 1), (DAY * 2, 0)] {
        world.clock.advance(passes);
        let began_at = vidimus_ports::Clock::now(&*world.clock);
        catalog.cleared(&part, Some((&target, began_at))).await.unwrap();
        let now = catalog.read_by_part(&part).await.unwrap().unwrap();
        assert_eq!(now.placements.to_clear().count(), open, "{passes:?}");
    }
    world.clock.advance(DAY * 2);
    catalog.cleared(&part, None).await.unwrap();
    catalog.begin_move(&part, (&target, &model())).await.unwrap();
}

#[tokio::test]
async fn what_is_found_elsewhere_is_cleared_as_if_it_had_been_left() {
    let world = World::new().await;
    let (catalog, part) = (world.catalog(), world.part);
    for _ in 0..2 {
        catalog.found_in(&part, &placement("model.2")).await.unwrap();
    }
    let now = catalog.read_by_part(&part).await.unwrap().unwrap();
    assert_eq!(now.placements.to_clear().collect::<Vec<_>>(), [&placement("model.2")]);
    assert_eq!(written(&now), ["model"]);
}
