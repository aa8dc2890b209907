//! The sentences of AWS's general layer about broken constraints.

use std::fmt::Display;

use super::Text;

/// Characters of a value that a message shows at most.
const SHOWN_CHARS_MAX: usize = 128;
/// Violations that a message lists at most; all are counted.
const LISTED_MAX: usize = 10;

/// The broken constraints of one request.
#[derive(Debug, Default)]
pub(super) struct Violations {
    count: usize,
    listed: Vec<String>,
    fields: Vec<(String, String)>,
}

/// What is broken of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// The sentence of AWS's general layer.
    pub message: String,
    /// The first members that break a constraint, each with the constraint.
    pub fields: Vec<(String, String)>,
}

impl Violations {
    /// Notes that `value`, as a message shows it, breaks `constraint` at `path`.
    pub(super) fn add(&mut self, path: &str, value: &str, constraint: &str) {
        self.count += 1;
        if self.listed.len() < LISTED_MAX {
            let at = format!("Value {value} at '{path}'");
            self.listed.push(format!("{at} failed to satisfy constraint: {constraint}"));
            self.fields.push((path.to_owned(), constraint.to_owned()));
        }
    }

    /// All that is broken; none where nothing is.
    pub(super) fn broken(self) -> Option<Broken> {
        let errors = if self.count == 1 { "error" } else { "errors" };
        let listed = self.listed.join("; ");
        let message = format!("{} validation {errors} detected: {listed}", self.count);
        (self.count > 0).then_some(Broken { message, fields: self.fields })
    }
}

/// A value as a message shows it: quoted, its start only where it is long.
pub(super) fn shown(value: &str) -> String {
    match value.char_indices().nth(SHOWN_CHARS_MAX) {
        Some((end, _)) => format!("'{}…'", &value[..end]),
        None => format!("'{value}'"),
    }
}

pub(super) fn at_least(min: impl Display) -> String {
    format!("Member must have value greater than or equal to {min}")
}

pub(super) fn at_most(max: impl Display) -> String {
    format!("Member must have value less than or equal to {max}")
}

pub(super) fn not_shorter(min: usize) -> String {
    format!("Member must have length greater than or equal to {min}")
}

pub(super) fn not_longer(max: usize) -> String {
    format!("Member must have length less than or equal to {max}")
}

/// What of `text` the string `value` breaks.
pub(super) fn broken(text: &Text, value: &str) -> Vec<String> {
    let length = value.chars().count();
    let mut constraints = Vec::new();
    if length < text.min {
        constraints.push(not_shorter(text.min));
    }
    if length > text.max {
        constraints.push(not_longer(text.max));
    }
    if let Some(pattern) = text.pattern.filter(|pattern| !pattern.matches(value)) {
        constraints.push(format!("Member must satisfy regular expression pattern: {}", pattern.text()));
    }
    if let Some(values) = text.values.filter(|values| !values.contains(&value)) {
        constraints.push(format!("Member must satisfy enum value set: [{}]", values.join(", ")));
    }
    constraints
}
