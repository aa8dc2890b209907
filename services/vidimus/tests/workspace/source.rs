//! What must not stand in any file: the hosts of package registries, which each machine sets for itself, and lints
//! switched off without a reason.

use crate::tree::{self, TextFile};

/// Hosts and settings that name a registry, in two halves, so that this file does not name one itself.
const REGISTRIES: [(&str, &str); 10] = [
    ("pypi.", "org"),
    ("files.python", "hosted.org"),
    ("index.", "crates.io"),
    ("static.", "crates.io"),
    ("registry.npm", "js.org"),
    ("repo.maven.", "apache.org"),
    ("proxy.", "golang.org"),
    ("--index", "-url"),
    ("--extra-index", "-url"),
    ("replace-", "with ="),
];

/// The attribute that hides a lint; `#[expect(…, reason = "…")]` says why and ends when it is needless.
const SILENCERS: [(&str, &str); 2] = [("#[", "allow("), ("#![", "allow(")];

/// The lines of `file` that hold one of the `parts`, as `path:line: text`.
fn lines_with(file: &TextFile, parts: &[(&str, &str)]) -> Vec<String> {
    let wanted = parts.iter().map(|(head, tail)| format!("{head}{tail}")).collect::<Vec<_>>();
    file.text
        .lines()
        .enumerate()
        .filter(|(_, line)| wanted.iter().any(|text| line.contains(text.as_str())))
        .map(|(number, line)| format!("{}:{}: {}", file.path.display(), number + 1, line.trim()))
        .collect()
}

#[test]
fn no_file_names_a_registry() -> anyhow::Result<()> {
    let files = tree::text_files()?;
    assert!(
        files.iter().any(|file| file.path.ends_with("scripts/requirements.txt")),
        "the files were not found"
    );
    let found = files.iter().flat_map(|file| lines_with(file, &REGISTRIES)).collect::<Vec<_>>();
    assert!(found.is_empty(), "{}", found.join("\n"));
    Ok(())
}

#[test]
fn no_lint_is_switched_off_silently() -> anyhow::Result<()> {
    let files = tree::text_files()?;
    let rust = files.iter().filter(|file| file.path.extension().is_some_and(|extension| extension == "rs"));
    let found = rust.flat_map(|file| lines_with(file, &SILENCERS)).collect::<Vec<_>>();
    assert!(found.is_empty(), "{}", found.join("\n"));
    Ok(())
}

#[test]
fn lines_are_found_with_their_numbers() {
    let file = TextFile { path: "a.rs".into(), text: format!("fine\n  #[{}(dead_code)]\n", "allow") };
    assert_eq!(lines_with(&file, &SILENCERS), [format!("a.rs:2: #[{}(dead_code)]", "allow")]);
}
