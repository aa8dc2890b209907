//! A bucket that keeps versions: what was deleted or erased is in none of them.

use std::time::Duration;

use aws_sdk_s3::Client;
use vidimus_domain::blob_key::BlobKey;
use vidimus_ports::{BlobStore as _, PortErrorKind, PutCondition};
use vidimus_s3::S3BlobStore;

use crate::proxy::{Loss, Proxy};
use crate::puts::{fresh_key, raw_key};
use crate::server::{Server, VERSIONED, connect};

/// All that the bucket has of a key: contents and markers.
async fn versions(client: &Client, key: &BlobKey) -> (usize, usize) {
    let listed = client.list_object_versions().bucket(VERSIONED).prefix(raw_key(key)).send().await.unwrap();
    (listed.versions().len(), listed.delete_markers().len())
}

/// Puts the key so many times.
async fn put_over(store: &S3BlobStore, key: &BlobKey, times: usize) {
    let mut condition = PutCondition::IfAbsent;
    for time in 0..times {
        let etag = store.put(key, format!("state {time}").into(), condition).await.unwrap();
        condition = PutCondition::IfMatch(etag);
    }
}

#[tokio::test]
async fn a_deletion_removes_every_version() {
    let server = Server::start().await;
    server.versioned().await;
    let (store, client) = (server.store(VERSIONED).await, server.client());
    let key = fresh_key();
    put_over(&store, &key, 3).await;
    assert_eq!(versions(&client, &key).await, (3, 0));
    store.delete(&key).await.unwrap();
    assert_eq!(versions(&client, &key).await, (0, 0));
    assert_eq!(store.get(&key).await.unwrap(), None);
    // A store that takes the bucket for one without versions is told otherwise by its answers.
    let unchecked = server.store(VERSIONED).await;
    put_over(&unchecked, &key, 2).await;
    unchecked.delete(&key).await.unwrap();
    unchecked.delete(&key).await.unwrap();
    assert_eq!(versions(&client, &key).await, (0, 0));
}

#[tokio::test]
async fn forgetting_leaves_the_present_state_alone() {
    let server = Server::start().await;
    server.versioned().await;
    let (store, client) = (server.store(VERSIONED).await, server.client());
    let key = fresh_key();
    put_over(&store, &key, 4).await;
    store.forget_versions(&key).await.unwrap();
    assert_eq!(versions(&client, &key).await, (1, 0));
    let read = store.get(&key).await.unwrap().unwrap();
    assert_eq!(read.bytes, "state 3");
    store.put(&key, "state 4".into(), PutCondition::IfMatch(read.etag)).await.unwrap();
    assert_eq!(versions(&client, &key).await, (2, 0));
}

#[tokio::test]
async fn a_deletion_that_breaks_off_brings_nothing_back_and_is_taken_up_again() {
    let server = Server::start().await;
    server.versioned().await;
    let proxy = Proxy::before(server.port(), "DELETE ").await;
    let mut config = server.config_through(proxy.port());
    config.attempts_max = std::num::NonZeroU32::MIN;
    let store = S3BlobStore::new(connect(&config, VERSIONED).await);
    let (putting, client) = (server.store(VERSIONED).await, server.client());
    // The marker, both versions, the marker again: that many requests, each of which is lost once before and once after it
    // was carried out; of the fifth there is none.
    for loss in [Loss::Request, Loss::Answer] {
        for step in 0..5 {
            let key = fresh_key();
            put_over(&putting, &key, 2).await;
            proxy.lose(loss, step..step + 1);
            let deleted = store.delete(&key).await;
            assert_eq!(deleted.is_err(), step < 4, "{loss:?} {step}: {deleted:?}");
            let is_there = store.get(&key).await.unwrap().is_some();
            assert_eq!(is_there, step == 0 && loss == Loss::Request, "{loss:?} {step}");
            proxy.lose(loss, 0..0);
            store.delete(&key).await.unwrap();
            assert_eq!(versions(&client, &key).await, (0, 0), "{loss:?} {step}");
        }
    }
}

/// A deletion's requests: it hides the object, lists the versions, removes what is older than the latest, and last its marker.
const DELETION: usize = 4;

/// A put between any two requests of a deletion: before the object is hidden it is gone with all else, after that it is left
/// alone.
#[tokio::test]
async fn a_put_amid_a_deletion_is_deleted_with_all_else_or_left_alone() {
    let server = Server::start().await;
    server.versioned().await;
    let proxy = Proxy::before(server.port(), "").await;
    let deleting = S3BlobStore::new(connect(&server.config_through(proxy.port()), VERSIONED).await);
    let (putting, client) = (server.store(VERSIONED).await, server.client());
    for step in 0..DELETION {
        for is_over in [false, true] {
            let key = fresh_key();
            let etag = putting.put(&key, "first".into(), PutCondition::IfAbsent).await.unwrap();
            let condition = if is_over { PutCondition::IfMatch(etag) } else { PutCondition::IfAbsent };
            let barrier = proxy.hold(step);
            let put = async {
                barrier.wait().await;
                let put = putting.put(&key, "second".into(), condition).await;
                barrier.wait().await;
                put
            };
            let (deleted, put) = tokio::join!(deleting.delete(&key), put);
            deleted.unwrap();
            // The object is there until it is hidden.
            let is_there = step == 0;
            assert_eq!(put.is_ok(), is_there == is_over, "step {step}, over {is_over}: {put:?}");
            let left = putting.get(&key).await.unwrap().map(|blob| blob.bytes);
            let survives = put.is_ok() && !is_there;
            assert_eq!(left, survives.then(|| "second".into()), "step {step}, over {is_over}");
            assert_eq!(
                versions(&client, &key).await,
                (usize::from(survives), 0),
                "step {step}, over {is_over}"
            );
        }
    }
}

/// Of a deletion and a put at a time: what is read after them is the put's, where it won, or nothing; and the next deletion leaves
/// nothing. Of one deletion alone that does not hold here: SeaweedFS looks and writes in two steps, and so now and then lets a
/// put through whose condition does not hold any more, or has it write into the version that it supersedes, and so bring back
/// what was removed at that moment.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn puts_and_deletions_at_a_time_leave_one_of_two_worlds() {
    let server = Server::start().await;
    server.versioned().await;
    let (store, client) = (server.store(VERSIONED).await, server.client());
    for round in 0..40 {
        let key = fresh_key();
        let etag = store.put(&key, "first".into(), PutCondition::IfAbsent).await.unwrap();
        let condition = if round % 2 == 0 { PutCondition::IfAbsent } else { PutCondition::IfMatch(etag) };
        let put = async {
            tokio::time::sleep(Duration::from_millis(round / 2)).await;
            store.put(&key, "second".into(), condition).await
        };
        let (deleted, put) = tokio::join!(store.delete(&key), put);
        deleted.unwrap();
        let read = store.get(&key).await.unwrap().map(|blob| blob.bytes);
        match (&put, &read) {
            (Ok(_), Some(bytes)) => assert_eq!(bytes, "second"),
            (Ok(_), None) => {}
            (Err(error), None) => assert_eq!(error.kind(), PortErrorKind::Conflict, "{error}"),
            (Err(error), Some(_)) => panic!("round {round}: {error} left {read:?}"),
        }
        store.delete(&key).await.unwrap();
        assert_eq!(store.get(&key).await.unwrap(), None, "round {round}");
        assert_eq!(versions(&client, &key).await, (0, 0), "round {round}");
    }
}
