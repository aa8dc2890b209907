//! What happens before a handler and after it: signatures, JSON, errors, limits.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use http::Request;
use serde_json::json;
use tokio::sync::Notify;
use vidimus_domain::{ErrorCode, Failure};
use vidimus_gateway::GatewayConfig;

use crate::house::{Client, House};

async fn refusal(house: &House, request: Request<Body>) -> (String, u16) {
    let reply = house.send(request).await;
    assert!(!reply.header("x-amzn-requestid").is_empty());
    assert_eq!(reply.header("content-type"), "application/x-amz-json-1.1");
    (reply.error().0.to_owned(), reply.status)
}

#[tokio::test]
async fn only_signed_requests_of_enabled_keys_are_answered() {
    let house = House::new().await;
    let list = |client: &Client| house.signed(client, "ListCollections", b"{}".to_vec());
    let mut unsigned = list(&house.alice);
    unsigned.headers_mut().remove("authorization");
    assert_eq!(refusal(&house, unsigned).await.0, "MissingAuthenticationTokenException");
    let mut changed = list(&house.alice);
    *changed.body_mut() = Body::from("{ }");
    assert_eq!(refusal(&house, changed).await.0, "InvalidSignatureException");
    let mut stranger = house.alice.clone();
    stranger.key.id = "NOBODY".parse().unwrap();
    assert_eq!(refusal(&house, list(&stranger)).await.0, "UnrecognizedClientException");
    let mut forger = house.alice.clone();
    forger.key.secret = house.bob.key.secret.clone();
    assert_eq!(refusal(&house, list(&forger)).await, ("InvalidSignatureException".to_owned(), 400));
    let late = list(&house.alice);
    house.clock.advance(Duration::from_secs(301));
    assert_eq!(refusal(&house, late).await.0, "InvalidSignatureException");
    house.catalog.set_key_disabled(&house.alice.key.id, true).await.unwrap();
    assert_eq!(refusal(&house, list(&house.alice)).await.0, "UnrecognizedClientException");
    house.catalog.set_key_disabled(&house.alice.key.id, false).await.unwrap();
    assert_eq!(house.send(list(&house.alice)).await.status, 200);
    house.catalog.set_tenant_disabled(&house.alice.tenant, true).await.unwrap();
    assert_eq!(refusal(&house, list(&house.alice)).await.0, "UnrecognizedClientException");
    assert_eq!(house.send(list(&house.bob)).await.status, 200);
}

#[tokio::test]
async fn a_signature_is_checked_before_the_body_is_looked_at() {
    let house = House::new().await;
    let mut forged = house.signed(&house.alice, "IndexFaces", b"not JSON".to_vec());
    forged.headers_mut().insert("x-amz-date", "20261122T200501Z".parse().unwrap());
    assert_eq!(refusal(&house, forged).await.0, "InvalidSignatureException");
    let signed = house.signed(&house.alice, "IndexFaces", b"not JSON".to_vec());
    assert_eq!(refusal(&house, signed).await.0, "SerializationException");
}

#[tokio::test]
async fn bodies_that_are_no_object_are_refused_and_an_empty_one_is_empty() {
    let house = House::new().await;
    for body in ["[]", "5", "null", "\"text\"", "{", "{\"a\":}", "{} {}", "\u{0}"] {
        let request = house.signed(&house.alice, "ListCollections", body.as_bytes().to_vec());
        assert_eq!(refusal(&house, request).await, ("SerializationException".to_owned(), 400), "{body}");
    }
    let deep = format!("{{\"Unknown\": {}1{}}}", "[".repeat(10_000), "]".repeat(10_000));
    let request = house.signed(&house.alice, "ListCollections", deep.into_bytes());
    assert_eq!(refusal(&house, request).await.0, "SerializationException");
    for body in ["", "{}", " {\"Unknown\": [1], \"NextToken\": null} "] {
        let request = house.signed(&house.alice, "ListCollections", body.as_bytes().to_vec());
        assert_eq!(house.send(request).await.status, 200, "{body}");
    }
}

#[tokio::test]
async fn other_paths_methods_and_operations_are_told_so() {
    let house = House::new().await;
    for request in [
        Request::get("/").body(Body::empty()).unwrap(),
        Request::post("/other").body(Body::empty()).unwrap(),
        Request::put("/").body(Body::empty()).unwrap(),
    ] {
        assert_eq!(refusal(&house, request).await, ("UnknownOperationException".to_owned(), 400));
    }
    house.refuses("DetectLabels", json!({}), ("UnknownOperationException", "not offered")).await;
    house
        .refuses("StartFaceSearch", json!({}), ("UnknownOperationException", "not available here yet"))
        .await;
    house.refuses("Nonsense", json!({}), ("UnknownOperationException", "names no operation")).await;
}

#[tokio::test]
async fn broken_constraints_are_told_in_the_general_layers_words() {
    let house = House::new().await;
    let message = "1 validation error detected: Value 'a b' at 'collectionId' failed to satisfy constraint: Member must \
                   satisfy regular expression pattern: [a-zA-Z0-9_.\\-]+";
    house
        .refuses("CreateCollection", json!({"CollectionId": "a b"}), ("InvalidParameterException", message))
        .await;
    house
        .refuses("CreateCollection", json!({"CollectionId": 5}), ("SerializationException", "a string"))
        .await;
}

#[tokio::test]
async fn failures_of_the_roles_reach_the_client_by_the_table() {
    let house = House::new().await;
    house.create("staff").await;
    let wait = Some(Duration::from_millis(1500));
    for (code, error_type, status) in [
        (ErrorCode::InvalidParameter, "InvalidParameterException", 400),
        (ErrorCode::ImageTooLarge, "ImageTooLargeException", 400),
        (ErrorCode::InvalidImageFormat, "InvalidImageFormatException", 400),
        (ErrorCode::QuotaExceeded, "ServiceQuotaExceededException", 400),
        (ErrorCode::Throttled, "ThrottlingException", 400),
        (ErrorCode::Unavailable, "ThrottlingException", 500),
        (ErrorCode::Internal, "InternalServerError", 500),
    ] {
        house.roles.will_fail(Failure { code, message: "the inside story".to_owned(), retry_after: wait });
        let reply = house.call(&house.alice, "DescribeCollection", json!({"CollectionId": "staff"})).await;
        assert_eq!((reply.error().0, reply.status), (error_type, status));
        assert_eq!(reply.error().1 == "the inside story", code != ErrorCode::Internal, "{code:?}");
        assert_eq!(reply.header("retry-after"), "2");
    }
}

#[tokio::test]
async fn a_panic_fails_one_request_only() {
    let house = House::new().await;
    house.create("staff").await;
    *house.roles.panics.lock().unwrap() = true;
    let input = json!({"CollectionId": "staff"});
    house
        .refuses("DescribeCollection", input.clone(), ("InternalServerError", "Internal server error"))
        .await;
    *house.roles.panics.lock().unwrap() = false;
    house.ok("DescribeCollection", input).await;
}

#[tokio::test]
async fn a_request_that_takes_too_long_is_given_up() {
    let config = GatewayConfig { call_timeout: Duration::from_millis(50), ..GatewayConfig::default() };
    let house = House::with(config).await;
    house.create("staff").await;
    *house.roles.gate.lock().unwrap() = Some(Arc::new(Notify::new()));
    let reply = house.call(&house.alice, "DescribeCollection", json!({"CollectionId": "staff"})).await;
    assert_eq!((reply.error().0, reply.status), ("ThrottlingException", 500));
    assert_eq!(reply.header("retry-after"), "1");
}

#[tokio::test]
async fn what_is_too_much_at_once_is_told_to_slow_down() {
    let house = House::with(GatewayConfig { requests_in_flight_max: 1, ..GatewayConfig::default() }).await;
    house.create("staff").await;
    let gate = Arc::new(Notify::new());
    *house.roles.gate.lock().unwrap() = Some(gate.clone());
    let input = json!({"CollectionId": "staff"});
    let first = house.call(&house.alice, "DescribeCollection", input);
    let rest = async {
        while house.roles.count.was_not_asked() {
            tokio::task::yield_now().await;
        }
        let second = house.call(&house.bob, "ListCollections", json!({})).await;
        gate.notify_one();
        second
    };
    let (first, second) = tokio::join!(first, rest);
    assert_eq!(second.error(), ("ThrottlingException", "Slow down; sudden increase in rate of requests."));
    assert_eq!((second.status, second.header("retry-after")), (400, "1"));
    first.ok();
    house.call(&house.bob, "ListCollections", json!({})).await.ok();
}

#[tokio::test]
async fn requests_are_counted_without_tenants() {
    let house = House::new().await;
    house.create("staff").await;
    house.refuses("DescribeCollection", json!({}), ("InvalidParameterException", "must not be null")).await;
    house.refuses("Nonsense", json!({}), ("UnknownOperationException", "")).await;
    let metrics = house.metrics();
    for line in [
        r#"vidimus_gateway_requests_total{operation="CreateCollection",outcome="ok"} 1"#,
        r#"vidimus_gateway_requests_total{operation="DescribeCollection",outcome="InvalidParameterException"} 1"#,
        r#"vidimus_gateway_requests_total{operation="none",outcome="UnknownOperationException"} 1"#,
        "vidimus_gateway_requests_in_flight 0",
    ] {
        assert!(metrics.contains(line), "{line} in\n{metrics}");
    }
    let tenant = house.catalog.tenant(&house.alice.tenant).await.unwrap();
    for name in ["alice", "staff", house.alice.key.id.as_str(), &tenant.id.to_string()] {
        assert!(!metrics.contains(name), "{name}");
    }
}
