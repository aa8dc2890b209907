//! Searches by stored faces, measures, and prints what it measured as JSON.

use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use clap::{Parser, ValueEnum};
use serde_json::Value;
use vidimus_testkit::gallery;
use vidimus_testkit::load::grpc::GrpcSearcher;
use vidimus_testkit::load::json::JsonSearcher;
use vidimus_testkit::load::{Plan, Process, Report, Searcher, Target, run};

/// Which door is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Protocol {
    /// AWS-JSON 1.1 with Signature Version 4.
    Json,
    /// gRPC with a bearer.
    Grpc,
}

/// Searches a gallery that `vidimus-gallery` made by its own faces. With `--rate` it is an open loop: a soak is that for ten
/// minutes; without, each connection asks again when it has its answer.
#[derive(Parser)]
struct Arguments {
    /// What `vidimus-gallery` printed.
    #[arg(long)]
    gallery: PathBuf,
    /// The service's address for tenants.
    #[arg(long)]
    address: String,
    #[arg(long, value_enum, default_value = "json")]
    protocol: Protocol,
    /// Connections, each with one request at a time.
    #[arg(long, default_value_t = 1)]
    connections: usize,
    /// Requests a second, whatever comes of the earlier ones.
    #[arg(long)]
    rate: Option<f64>,
    #[arg(long, default_value_t = 30.0)]
    seconds: f64,
    /// No more requests than these.
    #[arg(long, default_value_t = u64::MAX)]
    requests: u64,
    /// Requests before the measurement, one after the other.
    #[arg(long, default_value_t = 200)]
    warmup: u64,
    #[arg(long, default_value_t = 100)]
    max_faces: u32,
    #[arg(long)]
    threshold: Option<f32>,
    /// Search with this photo instead of stored faces (gRPC only).
    #[arg(long)]
    photo: Option<PathBuf>,
    /// The service's process, whose CPU time and memory are looked at.
    #[arg(long)]
    pid: Option<u32>,
}

// One thread: it measures a service on the same machine, whose cores it is to leave alone.
#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let gallery = gallery::read(&arguments.gallery)?;
    let listed = gallery["face_ids"].as_array().context("the gallery names no faces")?;
    let face_ids: Arc<[String]> = listed.iter().filter_map(Value::as_str).map(str::to_owned).collect();
    anyhow::ensure!(!face_ids.is_empty(), "the gallery names no faces");
    let warmup =
        Plan { face_ids, rate: None, lasting: Duration::from_secs(60), requests_max: arguments.warmup };
    run(connections(&arguments, &gallery, 1).await?, warmup.clone()).await?;
    let plan = Plan {
        rate: arguments.rate,
        lasting: Duration::from_secs_f64(arguments.seconds),
        requests_max: arguments.requests,
        ..warmup
    };
    let connections = connections(&arguments, &gallery, arguments.connections).await?;
    let report = measure(connections, plan, arguments.pid.map(Process::new)).await?;
    writeln!(std::io::stdout().lock(), "{}", report.json())?;
    Ok(())
}

async fn connections(
    arguments: &Arguments,
    gallery: &Value,
    count: usize,
) -> anyhow::Result<Vec<Box<dyn Searcher>>> {
    let text = |name: &str| gallery[name].as_str().map(str::to_owned).context("the gallery has no key");
    let target = Target {
        address: arguments.address.clone(),
        access_key_id: text("access_key_id")?,
        secret_access_key: text("secret_access_key")?,
        region: "eu-central-1".to_owned(),
        collection: text("collection")?,
        faces_max: arguments.max_faces,
        threshold: arguments.threshold,
        photo: arguments
            .photo
            .as_ref()
            .map(std::fs::read)
            .transpose()
            .context("read the photo")?
            .map(Into::into),
    };
    let by_photo_as_json = target.photo.is_some() && arguments.protocol == Protocol::Json;
    anyhow::ensure!(!by_photo_as_json, "--photo needs --protocol grpc");
    let mut connections: Vec<Box<dyn Searcher>> = Vec::with_capacity(count);
    for _ in 0..count {
        connections.push(match arguments.protocol {
            Protocol::Json => Box::new(JsonSearcher::connect(target.clone()).await?),
            Protocol::Grpc => Box::new(GrpcSearcher::connect(target.clone()).await?),
        });
    }
    Ok(connections)
}

/// Runs the plan and looks at the service meanwhile.
async fn measure(
    connections: Vec<Box<dyn Searcher>>,
    plan: Plan,
    service: Option<Process>,
) -> anyhow::Result<Report> {
    let cpu = || service.map(|service| service.cpu()).transpose();
    let every = (plan.lasting / 100).max(Duration::from_millis(100));
    let before = cpu()?;
    let running = run(connections, plan);
    tokio::pin!(running);
    let mut resident_bytes = Vec::new();
    let outcome = loop {
        tokio::select! {
            outcome = &mut running => break outcome?,
            () = tokio::time::sleep(every) => {
                resident_bytes.extend(service.map(|service| service.resident_bytes()).transpose()?);
            }
        }
    };
    let cpu = before.zip(cpu()?).map(|(before, after)| after.saturating_sub(before));
    Ok(Report { outcome, cpu, resident_bytes })
}
