//! Recall of the graphs against an exact scan of 20,000 identities with SFace's quantiles.

mod measure;

use std::io::{Write as _, stdout};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use measure::{How, Outcome, Population, false_match_rates};
use tempfile::TempDir;
use vidimus_domain::UnixMillis;
use vidimus_edge::{EdgeConfig, EdgeIndex, SearchEffort};
use vidimus_ports::conformance::galleries::{Faces, QUANTILES};

const FACES: usize = 20_000;
/// Probes of either kind that are scanned: with 20,000 faces each they make the pairs of the false match rates.
const PROBES: usize = 2_000;
/// Those of them that are searched for.
const SEARCHES: usize = 1_000;
/// A retention rule by which none of them has expired.
const KEPT: Option<UnixMillis> = Some(UnixMillis::new(0));
/// Links of a face that graphs of parts have at least, of the 16 to 32 that they may have. Compressed, they take less
/// than 4 bytes each.
const LINKS_MIN: u64 = 8;

#[tokio::test(flavor = "multi_thread")]
async fn the_graph_finds_what_an_exact_scan_finds() -> Result<()> {
    let root = TempDir::new()?;
    // All is written before anything is optimised, so that there is one graph for each part.
    let config = EdgeConfig {
        optimize_after: Duration::from_secs(3600),
        indexing_threads: 2,
        ..EdgeConfig::new(root.path())
    };
    let index = Arc::new(EdgeIndex::open(config).await?);
    let population = Population::draw(1, FACES, PROBES)?;
    population.enrol(&index, |_| {}).await?;
    // A neighbour in the same placement: its faces must not show, and its graph must not help.
    Population::draw(2, 4_000, 1)?.enrol(&index, |_| {}).await?;
    index.optimized().await?;

    let strangers = population.scan(&population.strangers);
    check_false_match_rates(false_match_rates(&strangers, FACES));
    let mates = population.scan(&population.mates[..SEARCHES]);

    check_graph(&index).await?;
    for faces_cutoff in [None, KEPT] {
        let hungry = How { limit: 10, effort: Some(SearchEffort::Graph { ef: 1 }), faces_cutoff };
        let starved = population.search(&index, &strangers[..200], hungry).await?;
        assert!(starved.recall_at_10 < 0.95, "a scan does not depend on the effort: {starved}");
    }

    writeln!(stdout(), "probes     {}", Outcome::HEADING)?;
    let under_a_rule = How { faces_cutoff: KEPT, ..How::USUAL };
    for (who, probes, how) in [
        ("mated", &mates, How::USUAL),
        ("non-mated", &strangers, How::USUAL),
        ("by a rule", &strangers, under_a_rule),
    ] {
        let outcome = population.search(&index, &probes[..SEARCHES], how).await?;
        writeln!(stdout(), "{who:<9}  {outcome}")?;
        assert!(outcome.recall_at_10 >= 0.99, "{who}: {outcome}");
        for (quantile, recall) in QUANTILES.iter().zip(outcome.candidate_recall) {
            assert!(recall >= 0.999, "{who} at {}: {outcome}", quantile.cosine);
        }
    }
    index.close(Duration::from_secs(60)).await?;
    Ok(())
}

/// Every vector lies in a segment with graphs, and the graphs have as many links as graphs of parts have.
async fn check_graph(index: &EdgeIndex) -> Result<()> {
    let statistics = index.statistics().await?.pop().context("one placement")?;
    let links = statistics.graph_bytes / 4 / statistics.points;
    anyhow::ensure!(statistics.indexed_vectors == statistics.points, "{statistics:?}");
    anyhow::ensure!(links >= LINKS_MIN, "{links} links a face: {statistics:?}");
    Ok(())
}

/// Forty million pairs: within a factor of 2 of the model's, of 3 where only some twenty pairs reach the cosine.
fn check_false_match_rates(rates: [f64; QUANTILES.len()]) {
    for (quantile, rate) in QUANTILES.iter().zip(rates) {
        let ratio = rate / quantile.false_match_rate;
        let factor = if quantile.false_match_rate < 5e-6 { 3.0 } else { 2.0 };
        assert!((1.0 / factor..factor).contains(&ratio), "{quantile:?}: {rate:.2e}");
    }
}

/// Mated scores reach each cosine as often as the model's do, within four standard errors.
#[test]
fn mates_have_the_quantiles_of_the_model() {
    let mut faces = Faces::new(3);
    let scores: Vec<f32> = (0..FACES)
        .map(|_| {
            let identity = faces.identity();
            identity.cosine(&faces.mate(&identity))
        })
        .collect();
    for quantile in QUANTILES {
        let reached = scores.iter().filter(|score| f64::from(**score) >= quantile.cosine).count();
        let rate = reached as f64 / FACES as f64;
        let expected = quantile.true_match_rate;
        let error = (expected * (1.0 - expected) / FACES as f64).sqrt();
        assert!((rate - expected).abs() < 4.0 * error, "{quantile:?}: {rate}");
    }
}
