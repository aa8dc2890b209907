//! Replays what the fuzz targets have found worth keeping: `fuzz/corpus`, a folder for each target.

#![cfg(test)]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

/// Files of a corpus that show that it was found.
const FILES_MIN: usize = 5;

fn replay(target: &str, body: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target);
    let mut paths: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(paths.len() >= FILES_MIN, "{target} has no corpus");
    for path in paths {
        let data = std::fs::read(&path).unwrap();
        let outcome = catch_unwind(AssertUnwindSafe(|| body(&data)));
        assert!(outcome.is_ok(), "{}", path.display());
    }
}

#[test]
fn requests_in_json() {
    replay("json", vidimus_gateway::fuzzing::json);
}

#[test]
fn files_of_the_log() {
    replay("log", vidimus_files::fuzzing::log);
}

#[test]
fn photos() {
    replay("photo", vidimus_onnx::fuzzing::photo);
}

#[test]
fn signed_requests() {
    replay("sigv4", vidimus_gateway::fuzzing::signed_request);
}

#[test]
fn stored_values() {
    replay("stored", vidimus_domain::fuzzing::stored_values);
}
