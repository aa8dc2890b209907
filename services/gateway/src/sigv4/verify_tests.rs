use serde_json::Value;

use super::*;

const VECTORS: &str = include_str!("../../tests/data/sigv4_vectors.json");

/// A request that botocore signed, and the key's secret.
struct Vector {
    head: Parts,
    body: String,
    secret: Secret,
    signed_at: UnixMillis,
}

fn vectors() -> Vec<Vector> {
    let all: Value = serde_json::from_str(VECTORS).unwrap();
    let of_request = |request: &Value| {
        let mut head = http::Request::post("/");
        for (name, value) in request["headers"].as_object().unwrap() {
            head = head.header(name, value.as_str().unwrap());
        }
        Vector {
            head: head.body(()).unwrap().into_parts().0,
            body: request["body"].as_str().unwrap().to_owned(),
            secret: Secret::new(all["secret"].as_str().unwrap()),
            signed_at: UnixMillis::new(all["signed_at_ms"].as_i64().unwrap()),
        }
    };
    all["requests"].as_array().unwrap().iter().map(of_request).collect()
}

impl Vector {
    fn first() -> Self {
        vectors().swap_remove(0)
    }

    fn with(mut self, name: &'static str, value: &str) -> Self {
        self.head.headers.insert(name, value.parse().unwrap());
        self
    }

    fn without(mut self, name: &str) -> Self {
        self.head.headers.remove(name);
        self
    }

    fn authorization(&self) -> String {
        self.head.headers["authorization"].to_str().unwrap().to_owned()
    }

    fn replacing(self, what: &str, by: &str) -> Self {
        let changed = self.authorization().replace(what, by);
        self.with("authorization", &changed)
    }

    fn check(&self) -> Result<SignedRequest, ApiError> {
        self.check_at(self.signed_at)
    }

    fn check_at(&self, now: UnixMillis) -> Result<SignedRequest, ApiError> {
        UnsignedRequest::read(&self.head, now)?.verify(&self.secret, self.body.as_bytes())
    }
}

#[test]
fn what_botocore_signed_is_accepted() {
    let regions = ["eu-west-1", "us-east-1", "ap-southeast-2"];
    for (vector, region) in vectors().iter().zip(regions) {
        assert_eq!(vector.check(), Ok(SignedRequest { region: region.to_owned() }));
    }
}

#[test]
fn headers_that_were_not_signed_may_be_added() {
    let vector = Vector::first().with("user-agent", "curl").with("x-forwarded-for", "10.0.0.1");
    assert!(vector.check().is_ok());
}

#[test]
fn the_host_of_http2_is_in_the_uri() {
    let mut vector = Vector::first();
    let host = vector.head.headers.remove("host").unwrap();
    vector.head.uri = format!("http://{}/", host.to_str().unwrap()).parse().unwrap();
    assert!(vector.check().is_ok());
}

#[test]
fn a_body_hash_is_checked_where_it_is_sent() {
    let right = hex::encode(Sha256::digest(b"{}"));
    assert!(Vector::first().with("x-amz-content-sha256", &right).check().is_ok());
    for wrong in ["UNSIGNED-PAYLOAD", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD", &"0".repeat(64)] {
        let refused = Vector::first().with("x-amz-content-sha256", wrong).check().unwrap_err();
        assert_eq!(refused.error_type, ErrorType::InvalidSignature, "{wrong}");
    }
}

fn check(vector: Vector, error_type: ErrorType, message: &str) {
    let refused = vector.check().unwrap_err();
    assert_eq!(refused.error_type, error_type, "{refused}");
    assert!(refused.message.contains(message), "{refused} does not say {message:?}");
    assert!(!refused.message.contains(vector.secret.reveal()));
}

#[test]
fn whatever_was_signed_and_changed_is_refused() {
    use ErrorType::InvalidSignature;
    let mismatch = "does not match the signature you provided";
    check(Vector { body: "{ }".to_owned(), ..Vector::first() }, InvalidSignature, mismatch);
    check(Vector { secret: Secret::new("another"), ..Vector::first() }, InvalidSignature, mismatch);
    check(Vector::first().with("host", "evil.example:7600"), InvalidSignature, mismatch);
    check(Vector::first().with("content-type", "text/plain"), InvalidSignature, mismatch);
    check(Vector::first().with("x-amz-target", "RekognitionService.DeleteFaces"), InvalidSignature, mismatch);
    check(Vector::first().with("x-amz-date", "20261122T200501Z"), InvalidSignature, mismatch);
    check(Vector::first().replacing("eu-west-1", "eu-west-2"), InvalidSignature, mismatch);
    check(Vector::first().replacing("Signature=0", "Signature=1"), InvalidSignature, mismatch);
    check(Vector::first().replacing("content-type;", ""), InvalidSignature, mismatch);
    let mut other_path = Vector::first();
    other_path.head.uri = "/?x=1".parse().unwrap();
    check(other_path, InvalidSignature, mismatch);
}

#[test]
fn what_must_be_signed_is_demanded() {
    use ErrorType::InvalidSignature;
    for name in ["host;", "x-amz-date;", ";x-amz-target"] {
        let demanded = format!("'{}' must be a 'SignedHeader'", name.trim_matches(';'));
        check(Vector::first().replacing(name, ""), InvalidSignature, &demanded);
    }
    check(Vector::first().without("content-type"), InvalidSignature, "'content-type' is missing");
    check(Vector::first().without("x-amz-target"), InvalidSignature, "'x-amz-target' is missing");
    check(
        Vector::first().replacing("/rekognition/", "/s3/"),
        InvalidSignature,
        "correct service: 'rekognition'",
    );
    check(Vector::first().replacing("/20261122/", "/20261121/"), InvalidSignature, "Credential scope");
}

#[test]
fn what_is_missing_or_malformed_is_named() {
    use ErrorType::{IncompleteSignature, MissingAuthenticationToken, UnrecognizedClient};
    check(
        Vector::first().without("authorization"),
        MissingAuthenticationToken,
        "Missing Authentication Token",
    );
    check(Vector::first().with("authorization", "Basic YTpi"), IncompleteSignature, "AWS4-HMAC-SHA256");
    check(Vector::first().replacing(", Signature=", ", Sig="), IncompleteSignature, "once each");
    check(Vector::first().without("x-amz-date"), IncompleteSignature, "'X-Amz-Date'");
    check(Vector::first().with("x-amz-date", "Sun, 22 Nov 2026"), IncompleteSignature, "ISO-8601");
    check(Vector::first().without("host"), IncompleteSignature, "'Host'");
    check(Vector::first().with("x-amz-security-token", "temporary"), UnrecognizedClient, "is invalid");
    for twice in ["authorization", "x-amz-date", "x-amz-target", "host"] {
        let mut vector = Vector::first();
        let value = vector.head.headers[twice].clone();
        vector.head.headers.append(twice, value);
        check(vector, IncompleteSignature, "twice");
    }
    let mut unreadable = Vector::first();
    unreadable.head.headers.insert("content-type", http::HeaderValue::from_bytes(b"\xff").unwrap());
    check(unreadable, IncompleteSignature, "not readable");
}

#[test]
fn a_signature_is_good_for_five_minutes() {
    let vector = Vector::first();
    for (offset_s, good) in [(-301, false), (-300, true), (300, true), (301, false)] {
        let now = UnixMillis::new(vector.signed_at.get() + offset_s * 1000);
        assert_eq!(vector.check_at(now).is_ok(), good, "{offset_s}");
    }
}
