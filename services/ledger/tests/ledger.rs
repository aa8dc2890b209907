//! The ledger over fakes: what it says on the log, what it removes, what it writes.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "all of this is a test")]

mod audit;
mod moves;
mod side_by_side;
mod sweep;
mod world;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use prost::Message;
use vidimus_domain::blob_key::{BlobKey, BlobPrefix};
use vidimus_domain::codec::Stored;
use vidimus_domain::record::{PhotoKey, Record};
use vidimus_domain::retention::Horizon;
use vidimus_domain::{FaceNumber, Nonce};
use vidimus_ledger::Walk;
use vidimus_ports::faulty::{FaultyEventLog, Interference, Moment, Stage};
use vidimus_ports::{
    Append, BlobStore, EventLog, FaceIndex, Listing, PortError, PortErrorKind, PortResult, PutCondition,
    Topic,
};
use vidimus_proto::internal::v1;
use vidimus_runtime::client_tokens::{ClientTokens, TokenUse};
use world::World;

const DAY: Duration = Duration::from_secs(24 * 3600);

#[tokio::test]
async fn a_lost_log_loses_no_face() {
    let world = World::new().await;
    let known = world.enrol(1, None).await;
    let unknown = world.enrol(2, None).await;
    world.project(&known).await;
    let ledger = world.ledger();
    let found = ledger.reconcile(Walk::Changed).await.unwrap();
    assert_eq!((found.compared_records, found.differences), (2, 1));
    assert_eq!(world.changed_images().await, [unknown.origin.image]);
    world.project(&unknown).await;
    let again = ledger.reconcile(Walk::Full).await.unwrap();
    assert_eq!(again.differences, 0);
}

#[tokio::test]
async fn a_record_that_cannot_be_read_keeps_no_other_from_being_compared() {
    let world = World::new().await;
    let mut records = Vec::new();
    for image in 1..=4 {
        records.push(world.enrol(image, None).await);
    }
    let newer = v1::Record { format: Record::NEWEST + 1, ..records[2].to_proto() }.encode_to_vec();
    for (record, bytes) in [(&records[1], b"no record".to_vec()), (&records[2], newer)] {
        let key = BlobKey::record(&world.part(), record.origin.image);
        world.blobs.delete(&key).await.unwrap();
        world.blobs.put(&key, bytes.into(), PutCondition::IfAbsent).await.unwrap();
    }
    world.clock.advance(3 * DAY);
    let found = world.ledger().reconcile(Walk::Full).await.unwrap();
    assert_eq!((found.differences, found.unreadable_records), (2, 2));
    assert_eq!(found.removed_photos, 0, "a record that cannot be read may name its photo");
    assert_eq!(world.changed_images().await, [records[0].origin.image, records[3].origin.image]);
    for record in &records {
        assert!(world.has_photo(record).await);
    }
}

#[tokio::test]
async fn what_an_erased_record_was_before_goes_though_its_writer_died() {
    let world = World::new().await;
    let record = world.enrol(1, None).await;
    let kept = world.enrol(2, None).await;
    world.erase(&record).await;
    let key = BlobKey::record(&world.part(), record.origin.image);
    assert_eq!(world.blobs.older_versions(&key).len(), 1, "the template is in there");
    world.ledger().reconcile(Walk::Changed).await.unwrap();
    assert!(world.blobs.older_versions(&key).is_empty());
    assert_eq!(world.read(&kept).await.unwrap(), kept);
}

#[tokio::test]
async fn an_erasure_that_was_not_projected_is_said() {
    let world = World::new().await;
    let record = world.enrol(1, None).await;
    world.project(&record).await;
    let ledger = world.ledger();
    assert_eq!(ledger.reconcile(Walk::Changed).await.unwrap().differences, 0);
    let erased = world.erase(&record).await;
    assert_eq!(ledger.reconcile(Walk::Changed).await.unwrap().differences, 1);
    world.project(&erased).await;
    assert_eq!(ledger.reconcile(Walk::Changed).await.unwrap().differences, 0);
}

#[tokio::test]
async fn marks_of_erased_faces_go_after_a_day_and_husks_after_them() {
    let world = World::new().await;
    let record = world.enrol(1, None).await;
    let named = world.enrol(2, Some("name")).await;
    world.project(&record).await;
    world.project(&named).await;
    let erased = [world.erase(&record).await, world.erase(&named).await];
    world.project(&erased[0]).await;
    world.project(&erased[1]).await;
    let ledger = world.ledger();
    assert_eq!(ledger.reconcile(Walk::Changed).await.unwrap().differences, 0, "they stay for a day");
    world.clock.advance(DAY);
    assert_eq!(ledger.reconcile(Walk::Changed).await.unwrap().differences, 2, "the marks are to go");
    world.project(&erased[0]).await;
    world.project(&erased[1]).await;
    let left = world.index.scroll(&world.gallery(), Listing::Everything, None, 10).await.unwrap();
    assert!(left.is_empty(), "{left:?}");
    let found = ledger.reconcile(Walk::Changed).await.unwrap();
    assert_eq!((found.differences, found.removed_husks), (0, 1));
    assert!(world.read(&erased[0]).await.is_none());
    assert!(world.read(&erased[1]).await.is_some(), "its image id could be derived again");
    let gone = world.blobs.get(&BlobKey::gone(&world.part(), record.origin.image)).await.unwrap();
    let gone = Record::decode(&gone.expect("imports are to know of it").bytes).unwrap();
    assert_eq!(gone, erased[0]);
}

#[tokio::test]
async fn points_without_a_record_are_said_with_the_versions_seen() {
    let world = World::new().await;
    let record = world.enrol(1, None).await;
    world.project(&record).await;
    world.blobs.delete(&BlobKey::record(&world.part(), record.origin.image)).await.unwrap();
    let ledger = world.ledger();
    assert_eq!(ledger.reconcile(Walk::Full).await.unwrap().differences, 1);
    let changes = world.changes().await;
    assert_eq!(changes[0].seen, [(FaceNumber::FIRST, record.version)]);
}

#[tokio::test]
async fn photos_that_no_record_names_go_after_a_day() {
    let world = World::new().await;
    let record = world.enrol(1, None).await;
    world.project(&record).await;
    let put = async |nonce: u8| {
        let photo = PhotoKey::new(world.now(), Nonce::from_random([nonce; 16]));
        let key = BlobKey::photo(&world.part(), record.origin.image, &photo);
        world.blobs.put(&key, "photo".into(), PutCondition::IfAbsent).await.unwrap();
        key
    };
    let orphan = put(9).await;
    world.clock.advance(DAY - Duration::from_secs(60));
    let ledger = world.ledger();
    assert_eq!(ledger.reconcile(Walk::Full).await.unwrap().removed_photos, 0);
    world.clock.advance(Duration::from_secs(120));
    let young = put(10).await;
    assert_eq!(ledger.reconcile(Walk::Changed).await.unwrap().removed_photos, 1);
    assert!(world.blobs.get(&orphan).await.unwrap().is_none());
    assert!(world.blobs.get(&young).await.unwrap().is_some());
    let named = BlobKey::photo(&world.part(), record.origin.image, record.photo.as_ref().unwrap());
    assert!(world.blobs.get(&named).await.unwrap().is_some(), "the record names it");
}

#[tokio::test]
async fn photos_that_have_waited_for_long_are_said_again() {
    let world = World::new().await;
    let record = world.accept(1).await;
    let ledger = world.ledger();
    assert_eq!(ledger.reconcile(Walk::Full).await.unwrap().waiting_photos, 0, "it is on its way");
    world.clock.advance(Duration::from_secs(601));
    let young = world.accept(2).await;
    assert_eq!(ledger.reconcile(Walk::Changed).await.unwrap().waiting_photos, 1);
    assert_eq!(world.said_photos().await, [record.origin.image]);
    world.clock.advance(Duration::from_secs(601));
    assert_eq!(ledger.reconcile(Walk::Changed).await.unwrap().waiting_photos, 0, "it may be in the queue");
    world.clock.advance(DAY);
    assert_eq!(ledger.reconcile(Walk::Changed).await.unwrap().waiting_photos, 2, "a day is too long");
    for record in [&record, &young] {
        assert!(world.has_photo(record).await, "a photo that waits is not swept");
    }
}

#[tokio::test]
async fn nothing_is_left_of_a_dead_collection() {
    let world = World::new().await;
    let record = world.enrol(1, Some("name")).await;
    world.project(&record).await;
    world.catalog.delete_collection(world.part().tenant, &world.collection.name).await.unwrap();
    let ledger = world.ledger();
    assert_eq!(ledger.reconcile(Walk::Changed).await.unwrap().cleared_collections, 1);
    let contents = BlobPrefix::collection_contents(&world.part());
    assert!(world.blobs.list(&contents, None, 10).await.unwrap().is_empty());
    assert!(world.index.scroll(&world.gallery(), Listing::Everything, None, 10).await.unwrap().is_empty());
    // A writer that slept comes late: it is found under the dead uid, which is forgotten only after a quiet day.
    world.project(&record).await;
    world.clock.advance(DAY);
    world
        .blobs
        .put(
            &BlobKey::record(&world.part(), record.origin.image),
            record.encode().into(),
            PutCondition::IfAbsent,
        )
        .await
        .unwrap();
    assert_eq!(ledger.reconcile(Walk::Changed).await.unwrap().cleared_collections, 1);
    assert!(!world.catalog.dead_collections(world.part().tenant).await.unwrap().is_empty());
    ledger.reconcile(Walk::Changed).await.unwrap();
    assert!(world.catalog.dead_collections(world.part().tenant).await.unwrap().is_empty());
    assert!(world.index.scroll(&world.gallery(), Listing::Everything, None, 10).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_name_used_again_keeps_its_new_faces() {
    let world = World::new().await;
    let old = world.enrol(1, None).await;
    world.project(&old).await;
    let tenant = world.part().tenant;
    world.catalog.delete_collection(tenant, &world.collection.name).await.unwrap();
    world.clock.advance(Duration::from_secs(2 * 3600));
    let world = world.with_new_collection().await;
    let new = world.enrol(2, None).await;
    world.project(&new).await;
    let found = world.ledger().reconcile(Walk::Full).await.unwrap();
    assert_eq!((found.cleared_collections, found.differences), (1, 0));
    assert!(world.read(&new).await.is_some());
    assert_eq!(
        world
            .index
            .count(&world.gallery(), Listing::LiveAt(Horizon::without_rule(world.now())))
            .await
            .unwrap(),
        1
    );
}

#[tokio::test]
async fn client_tokens_go_when_nobody_can_be_told_by_them() {
    let world = World::new().await;
    let ledger = world.ledger();
    let tokens = ClientTokens::new(world.blobs.clone(), world.clock.clone());
    let check = async |token: &'static str, parameters: u8| {
        let token = TokenUse { operation: "CreateUser", token, parameters: [parameters; 32] };
        tokens.check(&world.collection, token).await.map(|seen| seen.again)
    };
    assert_eq!(check("a", 1).await, Ok(false));
    world.clock.advance(DAY - Duration::from_secs(1));
    ledger.reconcile(Walk::Changed).await.unwrap();
    assert_eq!(check("a", 1).await, Ok(true), "not a day has passed");
    assert!(check("a", 2).await.is_err());
    assert_eq!(check("b", 1).await, Ok(false));
    world.clock.advance(Duration::from_secs(DAY.as_secs() + 1));
    ledger.reconcile(Walk::Changed).await.unwrap();
    let prefix = BlobPrefix::client_tokens(&world.part());
    assert_eq!(world.blobs.list(&prefix, None, 10).await.unwrap().len(), 1, "the first is gone");
    assert_eq!(check("a", 2).await, Ok(false));
}

#[tokio::test]
async fn audit_records_are_written_once_and_trimmed() {
    let world = World::new().await;
    for request in 0..5 {
        world.append_audit(request).await;
    }
    // A ledger that died between putting a batch and committing has left this one.
    world.put_audit_batch(0, 2).await;
    let _ledger = world.started_ledger();
    world.until(async || world.batched().await.len() >= 5).await;
    let mut requests: Vec<String> = world.batched().await.into_iter().map(|audit| audit.request_id).collect();
    requests.sort();
    assert_eq!(requests, ["request-0", "request-1", "request-2", "request-3", "request-4"]);
    world
        .until(async || {
            world.log.committed(Topic::Audit, "ledger").await.unwrap().iter().any(|place| place.offset == 5)
        })
        .await;
    world
        .until(async || {
            world.log.state(Topic::Audit).await.unwrap().iter().any(|state| state.first_offset == 5)
        })
        .await;
}

#[tokio::test]
async fn how_far_a_group_is_behind_is_told() {
    let world = World::new().await;
    for request in 0..5 {
        world.append_audit(request).await;
    }
    let change = world.log.append(Topic::Changes, Append::new(b"image", "change")).await.unwrap();
    let mut registry = Registry::default();
    let ledger = world.ledger_counted(&mut registry);
    world.start(&ledger);
    let told = |topic: &str, group: &str, partition: u32, records: u32| {
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        let labels = format!(r#"{{topic="{topic}",group="{group}",partition="{partition}"}}"#);
        text.contains(&format!("vidimus_log_lag_records{labels} {records}\n"))
    };
    world.until(async || told("vidimus.changes", "indexing", change.partition, 1)).await;
    let audit = world.audit_partition().await;
    world.until(async || told("vidimus.audit", "ledger", audit, 0)).await;
}

/// Fails all that is read of a log, where it is away.
#[derive(Default)]
struct Away(AtomicBool);

#[async_trait]
impl Interference for Away {
    async fn at(&self, stage: Stage, _: Moment) -> PortResult<()> {
        if stage == Stage::LogRead && self.0.load(Ordering::Relaxed) {
            return Err(PortError::new(PortErrorKind::Unavailable, "read log"));
        }
        Ok(())
    }
}

#[tokio::test]
async fn how_far_a_group_is_behind_is_not_told_while_the_log_is_away() {
    let world = World::new().await;
    let change = world.log.append(Topic::Changes, Append::new(b"image", "change")).await.unwrap();
    let away = Arc::new(Away::default());
    let mut registry = Registry::default();
    let ledger =
        world.ledger_on(Arc::new(FaultyEventLog::new(world.log.clone(), away.clone())), &mut registry);
    world.start(&ledger);
    let tells = |what: &str| {
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        text.contains(what)
    };
    let series = "vidimus_log_lag_records{";
    let value = format!(
        "vidimus_log_lag_records{{topic=\"vidimus.changes\",group=\"indexing\",partition=\"{}\"}} 1\n",
        change.partition
    );
    world.until(async || tells(&value)).await;
    away.0.store(true, Ordering::Relaxed);
    world.until(async || !tells(series)).await;
    away.0.store(false, Ordering::Relaxed);
    world.until(async || tells(&value)).await;
}

#[tokio::test]
async fn a_batch_of_another_life_of_the_log_is_another_batch() {
    let world = World::new().await;
    let other = Nonce::from_random([7; 16]);
    let batch = v1::AuditBatch { format: 1, last_offset: 99, ..v1::AuditBatch::default() };
    let key = BlobKey::audit_batch(&other, 0, 0);
    world.blobs.put(&key, batch.encode_to_vec().into(), PutCondition::IfAbsent).await.unwrap();
    world.append_audit(0).await;
    let _ledger = world.started_ledger();
    world.until(async || world.batched().await.len() == 1).await;
}
