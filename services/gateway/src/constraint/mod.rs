//! What a request's members may be, as data, and one checker that walks a request along it.
//!
//! Every operation brings a table of [`Member`]s, copied from the service model of the Rekognition API. What breaks a
//! row is answered as AWS's general layer does, before any work is done.

mod check;
mod pattern;
mod violation;

pub use check::{Refusal, check};
pub use pattern::Pattern;
pub(crate) use pattern::{BUCKET, NAME, NAME_OR_COLON, TAG_KEY, TAG_VALUE, TOKEN, UUID};
pub use violation::Broken;

#[cfg(test)]
mod tests;

/// A member of a structure.
#[derive(Clone, Copy, Debug)]
pub struct Member {
    /// Its name on the wire.
    pub name: &'static str,
    /// Whether a request without it is refused.
    pub required: bool,
    /// What it may be.
    pub rule: Rule,
}

/// What a value may be. Bounds are inclusive.
#[derive(Clone, Copy, Debug)]
pub enum Rule {
    /// A string.
    Text(Text),
    /// A 32-bit whole number.
    Integer {
        /// Least value.
        min: i32,
        /// Largest value.
        max: i32,
    },
    /// A number.
    Float {
        /// Least value.
        min: f64,
        /// Largest value.
        max: f64,
    },
    /// Bytes in standard base64: at least one, at most so many. More is
    /// [`Refusal::ImageTooLarge`]: the only bytes that the API takes are photos.
    Photo {
        /// Most bytes after decoding.
        bytes_max: usize,
    },
    /// A list of strings.
    TextList {
        /// What each may be.
        of: Text,
        /// Fewest entries.
        min: usize,
        /// Most entries.
        max: usize,
    },
    /// A map of strings.
    TextMap {
        /// What each key may be.
        keys: Text,
        /// What each value may be.
        values: Text,
        /// Most entries.
        max: usize,
    },
    /// A structure with members of its own.
    Structure(&'static [Member]),
}

/// What a string may be. Lengths are in characters, inclusive.
#[derive(Clone, Copy, Debug)]
pub struct Text {
    /// Fewest characters.
    pub min: usize,
    /// Most characters.
    pub max: usize,
    /// What it must look like.
    pub pattern: Option<Pattern>,
    /// The only values there are.
    pub values: Option<&'static [&'static str]>,
}

impl Text {
    /// `min` to `max` characters.
    #[must_use]
    pub const fn of(min: usize, max: usize) -> Self {
        Self { min, max, pattern: None, values: None }
    }

    /// And it must match `pattern`.
    #[must_use]
    pub const fn like(self, pattern: Pattern) -> Self {
        Self { pattern: Some(pattern), ..self }
    }

    /// Any of `values`.
    #[must_use]
    pub const fn one_of(values: &'static [&'static str]) -> Self {
        Self { min: 0, max: usize::MAX, pattern: None, values: Some(values) }
    }
}

/// A member that may be absent.
#[must_use]
pub const fn optional(name: &'static str, rule: Rule) -> Member {
    Member { name, required: false, rule }
}

/// A member that must be there.
#[must_use]
pub const fn required(name: &'static str, rule: Rule) -> Member {
    Member { name, required: true, rule }
}
