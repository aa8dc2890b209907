//! What the fuzz target of the codec runs (`fuzz/` of the checkout): it takes any bytes and panics where a property of the
//! readers does not hold. `make fuzz` feeds it what it makes up, the ordinary tests what that found.

use crate::catalog::{AccessKey, Collection, FaceModel, Tenant, UidEntry};
use crate::codec::Stored;
use crate::event::{Audit, Change};
use crate::ids::{Nonce, Version};
use crate::record::{Record, Write, erase, projection};
use crate::retention::Cutoffs;
use crate::time::{ERASED_KEPT, UnixMillis};

/// When records are changed here.
const NOW: UnixMillis = UnixMillis::new(1_800_000_000_000);

/// Reads stored values of every kind: the first byte says which. What is read is written as bytes that are read again
/// and written as the same; a record that was read can be projected and erased, now and ever after.
pub fn stored_values(data: &[u8]) {
    let Some((kind, bytes)) = data.split_first() else { return };
    match kind % 8 {
        0 => {
            if let Some(record) = round_trip::<Record>(bytes) {
                projections(&record);
                erasing_all(&record);
            }
        }
        1 => drop(round_trip::<Change>(bytes)),
        2 => drop(round_trip::<Audit>(bytes)),
        3 => drop(round_trip::<Tenant>(bytes)),
        4 => drop(round_trip::<AccessKey>(bytes)),
        5 => drop(round_trip::<Collection>(bytes)),
        6 => drop(round_trip::<UidEntry>(bytes)),
        _ => drop(round_trip::<FaceModel>(bytes)),
    }
}

/// Compares bytes and not values: a number that is none is not equal to itself.
fn round_trip<T: Stored>(bytes: &[u8]) -> Option<T> {
    let value = T::decode(bytes).ok()?;
    let written = value.encode();
    let again = T::decode(&written).map(|again| again.encode());
    assert_eq!(again.as_ref(), Ok(&written), "what was read is not read again");
    Some(value)
}

/// Every face has its point or its removal, at its own version.
fn projections(record: &Record) {
    for now in [UnixMillis::new(0), record.changed_at, record.changed_at.plus(ERASED_KEPT), UnixMillis::NEVER]
    {
        let projected = projection(record, &record.origin.face_model, now);
        assert_eq!(projected.write.len() + projected.remove.len(), record.faces.len());
        for point in &projected.write {
            let number = point.face.number().unwrap_or_else(|| unreachable!("a face's id has its number"));
            let is_own = |face: &crate::record::Face| face.number == number && face.version == point.version;
            assert!(record.faces.iter().any(is_own) && point.face.image() == record.origin.image);
        }
    }
}

/// Of an erased record no template is left, and whatever changed is newer than all that was there.
fn erasing_all(record: &Record) {
    let write = Write { now: NOW, nonce: Nonce::from_random([7; 16]), cutoffs: Cutoffs::default() };
    let numbers: Vec<_> = record.faces.iter().map(|face| face.number).collect();
    let erasure = erase(record, &numbers, write);
    let Some(erased) = erasure.record else { return };
    assert!(erased.version > record.version, "rule 1");
    let kept = |number| erasure.held_by_user.iter().any(|(held, _)| *held == number);
    assert!(erased.faces.iter().all(|face| face.live().is_none() || kept(face.number)), "rule 6");
    let is_last = erased.version >= Version::MAX;
    assert!(is_last || Record::decode(&erased.encode()).is_ok(), "what was erased is not read again");
}
