//! What is said of a bucket before it is used.

use aws_sdk_s3::types::{BucketVersioningStatus, VersioningConfiguration};
use vidimus_ports::PortErrorKind;
use vidimus_s3::{S3BlobStore, S3Error, Versioning};

use crate::scripted::{Scripted, answer};
use crate::server::{PLAIN, Server, VERSIONED, connect};

#[tokio::test]
async fn buckets_that_can_be_used_are_told_by_their_versions() {
    let server = Server::start().await;
    server.versioned().await;
    let client = server.client();
    for (bucket, versioning) in [(PLAIN, Versioning::Never), (VERSIONED, Versioning::Enabled)] {
        let report = server.store(bucket).await.check().await.unwrap();
        assert_eq!(report.versioning, versioning);
        let left = client.list_object_versions().bucket(bucket).send().await.unwrap();
        assert_eq!((left.versions().len(), left.delete_markers().len()), (0, 0), "the trial leaves nothing");
    }
    let suspended = VersioningConfiguration::builder().status(BucketVersioningStatus::Suspended).build();
    let put = client.put_bucket_versioning().bucket(VERSIONED).versioning_configuration(suspended);
    put.send().await.unwrap();
    let report = server.store(VERSIONED).await.check().await.unwrap();
    assert_eq!(report.versioning, Versioning::Suspended);
}

#[tokio::test]
async fn an_unknown_bucket_is_told_by_name() {
    let server = Server::start().await;
    let store = S3BlobStore::new(connect(&server.config(), "nobody").await);
    match store.check().await.unwrap_err() {
        S3Error::Check { bucket, source } => {
            assert_eq!((bucket.as_str(), source.kind()), ("nobody", PortErrorKind::NotFound));
        }
        other => panic!("{other}"),
    }
}

/// One that knows no conditions: every put is done.
#[tokio::test]
async fn a_server_that_ignores_conditions_is_refused() {
    let scripted = Scripted::start(|head, _| match head.split(' ').next() {
        Some("PUT") => answer("200 OK", "etag: \"0123456789abcdef0123456789abcdef\"\r\n", ""),
        Some("DELETE") => answer("204 No Content", "", ""),
        _ if head.contains("?versioning") => answer("200 OK", "", "<VersioningConfiguration/>"),
        _ if head.contains("?versions") => answer("200 OK", "", "<ListVersionsResult/>"),
        _ => answer("404 Not Found", "", "<Error><Code>NoSuchKey</Code></Error>"),
    });
    let scripted = scripted.await;
    let store = S3BlobStore::new(connect(&scripted.config(), PLAIN).await);
    let refused = store.check().await.unwrap_err();
    assert!(matches!(refused, S3Error::Unfit { .. }), "{refused}");
    assert!(refused.to_string().contains("If-None-Match"), "{refused}");
}
