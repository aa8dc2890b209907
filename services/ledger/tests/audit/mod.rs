//! Audit records that cannot be read, and partitions that cannot be written.

use std::collections::BTreeSet;
use std::time::Duration;

use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use prost::Message;
use vidimus_domain::blob_key::{BlobKey, BlobPrefix};
use vidimus_domain::codec::{FORMAT, Stored};
use vidimus_ports::consumer_group::partition_of;
use vidimus_ports::{Append, BlobStore, EventLog, PutCondition, Topic};
use vidimus_proto::internal::v1;

use crate::world::World;

/// A key of that partition.
fn key_of(partition: u32) -> String {
    let mut keys = (0..).map(|number| format!("key-{number}"));
    keys.find(|key| partition_of(key.as_bytes(), 4) == partition).unwrap()
}

async fn append(world: &World, partition: u32, payload: Vec<u8>) {
    let position =
        world.log.append(Topic::Audit, Append::new(key_of(partition).as_bytes(), payload)).await.unwrap();
    assert_eq!(position.partition, partition);
}

/// Appends a record to that partition, which is found by its request's number.
async fn append_request(world: &World, partition: u32, request: u64) {
    append(world, partition, world.audit(request).encode()).await;
}

fn too_new(world: &World) -> Vec<u8> {
    v1::Audit { format: FORMAT + 1, ..world.audit(99).to_proto() }.encode_to_vec()
}

async fn requests(world: &World) -> BTreeSet<String> {
    world.batched().await.into_iter().map(|audit| audit.request_id).collect()
}

async fn committed(world: &World, partition: u32) -> u64 {
    let places = world.log.committed(Topic::Audit, "ledger").await.unwrap();
    places.iter().find(|place| place.partition == partition).map_or(0, |place| place.offset)
}

#[tokio::test]
async fn a_damaged_record_is_kept_as_it_was_and_holds_nothing_up() {
    let world = World::new().await;
    append_request(&world, 1, 0).await;
    append(&world, 1, b"no message".to_vec()).await;
    append_request(&world, 1, 2).await;
    let mut registry = Registry::default();
    world.start(&world.ledger_counted(&mut registry));
    world.until(async || committed(&world, 1).await == 3).await;

    let listed = world.blobs.list(&BlobPrefix::audit(), None, 10).await.unwrap();
    let [entry] = listed.as_slice() else { panic!("{listed:?}") };
    let batch = v1::AuditBatch::decode(world.blobs.get(&entry.key).await.unwrap().unwrap().bytes).unwrap();
    assert_eq!((batch.format, batch.first_offset, batch.last_offset), (1, 0, 2));
    let requests = batch.records.iter().map(|audit| audit.request_id.as_str()).collect::<Vec<_>>();
    assert_eq!(requests, ["request-0", "request-2"]);
    let [unreadable] = batch.unreadable.as_slice() else { panic!("{:?}", batch.unreadable) };
    assert_eq!((unreadable.offset, unreadable.payload.as_slice()), (1, b"no message".as_slice()));
    assert_eq!(unreadable.key, key_of(1).as_bytes());
    assert!(unreadable.reason.contains("Corrupt"), "{}", unreadable.reason);

    let mut text = String::new();
    encode(&mut text, &registry).unwrap();
    assert!(text.contains("vidimus_audit_unreadable_records_total 1\n"), "{text}");
    assert!(text.contains("vidimus_audit_records_stored_total 2\n"), "{text}");
    world
        .until(async || {
            let states = world.log.state(Topic::Audit).await.unwrap();
            states.iter().any(|state| state.partition == 1 && state.first_offset == 3)
        })
        .await;
}

#[tokio::test]
async fn what_is_too_new_waits_and_keeps_no_other_partition_waiting() {
    let world = World::new().await;
    append_request(&world, 0, 0).await;
    append(&world, 0, too_new(&world)).await;
    append_request(&world, 0, 2).await;
    append_request(&world, 1, 10).await;
    let _ledger = world.started_ledger();
    let of = |numbers: &[u64]| numbers.iter().map(|number| format!("request-{number}")).collect();
    world.until(async || requests(&world).await == of(&[0, 10])).await;
    for request in 11..14 {
        append_request(&world, 1, request).await;
        world.until(async || committed(&world, 1).await == request - 9).await;
        // Past the time after which what is held up is tried again.
        world.clock.advance(Duration::from_secs(60));
    }
    assert_eq!(requests(&world).await, of(&[0, 10, 11, 12, 13]));
    assert_eq!(committed(&world, 0).await, 1, "it is not skipped");
}

#[tokio::test]
async fn a_partition_whose_batch_cannot_be_read_is_tried_again() {
    let world = World::new().await;
    let incarnation = world.log.incarnation().await.unwrap();
    // One is damaged, one has the name and other records, one ends before it begins.
    let batch = |first_offset, last_offset, request| v1::AuditBatch {
        format: 1,
        first_offset,
        last_offset,
        records: vec![world.audit(request).to_proto()],
        ..v1::AuditBatch::default()
    };
    let stored = [b"no batch".to_vec(), batch(0, 0, 99).encode_to_vec(), batch(1, 0, 2).encode_to_vec()];
    let keys = [0, 1, 2].map(|partition| BlobKey::audit_batch(&incarnation, partition, 0));
    for (partition, stored) in stored.into_iter().enumerate() {
        world.blobs.put(&keys[partition], stored.into(), PutCondition::IfAbsent).await.unwrap();
        append_request(&world, partition as u32, partition as u64).await;
    }
    append_request(&world, 3, 10).await;
    let _ledger = world.started_ledger();
    world.until(async || committed(&world, 3).await == 1).await;
    for (partition, key) in keys.iter().enumerate() {
        assert_eq!(committed(&world, partition as u32).await, 0, "{partition}");
        world.blobs.delete(key).await.unwrap();
    }
    world.until(async || requests(&world).await.len() == 4).await;
}
