//! Where objects lie: `s3://bucket/prefix`.

use std::fmt;
use std::str::FromStr;

use crate::error::S3Error;

/// A bucket, and what all keys in it begin with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct S3Location {
    bucket: String,
    /// Empty, or names with a slash after each.
    prefix: String,
}

impl S3Location {
    /// The bucket's name.
    #[must_use]
    pub fn bucket(&self) -> &str {
        &self.bucket
    }

    /// What keys begin with: empty, or ending in a slash.
    #[must_use]
    pub fn prefix(&self) -> &str {
        &self.prefix
    }
}

impl FromStr for S3Location {
    type Err = S3Error;

    fn from_str(uri: &str) -> Result<Self, S3Error> {
        let wrong = |reason| S3Error::Location { uri: uri.to_owned(), reason };
        let rest = uri.strip_prefix("s3://").ok_or_else(|| wrong("it must begin with s3://"))?;
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let in_bucket = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
        if !(1..=255).contains(&bucket.len()) || !bucket.bytes().all(in_bucket) {
            return Err(wrong("the bucket must be letters, digits, `-`, `.` and `_`"));
        }
        let prefix = prefix.strip_suffix('/').unwrap_or(prefix);
        if prefix.is_empty() {
            return Ok(Self { bucket: bucket.to_owned(), prefix: String::new() });
        }
        let plain = |name: &str| !name.is_empty() && !name.starts_with('.') && name.bytes().all(in_bucket);
        // A key of the service has at most 1,024 characters less what a prefix may take.
        if prefix.len() > 256 || !prefix.split('/').all(plain) {
            return Err(wrong("the prefix must be names of letters, digits, `_`, `.`, `-` with `/` between"));
        }
        Ok(Self { bucket: bucket.to_owned(), prefix: format!("{prefix}/") })
    }
}

impl fmt::Display for S3Location {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "s3://{}/{}", self.bucket, self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locations_are_read_or_refused() {
        for (uri, bucket, prefix) in [
            ("s3://faces", "faces", ""),
            ("s3://faces/", "faces", ""),
            ("s3://my.faces-1/prod", "my.faces-1", "prod/"),
            ("s3://faces/eu/prod_2/", "faces", "eu/prod_2/"),
        ] {
            let location: S3Location = uri.parse().unwrap();
            assert_eq!((location.bucket(), location.prefix()), (bucket, prefix), "{uri}");
        }
        for bad in [
            "",
            "faces",
            "file:///faces",
            "s3://",
            "s3:///prod",
            "s3://a b/",
            "s3://user@faces",
            "s3://faces//a",
        ] {
            assert!(bad.parse::<S3Location>().is_err(), "{bad:?}");
        }
        assert!("s3://faces/../other".parse::<S3Location>().is_err());
        assert!(format!("s3://faces/{}", "x".repeat(257)).parse::<S3Location>().is_err());
    }
}
