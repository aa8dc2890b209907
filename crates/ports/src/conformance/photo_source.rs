//! What every [`PhotoSource`] must do.
//!
//! The port only reads, so whoever runs the suite lays down [`photos`] first, by the means of the system behind it.

use std::collections::BTreeSet;

use bytes::Bytes;
use vidimus_domain::catalog::ImportPrefix;

use crate::error::PortResult;
use crate::photo_source::{Found, PhotoSource, SourceEntry, SourceObject};

/// The prefix that is looked into.
const MINE: &str = "acme/in";
/// A prefix whose text begins like it.
const BESIDE: &str = "acme/in-other";

/// Names whose order differs between bytes, letters and folders (here: bytes); and names that no shell would like.
pub const NAMES: [&str; 14] = [
    "2026/01/a b.jpg",
    "2026/01/a+b.jpg",
    "2026/01/a.jpg",
    "2026/01/a/1.jpg",
    "2026/01/a/10.jpg",
    "2026/01/a/2.jpg",
    "2026/01/ab.jpg",
    "2026/02/ä%20&=?.jpg",
    "2026/02/日本.jpg",
    "B.jpg",
    "a-b/1.jpg",
    "a.b",
    "a/1.jpg",
    "a0",
];

/// An object to lay down.
#[derive(Clone, Debug)]
pub struct LaidPhoto {
    /// Under which prefix.
    pub prefix: ImportPrefix,
    /// Its name there.
    pub name: &'static str,
    /// Its content.
    pub bytes: Bytes,
}

/// What must lie in the source before [`conforms`] is called: nothing else under these prefixes.
#[must_use]
pub fn photos() -> Vec<LaidPhoto> {
    let laid = |text: &str, name| LaidPhoto {
        prefix: prefix(text),
        name,
        bytes: Bytes::from(format!("{text}: {name}").into_bytes()),
    };
    let mut photos: Vec<LaidPhoto> = NAMES.iter().map(|name| laid(MINE, *name)).collect();
    photos.push(laid(BESIDE, "secret.jpg"));
    photos.push(laid("acme", "secret.jpg"));
    photos
}

fn prefix(text: &str) -> ImportPrefix {
    text.parse().unwrap_or_else(|_| unreachable!("{text} is a prefix"))
}

fn object(name: &str) -> SourceObject {
    SourceObject { prefix: prefix(MINE), name: name.to_owned(), version: None }
}

/// Runs the whole suite.
///
/// # Errors
/// Whatever error the source gives where it may give none.
///
/// # Panics
/// Where the source breaks the contract.
pub async fn conforms(source: &dyn PhotoSource) -> PortResult<()> {
    photos_are_read_whole_or_not_at_all(source).await?;
    nothing_outside_is_read(source).await?;
    listings_page_in_order(source).await?;
    listings_stay_within(source).await
}

async fn photos_are_read_whole_or_not_at_all(source: &dyn PhotoSource) -> PortResult<()> {
    for photo in photos() {
        let object = SourceObject { prefix: photo.prefix, name: photo.name.to_owned(), version: None };
        let size = photo.bytes.len() as u64;
        assert_eq!(source.get(&object, size).await?, Found::Photo(photo.bytes), "{object:?}");
        assert_eq!(source.get(&object, size - 1).await?, Found::TooLarge, "{object:?}");
        let versioned = SourceObject { version: Some("no-such-version".to_owned()), ..object };
        assert_eq!(source.get(&versioned, size).await?, Found::Nothing, "{versioned:?}");
    }
    Ok(())
}

async fn nothing_outside_is_read(source: &dyn PhotoSource) -> PortResult<()> {
    let long = "x".repeat(5000);
    for name in [
        "",
        ".",
        "none.jpg",
        "a",
        "2026/01",
        "../secret.jpg",
        "2026/../../secret.jpg",
        "../in-other/secret.jpg",
        "/acme/secret.jpg",
        "/etc/passwd",
        "a\0b",
        &long,
    ] {
        let found = source.get(&object(name), 1000).await?;
        assert_eq!(found, Found::Nothing, "{:?}", &name[..name.len().min(40)]);
    }
    let elsewhere = SourceObject { prefix: prefix("nobody"), ..object("a0") };
    assert_eq!(source.get(&elsewhere, 1000).await?, Found::Nothing);
    Ok(())
}

/// Pages of any length are pieces of one list, which has everything once; and it is resumed after any of its names.
async fn listings_page_in_order(source: &dyn PhotoSource) -> PortResult<()> {
    let prefix = prefix(MINE);
    let whole = source.list(&prefix, "", None, 1000).await?;
    let mut sorted = whole.clone();
    sorted.sort_by(|left, right| left.name.cmp(&right.name));
    let size = |name: &str| format!("{MINE}: {name}").len() as u64;
    let expected = NAMES.map(|name| SourceEntry { name: name.to_owned(), size: size(name) });
    assert_eq!(sorted, expected);
    for limit in [1, 3, NAMES.len()] {
        assert_eq!(list_all(source, "", limit).await?, whole, "pages of {limit}");
    }
    for (index, entry) in whole.iter().enumerate() {
        let rest = source.list(&prefix, "", Some(&entry.name), 1000).await?;
        assert_eq!(rest, whole[index + 1..], "after {:?}", entry.name);
    }
    assert_eq!(source.list(&prefix, "", None, 0).await?, []);
    Ok(())
}

async fn list_all(source: &dyn PhotoSource, within: &str, limit: usize) -> PortResult<Vec<SourceEntry>> {
    let mut listed: Vec<SourceEntry> = Vec::new();
    loop {
        let after = listed.last().map(|entry| entry.name.as_str());
        let page = source.list(&prefix(MINE), within, after, limit).await?;
        assert!(page.len() <= limit);
        let ends = page.len() < limit;
        listed.extend(page);
        if ends {
            return Ok(listed);
        }
    }
}

/// Only names that begin with what was asked for are shown, and nothing above or beside the prefix.
async fn listings_stay_within(source: &dyn PhotoSource) -> PortResult<()> {
    for within in ["2026/", "2026/01/a", "2026/01/a/", "2026/02/ä", "a", "a/", "a-", "B.jpg"] {
        let listed = list_all(source, within, 2).await?;
        let names: BTreeSet<&str> = listed.iter().map(|entry| entry.name.as_str()).collect();
        let expected: BTreeSet<&str> = NAMES.into_iter().filter(|name| name.starts_with(within)).collect();
        assert_eq!(names, expected, "within {within:?}");
        assert_eq!(names.len(), listed.len(), "within {within:?}: each once");
    }
    for within in [
        "none",
        "..",
        "../",
        "../secret",
        "./",
        "2026/../",
        "2026/../../secret",
        "/",
        "/acme/",
        "a//",
        "a\0b",
    ] {
        assert_eq!(list_all(source, within, 10).await?, [], "within {within:?}");
    }
    let nobody = source.list(&prefix("nobody"), "", None, 10).await?;
    assert_eq!(nobody, []);
    for after in ["a/../../secret", "../", "/acme/", "zz"] {
        let listed = source.list(&prefix(MINE), "a", Some(after), 100).await?;
        assert!(
            listed.iter().all(|entry| NAMES.contains(&entry.name.as_str())),
            "after {after:?}: {listed:?}"
        );
    }
    Ok(())
}
