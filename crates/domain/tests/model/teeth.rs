//! The model has teeth: whichever rule is broken, the auditor finds it.

use crate::audit::Invariant::{self, I2, I3, I4, I5, I7, I9, Photo, Users};
use crate::rules::Rule;
use crate::{scenario, vouching};

/// Rules that are broken together, and the invariants that suffer for it.
type Broken = (&'static [Rule], &'static [Invariant]);

const SEEDS: u64 = 4_000;

/// Seeds that are tried first, of rules whose absence shows late.
const KNOWN: [(Rule, u64); 4] = [
    (Rule::MovesDropLater, 452),
    (Rule::PlacementsAreLeased, 3_194),
    (Rule::SearchesLookAgain, 1_583),
    (Rule::EnrolmentsAreCompleted, 2_383),
];

fn check(broken: &[Broken]) {
    check_runs(scenario::run, broken);
}

fn check_runs(
    run: fn(u64, &'static [Rule]) -> Result<scenario::Counts, Box<scenario::Failure>>,
    broken: &[Broken],
) {
    let mut missing = Vec::new();
    for (rules, invariants) in broken {
        for invariant in *invariants {
            let finds = |seed: &u64| {
                run(*seed, rules).is_err_and(|failure| failure.violation.invariant == *invariant)
            };
            let known = KNOWN.iter().filter(|(rule, _)| rules.contains(rule)).map(|(_, seed)| *seed);
            let found = known.chain(0..SEEDS).find(finds);
            println!("without {rules:?}: {invariant:?} at seed {found:?}");
            if found.is_none() {
                missing.push((rules, invariant));
            }
        }
    }
    assert!(missing.is_empty(), "no run without these rules broke these invariants: {missing:?}");
}

#[test]
fn every_rule_of_indexing_is_needed() {
    check(&[
        (&[Rule::VersionCondition], &[I5]),
        (&[Rule::ErasedPointsStay], &[I3, I5]),
        (&[Rule::IndexingFreshness], &[I5]),
        (&[Rule::FlushBeforeCommit], &[I2, I3]),
        (&[Rule::RestartAtCommit], &[I2, I3]),
        (&[Rule::SearchesWait], &[I3]),
        (&[Rule::SearchesHideExpired], &[I3]),
        (&[Rule::ChangesCarryVersions], &[I3, I9]),
    ]);
}

#[test]
fn every_rule_of_retention_is_needed() {
    check(&[
        (&[Rule::SearchesHideAged], &[I3]),
        (&[Rule::TransitionsEraseAged], &[I3]),
        (&[Rule::FloorsStay], &[I3]),
        (&[Rule::OldRulesAreBelieved], &[I3]),
        (&[Rule::RulesAnswerLater], &[I3]),
        (&[Rule::SweepReadsRetention], &[I2]),
        (&[Rule::PhotosHaveTheirTime], &[I9]),
    ]);
}

#[test]
fn every_rule_of_ingestion_is_needed() {
    check(&[
        (&[Rule::RequestMemory], &[I3]),
        (&[Rule::AttemptDeadline], &[I3, I4]),
        (&[Rule::EnrolmentAppendsAgain], &[I2]),
        (&[Rule::DeletionProjectsAgain], &[I3]),
        (&[Rule::DeletionProjects], &[I3]),
        (&[Rule::DeletionAppends], &[I3]),
        (&[Rule::CompareAndSwap], &[I3, I4]),
        (&[Rule::ConflictIsLookedAt], &[I2]),
        (&[Rule::RecordFreshness], &[I3]),
        // The deadline alone keeps photos young.
        (&[Rule::AttemptDeadline, Rule::PhotoFreshness], &[Photo]),
        (&[Rule::PhotoKeysUnique], &[Photo]),
        (&[Rule::OnlyNamedPhotosGo], &[Photo]),
    ]);
}

#[test]
fn every_rule_of_the_ledger_is_needed() {
    check(&[
        (&[Rule::DerivableHusksStay], &[I3]),
        (&[Rule::HusksStayADay], &[I3]),
        (&[Rule::Reconciling], &[I2, I9]),
        (&[Rule::Retention], &[I9]),
        (&[Rule::PhotosAreSwept], &[I9]),
        (&[Rule::YoungPhotosStay], &[Photo]),
    ]);
}

#[test]
fn every_rule_of_the_bulk_lane_is_needed() {
    check_runs(
        scenario::run_with_bulk,
        &[
            (&[Rule::RequestMemory], &[I3]),
            (&[Rule::WaitingRequestsStay], &[I3]),
            (&[Rule::JobsAreBegunAgainInTime], &[I3]),
            (&[Rule::AcceptanceAppendsAgain], &[I2]),
            (&[Rule::EmbeddingCommitsLast], &[I2]),
            (&[Rule::EmbeddingAppendsAgain], &[I2]),
            (&[Rule::OldPhotosAreSaid], &[I2]),
            (&[Rule::AcceptedPhotosAreNamed], &[Photo]),
            (&[Rule::CompareAndSwap], &[I4]),
        ],
    );
}

#[test]
fn every_rule_of_moves_is_needed() {
    check_runs(
        scenario::run_with_moves,
        &[
            (&[Rule::MovesWaitBeforeWalk], &[I3]),
            (&[Rule::MovesCompare], &[I2]),
            (&[Rule::MovesDropLater], &[I2]),
            (&[Rule::PlacementsAreLeased], &[I2]),
            (&[Rule::SearchesLookAgain], &[I2]),
            (&[Rule::LeftIsCleared], &[I9]),
            (&[Rule::ClearingIsFlushed], &[I9]),
            (&[Rule::LeftIsNotEntered], &[I2]),
            (&[Rule::ErasedPointsStay], &[I3]),
        ],
    );
}

#[test]
fn every_rule_of_models_is_needed() {
    check_runs(
        scenario::run_with_models,
        &[
            (&[Rule::EnrolmentsAreCompleted], &[I2]),
            (&[Rule::MovesCompareModels], &[I2]),
            (&[Rule::ModelsGoWithPlacements], &[I7]),
        ],
    );
}

#[test]
fn every_rule_of_vouching_is_needed() {
    const RULES: [&[Rule]; 8] = [
        &[Rule::VouchingNeedsAnswers],
        &[Rule::LossesAreNotVouchedFor],
        &[Rule::WordsWearOut],
        &[Rule::LateWordsAreDropped],
        &[Rule::QueryDistrusts],
        &[Rule::WordsAreHeardAnew],
        &[Rule::QueryBeginsByWaiting],
        &[Rule::SearchesCheckAfter],
    ];
    // A seed that is tried first, of the one whose absence shows late.
    let seeds = || std::iter::once(1_734).chain(0..SEEDS);
    let found = RULES.map(|rules| (rules, seeds().find(|seed| vouching::run(*seed, rules).is_err())));
    println!("{found:?}");
    assert!(
        found.iter().all(|(_, seed)| seed.is_some()),
        "no run without these rules answered wrongly: {found:?}"
    );
}

#[test]
fn every_rule_of_users_is_needed() {
    check_runs(
        scenario::run_with_users,
        &[
            (&[Rule::UnclaimingWrites], &[Users]),
            (&[Rule::UnclaimingSparesNoExpired], &[Users]),
            (&[Rule::RecordsReadBeforeReserving], &[Users]),
            (&[Rule::ReservingWrites], &[Users]),
            (&[Rule::DroppedOverRead], &[Users]),
            (&[Rule::HusksNameFaces], &[Users]),
            (&[Rule::ReleaseProjects], &[Users]),
            (&[Rule::CreationEndsDeletion], &[Users]),
            (&[Rule::GenerationsGrow], &[Users]),
            (&[Rule::HeldFacesStay], &[Users]),
            (&[Rule::CompareAndSwap], &[Users]),
        ],
    );
}
