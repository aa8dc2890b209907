use clap::Parser;

use super::*;

#[derive(Parser)]
struct Whole {
    #[command(flatten)]
    models: ModelsArguments,
}

/// Runs `vidimus models` with these arguments on an empty directory.
fn answer(arguments: &[&str]) -> (Result<(), String>, String) {
    let dir = tempfile::tempdir().unwrap();
    let store = ModelStore::new(dir.path().join("models"));
    let whole = Whole::try_parse_from(["vidimus"].iter().chain(arguments)).unwrap();
    let mut output = Vec::new();
    let outcome = run(&store, &whole.models, &mut output).map_err(|error| format!("{error:#}"));
    (outcome, String::from_utf8(output).unwrap())
}

#[test]
fn an_empty_directory_lists_nothing_and_says_what_to_do() {
    let (outcome, text) = answer(&["list"]);
    assert_eq!(outcome, Ok(()));
    assert!(text.contains("vidimus models import"), "{text}");
    assert_eq!(answer(&["list", "--json"]).1.trim(), "[]");
}

#[test]
fn verifying_what_is_missing_fails_and_names_the_command() {
    let (outcome, text) = answer(&["verify", "--json"]);
    assert!(outcome.unwrap_err().contains("2 of 2"));
    let lines: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(lines[0]["name"], "sface-2021dec");
    for line in lines.as_array().unwrap() {
        assert_eq!(line["state"], "wrong");
        assert!(line["reason"].as_str().unwrap().contains("vidimus models import"), "{line}");
    }
}

#[test]
fn importing_nothing_is_refused() {
    assert!(Whole::try_parse_from(["vidimus", "import"]).is_err());
    let (outcome, _) = answer(&["import", "--from", "/nowhere"]);
    assert!(outcome.unwrap_err().contains("/nowhere"));
}
