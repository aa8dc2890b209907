//! The ports' conformance suites, in buckets without and with versions.

use std::sync::Arc;

use aws_sdk_s3::primitives::ByteStream;
use vidimus_ports::conformance;
use vidimus_ports::{PhotoSource as _, SeededRandom};
use vidimus_s3::S3PhotoSource;

use crate::server::{PLAIN, Server, VERSIONED, connect};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_store_conforms_without_versions() {
    let server = Server::start().await;
    let store = server.store(PLAIN).await;
    store.check().await.unwrap();
    conformance::blob_store::conforms(Arc::new(store), &SeededRandom::new(1)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_store_conforms_with_versions() {
    let server = Server::start().await;
    server.versioned().await;
    let store = server.store(VERSIONED).await;
    store.check().await.unwrap();
    conformance::blob_store::conforms(Arc::new(store), &SeededRandom::new(2)).await.unwrap();
}

#[tokio::test]
async fn the_photo_source_conforms() {
    let server = Server::start().await;
    let client = server.client();
    for photo in conformance::photo_source::photos() {
        let key = format!("below/a-prefix/{}/{}", photo.prefix, photo.name);
        let put = client.put_object().bucket(PLAIN).key(key).body(ByteStream::from(photo.bytes));
        put.send().await.unwrap();
    }
    let source = S3PhotoSource::new(connect(&server.config(), PLAIN).await);
    conformance::photo_source::conforms(&source).await.unwrap();
}

#[tokio::test]
async fn photos_are_read_by_version() {
    let server = Server::start().await;
    server.versioned().await;
    let client = server.client();
    let mut versions = Vec::new();
    for content in ["first", "second"] {
        let put = client.put_object().bucket(VERSIONED).key("below/a-prefix/acme/in/photo.jpg");
        let put = put.body(ByteStream::from_static(content.as_bytes())).send().await.unwrap();
        versions.push(put.version_id().unwrap().to_owned());
    }
    let source = S3PhotoSource::new(connect(&server.config(), VERSIONED).await);
    for (version, content) in
        [(Some(versions[0].clone()), "first"), (Some(versions[1].clone()), "second"), (None, "second")]
    {
        let object = vidimus_ports::SourceObject {
            prefix: "acme/in".parse().unwrap(),
            name: "photo.jpg".to_owned(),
            version,
        };
        let found = source.get(&object, 100).await.unwrap();
        assert_eq!(found, vidimus_ports::Found::Photo(content.into()), "{object:?}");
    }
}
