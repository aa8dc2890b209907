//! Checks a request's signature, in two steps: what the head alone tells, before the body is read, and the rest.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4::SigningParams;
use http::request::Parts;
use http::{HeaderMap, header};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use vidimus_domain::UnixMillis;
use vidimus_domain::catalog::Secret;

use super::{Authorization, SERVICE, date};
use crate::error::{ApiError, ErrorType};

/// Headers that every request must sign.
const MUST_BE_SIGNED: [&str; 3] = ["host", "x-amz-date", "x-amz-target"];

/// What the head of a request says of its signature; nothing of it is verified.
#[derive(Debug)]
pub struct UnsignedRequest {
    authorization: Authorization,
    signed_at: UnixMillis,
    method: String,
    uri: String,
    headers: Vec<(String, String)>,
    claimed_body_hash: Option<String>,
}

/// What a verified signature vouches for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedRequest {
    /// The region that the client thinks it talks to.
    pub region: String,
}

impl UnsignedRequest {
    /// Reads the head of a request that came at `now`.
    ///
    /// # Errors
    /// The protocol's error for what is missing, malformed, expired or of another service.
    pub fn read(head: &Parts, now: UnixMillis) -> Result<Self, ApiError> {
        let authorization = authorization(&head.headers)?;
        if head.headers.contains_key("x-amz-security-token") {
            return Err(unrecognized_client());
        }
        let host = host(head)?;
        let signed_at = signed_at(&head.headers, &authorization)?;
        date::check_skew(signed_at, now)?;
        check_scope(&authorization)?;
        let headers = signed_headers(&head.headers, &authorization, &host)?;
        Ok(Self {
            method: head.method.as_str().to_owned(),
            uri: format!("http://{host}{}", head.uri.path_and_query().map_or("/", |path| path.as_str())),
            claimed_body_hash: single(&head.headers, "x-amz-content-sha256")?.map(str::to_owned),
            authorization,
            signed_at,
            headers,
        })
    }

    /// Who says that it signed.
    #[must_use]
    pub const fn access_key_id(&self) -> &vidimus_domain::AccessKeyId {
        &self.authorization.access_key_id
    }

    /// Checks the signature with the key's secret over the body that came.
    ///
    /// # Errors
    /// `InvalidSignatureException` where it does not fit.
    pub fn verify(self, secret: &Secret, body: &[u8]) -> Result<SignedRequest, ApiError> {
        let body_hash = hex::encode(Sha256::digest(body));
        if self.claimed_body_hash.as_ref().is_some_and(|claimed| *claimed != body_hash) {
            return Err(invalid(
                "The provided 'x-amz-content-sha256' header does not match what was computed.",
            ));
        }
        let expected = self.signature(secret, body_hash).ok_or_else(mismatch)?;
        let is_equal = expected.as_bytes().ct_eq(self.authorization.signature.as_bytes());
        if !bool::from(is_equal) {
            return Err(mismatch());
        }
        Ok(SignedRequest { region: self.authorization.region })
    }

    /// What its `Authorization` says.
    pub(super) const fn authorization(&self) -> &Authorization {
        &self.authorization
    }

    /// The signature that the client should have made.
    pub(super) fn signature(&self, secret: &Secret, body_hash: String) -> Option<String> {
        let mut settings = SigningSettings::default();
        // Its defaults leave out headers that proxies change. What the client says it signed is what counts here.
        settings.excluded_headers = None;
        let key_id = self.authorization.access_key_id.as_str();
        let identity = Credentials::new(key_id, secret.reveal(), None, None, "catalog").into();
        let params = SigningParams::builder()
            .identity(&identity)
            .region(&self.authorization.region)
            .name(SERVICE)
            .time(system_time(self.signed_at))
            .settings(settings)
            .build()
            .ok()?
            .into();
        let headers = self.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let body = SignableBody::Precomputed(body_hash);
        let request = SignableRequest::new(&self.method, self.uri.as_str(), headers, body).ok()?;
        let (_, signature) = sign(request, &params).ok()?.into_parts();
        Some(signature)
    }
}

fn system_time(time: UnixMillis) -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(u64::try_from(time.get()).unwrap_or_default())
}

fn authorization(headers: &HeaderMap) -> Result<Authorization, ApiError> {
    let Some(text) = single(headers, header::AUTHORIZATION.as_str())? else {
        return Err(ApiError::new(ErrorType::MissingAuthenticationToken, "Missing Authentication Token"));
    };
    Authorization::parse(text).map_err(|error| incomplete(error.to_string()))
}

/// The host that the client called: HTTP/2 has it in the URI.
fn host(head: &Parts) -> Result<String, ApiError> {
    let named = single(&head.headers, header::HOST.as_str())?.map(str::to_owned);
    let of_uri = || head.uri.authority().map(|authority| authority.as_str().to_owned());
    named.or_else(of_uri).ok_or_else(|| incomplete("The 'Host' header is missing."))
}

fn signed_at(headers: &HeaderMap, authorization: &Authorization) -> Result<UnixMillis, ApiError> {
    let text = single(headers, "x-amz-date")?
        .ok_or_else(|| incomplete("Authorization header requires existence of an 'X-Amz-Date' header."))?;
    let time = date::parse(text).ok_or_else(|| incomplete("Date must be in ISO-8601 'basic format'."))?;
    if !text.starts_with(&authorization.day) {
        return Err(invalid("Date in Credential scope does not match the day of 'X-Amz-Date'."));
    }
    Ok(time)
}

fn check_scope(authorization: &Authorization) -> Result<(), ApiError> {
    if authorization.service != SERVICE {
        return Err(invalid(format!("Credential should be scoped to correct service: '{SERVICE}'.")));
    }
    let is_signed = |name: &&str| authorization.signed_headers.iter().any(|signed| signed == name);
    match MUST_BE_SIGNED.iter().find(|name| !is_signed(name)) {
        Some(name) => Err(invalid(format!("'{name}' must be a 'SignedHeader' in the AWS Authorization."))),
        None => Ok(()),
    }
}

/// The headers that are signed, each with its values.
fn signed_headers(
    headers: &HeaderMap,
    authorization: &Authorization,
    host: &str,
) -> Result<Vec<(String, String)>, ApiError> {
    let mut signed = Vec::with_capacity(authorization.signed_headers.len());
    for name in &authorization.signed_headers {
        let before = signed.len();
        for value in headers.get_all(name) {
            let value =
                value.to_str().map_err(|_| incomplete(format!("The header '{name}' is not readable.")))?;
            signed.push((name.clone(), value.to_owned()));
        }
        if signed.len() == before && name == header::HOST.as_str() {
            signed.push((name.clone(), host.to_owned()));
        }
        if signed.len() == before {
            return Err(invalid(format!("The signed header '{name}' is missing.")));
        }
    }
    for once in MUST_BE_SIGNED {
        single(headers, once)?;
    }
    Ok(signed)
}

/// The value of a header that may be there once.
fn single<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, ApiError> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => match value.to_str() {
            Ok(value) => Ok(Some(value)),
            Err(_) => Err(incomplete(format!("The header '{name}' is not readable."))),
        },
        (Some(_), Some(_)) => Err(incomplete(format!("The header '{name}' is there twice."))),
    }
}

fn incomplete(message: impl Into<String>) -> ApiError {
    ApiError::new(ErrorType::IncompleteSignature, message)
}

fn invalid(message: impl Into<String>) -> ApiError {
    ApiError::new(ErrorType::InvalidSignature, message)
}

fn mismatch() -> ApiError {
    invalid(
        "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access \
         Key and signing method. Consult the service documentation for details.",
    )
}

/// The access key is unknown or disabled, or the request carries a session token, which no key here has.
pub(crate) fn unrecognized_client() -> ApiError {
    ApiError::new(ErrorType::UnrecognizedClient, "The security token included in the request is invalid.")
}

#[cfg(test)]
#[path = "verify_tests.rs"]
mod tests;
