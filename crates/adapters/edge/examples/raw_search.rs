//! What the engine alone takes to search by a stored face: `cargo run -p vidimus-edge --example raw_search -- --index COPY …`.
//!
//! It opens a *copy* of the folder that a service made, without any of the adapter, and asks for what the adapter asks for: the
//! face's vector, its neighbours within its part that have not expired, and what is shown of those that reach the threshold.
//! What the adapter does besides (counting the part to choose the effort, checking owners, reading payloads into values) is not
//! here: that is what a benchmark compares.

use std::io::{Write as _, stdout};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use clap::Parser;
use qdrant_edge::{
    Condition, EdgeShard, Filter, HasIdCondition, NamedQuery, PointId, QuantizationSearchParams, QueryEnum,
    QueryRequest, RetrieveRequest, ScoringQuery, SearchParams, VectorInternal, VectorStructInternal,
    WithPayloadInterface, WithVector,
};
use serde_json::{Value, json};
use uuid::Uuid;
use vidimus_edge::SearchEffort;

/// Searches a copy of an index folder by its own faces, with the engine alone; prints latencies and CPU time as JSON.
#[derive(Parser)]
struct Arguments {
    /// A copy of a placement's folder (`PLACEMENT.index`). It is opened for writing.
    #[arg(long)]
    index: PathBuf,
    /// What `vidimus-gallery` printed: the part, its size, and the faces to search by.
    #[arg(long)]
    gallery: PathBuf,
    #[arg(long, default_value_t = 1000)]
    requests: usize,
    /// Requests before the measurement.
    #[arg(long, default_value_t = 200)]
    warmup: usize,
    /// Candidates of a search.
    #[arg(long, default_value_t = 100)]
    limit: usize,
    /// The worst candidate's cosine: the default threshold of `sface-2021dec`.
    #[arg(long, default_value_t = 0.424)]
    cosine_min: f32,
    /// Beam width; default: what the adapter takes for a part of that size.
    #[arg(long)]
    ef: Option<usize>,
}

/// How long the steps of one search took.
struct Steps {
    fetch: Duration,
    search: Duration,
    show: Duration,
    candidates: usize,
}

struct Raw {
    engine: EdgeShard,
    /// Live faces of the part.
    part: Filter,
    limit: usize,
    cosine_min: f32,
    params: SearchParams,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let gallery: Value = serde_json::from_str(&std::fs::read_to_string(&arguments.gallery)?)?;
    let faces = gallery["face_ids"].as_array().context("the gallery names no faces")?;
    let ids: Vec<Uuid> = faces.iter().filter_map(Value::as_str).map(str::parse).collect::<Result<_, _>>()?;
    ensure!(!ids.is_empty(), "the gallery names no faces");
    let size = gallery["faces"].as_u64().context("the gallery names no size")?;
    let raw = Raw {
        engine: EdgeShard::load(&arguments.index, None)?,
        part: part(&gallery)?,
        limit: arguments.limit,
        cosine_min: arguments.cosine_min,
        params: params(arguments.ef, size),
    };
    let turn = |number: usize| PointId::Uuid(ids[number % ids.len()]);
    for number in 0..arguments.warmup {
        raw.search(turn(number))?;
    }
    let before = cpu()?;
    let steps = (0..arguments.requests).map(|number| raw.search(turn(number))).collect::<Result<Vec<_>>>()?;
    let took = cpu()?.saturating_sub(before);
    writeln!(stdout().lock(), "{}", report(&steps, took))?;
    Ok(())
}

/// The adapter's parameters.
fn params(ef: Option<usize>, faces: u64) -> SearchParams {
    let effort = ef.map_or_else(|| SearchEffort::for_part(faces), |ef| SearchEffort::Graph { ef });
    match effort {
        SearchEffort::Exact => SearchParams { exact: true, ..SearchParams::default() },
        SearchEffort::Graph { ef } => SearchParams {
            hnsw_ef: Some(ef),
            quantization: Some(QuantizationSearchParams {
                ignore: false,
                rescore: Some(true),
                oversampling: Some(2.0),
            }),
            ..SearchParams::default()
        },
    }
}

/// Live faces of the gallery's part, none of which expires.
fn part(gallery: &Value) -> Result<Filter> {
    let part = gallery["part"].as_str().context("the gallery names no part")?;
    Ok(serde_json::from_value(json!({
        "must": [
            { "key": "part", "match": { "value": part } },
            { "key": "expires_at", "range": { "gt": 0 } },
        ],
    }))?)
}

impl Raw {
    fn search(&self, face: PointId) -> Result<Steps> {
        let began = Instant::now();
        let vector = self.vector(face)?;
        let fetch = began.elapsed();
        let mut request = QueryRequest::new(self.limit);
        let probe = NamedQuery::new(VectorInternal::Dense(vector), "face");
        request.query = Some(ScoringQuery::Vector(QueryEnum::Nearest(probe)));
        let itself = Condition::HasId([face].into_iter().collect::<HasIdCondition>());
        request.filter = Some(Filter { must_not: Some(vec![itself]), ..self.part.clone() });
        request.params = Some(self.params.clone());
        let scored = self.engine.query(request)?;
        let search = began.elapsed() - fetch;
        let point_ids = scored.iter().filter(|hit| hit.score >= self.cosine_min).map(|hit| hit.id).collect();
        let shown = self.engine.retrieve(RetrieveRequest {
            point_ids,
            with_payload: Some(WithPayloadInterface::Bool(true)),
            with_vector: Some(WithVector::Bool(false)),
        })?;
        Ok(Steps { fetch, search, show: began.elapsed() - fetch - search, candidates: shown.len() })
    }

    fn vector(&self, face: PointId) -> Result<Vec<f32>> {
        let found = self.engine.retrieve(RetrieveRequest {
            point_ids: vec![face],
            with_payload: Some(WithPayloadInterface::Bool(false)),
            with_vector: Some(WithVector::Bool(true)),
        })?;
        let vector = found.into_iter().next().and_then(|point| point.vector);
        let Some(VectorStructInternal::Named(mut named)) = vector else {
            anyhow::bail!("{face} is not in the index")
        };
        match named.remove("face") {
            Some(VectorInternal::Dense(values)) => Ok(values),
            _ => anyhow::bail!("{face} has no vector"),
        }
    }
}

/// CPU time of this process, all threads together, to 10 ms (proc(5)).
fn cpu() -> Result<Duration> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let fields = stat.rsplit_once(')').context("read stat")?.1.split_whitespace().skip(11).take(2);
    let ticks = fields.map(str::parse::<u64>).sum::<Result<u64, _>>()?;
    Ok(Duration::from_millis(ticks * 10))
}

fn report(steps: &[Steps], cpu: Duration) -> Value {
    let quantile = |share: f64, of: fn(&Steps) -> Duration| {
        let mut took: Vec<_> = steps.iter().map(of).collect();
        took.sort_unstable();
        took[((took.len() - 1) as f64 * share).round() as usize].as_secs_f64() * 1e3
    };
    let all = |steps: &Steps| steps.fetch + steps.search + steps.show;
    json!({
        "requests": steps.len(),
        "p50_ms": quantile(0.5, all),
        "p99_ms": quantile(0.99, all),
        "max_ms": quantile(1.0, all),
        "fetch_p50_ms": quantile(0.5, |steps| steps.fetch),
        "search_p50_ms": quantile(0.5, |steps| steps.search),
        "show_p50_ms": quantile(0.5, |steps| steps.show),
        "cpu_ms_each": cpu.as_secs_f64() * 1e3 / steps.len() as f64,
        "candidates_each": steps.iter().map(|steps| steps.candidates).sum::<usize>() as f64 / steps.len() as f64,
    })
}
