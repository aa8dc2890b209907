//! What is erased because its time has come.

use std::time::Duration;

use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use vidimus_domain::blob_key::BlobKey;
use vidimus_domain::event::AuditedAction;
use vidimus_domain::point::PointBody;
use vidimus_domain::record::{Record, State, projection};
use vidimus_domain::{ImageId, UnixMillis};
use vidimus_ledger::{Swept, Walk};
use vidimus_ports::{BlobStore, FaceIndex, PutCondition};

use crate::world::World;

const HOUR: Duration = Duration::from_secs(3600);
const MILLISECOND: Duration = Duration::from_millis(1);

const NOTHING: Swept = Swept { erased_faces: 0, erased_photos: 0, overdue: 0 };

async fn enrolled(world: &World, image: u8) -> Record {
    let record = world.enrol(image, None).await;
    world.project(&record).await;
    record
}

async fn is_erased(world: &World, record: &Record) -> bool {
    let erased = world.read(record).await.unwrap().state == State::Erased;
    let key = BlobKey::record(&record.origin.part, record.origin.image);
    assert!(!erased || world.blobs.older_versions(&key).is_empty(), "a template is left in an older version");
    assert_eq!(world.has_photo(record).await, !erased, "the photo goes with its last face");
    erased
}

#[tokio::test]
async fn faces_older_than_the_rule_are_erased_with_their_photos_and_said_and_audited() {
    let world = World::new().await;
    let old = enrolled(&world, 1).await;
    world.clock.advance(MILLISECOND);
    let young = enrolled(&world, 2).await;
    world.set_retention(Some(HOUR), None).await;
    world.clock.advance(HOUR - MILLISECOND * 2);
    let ledger = world.ledger();
    assert_eq!(ledger.sweep().await.unwrap(), NOTHING, "not yet");
    world.clock.advance(MILLISECOND);
    assert_eq!(ledger.sweep().await.unwrap(), Swept { erased_faces: 1, erased_photos: 1, overdue: 0 });
    assert!(is_erased(&world, &old).await && !is_erased(&world, &young).await);
    assert_eq!(world.changed_images().await, [old.origin.image]);
    let faces = vec![old.face_id(old.faces[0].number)];
    assert_eq!(world.audited().await, [AuditedAction::Expiry { faces, photo_of: None }]);
    world.project(&world.read(&old).await.unwrap()).await;
    assert_eq!(ledger.sweep().await.unwrap(), NOTHING, "it is done once");
}

#[tokio::test]
async fn a_face_goes_by_its_own_expiry_where_that_is_sooner() {
    let world = World::new().await;
    let soon = world.enrol_until(1, world.now().plus(HOUR)).await;
    world.project(&soon).await;
    let other = enrolled(&world, 2).await;
    let ledger = world.ledger();
    world.clock.advance(HOUR);
    assert_eq!(ledger.sweep().await.unwrap().erased_faces, 1);
    assert!(is_erased(&world, &soon).await && !is_erased(&world, &other).await);
}

#[tokio::test]
async fn a_rule_holds_for_what_is_there_and_a_longer_one_brings_nothing_back() {
    let world = World::new().await;
    let old = enrolled(&world, 1).await;
    world.clock.advance(HOUR * 2);
    let young = enrolled(&world, 2).await;
    world.set_retention(Some(HOUR), None).await;
    world.set_retention(None, None).await;
    assert_eq!(world.ledger().sweep().await.unwrap().erased_faces, 1);
    assert!(is_erased(&world, &old).await && !is_erased(&world, &young).await);
}

#[tokio::test]
async fn what_the_record_says_decides() {
    let world = World::new().await;
    let record = enrolled(&world, 1).await;
    // The index shows a point whose time has come; its record knows nothing of that.
    let mut wrong = projection(&record, world.collection.face_model(), world.now()).write.remove(0);
    if let PointBody::Live(live) = &mut wrong.body {
        live.expires_at = world.now();
    }
    wrong.version = vidimus_domain::Version::new(record.version.get() + 1);
    world.index.write(&world.gallery(), &[wrong]).await.unwrap();
    assert_eq!(world.ledger().sweep().await.unwrap(), NOTHING);
    assert!(!is_erased(&world, &record).await);
    assert!(world.changes().await.is_empty());
}

#[tokio::test]
async fn a_photo_goes_when_its_own_time_has_come() {
    let world = World::new().await;
    world.set_retention(None, Some(HOUR)).await;
    let old = enrolled(&world, 1).await;
    world.clock.advance(HOUR);
    let young = enrolled(&world, 2).await;
    let ledger = world.ledger();
    assert_eq!(ledger.sweep().await.unwrap(), Swept { erased_faces: 0, erased_photos: 1, overdue: 0 });
    let without = world.read(&old).await.unwrap();
    assert_eq!((without.state, without.photo, without.faces), (State::Enrolled, None, old.faces.clone()));
    assert!(!world.has_photo(&old).await && world.has_photo(&young).await);
    let photo_of = Some(old.origin.image);
    assert_eq!(world.audited().await, [AuditedAction::Expiry { faces: Vec::new(), photo_of }]);
    assert_eq!(ledger.sweep().await.unwrap(), NOTHING);
    // Days later too: photos are found by their days.
    world.clock.advance(HOUR * 50);
    assert_eq!(ledger.sweep().await.unwrap().erased_photos, 1);
    assert!(!world.has_photo(&young).await);
}

#[tokio::test]
async fn a_photo_that_was_imported_lately_goes_by_when_it_was_put_at_first() {
    let world = World::new().await;
    world.set_retention(None, Some(HOUR * 24 * 90)).await;
    let record = enrolled(&world, 1).await;
    world.clock.advance(HOUR * 24 * 80);
    let key = BlobKey::photo(&world.part(), record.origin.image, record.photo.as_ref().unwrap());
    world.blobs.delete(&key).await.unwrap();
    world.blobs.put(&key, "photo".into(), PutCondition::IfAbsent).await.unwrap();
    // It is on its way in: its record may follow.
    let unnamed =
        BlobKey::photo(&world.part(), ImageId::from_random([9; 16]), record.photo.as_ref().unwrap());
    world.blobs.put(&unnamed, "photo".into(), PutCondition::IfAbsent).await.unwrap();
    let ledger = world.ledger();
    assert_eq!(ledger.reconcile(Walk::Full).await.unwrap().removed_photos, 0);
    world.clock.advance(HOUR * 24 * 10 - MILLISECOND);
    assert_eq!(ledger.sweep().await.unwrap(), NOTHING, "not yet");
    world.clock.advance(MILLISECOND);
    assert_eq!(ledger.sweep().await.unwrap(), Swept { erased_faces: 0, erased_photos: 1, overdue: 0 });
    assert!(!world.has_photo(&record).await);
    assert_eq!(ledger.reconcile(Walk::Changed).await.unwrap().removed_photos, 1, "that no record names");
}

#[tokio::test]
async fn a_photo_that_was_imported_lately_and_cannot_be_removed_is_overdue() {
    let world = World::new().await;
    world.set_retention(None, Some(HOUR * 24 * 90)).await;
    let record = enrolled(&world, 1).await;
    world.clock.advance(HOUR * 24 * 80);
    let photo = BlobKey::photo(&world.part(), record.origin.image, record.photo.as_ref().unwrap());
    let damaged = BlobKey::record(&world.part(), record.origin.image);
    for (key, bytes) in [(photo, "photo"), (damaged, "no record")] {
        world.blobs.delete(&key).await.unwrap();
        world.blobs.put(&key, bytes.into(), PutCondition::IfAbsent).await.unwrap();
    }
    world.clock.advance(HOUR * 24 * 10);
    assert_eq!(world.ledger().sweep().await.unwrap(), Swept { overdue: 1, ..NOTHING });
}

#[tokio::test]
async fn a_photo_that_a_record_names_for_removal_is_removed() {
    let world = World::new().await;
    let record = enrolled(&world, 1).await;
    // Whoever erased its last face died before it removed the photo.
    world.erase(&record).await;
    world.set_retention(None, Some(HOUR)).await;
    world.clock.advance(HOUR);
    assert_eq!(world.ledger().sweep().await.unwrap(), NOTHING);
    assert!(!world.has_photo(&record).await);
}

#[tokio::test]
async fn many_are_erased_in_batches() {
    let world = World::new().await;
    for image in 0..150 {
        enrolled(&world, image).await;
    }
    world.set_retention(Some(HOUR), None).await;
    world.clock.advance(HOUR);
    let swept = world.ledger().sweep().await.unwrap();
    assert_eq!(swept, Swept { erased_faces: 150, erased_photos: 150, overdue: 0 });
}

#[tokio::test]
async fn what_cannot_be_erased_is_counted_and_holds_up_nothing() {
    let world = World::new().await;
    let (damaged, fine) = (enrolled(&world, 1).await, enrolled(&world, 2).await);
    let key = BlobKey::record(&world.part(), damaged.origin.image);
    world.blobs.delete(&key).await.unwrap();
    world.blobs.put(&key, "no record".into(), PutCondition::IfAbsent).await.unwrap();
    world.set_retention(Some(HOUR), None).await;
    world.clock.advance(HOUR);
    let mut registry = Registry::default();
    let ledger = world.ledger_counted(&mut registry);
    assert_eq!(ledger.sweep().await.unwrap(), Swept { erased_faces: 1, erased_photos: 1, overdue: 1 });
    assert!(is_erased(&world, &fine).await);
    world.project(&world.read(&fine).await.unwrap()).await;
    world.clock.advance(HOUR);
    assert_eq!(ledger.sweep().await.unwrap(), Swept { overdue: 1, ..NOTHING });
    let mut text = String::new();
    encode(&mut text, &registry).unwrap();
    for line in [
        "vidimus_retention_overdue_faces 1\n",
        "vidimus_retention_overdue_seconds 3600\n",
        "vidimus_retention_erased_faces_total 1\n",
        "vidimus_retention_erased_photos_total 1\n",
    ] {
        assert!(text.contains(line), "{line:?} in {text}");
    }
}

#[tokio::test]
async fn reconciling_erases_what_the_index_does_not_show() {
    let world = World::new().await;
    let unseen = world.enrol(1, None).await;
    world.set_retention(Some(HOUR), None).await;
    world.clock.advance(HOUR);
    let ledger = world.ledger();
    assert_eq!(ledger.sweep().await.unwrap(), NOTHING);
    assert_eq!(ledger.reconcile(Walk::Full).await.unwrap().expired_records, 1);
    assert!(is_erased(&world, &unseen).await);
}

#[tokio::test]
async fn a_started_ledger_sweeps_by_itself() {
    let world = World::new().await;
    let record = world.enrol_until(1, UnixMillis::new(world.now().get() + 1)).await;
    world.project(&record).await;
    world.clock.advance(MILLISECOND);
    let _ledger = world.started_ledger();
    world.until(async || world.read(&record).await.unwrap().state == State::Erased).await;
}
