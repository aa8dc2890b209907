//! Users: groups of faces of one person. A user is one object beside the records, and every transition is a pure function.
//!
//! A face belongs to a user where its *record* claims it for the user's current generation. The user's object names every
//! face that may be claimed for it, so that whoever deletes it finds them all:
//!
//! * **Associate** reads the records, *then* reserves the faces in the user (it writes the user even where they are named
//!   already), and then claims them over the records as read.
//! * **Disassociate** reads the user, takes the claims out of the records, has that projected, and drops the faces from the user
//!   *over the state that it had read*: where somebody has reserved meanwhile, it begins again.
//! * **Delete** takes the user's id and leaves its faces; then it does with all of them as Disassociate does.
//! * Taking a claim out of a live face's record writes the record *even where it has none*: whoever read the record
//!   before and sleeps loses its compare-and-swap, and reads the user again.
//!
//! So every claim is named by its user, whoever sleeps or dies where: were the claim on a record that was read before the
//! face was released, it would have lost; were it read after, so was the reservation, and dropping the face would have
//! lost. Nothing watches over users: who meets a deletion that was left half-way (its retry, or whoever creates the user
//! again) ends it.

mod merge;

use std::fmt;

use crate::ids::{FaceId, InvalidId, Nonce, Part, UserId};
use crate::limits::FACES_PER_USER_MAX;
use crate::record::Write;
use crate::time::UnixMillis;

pub use merge::merge;

/// A user and its generation, as a face's record claims it.
pub type Claim = (UserId, u64);

/// Declares a keyed hash that names an object.
macro_rules! key_hash {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(u128);

        impl $name {
            fn derived(key: &[u8; 32], texts: &[&str]) -> Self {
                let mut hasher = blake3::Hasher::new_keyed(key);
                hasher.update($what.as_bytes());
                for text in texts {
                    hasher.update(&[0]).update(text.as_bytes());
                }
                let mut bytes = [0; 16];
                bytes.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
                Self(u128::from_be_bytes(bytes))
            }

            /// Reads the 16 bytes of `to_bytes`.
            ///
            /// # Errors
            /// Where there are not 16 bytes.
            pub fn from_bytes(bytes: &[u8]) -> Result<Self, InvalidId> {
                let bytes = bytes.try_into().map_err(|_| InvalidId::new($what, "it must be 16 bytes"))?;
                Ok(Self(u128::from_be_bytes(bytes)))
            }

            /// Its 16 bytes, ordered as the objects' keys are.
            #[must_use]
            pub const fn to_bytes(self) -> [u8; 16] {
                self.0.to_be_bytes()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(formatter, "{:032x}", self.0)
            }
        }
    };
}

key_hash!(
    /// Names a user's object: BLAKE3 of the user's id, keyed for the collection, so that a deleted user leaves no name.
    UserKey, "user key"
);
key_hash!(
    /// Names a client token's object: BLAKE3 of the operation and the token, keyed for the collection.
    TokenKey, "token key"
);

impl UserKey {
    /// The key of a user's object; `key` is the collection's.
    #[must_use]
    pub fn of(key: &[u8; 32], user: &UserId) -> Self {
        Self::derived(key, &[user.as_str()])
    }

    /// The key at the end of a listed object's key.
    #[must_use]
    pub fn listed(name: &str) -> Option<Self> {
        (name.len() == 32).then(|| u128::from_str_radix(name, 16).ok()).flatten().map(Self)
    }
}

impl TokenKey {
    /// The key of a client token's object; `key` is the collection's.
    #[must_use]
    pub fn of(key: &[u8; 32], operation: &str, token: &str) -> Self {
        Self::derived(key, &[operation, token])
    }
}

/// A client's token of one operation, kept for a day: who sends it again must send the same parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientToken {
    /// BLAKE3 of the request's parameters.
    pub parameters: [u8; 32],
    /// When it was first seen.
    pub at: UnixMillis,
}

/// A user of a collection, or what is left of a deleted one.
#[derive(Clone, Debug, PartialEq)]
pub struct User {
    /// Whose it is.
    pub part: Part,
    /// Its id; none where it is deleted.
    pub id: Option<UserId>,
    /// Grows with every life of the id. It outlives the user, so that no claim of an earlier life ever counts again.
    pub generation: u64,
    /// Every face that may be claimed for it, and some that are not any more. Of a deleted one: those whose records and
    /// points may still show it.
    pub faces: Vec<FaceId>,
    /// When this life of it was created.
    pub created_at: UnixMillis,
    /// When it was last changed.
    pub changed_at: UnixMillis,
    /// Marks the write that made this state.
    pub nonce: Nonce,
    /// The token that created it.
    pub created_with: Option<TokenKey>,
    /// The token that deleted it.
    pub deleted_with: Option<TokenKey>,
}

/// What came of a creation.
#[derive(Clone, Debug, PartialEq)]
pub enum Creation {
    /// To be written.
    Write(Box<User>),
    /// This very request created it before; whether it has been deleted since does not matter to its retry.
    AlreadyDone,
    /// Someone else's is there.
    Exists,
    /// Faces may still show an earlier life of it: they are to be released first.
    Unfinished,
}

/// What came of a deletion.
#[derive(Clone, Debug, PartialEq)]
pub enum Deletion {
    /// To be written, and then its faces are to be released.
    Write(Box<User>),
    /// It is deleted, but faces may still show it: they are to be released.
    Unfinished,
    /// This very request deleted it, and all is done.
    AlreadyDone,
    /// There is none.
    Unknown,
}

/// A user has no room for more faces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a user can have {FACES_PER_USER_MAX} faces")]
pub struct UserIsFull;

impl User {
    /// What a face's record claims that belongs to it; none where it is deleted.
    #[must_use]
    pub fn claim(&self) -> Option<Claim> {
        self.id.clone().map(|id| (id, self.generation))
    }

    /// Whether this is the life of the user that a claim names.
    #[must_use]
    pub fn is_current(&self, claim: &Claim) -> bool {
        self.id.as_ref() == Some(&claim.0) && self.generation == claim.1
    }

    fn next(&self, write: Write) -> Self {
        Self { nonce: write.nonce, changed_at: write.now, ..self.clone() }
    }

    /// Reserves faces: `faces` join those of the user, `dead` ones that will never be claimed again go. It is a new state
    /// even where nothing is added, so that it stands after whatever the writer has read.
    ///
    /// # Errors
    /// Where there would be more than [`FACES_PER_USER_MAX`].
    pub fn reserved(&self, faces: &[FaceId], dead: &[FaceId], write: Write) -> Result<Self, UserIsFull> {
        let mut next = self.next(write);
        next.faces.retain(|face| !dead.contains(face) || faces.contains(face));
        for face in faces {
            if !next.faces.contains(face) {
                next.faces.push(*face);
            }
        }
        if next.faces.len() > FACES_PER_USER_MAX { Err(UserIsFull) } else { Ok(next) }
    }

    /// Without faces whose claims have been taken out since this very state was read, and that show it no more.
    #[must_use]
    pub fn released(&self, faces: &[FaceId], write: Write) -> Self {
        let mut next = self.next(write);
        next.faces.retain(|face| !faces.contains(face));
        next
    }
}

/// Creates a user over what is left of an earlier one. Its generation is higher than any before.
#[must_use]
pub fn create(before: Option<&User>, new: (Part, UserId), token: Option<TokenKey>, write: Write) -> Creation {
    if let Some(before) = before {
        if token.is_some() && before.created_with == token {
            return Creation::AlreadyDone;
        }
        if before.id.is_some() {
            return Creation::Exists;
        }
        if !before.faces.is_empty() {
            return Creation::Unfinished;
        }
    }
    let now_ms = u64::try_from(write.now.get()).unwrap_or(0);
    Creation::Write(Box::new(User {
        part: new.0,
        id: Some(new.1),
        generation: before.map_or(now_ms, |before| now_ms.max(before.generation + 1)),
        faces: Vec::new(),
        created_at: write.now,
        changed_at: write.now,
        nonce: write.nonce,
        created_with: token,
        deleted_with: None,
    }))
}

/// Deletes a user: its name goes; its generation stays, and its faces until they are released.
#[must_use]
pub fn delete(before: Option<&User>, token: Option<TokenKey>, write: Write) -> Deletion {
    let Some(before) = before else { return Deletion::Unknown };
    if before.id.is_some() {
        let mut husk = before.next(write);
        husk.id = None;
        husk.deleted_with = token;
        return Deletion::Write(Box::new(husk));
    }
    match before.faces.is_empty() {
        false => Deletion::Unfinished,
        true if token.is_some() && before.deleted_with == token => Deletion::AlreadyDone,
        true => Deletion::Unknown,
    }
}
