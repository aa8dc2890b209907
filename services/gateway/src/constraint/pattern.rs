//! Regular expressions as the service model writes them.

use std::sync::LazyLock;

use regex::Regex;

/// A regular expression that a whole value must match.
#[derive(Clone, Copy, Debug)]
pub struct Pattern {
    text: &'static str,
    forbidden_start: Option<&'static str>,
    compiled: fn() -> Option<&'static Regex>,
}

impl Pattern {
    /// Its text, as messages show it.
    #[must_use]
    pub const fn text(&self) -> &'static str {
        self.text
    }

    /// Whether all of `value` matches. A pattern that cannot be compiled matches nothing.
    #[must_use]
    pub fn matches(&self, value: &str) -> bool {
        let starts_well = self.forbidden_start.is_none_or(|start| !value.starts_with(start));
        starts_well && (self.compiled)().is_some_and(|regex| regex.is_match(value))
    }
}

/// Compiles `pattern` for whole values. A look-ahead at the start is taken off:
/// `forbidden_start` does its work.
fn compile(pattern: &str) -> Option<Regex> {
    let without_lookahead = pattern.replacen("^(?!aws:)", "", 1);
    Regex::new(&format!(r"\A(?:{without_lookahead})\z")).ok()
}

/// Declares a pattern; the second form refuses what starts with the text that a look-ahead of the pattern names.
macro_rules! pattern {
    ($(#[$doc:meta])* $name:ident, $text:literal) => {
        pattern!($(#[$doc])* $name, $text, None);
    };
    ($(#[$doc:meta])* $name:ident, $text:literal, $forbidden_start:expr) => {
        $(#[$doc])*
        pub const $name: Pattern = {
            fn compiled() -> Option<&'static Regex> {
                static REGEX: LazyLock<Option<Regex>> = LazyLock::new(|| compile($text));
                REGEX.as_ref()
            }
            Pattern { text: $text, forbidden_start: $forbidden_start, compiled }
        };
    };
}

pattern!(
    /// Collection ids.
    NAME, r"[a-zA-Z0-9_.\-]+"
);
pattern!(
    /// External image ids and user ids.
    NAME_OR_COLON, r"[a-zA-Z0-9_.\-:]+"
);
pattern!(
    /// Face ids and image ids.
    UUID, r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
);
pattern!(
    /// Keys of tags.
    TAG_KEY, r"^(?!aws:)[\p{L}\p{Z}\p{N}_.:/=+\-@]*$", Some("aws:")
);
pattern!(
    /// Values of tags.
    TAG_VALUE, r"^([\p{L}\p{Z}\p{N}_.:/=+\-@]*)$"
);
pattern!(
    /// Clients' tokens.
    TOKEN, r"^[a-zA-Z0-9-_]+$"
);
pattern!(
    /// Names of buckets.
    BUCKET, r"[0-9A-Za-z\.\-_]*"
);

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pattern: Pattern, good: &[&str], bad: &[&str]) {
        assert!((pattern.compiled)().is_some(), "{}", pattern.text);
        for value in good {
            assert!(pattern.matches(value), "{} should match {value:?}", pattern.text);
        }
        for value in bad {
            assert!(!pattern.matches(value), "{} should not match {value:?}", pattern.text);
        }
    }

    #[test]
    fn patterns_match_whole_values_only() {
        let uuid = "0123abcd-0123-4123-8123-0123456789ab";
        check(NAME, &["a", "Staff_2026.a-b"], &["", "a b", "a:b", "ä", "a\n", "a/../b"]);
        check(NAME_OR_COLON, &["a:b", "x-1_2.3"], &["", "a b", "a\n", "é"]);
        check(UUID, &[uuid], &["", &uuid.to_uppercase(), &format!("{uuid}0"), &uuid.replace('-', "")]);
        check(TAG_KEY, &["", "Stufe", "größe", "a b", "x:y/z=+-@", "AWS:x"], &["aws:x", "a!", "a\n"]);
        check(TAG_VALUE, &["", "aws:x", "ö 1"], &["a!", "<b>"]);
        check(TOKEN, &["a", "0-_Z"], &["", "a.b", "a\n", "é"]);
        check(BUCKET, &["", "my-bucket.1_2"], &["a/b", "ä"]);
    }
}
