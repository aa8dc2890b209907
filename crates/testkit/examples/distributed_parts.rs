//! What no distributed service can beat: the parts of a search, each without the service around it, and one after the other.
//!
//! Qdrant's own client asks the server for a stored face's vector, then for its neighbours within its part that have not expired,
//! without itself, with what is shown of them; then one record is appended to Kafka with `acks=all`, by the producer that the
//! service has.

use std::io::{Write as _, stdout};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use clap::Parser;
use qdrant_client::Qdrant;
use qdrant_client::qdrant::{
    Condition, Filter, GetPointsBuilder, PointId, QuantizationSearchParamsBuilder, QueryPointsBuilder, Range,
    SearchParamsBuilder, vector_output,
};
use serde_json::{Value, json};
use vidimus_kafka::{KafkaConfig, KafkaDeps, KafkaEventLog, KafkaMetrics};
use vidimus_ports::{Append, EventLog, Random as _, SystemRandom, Topic};
use vidimus_qdrant::SearchEffort;

/// Searches Qdrant by stored faces and appends to Kafka, one after the other; prints latencies as JSON.
#[derive(Parser)]
struct Arguments {
    /// Qdrant: `http://host:6334`.
    #[arg(long)]
    qdrant: String,
    /// The collection that the service's placement is.
    #[arg(long)]
    collection: String,
    /// What `vidimus-gallery` printed: the part, its size, and the faces to search by.
    #[arg(long)]
    gallery: PathBuf,
    /// Kafka: `kafka://host:9092`.
    #[arg(long)]
    log: String,
    /// What the topics' names begin with; they are made.
    #[arg(long)]
    topic_prefix: String,
    /// Length of a search's audit record.
    #[arg(long)]
    audit_bytes: usize,
    #[arg(long, default_value_t = 1000)]
    requests: usize,
    /// Requests before the measurement.
    #[arg(long, default_value_t = 200)]
    warmup: usize,
    /// Candidates of a search.
    #[arg(long, default_value_t = 100)]
    limit: u64,
    /// The worst candidate's cosine: the default threshold of `sface-2021dec`.
    #[arg(long, default_value_t = 0.424)]
    cosine_min: f32,
    /// Ask Qdrant as the service does: for expired faces and the probe too, which it drops afterwards.
    #[arg(long)]
    lean: bool,
}

/// How long the two parts of one search took.
struct Steps {
    search: Duration,
    append: Duration,
}

struct Raw {
    client: Qdrant,
    collection: String,
    part: String,
    ef: Option<u64>,
    limit: u64,
    cosine_min: f32,
    is_lean: bool,
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let gallery: Value = serde_json::from_str(&std::fs::read_to_string(&arguments.gallery)?)?;
    let faces = gallery["face_ids"].as_array().context("the gallery names no faces")?;
    let ids: Vec<String> = faces.iter().filter_map(Value::as_str).map(str::to_owned).collect();
    ensure!(!ids.is_empty(), "the gallery names no faces");
    let size = gallery["faces"].as_u64().context("the gallery names no size")?;
    let raw = Raw {
        client: Qdrant::from_url(&arguments.qdrant).build()?,
        collection: arguments.collection,
        part: gallery["part"].as_str().context("the gallery names no part")?.to_owned(),
        ef: match SearchEffort::for_part(size) {
            SearchEffort::Exact => None,
            SearchEffort::Graph { ef } => Some(ef),
        },
        limit: arguments.limit,
        cosine_min: arguments.cosine_min,
        is_lean: arguments.lean,
    };
    let config = KafkaConfig {
        topic_prefix: arguments.topic_prefix,
        replication_factor: 1,
        min_insync_replicas: 1,
        ..KafkaConfig::default()
    };
    let deps = KafkaDeps { random: Arc::new(SystemRandom), metrics: KafkaMetrics::default() };
    let log = KafkaEventLog::open(&arguments.log, config, deps).await?;
    let record = Bytes::from(vec![7; arguments.audit_bytes]);
    let mut steps = Vec::with_capacity(arguments.requests);
    for number in 0..arguments.warmup + arguments.requests {
        let began = Instant::now();
        raw.search(&ids[number % ids.len()]).await?;
        let search = began.elapsed();
        log.append(Topic::Audit, Append::new(&SystemRandom.bytes16(), record.clone())).await?;
        if number >= arguments.warmup {
            steps.push(Steps { search, append: began.elapsed() - search });
        }
    }
    writeln!(stdout().lock(), "{}", report(&steps))?;
    Ok(())
}

impl Raw {
    /// The part's neighbours of a stored face; how many.
    async fn search(&self, face: &str) -> Result<usize> {
        let id = PointId::from(face);
        let stored = GetPointsBuilder::new(&self.collection, vec![id.clone()]).with_vectors(true);
        let found = self.client.get_points(stored).await?.result.into_iter().next();
        let vectors = found.and_then(|point| point.vectors).context("the face is not there")?;
        let Some(vector_output::Vector::Dense(dense)) = vectors.get_vector_by_name("face") else {
            anyhow::bail!("{face} has no vector");
        };
        let mut filter = Filter::must([Condition::matches("part", self.part.clone())]);
        if !self.is_lean {
            let expires_later = Range { gt: Some(0.0), ..Range::default() };
            filter.must.push(Condition::range("expires_at", expires_later));
            filter.must_not.push(Condition::has_id([id]));
        }
        let quantization = QuantizationSearchParamsBuilder::default().rescore(true).oversampling(2.0);
        let params = match self.ef {
            Some(ef) => SearchParamsBuilder::default().hnsw_ef(ef).quantization(quantization),
            None => SearchParamsBuilder::default().exact(true),
        };
        let query = QueryPointsBuilder::new(&self.collection)
            .query(dense.data)
            .using("face")
            .filter(filter)
            .params(params)
            .limit(self.limit + u64::from(self.is_lean))
            .score_threshold(self.cosine_min)
            .with_payload(true);
        Ok(self.client.query(query).await?.result.len())
    }
}

fn report(steps: &[Steps]) -> Value {
    let quantile = |share: f64, of: fn(&Steps) -> Duration| {
        let mut took: Vec<_> = steps.iter().map(of).collect();
        took.sort_unstable();
        took[((took.len() - 1) as f64 * share).round() as usize].as_secs_f64() * 1e3
    };
    let both = |steps: &Steps| steps.search + steps.append;
    json!({
        "requests": steps.len(),
        "p50_ms": quantile(0.5, both),
        "p99_ms": quantile(0.99, both),
        "search_p50_ms": quantile(0.5, |steps| steps.search),
        "append_p50_ms": quantile(0.5, |steps| steps.append),
    })
}
