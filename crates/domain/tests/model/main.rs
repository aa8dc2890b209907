//! A seeded model of the record's life: blobs, log, index, two indexing processes, two embedding workers, a ledger, and
//! clients that enrol, delete, enrol again, retry, and have photos brought in by jobs, and move the collection, on the
//! domain's own functions. Processes crash before and after every effect and sleep anywhere; an auditor watches I2 to I5.
//!
//! What the model takes for granted: a call is on its way for less than a day (with the hour of a read), a client
//! retries for less than a day, clocks agree, the log is not lost together with what the index has not flushed, and a
//! retention rule is in the store within a second of its decision or never.

#![cfg(test)]

mod administration;
mod audit;
mod blobs;
mod bulk;
mod catalog;
mod client;
mod executor;
mod index;
mod indexing;
mod ingestion;
mod ledger;
mod log;
mod models;
mod moves;
mod random;
mod records;
mod reply;
mod rules;
mod scenario;
mod searches;
mod teeth;
mod user_audit;
mod user_client;
mod users;
mod vouching;
mod world;

use std::collections::BTreeMap;

use proptest::test_runner::{Config, TestCaseError, TestRunner};

/// Seeds with jobs that once broke something.
const REGRESSIONS: &[u64] = &[5797, 6896, 7656, 12546, 18326, 19236, 45299];

/// Runs to draw; `MODEL_CASES` says otherwise.
fn cases() -> u32 {
    std::env::var("MODEL_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(300)
}

#[test]
fn what_was_mended_stays_mended() {
    for seed in REGRESSIONS {
        if let Err(failure) = scenario::run_with_bulk(*seed, &[]) {
            panic!("{failure}");
        }
    }
}

#[test]
fn the_invariants_hold() {
    let config =
        Config { cases: cases(), failure_persistence: None, max_shrink_iters: 0, ..Config::default() };
    let run = |seed| {
        let outcome = scenario::run(seed, &[])
            .and_then(|_| scenario::run_with_users(seed, &[]))
            .and_then(|_| scenario::run_with_bulk(seed, &[]))
            .and_then(|_| scenario::run_with_moves(seed, &[]))
            .and_then(|_| scenario::run_with_models(seed, &[]));
        outcome.map(drop).map_err(|failure| TestCaseError::fail(failure.to_string()))
    };
    if let Err(failure) = TestRunner::new(config).run(&proptest::num::u64::ANY, run) {
        panic!("{failure}");
    }
}

/// What a few runs must come by, so that what holds does not hold for want of trouble.
const CORNERS: &[&str] = &[
    "a client retried a deletion",
    "a client retried an enrolment",
    "a claim came too late",
    "a client retried a change of a user",
    "a client sent an answered request again",
    "a creation ended a deletion",
    "a husk was removed",
    "a job was begun again",
    "a job's photo was enrolled",
    "a photo was accepted",
    "a photo was embedded",
    "a photo was refused",
    "a photo was said again",
    "a photo went before its faces",
    "a photo was swept",
    "a move began",
    "a move found differences",
    "a move switched",
    "a move switched the model",
    "a move was finished",
    "a move was given up",
    "a move was taken up",
    "a placement was clean",
    "a placement was entered again",
    "a search found that reads had switched",
    "a search was answered",
    "a process crashed",
    "a process slept",
    "a put that won said that it lost",
    "a record was completed",
    "a record was gone",
    "a retry ended a deletion of a user",
    "a retry found its deletion",
    "a retry found its enrolment",
    "a retry found its photo accepted",
    "a rule was lengthened",
    "a rule was set",
    "a stale claim was met",
    "a worker found a photo embedded",
    "a writer knew its write again",
    "a writer of a user knew its write again",
    "a writer of a user was too late",
    "a writer of a record found its read too old",
    "a writer was too late",
    "an association was acknowledged",
    "an attempt was too old",
    "an effect came late",
    "an erased point was removed",
    "an old model's templates went",
    "faces were released again",
    "indexing lost its connection",
    "indexing read again",
    "reconciling found a difference",
    "retention erased a face",
    "the index lost power",
    "the log was lost",
    "the sweep found an expired face",
];

#[test]
fn nobody_answers_from_an_index_that_lacks_something() {
    let mut counts = BTreeMap::<_, u64>::new();
    for seed in 0..u64::from(cases()) {
        for (what, count) in vouching::run(seed, &[]).unwrap_or_else(|wrong| panic!("{wrong}")) {
            *counts.entry(what).or_default() += count;
        }
    }
    println!("{counts:?}");
    let answered = counts["a search was answered by an index"];
    assert!(
        answered > counts["a search was refused"] / 10 && counts["the index lost its tail"] > 100,
        "{counts:?}"
    );
}

#[test]
fn the_model_reaches_every_corner() {
    let mut counts = BTreeMap::<_, u64>::new();
    for seed in 0..200 {
        for run in [
            scenario::run,
            scenario::run_with_users,
            scenario::run_with_bulk,
            scenario::run_with_moves,
            scenario::run_with_models,
        ] {
            for (what, count) in run(seed, &[]).unwrap_or_else(|failure| panic!("{failure}")) {
                *counts.entry(what).or_default() += count;
            }
        }
    }
    for corner in CORNERS {
        assert!(counts.get(corner).is_some_and(|count| *count >= 5), "{corner}: {counts:?}");
    }
}

#[test]
fn a_seed_is_one_run() {
    let runs = [0, 0, 1].map(|seed| scenario::run(seed, &[]).unwrap_or_else(|failure| panic!("{failure}")));
    assert_eq!(runs[0], runs[1]);
    assert_ne!(runs[0], runs[2]);
}
