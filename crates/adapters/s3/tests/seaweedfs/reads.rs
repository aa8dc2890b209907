//! Damage is told, never taken for absence.

use aws_sdk_s3::primitives::ByteStream;
use vidimus_domain::blob_key::BlobPrefix;
use vidimus_ports::{BlobStore as _, PortErrorKind, PutCondition};

use crate::puts::{fresh_key, raw_key};
use crate::server::{PLAIN, Server, connect};

#[tokio::test]
async fn damage_is_told() {
    let server = Server::start().await;
    let store = server.store(PLAIN).await;
    let key = fresh_key();
    store.put(&key, "template".into(), PutCondition::IfAbsent).await.unwrap();
    let client = server.client();
    let head = client.head_object().bucket(PLAIN).key(raw_key(&key)).send().await.unwrap();
    // Somebody puts another content under the digest of the first.
    let put = client.put_object().bucket(PLAIN).key(raw_key(&key)).set_metadata(head.metadata().cloned());
    put.body(ByteStream::from_static(b"templatE")).send().await.unwrap();
    let damaged = store.get(&key).await.unwrap_err();
    assert_eq!(damaged.kind(), PortErrorKind::Corrupt, "{damaged}");
    assert!(damaged.to_string().contains(key.as_str()), "{damaged}");
    let over = store.put(&key, "other".into(), PutCondition::IfAbsent).await.unwrap_err();
    assert_eq!(over.kind(), PortErrorKind::Conflict, "it is there, damaged as it is");
}

#[tokio::test]
async fn what_was_copied_back_without_its_metadata_is_read() {
    let server = Server::start().await;
    let store = server.store(PLAIN).await;
    let key = fresh_key();
    let client = server.client();
    let put = client.put_object().bucket(PLAIN).key(raw_key(&key)).body(ByteStream::from_static(b"restored"));
    put.send().await.unwrap();
    let read = store.get(&key).await.unwrap().unwrap();
    assert_eq!(read.bytes, "restored");
    store.put(&key, "next".into(), PutCondition::IfMatch(read.etag)).await.unwrap();
}

#[tokio::test]
async fn objects_of_others_are_passed_over() {
    let server = Server::start().await;
    let store = server.store(PLAIN).await;
    let client = server.client();
    for key in ["below/other/tenants/x", "below/a-prefix/audit/not a key", "tenants/y"] {
        client.put_object().bucket(PLAIN).key(key).body(ByteStream::from_static(b"x")).send().await.unwrap();
    }
    assert_eq!(store.list(&BlobPrefix::audit(), None, 10).await.unwrap(), []);
}

#[tokio::test]
async fn an_unknown_bucket_is_not_an_absent_object() {
    let server = Server::start().await;
    let store = vidimus_s3::S3BlobStore::new(connect(&server.config(), "nobody").await);
    let missing = store.get(&fresh_key()).await.unwrap_err();
    assert_eq!(missing.kind(), PortErrorKind::NotFound, "{missing}");
    for result in [
        store.put(&fresh_key(), "x".into(), PutCondition::IfAbsent).await.map(|_| ()),
        store.list(&BlobPrefix::audit(), None, 10).await.map(|_| ()),
    ] {
        assert_eq!(result.unwrap_err().kind(), PortErrorKind::NotFound);
    }
}
