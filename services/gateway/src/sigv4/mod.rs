//! AWS Signature Version 4, the server's side.
//!
//! Only the header form is taken, as Rekognition's SDKs send it. The signature is computed anew by the `aws-sigv4`
//! crate over exactly the headers that the client says it signed, so a proxy may add others; `host`, `x-amz-date` and
//! `x-amz-target` must be among them. The hash of the body is always that of the body that came: an
//! `x-amz-content-sha256` that says otherwise, `UNSIGNED-PAYLOAD` too, is refused.
//!
//! An unknown key is answered otherwise than a wrong signature, as AWS does, and key ids are no secrets: so no time is
//! spent on making the two look alike. Signatures are compared in constant time. There is no replay cache: dates have a
//! resolution of a second, so equal requests are signed equally.

mod authorization;
mod date;
pub(crate) mod fuzzing;
mod verify;

pub use authorization::{Authorization, AuthorizationError};
pub(crate) use verify::unrecognized_client;
pub use verify::{SignedRequest, UnsignedRequest};

/// The service that credentials must be scoped to.
pub const SERVICE: &str = "rekognition";
/// The only algorithm.
pub const ALGORITHM: &str = "AWS4-HMAC-SHA256";
