//! The checkout: where it lies, its text files, and what cargo says of it.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;
use serde::Deserialize;

/// Folders that hold nothing of ours.
const SKIPPED_FOLDERS: [&str; 6] = [".git", ".cache", ".venv", "demo-out", "target", "__pycache__"];

/// What `cargo metadata` prints, as far as it is looked at.
#[derive(Deserialize)]
pub struct Metadata {
    /// Ours and everything they stand on.
    pub packages: Vec<Package>,
    workspace_members: Vec<String>,
    workspace_root: PathBuf,
}

/// A package.
#[derive(Deserialize)]
pub struct Package {
    pub name: String,
    pub version: String,
    id: String,
    /// The registry or repository; none for a folder.
    pub source: Option<String>,
    /// An SPDX expression.
    pub license: Option<String>,
    /// Of every kind: normal, for tests, for build scripts.
    pub dependencies: Vec<Dependency>,
    manifest_path: PathBuf,
}

/// What a package names.
#[derive(Deserialize)]
pub struct Dependency {
    pub name: String,
}

impl Metadata {
    /// The packages of this workspace.
    pub fn members(&self) -> Vec<&Package> {
        self.packages.iter().filter(|package| self.workspace_members.contains(&package.id)).collect()
    }

    /// A member's folder from the workspace's root.
    pub fn folder<'a>(&self, package: &'a Package) -> anyhow::Result<&'a str> {
        let folder = package.manifest_path.parent().context("a manifest lies in a folder")?;
        folder.strip_prefix(&self.workspace_root)?.to_str().context("a folder's name is text")
    }
}

/// A text file of the checkout.
pub struct TextFile {
    /// From the checkout's root.
    pub path: PathBuf,
    /// All of it.
    pub text: String,
}

/// The checkout's root.
pub fn root() -> anyhow::Result<PathBuf> {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().context("find the checkout")
}

/// What cargo resolved, by the lock file as it is.
pub fn metadata() -> anyhow::Result<Metadata> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let arguments = ["metadata", "--format-version", "1", "--locked"];
    let ran = Command::new(cargo).args(arguments).current_dir(root()?).output().context("run cargo")?;
    anyhow::ensure!(ran.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&ran.stderr));
    serde_json::from_slice(&ran.stdout).context("read what cargo says")
}

/// Every file of the checkout that is text, in the order of their paths.
pub fn text_files() -> anyhow::Result<Vec<TextFile>> {
    let root = root()?;
    let mut folders = vec![root.clone()];
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).with_context(|| format!("list {}", folder.display()))? {
            let entry = entry?;
            let kind = entry.file_type()?;
            let name = entry.file_name();
            if kind.is_dir() && !SKIPPED_FOLDERS.iter().any(|skipped| name == *skipped) {
                folders.push(entry.path());
            }
            if !kind.is_file() {
                continue;
            }
            let bytes = std::fs::read(entry.path())?;
            let Ok(text) = String::from_utf8(bytes) else { continue };
            let path = entry.path().strip_prefix(&root)?.to_path_buf();
            found.push(TextFile { path, text });
        }
    }
    found.sort_by(|left, right| left.path.cmp(&right.path));
    Ok(found)
}
