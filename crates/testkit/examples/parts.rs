//! What no service can beat: the parts of a search, each without the service around it, and one after the other.
//!
//! * *engine*: the vector engine alone, without any of the adapter, on a *copy* of the folder that a service made: the stored face's
//!   vector, its neighbours within its part that have not expired, without itself, and what is shown of those that reach the threshold.
//!   What the adapter does besides (counting the part to choose the effort, checking owners, reading payloads into values) is
//!   not here.
//! * *lean engine*: the same, asked as the adapter asks: for expired faces and the probe too, which are dropped afterwards.
//! * *in turn*: the same, and after each search the durable append of its audit record.
//! * *photo*: decode, detect, align and embed a photo, then both. A search between two photos finds the caches full of the face
//!   model, so what it takes by itself and what it takes there are two things.

use std::io::{Write as _, stdout};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use clap::Parser;
use qdrant_edge::{
    Condition, EdgeShard, Filter, HasIdCondition, NamedQuery, PointId, QuantizationSearchParams, QueryEnum,
    QueryRequest, RetrieveRequest, ScoringQuery, SearchParams, VectorInternal, VectorStructInternal,
    WithPayloadInterface, WithVector,
};
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use uuid::Uuid;
use vidimus_edge::SearchEffort;
use vidimus_files::{Directory, FileEventLog, LogOptions};
use vidimus_onnx::{ModelStore, OnnxRuntime, Pipeline};
use vidimus_ports::{Append, EventLog as _, Random as _, SystemRandom, Topic};

/// Searches a copy of an index folder by its own faces, with the parts of a service alone; prints latencies and CPU time as JSON.
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
    /// Where the durable log is made.
    #[arg(long)]
    log: PathBuf,
    /// Length of a search's audit record.
    #[arg(long)]
    audit_bytes: usize,
    /// The photo to search by in the third measurement.
    #[arg(long)]
    photo: PathBuf,
    /// The folder of the imported face models.
    #[arg(long)]
    models: PathBuf,
    /// Searches by photo.
    #[arg(long, default_value_t = 200)]
    photos: usize,
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
    /// Live faces of the part; those that have expired too where it is asked as the adapter asks.
    part: Filter,
    /// Whether it is asked as the adapter asks.
    is_lean: bool,
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
        is_lean: false,
        limit: arguments.limit,
        cosine_min: arguments.cosine_min,
        params: params(arguments.ef, size),
    };
    let turn = |number: usize| PointId::Uuid(ids[number % ids.len()]);
    for number in 0..arguments.warmup {
        raw.search(turn(number))?;
    }
    let engine = raw.measure(&arguments, turn)?;
    let lean = Raw { part: part_alone(&gallery)?, is_lean: true, ..raw };
    let lean_engine = lean.measure(&arguments, turn)?;
    let raw = Raw { part: part(&gallery)?, is_lean: false, ..lean };
    let log = Log::new(&arguments.log, arguments.audit_bytes)?;
    let mut searched = Vec::with_capacity(arguments.requests);
    for number in 0..arguments.requests {
        let began = Instant::now();
        raw.search(turn(number))?;
        log.append()?;
        searched.push(began.elapsed());
    }
    let photo = std::fs::read(&arguments.photo).context("read the photo")?;
    let mut pipeline = pipeline(arguments.models)?;
    let mut by_photo = Vec::with_capacity(arguments.photos);
    for number in 0..arguments.photos {
        let began = Instant::now();
        ensure!(!pipeline.encode(&photo)?.faces.is_empty(), "the photo has no face");
        raw.search(turn(number))?;
        log.append()?;
        by_photo.push(began.elapsed());
    }
    let told = json!({ "engine": engine, "lean_engine": lean_engine, "in_turn": quantiles(searched), "photo": quantiles(by_photo) });
    writeln!(stdout().lock(), "{told}")?;
    Ok(())
}

/// The encoder's way of a photo, on this thread.
fn pipeline(models: PathBuf) -> Result<Pipeline> {
    let store = ModelStore::new(models);
    let runtime = OnnxRuntime::load(&store.verify_runtime()?)?;
    Ok(Pipeline::new(&runtime, &store.load("sface-2021dec")?)?)
}

/// The durable log of the embedded mode.
struct Log {
    log: FileEventLog,
    record: Bytes,
    runtime: Runtime,
}

impl Log {
    fn new(folder: &Path, audit_bytes: usize) -> Result<Self> {
        let log =
            FileEventLog::open(Directory::open(folder.to_owned())?, LogOptions::default(), &SystemRandom)?;
        let runtime = tokio::runtime::Builder::new_multi_thread().build()?;
        Ok(Self { log, record: vec![7; audit_bytes].into(), runtime })
    }

    fn append(&self) -> Result<()> {
        let record = Append::new(&SystemRandom.bytes16(), self.record.clone());
        self.runtime.block_on(self.log.append(Topic::Audit, record))?;
        Ok(())
    }
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

/// Live faces of the gallery's part.
fn part_alone(gallery: &Value) -> Result<Filter> {
    let part = gallery["part"].as_str().context("the gallery names no part")?;
    Ok(serde_json::from_value(json!({ "must": [{ "key": "part", "match": { "value": part } }] }))?)
}

impl Raw {
    /// Searches by faces in turn, and nothing else.
    fn measure(&self, arguments: &Arguments, turn: impl Fn(usize) -> PointId) -> Result<Value> {
        let before = cpu()?;
        let search = |number| self.search(turn(number));
        let steps = (0..arguments.requests).map(search).collect::<Result<Vec<_>>>()?;
        Ok(report(&steps, cpu()?.saturating_sub(before)))
    }

    fn search(&self, face: PointId) -> Result<Steps> {
        let began = Instant::now();
        let vector = self.vector(face)?;
        let fetch = began.elapsed();
        let mut request = QueryRequest::new(self.limit + usize::from(self.is_lean));
        let probe = NamedQuery::new(VectorInternal::Dense(vector), "face");
        request.query = Some(ScoringQuery::Vector(QueryEnum::Nearest(probe)));
        let itself = Condition::HasId([face].into_iter().collect::<HasIdCondition>());
        let must_not = (!self.is_lean).then(|| vec![itself]);
        request.filter = Some(Filter { must_not, ..self.part.clone() });
        request.params = Some(self.params.clone());
        let scored = self.engine.query(request)?;
        let search = began.elapsed() - fetch;
        let point_ids = scored
            .iter()
            .filter(|hit| hit.score >= self.cosine_min && hit.id != face)
            .map(|hit| hit.id)
            .collect();
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

fn quantiles(took: Vec<Duration>) -> Value {
    json!({ "p50_ms": quantile(took.clone(), 0.5), "p99_ms": quantile(took, 0.99) })
}

/// In milliseconds.
fn quantile(mut took: Vec<Duration>, share: f64) -> f64 {
    took.sort_unstable();
    took[((took.len() - 1) as f64 * share).round() as usize].as_secs_f64() * 1e3
}

fn report(steps: &[Steps], cpu: Duration) -> Value {
    let quantile = |share: f64, of: fn(&Steps) -> Duration| quantile(steps.iter().map(of).collect(), share);
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
