//! Collections that are set up otherwise, keys, hosts that are away.

use std::net::TcpListener;

use anyhow::{Context as _, Result, ensure};
use qdrant_client::qdrant::{CreateCollectionBuilder, Distance, VectorParamsBuilder, VectorsConfigBuilder};
use vidimus_domain::UnixMillis;
use vidimus_ports::{FaceIndex as _, Listing, PortErrorKind};
use vidimus_qdrant::QdrantConfig;

use crate::fixture::{Fixture, TODAY, erased, template};
use crate::server::{DevServer, Target, open};

/// What a collection's indexes are on.
const FIELDS: [&str; 6] = ["dead_part", "enrolled_at", "expires_at", "part", "user_part", "version"];

async fn make(target: &Target, placement: &str, distance: Distance) -> Result<()> {
    let mut vectors = VectorsConfigBuilder::default();
    vectors.add_named_vector_params("face", VectorParamsBuilder::new(128, distance));
    let hnsw =
        qdrant_client::qdrant::HnswConfigDiff { m: Some(0), payload_m: Some(16), ..Default::default() };
    let builder = CreateCollectionBuilder::new(format!("{}{placement}", target.prefix))
        .vectors_config(vectors)
        .hnsw_config(hnsw);
    target.client()?.create_collection(builder).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_set_up_otherwise_is_refused_in_one_sentence() -> Result<()> {
    let target = Target::start().await?;
    make(&target, "sface", Distance::Cosine).await?;
    let (index, mut fixture) = (target.index().await?, Fixture::new(1)?);
    let refusal = index.check().await.err().context("it was taken")?;
    ensure!(refusal.to_string().contains("its distance is Cosine and not Dot"), "{refusal}");
    let points = fixture.points(1);
    let written = index.write(&fixture.gallery, &points).await;
    assert_eq!(
        written.map_err(|error| error.kind()),
        Err(PortErrorKind::Unavailable),
        "it is left for later"
    );
    target.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn fewer_replicas_than_configured_are_refused() -> Result<()> {
    let target = Target::start().await?;
    make(&target, "sface", Distance::Dot).await?;
    let config = QdrantConfig { replication_factor: 3, ..target.config() };
    let refusal = open(&target.address()?, config).await?.check().await.err().context("it was taken")?;
    ensure!(refusal.to_string().contains("it has 1 replicas and not 3"), "{refusal}");
    target.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_indexes_are_made() -> Result<()> {
    let target = Target::start().await?;
    make(&target, "sface", Distance::Dot).await?;
    let (index, mut fixture) = (target.index().await?, Fixture::new(1)?);
    let points = fixture.points(3);
    index.write(&fixture.gallery, &points).await?;
    let info = target.client()?.collection_info(format!("{}sface", target.prefix)).await?;
    let info = info.result.context("its state")?;
    let mut fields: Vec<&str> = info.payload_schema.keys().map(String::as_str).collect();
    fields.sort_unstable();
    assert_eq!(fields, FIELDS);
    let probe = template(&points[0]).context("a live point")?;
    assert_eq!(index.search(fixture.search(probe, 0.9)).await?.candidates.len(), 1);
    target.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collection_that_was_dropped_is_made_anew() -> Result<()> {
    let target = Target::start().await?;
    let (index, mut fixture) = (target.index().await?, Fixture::new(1)?);
    let points = fixture.points(2);
    index.write(&fixture.gallery, &points[..1]).await?;
    target.client()?.delete_collection(format!("{}sface", target.prefix)).await?;
    assert_eq!(index.count(&fixture.gallery, Listing::Everything).await?, 0);
    index.write(&fixture.gallery, &points[1..]).await?;
    assert_eq!(index.count(&fixture.gallery, Listing::LiveAt(TODAY)).await?, 1);
    target.end().await
}

/// Another process has made it, and has nothing there but an erased point: it has no vector yet.
#[tokio::test(flavor = "multi_thread")]
async fn a_collection_that_was_made_anew_without_a_vector_is_given_one() -> Result<()> {
    let target = Target::start().await?;
    let (index, other) = (target.index().await?, target.index().await?);
    let mut fixture = Fixture::new(1)?;
    let points = fixture.points(2);
    index.write(&fixture.gallery, &points).await?;
    target.client()?.delete_collection(format!("{}sface", target.prefix)).await?;
    other.write(&fixture.gallery, &[erased(points[0].face, 2)]).await?;
    let probe = template(&points[1]).context("a live point")?;
    let refusal =
        index.search(fixture.search(probe, 0.9)).await.err().context("what was it compared with?")?;
    assert_eq!(refusal.kind(), PortErrorKind::Unavailable, "{refusal}");
    assert_eq!(index.search(fixture.search(probe, 0.9)).await?.candidates.len(), 0, "it was looked at anew");
    index.write(&fixture.gallery, &points).await?;
    assert_eq!(index.search(fixture.search(probe, 0.9)).await?.candidates.len(), 1);
    assert_eq!(
        index.count(&fixture.gallery, Listing::LiveAt(TODAY)).await?,
        1,
        "the erased one stays erased"
    );
    target.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn without_its_key_nothing_is_answered() -> Result<()> {
    let target = Target::own(Some("open sesame")).await?;
    let (index, mut fixture) = (target.index().await?, Fixture::new(1)?);
    let points = fixture.points(1);
    index.write(&fixture.gallery, &points).await?;
    let keyless = QdrantConfig { api_key_file: None, ..target.config() };
    let stranger = open(&target.address()?, keyless).await?;
    let refusal =
        stranger.count(&fixture.gallery, Listing::Everything).await.err().context("it was let in")?;
    assert_eq!(refusal.kind(), PortErrorKind::Unavailable, "{refusal}");
    ensure!(refusal.to_string().contains("API key"), "{refusal}");
    Ok(())
}

/// One of the hosts that are named is away: nothing is refused, and nothing is promised to be durable.
#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_is_away_holds_up_no_call() -> Result<()> {
    let server = DevServer::start(None).await?;
    let away = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let address = format!("qdrant://{away},{}", server.address).parse()?;
    let (index, mut fixture) = (open(&address, QdrantConfig::default()).await?, Fixture::new(1)?);
    let points = fixture.points(20);
    for point in &points {
        index.write(&fixture.gallery, std::slice::from_ref(point)).await?;
        assert_eq!(index.get(&fixture.gallery, &[point.face]).await?.len(), 1);
    }
    assert_eq!(index.flush(UnixMillis::new(1_000_000)).await?, UnixMillis::new(0));
    Ok(())
}

/// How many calls a search is: the part is counted once in a while, and never before the search.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_enrolled_elsewhere_is_found_at_once() -> Result<()> {
    let target = Target::start().await?;
    let (index, other) = (target.index().await?, target.index().await?);
    let mut fixture = Fixture::new(1)?;
    for point in fixture.points(5) {
        other.write(&fixture.gallery, std::slice::from_ref(&point)).await?;
        let probe = template(&point).context("a live point")?;
        let hits = index.search(fixture.search(probe, 0.9)).await?;
        assert_eq!(hits.candidates.len(), 1, "whatever count was kept");
    }
    target.end().await
}
