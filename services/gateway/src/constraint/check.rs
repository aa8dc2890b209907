//! Walks a request along its table.

use std::fmt::Display;

use serde_json::{Map, Value};

use super::violation::{self, Broken, Violations, broken, shown};
use super::{Member, Rule, Text};

/// Why a request is refused before any work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// A value has the wrong JSON type.
    WrongType(String),
    /// Constraints are broken; the message lists them.
    Constraints(Broken),
    /// A photo has more bytes than its rule allows.
    ImageTooLarge,
}

/// Checks `request` against `members`. Members that the table does not name are ignored, `null` counts as absent.
///
/// # Errors
/// The first value of a wrong type; else a photo that is too large; else every constraint that is broken. No message
/// shows bytes of a photo.
pub fn check(members: &'static [Member], request: &Map<String, Value>) -> Result<(), Refusal> {
    let mut walk = Walk { violations: Violations::default(), too_large: false };
    walk.structure(members, request, "")?;
    if walk.too_large {
        return Err(Refusal::ImageTooLarge);
    }
    walk.violations.broken().map_or(Ok(()), |broken| Err(Refusal::Constraints(broken)))
}

struct Walk {
    violations: Violations,
    too_large: bool,
}

impl Walk {
    fn structure(
        &mut self,
        members: &'static [Member],
        values: &Map<String, Value>,
        above: &str,
    ) -> Result<(), Refusal> {
        for member in members {
            let path = path_of(above, member.name);
            match values.get(member.name) {
                None | Some(Value::Null) if member.required => {
                    self.violations.add(&path, "null", "Member must not be null");
                }
                None | Some(Value::Null) => {}
                Some(value) => self.value(&member.rule, value, &path)?,
            }
        }
        Ok(())
    }

    fn value(&mut self, rule: &Rule, value: &Value, path: &str) -> Result<(), Refusal> {
        match rule {
            Rule::Text(text) => self.text(text, string(value, path)?, path),
            Rule::Integer { min, max } => self.range((*min, *max), integer(value, path)?, path),
            Rule::Float { min, max } => self.range((*min, *max), number(value, path)?, path),
            Rule::Photo { bytes_max } => self.photo(*bytes_max, string(value, path)?, path),
            Rule::TextList { of, min, max } => {
                let strings = strings(list(value, path)?, path)?;
                self.text_list((of, *min, *max), &strings, path);
            }
            Rule::TextMap { keys, values, max } => {
                self.text_map((keys, values, *max), object(value, path)?, path)?;
            }
            Rule::Structure(members) => self.structure(members, object(value, path)?, path)?,
        }
        Ok(())
    }

    fn text(&mut self, text: &Text, value: &str, path: &str) {
        for constraint in broken(text, value) {
            self.violations.add(path, &shown(value), &constraint);
        }
    }

    fn range<T: Display + PartialOrd>(&mut self, (min, max): (T, T), value: T, path: &str) {
        if value < min {
            self.violations.add(path, &shown(&value.to_string()), &violation::at_least(min));
        } else if value > max {
            self.violations.add(path, &shown(&value.to_string()), &violation::at_most(max));
        }
    }

    fn photo(&mut self, bytes_max: usize, base64: &str, path: &str) {
        if base64.is_empty() {
            self.violations.add(path, "''", &violation::not_shorter(1));
        }
        self.too_large |= decoded_bytes(base64) > bytes_max;
    }

    fn text_list(&mut self, (of, min, max): (&Text, usize, usize), values: &[&str], path: &str) {
        let listing =
            || shown(&format!("[{}]", values.iter().take(5).copied().collect::<Vec<_>>().join(", ")));
        if values.len() < min {
            self.violations.add(path, &listing(), &violation::not_shorter(min));
        }
        if values.len() > max {
            self.violations.add(path, &listing(), &violation::not_longer(max));
        }
        if let Some(bad) = values.iter().find(|value| !broken(of, value).is_empty()) {
            let constraints = broken(of, bad).join(", ");
            let value = shown(&format!("[{bad}]"));
            self.violations.add(path, &value, &format!("Member must satisfy constraint: [{constraints}]"));
        }
    }

    fn text_map(
        &mut self,
        (keys, values, max): (&Text, &Text, usize),
        map: &Map<String, Value>,
        path: &str,
    ) -> Result<(), Refusal> {
        if map.len() > max {
            let count = shown(&format!("{} entries", map.len()));
            self.violations.add(path, &count, &violation::not_longer(max));
        }
        for (key, value) in map {
            let value = string(value, path)?;
            for (what, text, entry) in [("keys", keys, key.as_str()), ("value", values, value)] {
                let constraints = broken(text, entry);
                if !constraints.is_empty() {
                    let constraint =
                        format!("Map {what} must satisfy constraint: [{}]", constraints.join(", "));
                    self.violations.add(path, &shown(entry), &constraint);
                }
            }
        }
        Ok(())
    }
}

/// Bytes that a base64 text stands for, without decoding it.
fn decoded_bytes(base64: &str) -> usize {
    base64.trim_end_matches('=').len() * 3 / 4
}

/// A member's path in messages: names begin in lower case there, as AWS shows them.
fn path_of(above: &str, name: &str) -> String {
    let mut letters = name.chars();
    let first = letters.next().map(|letter| letter.to_ascii_lowercase());
    let name = first.into_iter().chain(letters).collect::<String>();
    if above.is_empty() { name } else { format!("{above}.{name}") }
}

fn wrong_type(path: &str, expected: &str) -> Refusal {
    Refusal::WrongType(format!("'{path}' must be {expected}"))
}

fn string<'a>(value: &'a Value, path: &str) -> Result<&'a str, Refusal> {
    value.as_str().ok_or_else(|| wrong_type(path, "a string"))
}

fn integer(value: &Value, path: &str) -> Result<i32, Refusal> {
    let integer = value.as_i64().and_then(|integer| i32::try_from(integer).ok());
    integer.ok_or_else(|| wrong_type(path, "a 32-bit integer"))
}

fn number(value: &Value, path: &str) -> Result<f64, Refusal> {
    value.as_f64().ok_or_else(|| wrong_type(path, "a number"))
}

fn list<'a>(value: &'a Value, path: &str) -> Result<&'a [Value], Refusal> {
    value.as_array().map(Vec::as_slice).ok_or_else(|| wrong_type(path, "a list"))
}

fn strings<'a>(values: &'a [Value], path: &str) -> Result<Vec<&'a str>, Refusal> {
    let strings = values.iter().map(Value::as_str).collect::<Option<Vec<_>>>();
    strings.ok_or_else(|| wrong_type(path, "a list of strings"))
}

fn object<'a>(value: &'a Value, path: &str) -> Result<&'a Map<String, Value>, Refusal> {
    value.as_object().ok_or_else(|| wrong_type(path, "an object"))
}
