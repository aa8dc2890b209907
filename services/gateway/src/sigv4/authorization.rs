//! The `Authorization` header.

use vidimus_domain::AccessKeyId;

use super::ALGORITHM;

/// Longest header that is read.
const LENGTH_MAX: usize = 4096;
/// Longest region: the longest of AWS's has 16 characters.
const REGION_LENGTH_MAX: usize = 64;
/// Most headers that may be signed.
const SIGNED_HEADERS_MAX: usize = 64;

/// What an `Authorization` header says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authorization {
    /// Who signed.
    pub access_key_id: AccessKeyId,
    /// The day of the credential scope: `yyyymmdd`.
    pub day: String,
    /// The region of the credential scope: 1 to 64 of `[a-z0-9-]`.
    pub region: String,
    /// The service of the credential scope.
    pub service: String,
    /// Names of the signed headers, in lower case and growing.
    pub signed_headers: Vec<String>,
    /// 64 hexadecimal digits.
    pub signature: String,
}

/// Why a header is no `Authorization` of Signature Version 4.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthorizationError {
    /// The header is longer than any that is right.
    #[error("Authorization header is too long.")]
    TooLong,
    /// Another scheme.
    #[error("Authorization header must use AWS4-HMAC-SHA256.")]
    Algorithm,
    /// A part is not `key=value`, is unknown or is there twice.
    #[error("Authorization header must consist of 'Credential', 'SignedHeaders' and 'Signature', once each.")]
    Parts,
    /// A part is missing.
    #[error("Authorization header requires '{0}' parameter.")]
    Missing(&'static str),
    /// The credential is not `KEY/yyyymmdd/region/service/aws4_request`.
    #[error("Credential must have the form KEY/yyyymmdd/region/service/aws4_request.")]
    Credential,
    /// The list of signed headers is empty, too long, out of order or has a bad name.
    #[error("SignedHeaders must list header names in lower case and in order.")]
    SignedHeaders,
    /// The signature is not 64 lower-case hexadecimal digits.
    #[error("Signature must have 64 lower-case hexadecimal digits.")]
    Signature,
}

impl Authorization {
    /// Reads a header's value. Pure, total, and linear in the length of the header.
    ///
    /// # Errors
    /// The first thing that is wrong with it.
    pub fn parse(header: &str) -> Result<Self, AuthorizationError> {
        if header.len() > LENGTH_MAX {
            return Err(AuthorizationError::TooLong);
        }
        let (algorithm, rest) = header.trim().split_once(' ').ok_or(AuthorizationError::Algorithm)?;
        if algorithm != ALGORITHM {
            return Err(AuthorizationError::Algorithm);
        }
        let parts = Parts::parse(rest)?;
        let scope = Scope::parse(parts.credential.ok_or(AuthorizationError::Missing("Credential"))?)?;
        let signed = parts.signed_headers.ok_or(AuthorizationError::Missing("SignedHeaders"))?;
        let signature = parts.signature.ok_or(AuthorizationError::Missing("Signature"))?;
        let is_hex = |byte: u8| byte.is_ascii_digit() || matches!(byte, b'a'..=b'f');
        if signature.len() != 64 || !signature.bytes().all(is_hex) {
            return Err(AuthorizationError::Signature);
        }
        Ok(Self {
            access_key_id: scope.access_key_id,
            day: scope.day.to_owned(),
            region: scope.region.to_owned(),
            service: scope.service.to_owned(),
            signed_headers: signed_headers(signed)?,
            signature: signature.to_owned(),
        })
    }
}

#[derive(Default)]
struct Parts<'a> {
    credential: Option<&'a str>,
    signed_headers: Option<&'a str>,
    signature: Option<&'a str>,
}

impl<'a> Parts<'a> {
    fn parse(text: &'a str) -> Result<Self, AuthorizationError> {
        let mut parts = Self::default();
        for part in text.split(',') {
            let (name, value) = part.trim().split_once('=').ok_or(AuthorizationError::Parts)?;
            let place = match name {
                "Credential" => &mut parts.credential,
                "SignedHeaders" => &mut parts.signed_headers,
                "Signature" => &mut parts.signature,
                _ => return Err(AuthorizationError::Parts),
            };
            if place.replace(value).is_some() {
                return Err(AuthorizationError::Parts);
            }
        }
        Ok(parts)
    }
}

struct Scope<'a> {
    access_key_id: AccessKeyId,
    day: &'a str,
    region: &'a str,
    service: &'a str,
}

impl<'a> Scope<'a> {
    fn parse(credential: &'a str) -> Result<Self, AuthorizationError> {
        let parts = credential.split('/').collect::<Vec<_>>();
        let [key, day, region, service, "aws4_request"] = parts.as_slice() else {
            return Err(AuthorizationError::Credential);
        };
        let is_region_byte = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let day_is_one = day.len() == 8 && day.bytes().all(|byte| byte.is_ascii_digit());
        let region_is_one =
            (1..=REGION_LENGTH_MAX).contains(&region.len()) && region.bytes().all(is_region_byte);
        match key.parse() {
            Ok(access_key_id) if day_is_one && region_is_one => {
                Ok(Self { access_key_id, day, region, service })
            }
            _ => Err(AuthorizationError::Credential),
        }
    }
}

fn signed_headers(text: &str) -> Result<Vec<String>, AuthorizationError> {
    let names = text.split(';').collect::<Vec<_>>();
    let is_name_byte =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_.".contains(&byte);
    let are_names = names.iter().all(|name| !name.is_empty() && name.bytes().all(is_name_byte));
    let are_in_order = names.windows(2).all(|pair| pair[0] < pair[1]);
    if !are_names || !are_in_order || names.len() > SIGNED_HEADERS_MAX {
        return Err(AuthorizationError::SignedHeaders);
    }
    Ok(names.into_iter().map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SIGNATURE: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    fn header(credential: &str, signed: &str, signature: &str) -> String {
        format!("AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders={signed}, Signature={signature}")
    }

    #[test]
    fn a_header_of_botocore_is_read() {
        let credential = "VDMSABC/20261122/eu-west-1/rekognition/aws4_request";
        let text = header(credential, "content-type;host;x-amz-date;x-amz-target", SIGNATURE);
        let read = Authorization::parse(&text).unwrap();
        assert_eq!(read.access_key_id.as_str(), "VDMSABC");
        assert_eq!((read.day.as_str(), read.region.as_str()), ("20261122", "eu-west-1"));
        assert_eq!(read.service, "rekognition");
        assert_eq!(read.signed_headers, ["content-type", "host", "x-amz-date", "x-amz-target"]);
        assert_eq!(read.signature, SIGNATURE);
        let without_spaces = text.replace(", ", ",");
        assert_eq!(Authorization::parse(&without_spaces).unwrap(), read);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let fine = "KEY/20261122/eu-west-1/rekognition/aws4_request";
        let credential = AuthorizationError::Credential;
        let signed = AuthorizationError::SignedHeaders;
        let cases = [
            (String::new(), AuthorizationError::Algorithm),
            ("Basic YTpi".to_owned(), AuthorizationError::Algorithm),
            ("AWS4-HMAC-SHA256".to_owned(), AuthorizationError::Algorithm),
            ("AWS4-HMAC-SHA256 nothing".to_owned(), AuthorizationError::Parts),
            ("AWS4-HMAC-SHA256 A=b".to_owned(), AuthorizationError::Parts),
            (format!("AWS4-HMAC-SHA256 Credential={fine}, Credential={fine}"), AuthorizationError::Parts),
            (format!("AWS4-HMAC-SHA256 Credential={fine}"), AuthorizationError::Missing("SignedHeaders")),
            ("AWS4-HMAC-SHA256 SignedHeaders=host".to_owned(), AuthorizationError::Missing("Credential")),
            (
                format!("AWS4-HMAC-SHA256 Credential={fine},SignedHeaders=host"),
                AuthorizationError::Missing("Signature"),
            ),
            (header("KEY", "host", SIGNATURE), credential),
            (header("KEY/20261122/eu-west-1/rekognition/other", "host", SIGNATURE), credential),
            (header("K Y/20261122/eu-west-1/rekognition/aws4_request", "host", SIGNATURE), credential),
            (header("KEY/2026112/eu-west-1/rekognition/aws4_request", "host", SIGNATURE), credential),
            (header("KEY/20261122/EU\"/rekognition/aws4_request", "host", SIGNATURE), credential),
            (header("KEY/20261122//rekognition/aws4_request", "host", SIGNATURE), credential),
            (header(fine, "", SIGNATURE), signed),
            (header(fine, "Host", SIGNATURE), signed),
            (header(fine, "host;host", SIGNATURE), signed),
            (header(fine, "x-amz-date;host", SIGNATURE), signed),
            (header(fine, "host", &SIGNATURE[1..]), AuthorizationError::Signature),
            (header(fine, "host", &SIGNATURE.to_uppercase()), AuthorizationError::Signature),
            (header(fine, &"h".repeat(5000), SIGNATURE), AuthorizationError::TooLong),
        ];
        for (text, error) in cases {
            assert_eq!(Authorization::parse(&text), Err(error), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_header_makes_it_panic(text in "\\PC{0,300}") {
            let _ = Authorization::parse(&text);
        }

        #[test]
        fn no_near_miss_makes_it_panic(
            text in "AWS4-HMAC-SHA256 (Credential=[A-Z/0-9a-z-]{0,60}|SignedHeaders=[a-zA-Z;-]{0,40}|Signature=[0-9a-f]{0,70}|[,= ]){0,8}"
        ) {
            if let Ok(read) = Authorization::parse(&text) {
                prop_assert_eq!(read.signature.len(), 64);
                prop_assert!(!read.signed_headers.is_empty());
            }
        }
    }
}
