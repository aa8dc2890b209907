//! Stored bytes as values: what is damaged and what is too new are told apart.
//!
//! Damage stays what it is, whoever reads it. What a newer version of the program has written is whole, and another process
//! may read it: so it is refused as something to try again, and is neither skipped nor set aside.

use vidimus_domain::codec::{DecodeError, Stored};
use vidimus_ports::{PortError, PortErrorKind, PortResult};

/// Reads a value for `context`, a bare verb and its object.
///
/// # Errors
/// `TooNew` where it is of a newer format, `Corrupt` where it is not what it should be.
pub fn decode<T: Stored>(context: &'static str, bytes: &[u8]) -> PortResult<T> {
    T::decode(bytes).map_err(|error| {
        let kind = match error {
            DecodeError::NewerFormat(_) => PortErrorKind::TooNew,
            DecodeError::Malformed(_) | DecodeError::Field(_) => PortErrorKind::Corrupt,
        };
        PortError::new(kind, context).because(error)
    })
}

#[cfg(test)]
mod tests {
    use prost::Message;
    use vidimus_domain::codec::FORMAT;
    use vidimus_domain::event::Change;
    use vidimus_proto::internal::v1;

    use super::*;

    #[test]
    fn the_too_new_is_no_damage() {
        let kind = |bytes: &[u8]| decode::<Change>("read change", bytes).unwrap_err().kind();
        let newer = v1::Change { format: FORMAT + 1, ..v1::Change::default() };
        assert_eq!(kind(&newer.encode_to_vec()), PortErrorKind::TooNew);
        let empty = v1::Change { format: FORMAT, ..v1::Change::default() };
        for damaged in [empty.encode_to_vec(), Vec::new(), b"no message".to_vec()] {
            assert_eq!(kind(&damaged), PortErrorKind::Corrupt);
        }
    }
}
