//! What the key of a photo, `…/photos/{yyyy-mm-dd}/{image}-{nonce}`, says.

use vidimus_domain::{ImageId, Nonce};
use vidimus_ports::BlobEntry;

/// The day on which the photo was put.
pub(crate) fn day_of(entry: &BlobEntry) -> &str {
    entry.key.as_str().rsplit('/').nth(1).unwrap_or_default()
}

/// Its image and the nonce of the attempt that put it.
pub(crate) fn named(entry: &BlobEntry) -> Option<(ImageId, Nonce)> {
    let (image, nonce) = entry.key.name().rsplit_once('-')?;
    let nonce = u128::from_str_radix(nonce, 16).ok()?;
    Some((image.parse().ok()?, Nonce::from_random(nonce.to_be_bytes())))
}
