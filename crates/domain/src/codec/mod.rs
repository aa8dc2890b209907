//! Records, catalog objects and events as bytes: protobuf with a format version, from the first day.
//!
//! A reader refuses a format newer than it knows and anything that is not what it says: damage is never taken for
//! absence.

mod action;
mod catalog;
mod event;
mod placements;
mod record;
mod user;

use prost::Message;

use crate::ids::InvalidId;

pub use record::{
    detected_from_proto, detected_to_proto, landmarks_from_proto, landmarks_to_proto, templates_from_proto,
};

/// The format version that this code writes and the newest that it reads, where a value does not say otherwise.
pub const FORMAT: u32 = 1;

/// Why bytes are not what they should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Written by a newer version of the program.
    #[error("format {0} is newer than this program reads")]
    NewerFormat(u32),
    /// No such message.
    #[error("not a valid message: {0}")]
    Malformed(String),
    /// A field is missing or out of range.
    #[error("field `{0}` is missing or out of range")]
    Field(&'static str),
}

impl From<InvalidId> for DecodeError {
    fn from(error: InvalidId) -> Self {
        Self::Malformed(error.to_string())
    }
}

impl From<prost::DecodeError> for DecodeError {
    fn from(error: prost::DecodeError) -> Self {
        Self::Malformed(error.to_string())
    }
}

/// A value that is stored or sent.
pub trait Stored: Sized {
    /// Its message.
    type Proto: Message + Default;

    /// The newest format that is read. A value that needs nothing of a newer format is written in the older one, so that an older
    /// program reads it.
    const NEWEST: u32 = FORMAT;

    /// As a message.
    fn to_proto(&self) -> Self::Proto;

    /// From a message whose format is known.
    ///
    /// # Errors
    /// Where a field is missing or out of range.
    fn from_proto(proto: Self::Proto) -> Result<Self, DecodeError>;

    /// The message's format version.
    fn format(proto: &Self::Proto) -> u32;

    /// As bytes.
    fn encode(&self) -> Vec<u8> {
        self.to_proto().encode_to_vec()
    }

    /// From bytes.
    ///
    /// # Errors
    /// Where they are of a newer format or no such message.
    fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let proto = Self::Proto::decode(bytes)?;
        match Self::format(&proto) {
            0 => Err(DecodeError::Field("format")),
            newer if newer > Self::NEWEST => Err(DecodeError::NewerFormat(newer)),
            _ => Self::from_proto(proto),
        }
    }
}
