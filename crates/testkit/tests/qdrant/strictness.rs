//! What is refused, by the codes that a real server gives.

use anyhow::{Context as _, Result, ensure};
use qdrant_client::qdrant::{
    Condition, CountPointsBuilder, CreateCollectionBuilder, Distance, FacetCountsBuilder, Filter,
    GetPointsBuilder, NamedVectors, PointStruct, QueryPointsBuilder, ScrollPointsBuilder,
    UpsertPointsBuilder, Vector, VectorParamsBuilder, VectorsConfigBuilder,
};
use qdrant_client::{Payload, Qdrant, QdrantError};
use tempfile::TempDir;
use tonic::Code;

use crate::server::{DevServer, Target, spawn};

const ID: &str = "00000000-0000-4000-8000-000000000001";

fn create(name: &str) -> CreateCollectionBuilder {
    let mut vectors = VectorsConfigBuilder::default();
    vectors.add_named_vector_params("face", VectorParamsBuilder::new(4, Distance::Dot));
    CreateCollectionBuilder::new(name).vectors_config(vectors)
}

fn point(name: &str, size: usize) -> PointStruct {
    let vectors = NamedVectors::default().add_vector(name, Vector::new_dense(vec![0.5; size]));
    PointStruct::new(ID, vectors, Payload::new())
}

fn code<T>(outcome: Result<T, QdrantError>) -> Option<Code> {
    match outcome {
        Err(QdrantError::ResponseError { status }) => Some(status.code()),
        _ => None,
    }
}

async fn upsert(client: &Qdrant, name: &str, point: PointStruct) -> Result<(), QdrantError> {
    client.upsert_points(UpsertPointsBuilder::new(name, vec![point]).wait(true)).await.map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_is_not_found() -> Result<()> {
    let target = Target::start().await?;
    let (client, name) = (target.client()?, format!("{}absent", target.prefix));
    assert_eq!(code(client.collection_info(&name).await), Some(Code::NotFound));
    assert_eq!(code(upsert(&client, &name, point("face", 4)).await), Some(Code::NotFound));
    assert_eq!(code(client.count(CountPointsBuilder::new(&name)).await), Some(Code::NotFound));
    let nearest = QueryPointsBuilder::new(&name).query(vec![0.5; 4]).using("face");
    assert_eq!(code(client.query(nearest).await), Some(Code::NotFound));
    ensure!(!client.collection_exists(&name).await?);
    target.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_refused_and_changes_nothing() -> Result<()> {
    let target = Target::start().await?;
    let (client, name) = (target.client()?, format!("{}c", target.prefix));
    client.create_collection(create(&name)).await?;
    assert_eq!(code(client.create_collection(create(&name)).await), Some(Code::AlreadyExists));
    for (what, wrong) in [
        ("another dimension", point("face", 3)),
        ("another vector", point("person", 4)),
        ("no vectors", PointStruct { vectors: None, ..point("face", 4) }),
        ("no id", PointStruct { id: None, ..point("face", 4) }),
        ("no UUID", PointStruct { id: Some("face one".into()), ..point("face", 4) }),
    ] {
        assert_eq!(code(upsert(&client, &name, wrong).await), Some(Code::InvalidArgument), "{what}");
    }
    for wrong in [vec![0.5; 3], vec![0.5; 5]] {
        let nearest = QueryPointsBuilder::new(&name).query(wrong).using("face");
        assert_eq!(code(client.query(nearest).await), Some(Code::InvalidArgument));
    }
    let nowhere = QueryPointsBuilder::new(&name).query(vec![0.5; 4]).using("person");
    assert_eq!(code(client.query(nowhere).await), Some(Code::InvalidArgument));
    let none = ScrollPointsBuilder::new(&name).limit(0);
    assert_eq!(code(client.scroll(none).await), Some(Code::InvalidArgument));
    let counted = client.count(CountPointsBuilder::new(&name).exact(true)).await?;
    assert_eq!(counted.result.context("a count")?.count, 0);
    target.end().await
}

/// A point is inserted whatever the condition says, and replaced only where it holds.
#[tokio::test(flavor = "multi_thread")]
async fn conditions_are_for_what_is_there() -> Result<()> {
    let target = Target::start().await?;
    let (client, name) = (target.client()?, format!("{}c", target.prefix));
    client.create_collection(create(&name)).await?;
    let write = |version: i64, only_over: i64| {
        let mut point = point("face", 4);
        point.payload.insert("version".to_owned(), version.into());
        let condition = Filter::must([Condition::matches("version", only_over)]);
        UpsertPointsBuilder::new(&name, vec![point]).update_filter(condition).wait(true)
    };
    for (version, only_over, expected) in [(1, 9, 1), (2, 9, 1), (2, 1, 2)] {
        client.upsert_points(write(version, only_over)).await?;
        let got = client.get_points(GetPointsBuilder::new(&name, vec![ID.into()]).with_payload(true)).await?;
        let stored = got.result.first().and_then(|point| point.payload.get("version")?.as_integer());
        assert_eq!(stored, Some(expected), "version {version} over {only_over}");
    }
    target.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_only_a_real_server_can_do_is_refused() -> Result<()> {
    let target = Target::own(None).await?;
    let client = target.client()?;
    client.create_collection(create("c")).await?;
    let facet = client.facet(FacetCountsBuilder::new("c", "part")).await;
    assert_eq!(code(facet), Some(Code::Unimplemented));
    let shards = client.create_collection(create("d").shard_number(3)).await;
    assert_eq!(code(shards), Some(Code::Unimplemented));
    let text = Filter::must([Condition::matches_text("name", "someone")]);
    let counted = client.count(CountPointsBuilder::new("c").filter(text)).await;
    assert_eq!(code(counted), Some(Code::Unimplemented));
    assert_eq!(client.list_collections().await?.collections.len(), 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn one_folder_is_one_process_s_and_it_ends_in_order() -> Result<()> {
    let mut server = DevServer::start(None).await?;
    let elsewhere = TempDir::new()?;
    std::os::unix::fs::symlink(server.data(), elsewhere.path().join("data"))?;
    let mut second = spawn(elsewhere.path(), ([127, 0, 0, 1], 0).into(), None)?;
    ensure!(!second.wait()?.success(), "two processes work in one folder");
    let client =
        Qdrant::from_url(&format!("http://{}", server.address)).skip_compatibility_check().build()?;
    client.create_collection(create("c")).await?;
    upsert(&client, "c", point("face", 4)).await?;
    ensure!(server.terminate().await?.success(), "it did not end in order");
    server.start_again().await?;
    let counted = client.count(CountPointsBuilder::new("c").exact(true)).await?;
    assert_eq!(counted.result.context("a count")?.count, 1);
    Ok(())
}
