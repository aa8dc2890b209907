//! Names and ids, parsed at the border: whoever holds one of these holds a valid one.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use uuid::Uuid;

/// Why a text is no valid name or id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a valid {what}: {reason}")]
pub struct InvalidId {
    what: &'static str,
    reason: &'static str,
}

impl InvalidId {
    pub(crate) const fn new(what: &'static str, reason: &'static str) -> Self {
        Self { what, reason }
    }
}

/// Declares a newtype over a short text with a rule.
macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $what:literal, $max:literal, $allowed:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Its text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                if text.is_empty() || text.len() > $max {
                    return Err(InvalidId::new($what, concat!("it must have 1 to ", $max, " characters")));
                }
                let allowed: fn(char) -> bool = $allowed;
                if !text.chars().all(allowed) {
                    return Err(InvalidId::new($what, "it has a character that is not allowed"));
                }
                Ok(Self(text.into()))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(&self.0)
            }
        }
    };
}

fn is_name_char(character: char) -> bool {
    character.is_ascii_alphanumeric() || matches!(character, '_' | '.' | '-')
}

text_id!(
    /// A collection's name, unique in its tenant, case-sensitive: 1 to 255 of `[a-zA-Z0-9_.\-]`.
    CollectionName, "collection id", 255, is_name_char
);
text_id!(
    /// A bucket's name as a tenant says it: 1 to 255 of `[a-zA-Z0-9_.\-]` (Amazon Rekognition API, S3Bucket: at least 3, which its
    /// constraint checks).
    BucketName, "bucket name", 255, is_name_char
);
text_id!(
    /// A tenant's name, unique in the service, for operators: 1 to 255 of `[a-zA-Z0-9_.\-]`.
    TenantName, "tenant name", 255, is_name_char
);
text_id!(
    /// A client's own name for an image: 1 to 255 of `[a-zA-Z0-9_.\-:]`.
    ExternalImageId, "external image id", 255, |character| is_name_char(character) || character == ':'
);
text_id!(
    /// A user (a group of faces of one person) in a collection: 1 to 128 of `[a-zA-Z0-9_.\-:]`.
    UserId, "user id", 128, |character| is_name_char(character) || character == ':'
);
text_id!(
    /// The id of an access key.
    AccessKeyId, "access key id", 128, |character| character.is_ascii_alphanumeric()
);
text_id!(
    /// A face model version.
    FaceModelName, "face model", 100, is_name_char
);
text_id!(
    /// An index collection: where points of one face model version lie. The first one of a model has the model's name.
    Placement, "placement", 100, is_name_char
);
text_id!(
    /// What a request is known by across its own retries (SDK invocation id, bulk job id, else a nonce).
    RequestId, "request id", 200, |character| character.is_ascii_graphic()
);

/// Declares a newtype over a UUID.
macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Uuid);

        impl $name {
            /// Makes an id of 16 random bytes.
            #[must_use]
            pub fn from_random(bytes: [u8; 16]) -> Self {
                Self(uuid::Builder::from_random_bytes(bytes).into_uuid())
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                parse_uuid(text, $what).map(Self)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(formatter)
            }
        }
    };
}

/// Parses a UUID in its canonical lower-case form, which is the only one that clients may send.
fn parse_uuid(text: &str, what: &'static str) -> Result<Uuid, InvalidId> {
    let canonical = text.len() == 36 && !text.bytes().any(|byte| byte.is_ascii_uppercase());
    match Uuid::try_parse(text) {
        Ok(uuid) if canonical => Ok(uuid),
        _ => Err(InvalidId::new(what, "it must be a lower-case UUID")),
    }
}

uuid_id!(
    /// An organisation. It owns collections, access keys, policies and its audit log.
    TenantId, "tenant id"
);
uuid_id!(
    /// A collection for good: a name may be used again after deletion, a uid never is.
    CollectionUid, "collection uid"
);

/// The tenant and collection that a face belongs to: the `part` of its point, the folder of its record. No port
/// can be asked for a face without one (I1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Part {
    /// The owner.
    pub tenant: TenantId,
    /// The collection.
    pub collection: CollectionUid,
}

impl Part {
    /// What an index calls this part: a UUID of 122 bits of BLAKE3 over tenant and collection. An index compares it with each point
    /// that a search comes by, so it is 16 bytes and not two names. Both are in it: a collection's uid alone finds nothing.
    #[must_use]
    pub fn index_key(&self) -> Uuid {
        let mut hasher = blake3::Hasher::new_derive_key("vidimus 2026 part of an index");
        hasher.update(self.tenant.0.as_bytes()).update(self.collection.0.as_bytes());
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
        uuid::Builder::from_custom_bytes(bytes).into_uuid()
    }
}

impl fmt::Display for Part {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.tenant, self.collection)
    }
}

impl FromStr for Part {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let (tenant, collection) =
            text.split_once('/').ok_or(InvalidId::new("part", "it must be TENANT/COLLECTION"))?;
        Ok(Self { tenant: tenant.parse()?, collection: collection.parse()? })
    }
}

/// An enrolled photo: a UUID whose last 16 bits are zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ImageId(Uuid);

/// A face's number in its image: 1 to 65,535, given once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FaceNumber(u16);

/// An enrolled face: its image's id with the face's number in the last 16 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FaceId(Uuid);

/// What an image id is derived from, where it is derived: see [`ImageId::derived`].
#[derive(Clone, Copy, Debug)]
pub enum ImageSource<'a> {
    /// The client named the image: the same photo under the same name is the same image for ever.
    External(&'a ExternalImageId),
    /// The client's SDK keeps this id across its own retries.
    Retry(&'a str),
}

impl ImageId {
    /// Makes an image id of 16 random bytes.
    #[must_use]
    pub fn from_random(bytes: [u8; 16]) -> Self {
        let uuid = uuid::Builder::from_random_bytes(bytes).into_uuid();
        Self(Uuid::from_u128(uuid.as_u128() & !0xffff))
    }

    /// Derives an image id by BLAKE3 keyed for the collection, over its uid, the photo's digest and what names
    /// the image. `key` is the collection's and never leaves the catalog, so an id tells nothing of the photo.
    #[must_use]
    pub fn derived(key: &[u8; 32], part: &Part, digest: &[u8; 32], source: ImageSource<'_>) -> Self {
        let mut hasher = blake3::Hasher::new_keyed(key);
        hasher.update(part.collection.0.as_bytes()).update(digest);
        match source {
            ImageSource::External(name) => hasher.update(b"external:").update(name.as_str().as_bytes()),
            ImageSource::Retry(id) => hasher.update(b"retry:").update(id.as_bytes()),
        };
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
        let uuid = uuid::Builder::from_custom_bytes(bytes).into_uuid();
        Self(Uuid::from_u128(uuid.as_u128() & !0xffff))
    }

    /// Reads the 16 bytes of [`ImageId::to_bytes`].
    ///
    /// # Errors
    /// Where there are not 16 bytes or the last two are not zero.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, InvalidId> {
        match Uuid::from_slice(bytes) {
            Ok(uuid) if uuid.as_u128() & 0xffff == 0 => Ok(Self(uuid)),
            _ => Err(InvalidId::new("image id", "it must be 16 bytes that end in two zeros")),
        }
    }

    /// Its 16 bytes.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 16] {
        self.0.into_bytes()
    }

    /// The id of this image's face `number`.
    #[must_use]
    pub fn face(self, number: FaceNumber) -> FaceId {
        FaceId(Uuid::from_u128(self.0.as_u128() | u128::from(number.0)))
    }
}

impl FromStr for ImageId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        Self::from_bytes(parse_uuid(text, "image id")?.as_bytes())
    }
}

impl fmt::Display for ImageId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

impl FaceNumber {
    /// The first number of every image.
    pub const FIRST: Self = Self(1);

    /// Takes 1 to 65,535.
    ///
    /// # Errors
    /// For zero and what is larger.
    pub fn new(number: u32) -> Result<Self, InvalidId> {
        match u16::try_from(number) {
            Ok(number) if number > 0 => Ok(Self(number)),
            _ => Err(InvalidId::new("face number", "it must be 1 to 65,535")),
        }
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0
    }
}

impl FaceId {
    /// Reads the 16 bytes of [`FaceId::to_bytes`].
    ///
    /// # Errors
    /// Where there are not 16 bytes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, InvalidId> {
        Uuid::from_slice(bytes).map(Self).map_err(|_| InvalidId::new("face id", "it must be 16 bytes"))
    }

    /// The id as a 128-bit number, as the index orders points.
    #[must_use]
    pub const fn as_u128(self) -> u128 {
        self.0.as_u128()
    }

    /// Its 16 bytes.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 16] {
        self.0.into_bytes()
    }

    /// The image that names this face's record.
    #[must_use]
    pub fn image(self) -> ImageId {
        ImageId(Uuid::from_u128(self.0.as_u128() & !0xffff))
    }

    /// The face's number; none where the id is an image's.
    #[must_use]
    pub fn number(self) -> Option<FaceNumber> {
        let number = (self.0.as_u128() & 0xffff) as u16;
        (number > 0).then_some(FaceNumber(number))
    }
}

impl FromStr for FaceId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        parse_uuid(text, "face id").map(Self)
    }
}

impl fmt::Display for FaceId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// Marks one write, so that its writer knows it again.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Nonce([u8; 16]);

impl Nonce {
    /// Takes 16 random bytes.
    #[must_use]
    pub const fn from_random(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Reads 16 bytes.
    ///
    /// # Errors
    /// Where there are not 16.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, InvalidId> {
        bytes.try_into().map(Self).map_err(|_| InvalidId::new("nonce", "it must be 16 bytes"))
    }

    /// Its bytes.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; 16] {
        self.0
    }
}

impl fmt::Display for Nonce {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl fmt::Debug for Nonce {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Nonce({self})")
    }
}

/// The version at which a face last changed; grows in its record and follows the clock in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(u64);

impl Version {
    /// The largest: the index compares versions as 64-bit floats, which are exact up to here. In milliseconds it is the year
    /// 287,396.
    pub const MAX: Self = Self(1 << 53);

    /// Wraps a stored version.
    #[must_use]
    pub const fn new(version: u64) -> Self {
        Self(version)
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_keep_to_their_alphabet() {
        assert!("a".parse::<CollectionName>().is_ok());
        assert!("Staff_2026.a-b".parse::<CollectionName>().is_ok());
        for bad in ["", "a b", "a/b", "ä", "a:b", &"x".repeat(256)] {
            assert!(bad.parse::<CollectionName>().is_err(), "{bad:?}");
        }
        assert!("a:b".parse::<ExternalImageId>().is_ok());
        assert!("u".repeat(129).parse::<UserId>().is_err());
    }

    #[test]
    fn face_ids_name_their_image() {
        let image = ImageId::from_random([0xff; 16]);
        let face = image.face(FaceNumber::new(0x1234).unwrap());
        assert_eq!(face.image(), image);
        assert_eq!(face.number().map(FaceNumber::get), Some(0x1234));
        assert_eq!(face.to_string().parse(), Ok(face));
        assert_eq!(FaceId::from_bytes(&image.to_bytes()).unwrap().number(), None);
        assert!(face.to_string().ends_with("1234"));
        assert!(FaceNumber::new(0).is_err() && FaceNumber::new(65_536).is_err());
    }

    #[test]
    fn uuids_are_lower_case_and_canonical() {
        let text = "0123abcd-0123-4123-8123-0123456789ab";
        assert!(text.parse::<FaceId>().is_ok());
        for bad in [text.to_uppercase(), text.replace('-', ""), format!("{{{text}}}"), String::new()] {
            assert!(bad.parse::<FaceId>().is_err(), "{bad}");
        }
        assert!(text.parse::<ImageId>().is_err(), "an image id ends in zeros");
    }

    #[test]
    fn an_index_key_depends_on_tenant_and_collection() {
        let part = |tenant, collection| Part {
            tenant: TenantId::from_random([tenant; 16]),
            collection: CollectionUid::from_random([collection; 16]),
        };
        assert_eq!(part(1, 2).index_key(), part(1, 2).index_key());
        assert_ne!(part(1, 2).index_key(), part(3, 2).index_key());
        assert_ne!(part(1, 2).index_key(), part(1, 3).index_key());
        // Points are kept under it: it never changes.
        assert_eq!(part(1, 2).index_key().to_string(), "ef482aa1-be95-82c3-a9b8-59884577da9a");
    }

    #[test]
    fn derived_ids_depend_on_all_they_are_derived_from() {
        let part = |byte| Part {
            tenant: TenantId::from_random([1; 16]),
            collection: CollectionUid::from_random([byte; 16]),
        };
        let name: ExternalImageId = "a".parse().unwrap();
        let derive = |key, part: &Part, digest, source| ImageId::derived(&key, part, &digest, source);
        let base = derive([0; 32], &part(2), [3; 32], ImageSource::External(&name));
        assert_eq!(base, derive([0; 32], &part(2), [3; 32], ImageSource::External(&name)));
        for other in [
            derive([1; 32], &part(2), [3; 32], ImageSource::External(&name)),
            derive([0; 32], &part(9), [3; 32], ImageSource::External(&name)),
            derive([0; 32], &part(2), [4; 32], ImageSource::External(&name)),
            derive([0; 32], &part(2), [3; 32], ImageSource::Retry("a")),
        ] {
            assert_ne!(base, other);
        }
    }
}
