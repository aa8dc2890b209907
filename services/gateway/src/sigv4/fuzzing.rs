//! What the fuzz target of the signatures runs.

use http::request::Parts;
use http::{HeaderName, HeaderValue};
use sha2::{Digest, Sha256};
use vidimus_domain::UnixMillis;
use vidimus_domain::catalog::Secret;

use super::{ALGORITHM, Authorization, UnsignedRequest};

/// When requests are looked at: the moment at which those of `tests/data/sigv4_vectors.json` were signed.
const NOW: UnixMillis = UnixMillis::new(1_795_377_900_000);
/// The secret of those.
const SECRET: &str = "made-up-secret-of-a-test-vector-00000000";

/// Reads a signed request: its path in the first line, a header in each of the next ones, and its body after an empty one.
/// An `Authorization` that is read is the same when it is written anew. A request whose head is in order is accepted with
/// the right signature, and refused with another body or another signature.
pub fn signed_request(data: &[u8]) {
    let Some((mut head, body)) = request(data) else { return };
    let Ok(unsigned) = UnsignedRequest::read(&head, NOW) else { return };
    let authorization = unsigned.authorization().clone();
    let again = Authorization::parse(&written(&authorization));
    assert_eq!(again.as_ref(), Ok(&authorization), "what was read is not read again");
    let secret = Secret::new(SECRET);
    let hash = hex::encode(Sha256::digest(body));
    let of_another_body = head.headers.get("x-amz-content-sha256").is_some_and(|claimed| *claimed != *hash);
    // A signature of itself there is not.
    let of_itself = authorization.signed_headers.iter().any(|name| name == "authorization");
    let Some(signature) = unsigned.signature(&secret, hash).filter(|_| !of_another_body && !of_itself) else {
        assert!(unsigned.verify(&secret, body).is_err());
        return;
    };
    let is_right = signature == authorization.signature;
    assert_eq!(unsigned.verify(&secret, body).is_ok(), is_right);
    sign(&mut head, Authorization { signature, ..authorization });
    assert!(verified(&head, &secret, body), "the right signature is refused");
    assert!(!verified(&head, &secret, &[body, b" "].concat()), "another body is accepted");
    assert!(!verified(&head, &Secret::new("another"), body), "another secret is accepted");
}

fn request(data: &[u8]) -> Option<(Parts, &[u8])> {
    let mut lines = data.splitn(2, |byte| *byte == b'\n');
    let mut request = http::Request::post(lines.next()?);
    let mut rest = lines.next().unwrap_or_default();
    while let Some((line, after)) = rest.iter().position(|byte| *byte == b'\n').map(|at| rest.split_at(at)) {
        rest = &after[1..];
        if line.is_empty() {
            break;
        }
        let at = line.iter().position(|byte| *byte == b':')?;
        let name = HeaderName::from_bytes(&line[..at]).ok()?;
        request = request.header(name, HeaderValue::from_bytes(line[at + 1..].trim_ascii()).ok()?);
    }
    Some((request.body(()).ok()?.into_parts().0, rest))
}

fn written(from: &Authorization) -> String {
    let Authorization { access_key_id, day, region, service, .. } = from;
    let credential = format!("{access_key_id}/{day}/{region}/{service}/aws4_request");
    let signed = from.signed_headers.join(";");
    format!("{ALGORITHM} Credential={credential}, SignedHeaders={signed}, Signature={}", from.signature)
}

fn sign(head: &mut Parts, authorization: Authorization) {
    let value = HeaderValue::from_str(&written(&authorization));
    head.headers.insert("authorization", value.unwrap_or_else(|_| unreachable!("it was a header's value")));
}

fn verified(head: &Parts, secret: &Secret, body: &[u8]) -> bool {
    UnsignedRequest::read(head, NOW).is_ok_and(|unsigned| unsigned.verify(secret, body).is_ok())
}
