//! Names that tenants send, and keys as listings write them.

/// S3's limit, in bytes.
const KEY_BYTES_MAX: usize = 1024;

/// Whether an object may have such a key. S3 takes nearly everything; servers that keep objects in folders do as their
/// file system does with dots, and are not asked.
pub(crate) fn is_fit(key: &str) -> bool {
    let fine = |part: &str| !matches!(part, "." | "..") && !part.contains('\0');
    (1..=KEY_BYTES_MAX).contains(&key.len()) && key.split('/').all(fine)
}

/// A key as `encoding-type=url` writes it: percent signs, and a plus for a space. None where it is not written so.
pub(crate) fn decoded(key: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(key.len());
    let mut rest = key.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => hex(rest.next()?)? << 4 | hex(rest.next()?)?,
            other => other,
        });
    }
    String::from_utf8(bytes).ok()
}

fn hex(digit: u8) -> Option<u8> {
    let value = char::from(digit).to_digit(16)?;
    u8::try_from(value).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_decoded_or_refused() {
        for (key, expected) in [
            ("a/b.jpg", Some("a/b.jpg")),
            ("a+b%2Bc%20d", Some("a b+c d")),
            ("%C3%A4%2520", Some("ä%20")),
            ("%e6%97%a5", Some("日")),
            ("%01", Some("\u{1}")),
            ("%", None),
            ("%4", None),
            ("%4g", None),
            ("%ff", None),
            ("%+1", None),
        ] {
            assert_eq!(decoded(key).as_deref(), expected, "{key}");
        }
    }

    #[test]
    fn names_that_may_lead_away_are_not_asked_for() {
        for fit in ["a", "a/b", "a//b", "...", "a/.b", "日本", &"x".repeat(1024)] {
            assert!(is_fit(fit), "{fit:?}");
        }
        for unfit in ["", ".", "..", "a/../b", "./a", "a/..", "a\0b", &"x".repeat(1025)] {
            assert!(!is_fit(unfit), "{unfit:?}");
        }
    }
}
