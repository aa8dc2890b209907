//! What is said of a bucket before it is used.

use aws_sdk_s3::types::{BucketVersioningStatus, VersioningConfiguration};
use vidimus_ports::{BlobStore as _, PortErrorKind, PutCondition};
use vidimus_s3::{S3BlobStore, S3Error, Versioning};

use crate::proxy::{Loss, Proxy};
use crate::puts::fresh_key;
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

/// What servers say that have no such call, and one that has it and refuses it.
const UNIMPLEMENTED: [&str; 3] = [
    "HTTP/1.1 501 Not Implemented\r\nconnection: close\r\ncontent-length: 0\r\n\r\n",
    "HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 42\r\n\r\n\
     <Error><Code>NotImplemented</Code></Error>",
    "HTTP/1.1 405 Method Not Allowed\r\nconnection: close\r\ncontent-length: 44\r\n\r\n\
     <Error><Code>MethodNotAllowed</Code></Error>",
];
const DENIED: &str = "HTTP/1.1 403 Forbidden\r\nconnection: close\r\ncontent-length: 40\r\n\r\n\
                      <Error><Code>AccessDenied</Code></Error>";

/// Which requests ask of versions.
const BOTH: &str = "GET /plain/?version";
const LISTING: &str = "GET /plain/?versions";

#[tokio::test]
async fn a_server_without_the_calls_for_versions_has_none() {
    let server = Server::start().await;
    for (calls, answer, asked) in
        UNIMPLEMENTED.into_iter().flat_map(|answer| [(BOTH, answer, 2), (LISTING, answer, 1)])
    {
        let proxy = Proxy::before(server.port(), calls).await;
        proxy.lose(Loss::Replaced(answer), 0..usize::MAX);
        let store = S3BlobStore::new(connect(&server.config_through(proxy.port()), PLAIN).await);
        let report = store.check().await.unwrap();
        assert_eq!(report.versioning, Versioning::Unsupported, "{calls} {answer}");
        let key = fresh_key();
        let etag = store.put(&key, "first".into(), PutCondition::IfAbsent).await.unwrap();
        store.put(&key, "second".into(), PutCondition::IfMatch(etag)).await.unwrap();
        store.forget_versions(&key).await.unwrap();
        store.delete(&key).await.unwrap();
        assert_eq!(store.get(&key).await.unwrap(), None);
        assert_eq!(proxy.seen(), asked, "after the check nobody asks for them: {calls} {answer}");
    }
}

#[tokio::test]
async fn a_server_that_will_not_say_whether_it_has_versions_is_refused() {
    let server = Server::start().await;
    for calls in [BOTH, LISTING] {
        let proxy = Proxy::before(server.port(), calls).await;
        proxy.lose(Loss::Replaced(DENIED), 0..usize::MAX);
        let store = S3BlobStore::new(connect(&server.config_through(proxy.port()), PLAIN).await);
        let refused = store.check().await.unwrap_err();
        assert!(matches!(&refused, S3Error::Check { .. }), "{calls}: {refused}");
    }
}

#[tokio::test]
async fn a_server_that_keeps_versions_and_does_not_list_them_is_refused() {
    let server = Server::start().await;
    server.versioned().await;
    let proxy = Proxy::before(server.port(), "GET /versioned/?versions").await;
    proxy.lose(Loss::Replaced(UNIMPLEMENTED[0]), 0..usize::MAX);
    let store = S3BlobStore::new(connect(&server.config_through(proxy.port()), VERSIONED).await);
    let refused = store.check().await.unwrap_err();
    assert!(matches!(refused, S3Error::Unfit { .. }), "{refused}");
    assert!(refused.to_string().contains("does not list"), "{refused}");
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
