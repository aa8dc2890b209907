//! Puts whose answers are lost, that race, that are large, that are encrypted.

use std::sync::Arc;

use aws_sdk_s3::types::ServerSideEncryption;
use bytes::Bytes;
use tokio::task::JoinSet;
use vidimus_domain::ImageId;
use vidimus_domain::blob_key::BlobKey;
use vidimus_ports::conformance::blob_store::fresh_part;
use vidimus_ports::{BlobStore as _, PortErrorKind, PutCondition, Random as _, SystemRandom};
use vidimus_s3::{S3BlobStore, S3Config, Sse};

use crate::proxy::{Loss, Proxy};
use crate::server::{PLAIN, Server, connect};

/// A key that nobody has.
pub fn fresh_key() -> BlobKey {
    BlobKey::record(&fresh_part(&SystemRandom), ImageId::from_random(SystemRandom.bytes16()))
}

/// Where the adapter keeps it.
pub fn raw_key(key: &BlobKey) -> String {
    format!("below/a-prefix/{key}")
}

#[tokio::test]
async fn a_put_that_won_and_hears_that_it_lost_finds_out() {
    let server = Server::start().await;
    let proxy = Proxy::before(server.port(), "PUT ").await;
    let store = S3BlobStore::new(connect(&server.config_through(proxy.port()), PLAIN).await);
    let key = fresh_key();

    proxy.lose(Loss::Answer, 0..1);
    let first = store.put(&key, "first".into(), PutCondition::IfAbsent).await.unwrap();
    assert_eq!(proxy.seen(), 2, "the put was done, its answer lost, and it was tried again");
    let read = store.get(&key).await.unwrap().unwrap();
    assert_eq!((read.bytes, read.etag), (Bytes::from("first"), first.clone()));

    proxy.lose(Loss::Answer, 0..1);
    let second = store.put(&key, "second".into(), PutCondition::IfMatch(first.clone())).await.unwrap();
    assert_eq!(proxy.seen(), 2);
    let read = store.get(&key).await.unwrap().unwrap();
    assert_eq!((read.bytes, read.etag), (Bytes::from("second"), second));

    // One that lost, and whose answer was lost too, has lost.
    for condition in [PutCondition::IfAbsent, PutCondition::IfMatch(first)] {
        proxy.lose(Loss::Answer, 0..1);
        let lost = store.put(&key, "third".into(), condition).await.unwrap_err();
        assert_eq!(proxy.seen(), 2);
        assert_eq!(lost.kind(), PortErrorKind::Conflict);
    }
    assert_eq!(store.get(&key).await.unwrap().unwrap().bytes, "second");
}

#[tokio::test]
async fn a_deletion_whose_answer_is_lost_is_done() {
    let server = Server::start().await;
    let proxy = Proxy::before(server.port(), "DELETE ").await;
    let store = S3BlobStore::new(connect(&server.config_through(proxy.port()), PLAIN).await);
    let key = fresh_key();
    store.put(&key, "first".into(), PutCondition::IfAbsent).await.unwrap();
    proxy.lose(Loss::Answer, 0..1);
    store.delete(&key).await.unwrap();
    assert_eq!(proxy.seen(), 2);
    assert_eq!(store.get(&key).await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_sixteen_processes_one_wins() {
    let server = Server::start().await;
    let key = fresh_key();
    let mut condition = PutCondition::IfAbsent;
    for round in 0..3 {
        let mut writers = JoinSet::new();
        for writer in 0..16 {
            // Each has connections of its own, as another process would.
            let store = server.store(PLAIN).await;
            let (key, condition) = (key.clone(), condition.clone());
            let content = format!("round {round}, writer {writer}");
            writers.spawn(async move { (content.clone(), store.put(&key, content.into(), condition).await) });
        }
        let mut won = Vec::new();
        for (content, result) in writers.join_all().await {
            match result {
                Ok(etag) => won.push((Bytes::from(content), etag)),
                Err(error) => assert_eq!(error.kind(), PortErrorKind::Conflict, "{error}"),
            }
        }
        let read = server.store(PLAIN).await.get(&key).await.unwrap().unwrap();
        assert_eq!(won, [(read.bytes, read.etag.clone())], "exactly one won, and it is there");
        condition = PutCondition::IfMatch(read.etag);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_objects_are_put_in_parts_and_under_the_same_conditions() {
    let server = Server::start().await;
    let proxy = Proxy::before(server.port(), "POST ").await;
    let store = S3BlobStore::new(connect(&server.config_through(proxy.port()), PLAIN).await);
    let key = fresh_key();
    let mut content = vec![0; 20 << 20];
    SystemRandom.fill(&mut content);
    let content = Bytes::from(content);

    proxy.lose(Loss::Answer, 0..0);
    let etag = store.put(&key, content.clone(), PutCondition::IfAbsent).await.unwrap();
    assert_eq!(proxy.seen(), 2, "an upload was begun and completed");
    let read = store.get(&key).await.unwrap().unwrap();
    assert!(read.bytes == content);
    assert_eq!(read.etag, etag);

    let again = store.put(&key, content.clone(), PutCondition::IfAbsent).await.unwrap_err();
    assert_eq!(again.kind(), PortErrorKind::Conflict);
    let over = content.slice(1..);
    let second = store.put(&key, over.clone(), PutCondition::IfMatch(etag.clone())).await.unwrap();
    let stale = store.put(&key, content, PutCondition::IfMatch(etag)).await.unwrap_err();
    assert_eq!(stale.kind(), PortErrorKind::Conflict);
    let read = store.get(&key).await.unwrap().unwrap();
    assert!(read.bytes == over);
    assert_eq!(read.etag, second);

    let uploads = server.client().list_multipart_uploads().bucket(PLAIN).send().await.unwrap();
    assert_eq!(uploads.uploads().len(), 0, "what was refused is taken back");
}

#[tokio::test]
async fn the_server_encrypts_when_it_is_asked_to() {
    let server = Server::start().await;
    let key = fresh_key();
    let config = S3Config { sse: Sse::S3, ..server.config() };
    let store = S3BlobStore::new(connect(&config, PLAIN).await);
    let etag = store.put(&key, "face".into(), PutCondition::IfAbsent).await.unwrap();
    let head = server.client().head_object().bucket(PLAIN).key(raw_key(&key)).send().await.unwrap();
    assert_eq!(head.server_side_encryption(), Some(&ServerSideEncryption::Aes256));
    let read = store.get(&key).await.unwrap().unwrap();
    assert_eq!((read.bytes, read.etag.clone()), (Bytes::from("face"), etag));
    store.put(&key, "other".into(), PutCondition::IfMatch(read.etag)).await.unwrap();

    let plain = fresh_key();
    server.store(PLAIN).await.put(&plain, "face".into(), PutCondition::IfAbsent).await.unwrap();
    let head = server.client().head_object().bucket(PLAIN).key(raw_key(&plain)).send().await.unwrap();
    assert_eq!(head.server_side_encryption(), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn more_calls_than_there_is_room_for_are_refused() {
    let server = Server::start().await;
    let config = S3Config { calls_max: 2.try_into().unwrap(), ..server.config() };
    let store = Arc::new(S3BlobStore::new(connect(&config, PLAIN).await));
    server.pause();
    let mut calls = JoinSet::new();
    for _ in 0..4 {
        let store = Arc::clone(&store);
        calls.spawn(async move { store.get(&fresh_key()).await });
    }
    // While the server stands still only refusals come back.
    for _ in 0..2 {
        let refused = calls.join_next().await.unwrap().unwrap().unwrap_err();
        assert!(refused.to_string().contains("too many calls"), "{refused}");
        assert!(refused.is_retryable());
    }
    server.resume();
    let rest: Vec<bool> = calls.join_all().await.into_iter().map(|result| result.is_ok()).collect();
    assert_eq!(rest, [true, true]);
}
