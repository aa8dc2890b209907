//! A server that is away, or does not answer: retryable errors, in bounded time, that tell no secret.

use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::net::TcpSocket;
use vidimus_domain::blob_key::{BlobKey, BlobPrefix};
use vidimus_ports::{
    BlobStore as _, PhotoSource as _, PortErrorKind, PortResult, PutCondition, SourceObject,
};
use vidimus_s3::{S3BlobStore, S3Config, S3Error, S3PhotoSource, Timeouts};

use crate::puts::fresh_key;
use crate::server::{PLAIN, Server, connect, credentials_file};

const CALL: Duration = Duration::from_millis(1500);

fn impatient(config: S3Config) -> S3Config {
    let timeouts =
        Timeouts { connect: Duration::from_millis(300), attempt: Duration::from_millis(400), call: CALL };
    S3Config { timeouts, ..config }
}

/// Keeps a port from other servers, which would answer in the place of the one that has gone: it is taken, and nobody listens.
fn keep_closed(port: u16) -> TcpSocket {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_reuseaddr(true).unwrap();
    socket.bind(([127, 0, 0, 1], port).into()).unwrap();
    socket
}

/// Every call of both ports fails, retryably, before `CALL` and a little is over.
async fn all_calls_fail_in_time(store: &S3BlobStore, source: &S3PhotoSource) {
    let key = fresh_key();
    let object = SourceObject { prefix: "acme".parse().unwrap(), name: "a".to_owned(), version: None };
    let prefix = "acme".parse().unwrap();
    let began = Instant::now();
    let results: [PortResult<()>; 7] = [
        store.get(&key).await.map(|_| ()),
        store.put(&key, "x".into(), PutCondition::IfAbsent).await.map(|_| ()),
        store.delete(&key).await,
        store.forget_versions(&key).await,
        store.list(&BlobPrefix::audit(), None, 10).await.map(|_| ()),
        source.get(&object, 100).await.map(|_| ()),
        source.list(&prefix, "", None, 10).await.map(|_| ()),
    ];
    let took = began.elapsed();
    for result in results {
        let error = result.unwrap_err();
        assert_eq!(error.kind(), PortErrorKind::Unavailable, "{error}");
        assert!(error.is_retryable() && error.retry_hint().is_some());
    }
    assert!(took < (CALL + Duration::from_millis(500)) * 7, "{took:?}");
}

/// What an impatient store reads, once the server is quick enough for it.
async fn read_at_last(store: &S3BlobStore, key: &BlobKey) -> Bytes {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        match store.get(key).await {
            Ok(found) => return found.unwrap().bytes,
            Err(error) => assert!(Instant::now() < deadline, "{error}"),
        }
    }
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_unavailable_and_is_found_again() {
    let server = Server::start().await;
    let bucket = connect(&impatient(server.config()), PLAIN).await;
    let (store, source) = (S3BlobStore::new(bucket.clone()), S3PhotoSource::new(bucket));
    let key = fresh_key();
    server.store(PLAIN).await.put(&key, "before".into(), PutCondition::IfAbsent).await.unwrap();
    assert_eq!(read_at_last(&store, &key).await, "before");
    server.pause();
    all_calls_fail_in_time(&store, &source).await;
    server.resume();
    assert_eq!(read_at_last(&store, &key).await, "before");
}

#[tokio::test]
async fn a_server_that_is_not_there_is_unavailable() {
    let server = Server::start().await;
    // Its credentials stay: they are read when they are needed.
    let kept = tempfile::tempdir().unwrap();
    let path = kept.path().join("credentials");
    std::fs::copy(server.config().credentials_file.unwrap(), &path).unwrap();
    let config = impatient(S3Config { credentials_file: Some(path), ..server.config() });
    let bucket = connect(&config, PLAIN).await;
    let (store, source) = (S3BlobStore::new(bucket.clone()), S3PhotoSource::new(bucket));
    let key = fresh_key();
    server.store(PLAIN).await.put(&key, "before".into(), PutCondition::IfAbsent).await.unwrap();
    assert_eq!(read_at_last(&store, &key).await, "before");
    let port = server.port();
    drop(server);
    let _kept = keep_closed(port);
    all_calls_fail_in_time(&store, &source).await;
    let anew = connect(&config, PLAIN).await;
    let refused = S3BlobStore::new(anew).check().await.unwrap_err();
    assert!(matches!(&refused, S3Error::Check { bucket, .. } if bucket == PLAIN), "{refused}");
}

#[tokio::test]
async fn wrong_credentials_are_told_without_being_shown() {
    let server = Server::start().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("credentials");
    std::fs::write(&path, credentials_file("test", "a-wrong-secret")).unwrap();
    let config = S3Config { credentials_file: Some(path), ..server.config() };
    let store = S3BlobStore::new(connect(&config, PLAIN).await);
    let denied = store.get(&fresh_key()).await.unwrap_err();
    assert_eq!(denied.kind(), PortErrorKind::Unavailable);
    let text = format!("{denied} {denied:?}");
    assert!(
        text.contains("403") && !text.contains("a-wrong-secret") && !text.contains("AWS4-HMAC"),
        "{text}"
    );

    let missing = S3Config { credentials_file: Some(folder.path().join("none")), ..server.config() };
    let store = S3BlobStore::new(connect(&missing, PLAIN).await);
    let refused = store.get(&fresh_key()).await.unwrap_err();
    assert_eq!(refused.kind(), PortErrorKind::Unavailable, "{refused}");
}
