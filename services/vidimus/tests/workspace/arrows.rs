//! Arrows between crates go one way: `proto → domain → ports → runtime → {adapters, roles} → vidimus → testkit`. A
//! role never names an adapter or another role; only an adapter names the system it adapts.

use std::collections::BTreeSet;

use anyhow::Context as _;

use crate::tree::{self, Metadata};

/// What a crate is, and so what it may name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Layer {
    Proto,
    Domain,
    Ports,
    Runtime,
    Adapter,
    Role,
    Binary,
    Testkit,
    LoadTests,
}

use Layer::{Adapter, Binary, Domain, LoadTests, Ports, Proto, Role, Runtime, Testkit};

impl Layer {
    /// The layers it may name, in dependencies of every kind.
    const fn may_name(self) -> &'static [Self] {
        match self {
            Proto => &[],
            Domain | LoadTests => &[Proto],
            Ports => &[Proto, Domain],
            Runtime => &[Proto, Domain, Ports],
            Adapter | Role => &[Proto, Domain, Ports, Runtime],
            Binary => &[Proto, Domain, Ports, Runtime, Adapter, Role],
            Testkit => &[Proto, Domain, Ports, Runtime, Adapter, Role, Binary],
        }
    }

    /// By the crate's folder. A crate in an unknown place has no layer, and so fails the test.
    fn of(folder: &str) -> Option<Self> {
        match folder {
            "proto" => Some(Proto),
            "crates/domain" => Some(Domain),
            "crates/ports" => Some(Ports),
            "crates/runtime" => Some(Runtime),
            "crates/testkit" => Some(Testkit),
            "load-tests" => Some(LoadTests),
            "services/vidimus" => Some(Binary),
            other if other.starts_with("crates/adapters/") => Some(Adapter),
            other if other.starts_with("services/") => Some(Role),
            _ => None,
        }
    }
}

/// (crate from elsewhere, the crates of ours that may name it): its adapter, and testkit where it stands a server in.
const ADAPTED: [(&str, &[&str]); 5] = [
    ("aws-sdk-s3", &["vidimus-s3"]),
    ("ort", &["vidimus-onnx"]),
    ("qdrant-client", &["vidimus-qdrant", "vidimus-testkit"]),
    ("qdrant-edge", &["vidimus-edge", "vidimus-testkit"]),
    ("rdkafka", &["vidimus-kafka"]),
];

/// What does IO or has a clock: `domain` names none of it.
const NOT_IN_DOMAIN: [&str; 7] = ["axum", "hyper", "rand", "reqwest", "rustix", "tokio", "tonic"];

/// Every arrow that must not be, as sentences.
fn wrong_arrows(metadata: &Metadata) -> anyhow::Result<Vec<String>> {
    let mut wrong = Vec::new();
    let members = metadata.members();
    for package in &members {
        let Some(from) = Layer::of(metadata.folder(package)?) else {
            wrong.push(format!("{} lies where no layer is", package.name));
            continue;
        };
        for dependency in &package.dependencies {
            let Some(target) = members.iter().find(|member| member.name == dependency.name) else {
                continue;
            };
            let to = Layer::of(metadata.folder(target)?);
            if to.is_none_or(|to| !from.may_name().contains(&to)) {
                wrong.push(format!("{} ({from:?}) must not name {} ({to:?})", package.name, target.name));
            }
        }
    }
    Ok(wrong)
}

#[test]
fn crates_name_only_what_lies_below_them() -> anyhow::Result<()> {
    let wrong = wrong_arrows(&tree::metadata()?)?;
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

#[test]
fn every_member_is_seen() -> anyhow::Result<()> {
    let metadata = tree::metadata()?;
    let names = metadata.members().iter().map(|package| package.name.as_str()).collect::<BTreeSet<_>>();
    for name in
        ["vidimus", "vidimus-proto", "vidimus-domain", "vidimus-edge", "vidimus-query", "vidimus-testkit"]
    {
        assert!(names.contains(name), "{name} is not among {names:?}");
    }
    Ok(())
}

#[test]
fn a_role_may_name_neither_adapter_nor_role() {
    assert!(!Role.may_name().contains(&Adapter));
    assert!(!Role.may_name().contains(&Role));
    assert!(!Adapter.may_name().contains(&Role));
    assert!(!Adapter.may_name().contains(&Adapter));
    assert_eq!(Layer::of("services/query"), Some(Role));
    assert_eq!(Layer::of("crates/adapters/edge"), Some(Adapter));
    assert_eq!(Layer::of("crates/somewhere"), None);
}

#[test]
fn only_its_adapter_names_a_system() -> anyhow::Result<()> {
    for package in tree::metadata()?.members() {
        for dependency in &package.dependencies {
            let owner = ADAPTED.iter().find(|(system, _)| *system == dependency.name);
            if let Some((system, owners)) = owner {
                let name = package.name.as_str();
                assert!(owners.contains(&name), "{name} names {system}; only {owners:?} may");
            }
        }
    }
    Ok(())
}

#[test]
fn domain_does_no_io() -> anyhow::Result<()> {
    let metadata = tree::metadata()?;
    let members = metadata.members();
    let domain = members.iter().find(|package| package.name == "vidimus-domain");
    for dependency in &domain.context("find domain")?.dependencies {
        assert!(!NOT_IN_DOMAIN.contains(&dependency.name.as_str()), "domain names {}", dependency.name);
    }
    Ok(())
}
