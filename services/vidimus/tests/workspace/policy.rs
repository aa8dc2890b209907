//! The dependency policy: known licences, one version of the crates that must agree, one source. `make deny` checks the
//! same and more with cargo-deny.

use crate::license;
use crate::tree::{self, Package};

/// The one source of what is not ours, as cargo names it.
const REGISTRY: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// Crates whose types cross our seams, or that are large: at most one version of each.
const SINGLE_VERSION: [&str; 9] =
    ["axum", "h2", "http", "hyper", "prost", "ring", "rustls", "tokio", "tonic"];

/// Of these there is one, or the check above looks at nothing.
const PRESENT: [&str; 6] = ["axum", "http", "hyper", "prost", "tokio", "tonic"];

fn versions_of<'a>(packages: &'a [Package], name: &str) -> Vec<&'a Package> {
    packages.iter().filter(|package| package.name == name).collect()
}

#[test]
fn every_licence_is_accepted() -> anyhow::Result<()> {
    let refused = tree::metadata()?
        .packages
        .iter()
        .filter(|package| !package.license.as_deref().is_some_and(license::is_accepted))
        .map(|package| format!("{} {}: {:?}", package.name, package.version, package.license))
        .collect::<Vec<_>>();
    assert!(refused.is_empty(), "licences that are not on the list:\n{}", refused.join("\n"));
    Ok(())
}

#[test]
fn crates_that_must_agree_have_one_version() -> anyhow::Result<()> {
    let metadata = tree::metadata()?;
    for name in SINGLE_VERSION {
        let versions = versions_of(&metadata.packages, name);
        assert!(
            versions.len() <= 1,
            "several versions of {name}: {:?}",
            versions.iter().map(|p| &p.version).collect::<Vec<_>>()
        );
    }
    for name in PRESENT {
        assert_eq!(versions_of(&metadata.packages, name).len(), 1, "{name}");
    }
    Ok(())
}

#[test]
fn dependencies_come_from_the_registry_alone() -> anyhow::Result<()> {
    for package in tree::metadata()?.packages {
        match &package.source {
            None => assert!(package.name.starts_with("vidimus"), "{} lies in a folder", package.name),
            Some(source) => assert_eq!(source, REGISTRY, "{} comes from {source}", package.name),
        }
    }
    Ok(())
}
