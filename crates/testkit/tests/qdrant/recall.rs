//! Over the wire the parts' graphs are walked, and what they find is what an exact scan finds.

use std::collections::HashSet;
use std::io::{Write as _, stdout};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use qdrant_client::Qdrant;
use qdrant_client::qdrant::CollectionStatus;
use tokio::time::sleep;
use vidimus_domain::point::Point;
use vidimus_domain::{FaceId, Template};
use vidimus_ports::FaceIndex as _;
use vidimus_qdrant::{QdrantConfig, QdrantIndex, SearchEffort};

use crate::fixture::{Fixture, template};
use crate::server::{Target, open};

/// A stranger, and the ten enrolled faces that are nearest.
type Probe = (Vec<FaceId>, Template);

const FACES: usize = 20_000;
const PROBES: usize = 200;
const TOP: usize = 10;
/// Graphs are built within this, on a machine that does much else.
const PATIENCE: Duration = Duration::from_secs(600);

#[tokio::test(flavor = "multi_thread")]
async fn the_graph_finds_what_an_exact_scan_finds() -> Result<()> {
    let target = Target::start().await?;
    // On one shard of a cluster too, so that what lies in each segment is the same.
    let config = QdrantConfig { shards: Some(1), ..target.config() };
    let (index, mut fixture) = (open(&target.address()?, config).await?, Fixture::new(1)?);
    index.made_good(0);
    let points = fixture.points(FACES);
    for batch in points.chunks(1_000) {
        index.write(&fixture.gallery, batch).await?;
    }
    optimized(&target.client()?, &format!("{}sface", target.prefix)).await?;
    let strangers: Vec<Template> = (0..PROBES).map(|_| fixture.drawn.identity()).collect();
    let probes: Vec<Probe> = strangers.into_iter().map(|probe| (nearest(&points, &probe), probe)).collect();
    let exact = recall(&index, &fixture, &probes, Some(SearchEffort::Exact)).await?;
    ensure!(exact == 1.0, "an exact scan has a recall of {exact}");
    let starved = recall(&index, &fixture, &probes, Some(SearchEffort::Graph { ef: 1 })).await?;
    let began = Instant::now();
    let usual = recall(&index, &fixture, &probes, None).await?;
    let each = began.elapsed() / u32::try_from(PROBES)?;
    writeln!(
        stdout(),
        "recall@10 {usual:.4} with the usual effort, {starved:.4} with none, {each:?} a search"
    )?;
    ensure!(usual >= 0.99, "{usual}");
    ensure!(starved < usual, "a scan does not depend on the effort: {starved}");
    target.end().await
}

/// Waits until most lies in segments with graphs, and nothing more is to be built: what is too little for a graph is scanned.
async fn optimized(client: &Qdrant, collection: &str) -> Result<()> {
    let began = Instant::now();
    loop {
        let info = client.collection_info(collection).await?.result.context("its state")?;
        let indexed = info.indexed_vectors_count.unwrap_or_default();
        if info.status() == CollectionStatus::Green && indexed >= FACES as u64 / 2 {
            return Ok(());
        }
        ensure!(began.elapsed() < PATIENCE, "{indexed} are indexed, and it is {:?}", info.status());
        sleep(Duration::from_millis(200)).await;
    }
}

fn nearest(points: &[Point], probe: &Template) -> Vec<FaceId> {
    let mut scored: Vec<(FaceId, f32)> = points
        .iter()
        .filter_map(|point| template(point).map(|template| (point.face, probe.cosine(template))))
        .collect();
    scored.select_nth_unstable_by(TOP, |left, right| right.1.total_cmp(&left.1));
    scored.truncate(TOP);
    scored.into_iter().map(|(face, _)| face).collect()
}

/// The share of the ten nearest that the answers had.
async fn recall(
    index: &QdrantIndex,
    fixture: &Fixture,
    probes: &[Probe],
    effort: Option<SearchEffort>,
) -> Result<f64> {
    let mut hits = 0;
    for (nearest, probe) in probes {
        let search = fixture.search(probe, -1.0);
        let found = match effort {
            Some(effort) => index.search_with(search, effort).await?,
            None => index.search(search).await?,
        };
        let found: HashSet<FaceId> = found.candidates.iter().map(|candidate| candidate.face).collect();
        hits += nearest.iter().filter(|face| found.contains(face)).count();
    }
    Ok(hits as f64 / (TOP * probes.len()) as f64)
}
