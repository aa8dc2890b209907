//! Keys and the files that they are.
//!
//! The parts of a key are folders, and its last part is a file in a *fan-out folder*: `+ab` where it begins with the
//! lower-case hexadecimal digits `ab`, as ids and hashes do, else `+`. No part of a key has a `+`, so the way back is
//! to leave those folders out, and an object never meets a folder of its name.
//!
//! `tenants/T/collections/C/records/0123…` is `objects/tenants/T/collections/C/records/+01/0123…`.
//!
//! A million photos are some 3,900 files a folder. One level, not two: two would make new folders, and syncs of their
//! parents, for almost every photo of a collection under 65,536.

use std::path::{Path, PathBuf};

use vidimus_domain::blob_key::BlobKey;

/// What a fan-out folder's name begins with.
pub(crate) const FAN: char = '+';

/// The name of the fan-out folder for a key's last part.
fn fan_folder(name: &str) -> String {
    let is_digit = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    let digits = name.get(..2).filter(|digits| digits.as_bytes().iter().all(is_digit));
    format!("{FAN}{}", digits.unwrap_or_default())
}

/// Where the object of `key` lies under `objects`.
pub(crate) fn object_path(objects: &Path, key: &BlobKey) -> PathBuf {
    let name = key.name();
    let folder = key.as_str().strip_suffix(name).unwrap_or_default();
    objects.join(folder).join(fan_folder(name)).join(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_files_in_fan_out_folders() {
        for (key, path) in [
            ("a/b/0123-4", "o/a/b/+01/0123-4"),
            ("a/b/fe", "o/a/b/+fe/fe"),
            ("a/b/FE00", "o/a/b/+/FE00"),
            ("a/b/0", "o/a/b/+/0"),
            ("catalog/keys/AKIA", "o/catalog/keys/+/AKIA"),
            ("single", "o/+/single"),
        ] {
            let key = BlobKey::listed(key).unwrap();
            assert_eq!(object_path(Path::new("o"), &key), Path::new(path));
        }
    }
}
