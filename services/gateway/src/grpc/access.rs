//! Who calls: `authorization: Bearer ACCESS_KEY_ID:SECRET`.

use std::sync::Arc;

use http::request::Parts;
use subtle::ConstantTimeEq;
use vidimus_domain::AccessKeyId;
use vidimus_runtime::catalog::Access;

use super::text;
use crate::error::{ApiError, ErrorType};
use crate::gateway::Inner;
use crate::listener::Peer;
use crate::sigv4::unrecognized_client;

/// The key that the head names and whose secret it has.
///
/// # Errors
/// Where it has none or a wrong one, or the secret came in plaintext over a network.
pub(super) async fn admit(inner: &Inner, head: &Parts) -> Result<Arc<Access>, ApiError> {
    let (id, secret) = bearer(head)?;
    if !head.extensions.get::<Peer>().is_some_and(Peer::is_private) {
        let message = "A secret must not travel in plaintext: call over TLS, or from this machine.";
        return Err(ApiError::new(ErrorType::AccessDenied, message));
    }
    let access = inner.services.deps.catalog.access_key(&id).await?;
    let access = access.filter(|access| access.is_enabled()).ok_or_else(unrecognized_client)?;
    let is_equal = access.key.secret.reveal().as_bytes().ct_eq(secret.as_bytes());
    if bool::from(is_equal) { Ok(access) } else { Err(unrecognized_client()) }
}

fn bearer(head: &Parts) -> Result<(AccessKeyId, &str), ApiError> {
    let missing = || {
        let message = "Missing Authentication Token: send `authorization: Bearer ACCESS_KEY_ID:SECRET`.";
        ApiError::new(ErrorType::MissingAuthenticationToken, message)
    };
    let header = text(&head.headers, "authorization").ok_or_else(missing)?;
    let (scheme, credentials) = header.split_once(' ').ok_or_else(missing)?;
    let (id, secret) = credentials.trim().split_once(':').ok_or_else(missing)?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(missing());
    }
    let id = id.parse::<AccessKeyId>().map_err(|_| unrecognized_client())?;
    Ok((id, secret))
}
