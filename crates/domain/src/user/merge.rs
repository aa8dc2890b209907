//! The transition of an import: what an exported state of a user knows is brought into the user as it is here.

use std::cmp::Ordering;

use super::User;
use crate::ids::FaceId;
use crate::limits::FACES_PER_USER_MAX;
use crate::record::Write;

/// The user with what `imported` adds to it; none where it adds nothing. A later life of the user takes the place of an earlier
/// one, a life that was deleted on either side stays deleted, and of one life the faces of a later state join while there is
/// room: each is only one that *may* be claimed.
#[must_use]
pub fn merge(here: &User, imported: &User, write: Write) -> Option<User> {
    let mut merged = here.next(write);
    match imported.generation.cmp(&here.generation) {
        Ordering::Less => return None,
        Ordering::Greater => {
            merged = User { nonce: write.nonce, changed_at: write.now, ..imported.clone() };
            add_faces(&mut merged, &here.faces);
        }
        Ordering::Equal if here.id.is_none() => return None,
        Ordering::Equal if imported.id.is_none() => {
            merged.id = None;
            merged.deleted_with = imported.deleted_with;
            add_faces(&mut merged, &imported.faces);
        }
        Ordering::Equal => {
            let is_later = imported.changed_at > here.changed_at;
            if !is_later || !add_faces(&mut merged, &imported.faces) {
                return None;
            }
        }
    }
    Some(merged)
}

/// Adds the faces that are not there while there is room; whether there were any.
fn add_faces(user: &mut User, faces: &[FaceId]) -> bool {
    let had = user.faces.len();
    for face in faces {
        if user.faces.len() < FACES_PER_USER_MAX && !user.faces.contains(face) {
            user.faces.push(*face);
        }
    }
    user.faces.len() > had
}
