//! What is said of a bucket before it is used.

use std::sync::Arc;

use aws_sdk_s3::types::{BucketVersioningStatus, VersioningConfiguration};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use vidimus_ports::PortErrorKind;
use vidimus_s3::{S3BlobStore, S3Config, S3Error, Versioning};

use crate::server::{PLAIN, Server, VERSIONED, connect, credentials_file};

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

#[tokio::test]
async fn a_server_that_ignores_conditions_is_refused() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let server = tokio::spawn(async move {
        while let Ok((connection, _)) = listener.accept().await {
            tokio::spawn(obey(connection));
        }
    });
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("credentials");
    std::fs::write(&path, credentials_file("key", "secret")).unwrap();
    let config = S3Config {
        endpoint: Some(endpoint),
        force_path_style: true,
        credentials_file: Some(path),
        ..S3Config::default()
    };
    let store = Arc::new(S3BlobStore::new(connect(&config, PLAIN).await));
    let refused = store.check().await.unwrap_err();
    assert!(matches!(refused, S3Error::Unfit { .. }), "{refused}");
    assert!(refused.to_string().contains("If-None-Match"), "{refused}");
    server.abort();
}

/// Answers as a server does that knows no conditions: every put is done, and nothing is ever there.
async fn obey(mut connection: TcpStream) {
    let mut request = Vec::new();
    loop {
        let mut buffer = vec![0; 16 << 10];
        let Ok(count @ 1..) = connection.read(&mut buffer).await else { return };
        request.extend_from_slice(&buffer[..count]);
        let text = String::from_utf8_lossy(&request).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        if body.len() < length.map_or(0, |length| length.parse().unwrap()) {
            continue;
        }
        let answer = answer_to(head);
        if connection.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
        request.clear();
    }
}

fn answer_to(head: &str) -> String {
    let answer = |status: &str, headers: &str, body: &str| {
        format!("HTTP/1.1 {status}\r\n{headers}content-length: {}\r\n\r\n{body}", body.len())
    };
    match head.split(' ').next().unwrap() {
        "PUT" => answer("200 OK", "etag: \"0123456789abcdef0123456789abcdef\"\r\n", ""),
        "DELETE" => answer("204 No Content", "", ""),
        _ if head.contains("?versioning") => answer("200 OK", "", "<VersioningConfiguration/>"),
        _ if head.contains("?versions") => answer("200 OK", "", "<ListVersionsResult/>"),
        _ => answer("404 Not Found", "", "<Error><Code>NoSuchKey</Code></Error>"),
    }
}
