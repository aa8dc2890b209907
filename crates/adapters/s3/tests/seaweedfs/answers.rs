//! What the adapter makes of answers that SeaweedFS does not give.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use vidimus_ports::{BlobStore as _, PhotoSource as _, PortErrorKind, PutCondition, SourceObject};
use vidimus_s3::{S3BlobStore, S3Config, S3PhotoSource, Sse, Timeouts};

use crate::puts::fresh_key;
use crate::scripted::{CUT, Scripted, answer};
use crate::server::{PLAIN, connect};

const ATTEMPT: Duration = Duration::from_millis(2700);
const CALL: Duration = Duration::from_secs(3);
const ETAG: &str = "etag: \"0123456789abcdef0123456789abcdef\"\r\n";

fn error(status: &str, code: &str) -> String {
    answer(status, "", &format!("<Error><Code>{code}</Code><Message>no</Message></Error>"))
}

#[tokio::test]
async fn a_put_that_met_another_is_tried_again() {
    let scripted = Scripted::start(|_, number| match number {
        0 | 1 => error("409 Conflict", "ConditionalRequestConflict"),
        _ => answer("200 OK", ETAG, ""),
    });
    let scripted = scripted.await;
    let store = S3BlobStore::new(connect(&scripted.config(), PLAIN).await);
    store.put(&fresh_key(), "x".into(), PutCondition::IfAbsent).await.unwrap();
    assert_eq!(scripted.requests(), 3);

    let scripted = Scripted::start(|_, _| error("409 Conflict", "ConditionalRequestConflict")).await;
    let store = S3BlobStore::new(connect(&scripted.config(), PLAIN).await);
    let refused = store.put(&fresh_key(), "x".into(), PutCondition::IfAbsent).await.unwrap_err();
    assert_eq!(refused.kind(), PortErrorKind::Unavailable, "nobody knows yet who has won: {refused}");
    assert_eq!(scripted.requests(), 3, "as often as is configured");
}

#[tokio::test]
async fn a_put_that_came_to_harm_is_tried_again() {
    for code in ["BadDigest", "IncompleteBody", "XAmzContentChecksumMismatch"] {
        let scripted = Scripted::start(move |_, number| match number {
            0 => error("400 Bad Request", code),
            _ => answer("200 OK", ETAG, ""),
        });
        let scripted = scripted.await;
        let store = S3BlobStore::new(connect(&scripted.config(), PLAIN).await);
        store.put(&fresh_key(), "x".into(), PutCondition::IfAbsent).await.unwrap();
        assert_eq!(scripted.requests(), 2, "{code}");
    }
}

#[tokio::test]
async fn an_upload_in_parts_that_met_another_begins_anew() {
    for (refused, uploads) in [(1, 2), (usize::MAX, 3)] {
        let (begun, completed) = (Arc::new(Mutex::new(0)), Mutex::new(0));
        let counted = Arc::clone(&begun);
        let scripted = Scripted::start(move |head, _| {
            if head.starts_with("DELETE") {
                return answer("204 No Content", "", "");
            }
            if head.starts_with("PUT") {
                return answer("200 OK", ETAG, "");
            }
            let told =
                |name: &str, what: &str| format!("<{name}><Bucket>b</Bucket><Key>k</Key>{what}</{name}>");
            if head.lines().next().is_some_and(|line| line.contains("uploadId=")) {
                let mut completed = completed.lock().unwrap();
                *completed += 1;
                return match *completed > refused {
                    true => {
                        answer("200 OK", "", &told("CompleteMultipartUploadResult", "<ETag>\"e\"</ETag>"))
                    }
                    false => error("409 Conflict", "ConditionalRequestConflict"),
                };
            }
            *counted.lock().unwrap() += 1;
            answer("200 OK", "", &told("InitiateMultipartUploadResult", "<UploadId>u</UploadId>"))
        });
        let scripted = scripted.await;
        let store = S3BlobStore::new(connect(&scripted.config(), PLAIN).await);
        let large = vec![0; (16 << 20) + 1];
        let put = store.put(&fresh_key(), large.into(), PutCondition::IfAbsent).await;
        let failed = put.err().map(|error| error.kind());
        assert_eq!(failed, (refused > uploads).then_some(PortErrorKind::Unavailable));
        assert_eq!(*begun.lock().unwrap(), uploads);
    }
}

/// Whatever fails in turn, it counts as one request's attempt.
#[tokio::test]
async fn attempts_of_all_kinds_count_together() {
    let undecided = |_: &str, number| match number {
        0 => error("409 Conflict", "ConditionalRequestConflict"),
        _ => error("500 Internal Server Error", "InternalError"),
    };
    let scripted = Scripted::start(undecided).await;
    let store = S3BlobStore::new(connect(&scripted.config(), PLAIN).await);
    let refused = store.put(&fresh_key(), "x".into(), PutCondition::IfAbsent).await.unwrap_err();
    assert_eq!((refused.kind(), scripted.requests()), (PortErrorKind::Unavailable, 3), "{refused}");

    let cut = |_: &str, number| match number {
        0 => format!("HTTP/1.1 200 OK\r\n{ETAG}content-length: 8\r\n\r\ntemp{CUT}"),
        _ => error("500 Internal Server Error", "InternalError"),
    };
    let scripted = Scripted::start(cut).await;
    let store = S3BlobStore::new(connect(&scripted.config(), PLAIN).await);
    let broken = store.get(&fresh_key()).await.unwrap_err();
    assert_eq!((broken.kind(), scripted.requests()), (PortErrorKind::Unavailable, 3), "{broken}");
}

/// The first answer stands still until an attempt is over, a little before the call is; the next request has no answer at all.
#[tokio::test]
async fn a_read_ends_with_the_time_of_a_call() {
    let stalled = |_: &str, number| match number {
        0 => format!("HTTP/1.1 200 OK\r\n{ETAG}content-length: 8\r\n\r\ntemp"),
        _ => String::new(),
    };
    let timeouts = Timeouts { attempt: ATTEMPT, call: CALL, ..Timeouts::default() };
    let scripted = Scripted::start(stalled).await;
    let bucket = connect(&S3Config { timeouts: timeouts.clone(), ..scripted.config() }, PLAIN).await;
    let began = Instant::now();
    let late = S3BlobStore::new(bucket).get(&fresh_key()).await.unwrap_err();
    assert_eq!(late.kind(), PortErrorKind::Unavailable, "{late}");
    assert!(began.elapsed() < CALL + ATTEMPT / 2, "{:?}", began.elapsed());

    let scripted = Scripted::start(stalled).await;
    let source = S3PhotoSource::new(connect(&S3Config { timeouts, ..scripted.config() }, PLAIN).await);
    let object = SourceObject { prefix: "acme".parse().unwrap(), name: "a".to_owned(), version: None };
    let began = Instant::now();
    let late = source.get(&object, 100).await.unwrap_err();
    assert_eq!(late.kind(), PortErrorKind::Unavailable, "{late}");
    assert!(began.elapsed() < CALL + ATTEMPT / 2, "{:?}", began.elapsed());
}

#[tokio::test]
async fn over_an_object_that_has_gone_nothing_is_put() {
    let scripted = Scripted::start(|head, _| match head.starts_with("HEAD") {
        true => answer("404 Not Found", "", ""),
        false => error("404 Not Found", "NoSuchKey"),
    });
    let scripted = scripted.await;
    let store = S3BlobStore::new(connect(&scripted.config(), PLAIN).await);
    let condition = PutCondition::IfMatch(vidimus_ports::Etag::new("0123456789abcdef0123456789abcdef"));
    let lost = store.put(&fresh_key(), "x".into(), condition).await.unwrap_err();
    assert_eq!(lost.kind(), PortErrorKind::Conflict, "{lost}");
}

#[tokio::test]
async fn a_proxys_404_is_not_an_absent_object() {
    let scripted = Scripted::start(|_, _| answer("404 Not Found", "", "<html>no such page</html>")).await;
    let store = S3BlobStore::new(connect(&scripted.config(), PLAIN).await);
    let refused = store.get(&fresh_key()).await.unwrap_err();
    assert_eq!(refused.kind(), PortErrorKind::Unavailable, "{refused}");
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_asked_for_again() {
    let scripted = Scripted::start(|_, number| match number {
        0 => format!("HTTP/1.1 200 OK\r\n{ETAG}content-length: 8\r\n\r\ntemp{CUT}"),
        _ => answer("200 OK", ETAG, "template"),
    });
    let scripted = scripted.await;
    let store = S3BlobStore::new(connect(&scripted.config(), PLAIN).await);
    assert_eq!(store.get(&fresh_key()).await.unwrap().unwrap().bytes, "template");
    assert_eq!(scripted.requests(), 2);

    let cut = |_: &str, _| format!("HTTP/1.1 200 OK\r\n{ETAG}content-length: 8\r\n\r\ntemp{CUT}");
    let scripted = Scripted::start(cut).await;
    let store = S3BlobStore::new(connect(&scripted.config(), PLAIN).await);
    let broken = store.get(&fresh_key()).await.unwrap_err();
    assert_eq!(broken.kind(), PortErrorKind::Unavailable, "{broken}");
    assert_eq!(scripted.requests(), 3);
}

#[tokio::test]
async fn an_overloaded_server_is_asked_again_and_then_believed() {
    let slow = |_: &str, _| error("503 Slow Down", "SlowDown").replacen("\r\n", "\r\nretry-after: 7\r\n", 1);
    let scripted = Scripted::start(slow).await;
    let store = S3BlobStore::new(connect(&scripted.config(), PLAIN).await);
    let refused = store.get(&fresh_key()).await.unwrap_err();
    assert_eq!(refused.kind(), PortErrorKind::Unavailable);
    assert_eq!(refused.retry_hint(), Some(Duration::from_secs(7)));
    assert_eq!(scripted.requests(), 3);
    let full = Scripted::start(|_, _| error("507 Insufficient Storage", "XMinioStorageFull")).await;
    let config = S3Config { attempts_max: std::num::NonZeroU32::MIN, ..full.config() };
    let store = S3BlobStore::new(connect(&config, PLAIN).await);
    let refused = store.put(&fresh_key(), "x".into(), PutCondition::IfAbsent).await.unwrap_err();
    assert_eq!(refused.kind(), PortErrorKind::Full, "{refused}");
}

#[tokio::test]
async fn keys_of_the_key_management_service_are_asked_for_by_name() {
    let heads = Arc::new(Mutex::new(String::new()));
    let noted = Arc::clone(&heads);
    let scripted = Scripted::start(move |head, _| {
        noted.lock().unwrap().push_str(head);
        answer("200 OK", ETAG, "")
    });
    let scripted = scripted.await;
    let config = S3Config { sse: Sse::Kms("alias/faces".to_owned()), ..scripted.config() };
    let store = S3BlobStore::new(connect(&config, PLAIN).await);
    store.put(&fresh_key(), "x".into(), PutCondition::IfAbsent).await.unwrap();
    let heads = heads.lock().unwrap().to_lowercase();
    for header in [
        "x-amz-server-side-encryption: aws:kms",
        "x-amz-server-side-encryption-aws-kms-key-id: alias/faces",
        "if-none-match: *",
        "x-amz-checksum-crc32: ",
        "x-amz-meta-vidimus-blake3: ",
        "x-amz-meta-vidimus-nonce: ",
    ] {
        assert!(heads.contains(header), "{header} is not in {heads}");
    }
}
