//! A client that measures: searches by stored faces or by a photo, as many at a time or a second as told.
//!
//! In a *closed loop* each connection asks again when it has its answer: at one connection that is the latency of an idle
//! service, at many its capacity. In an *open loop* requests fall due at a fixed rate whatever comes of the earlier ones, and a
//! latency counts from when its request was due: a service that stops for a second is charged for every request of it
//! (Gil Tene, "How NOT to Measure Latency", 2015).

pub mod grpc;
pub mod json;
mod process;
mod report;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use hyper::body::Bytes;
use tokio::time::{Instant, sleep_until};

pub use process::Process;
pub use report::{Outcome, Report};

/// One connection to a service, over which one request goes at a time.
#[async_trait]
pub trait Searcher: Send {
    /// Searches by a stored face, or by the photo of the target where it has one; how many candidates there were.
    ///
    /// # Errors
    /// Where there was no answer, or it was an error.
    async fn search(&mut self, face_id: &str) -> anyhow::Result<usize>;
}

/// What to ask, and as whom.
#[derive(Clone, Debug)]
pub struct Target {
    /// `host:port`.
    pub address: String,
    /// Signs.
    pub access_key_id: String,
    /// Signs.
    pub secret_access_key: String,
    /// The region that is signed for.
    pub region: String,
    /// The collection.
    pub collection: String,
    /// The most candidates.
    pub faces_max: u32,
    /// Similarity of the worst candidate, 0 to 100; none: the service's default.
    pub threshold: Option<f32>,
    /// The photo to search with instead of stored faces; over gRPC only.
    pub photo: Option<Bytes>,
}

/// How much to ask, and how fast.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Whose turn it is, in turn.
    pub face_ids: Arc<[String]>,
    /// Requests that fall due a second; none: each connection asks again at once.
    pub rate: Option<f64>,
    /// When no further request falls due.
    pub lasting: Duration,
    /// No more than so many requests; the end comes with the first of the two.
    pub requests_max: u64,
}

/// What all connections share.
struct Shared {
    plan: Plan,
    began: Instant,
    next: AtomicU64,
}

impl Shared {
    /// The number of the next request and when it falls due; none at the end.
    fn next(&self) -> Option<(u64, Option<Instant>)> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        if number >= self.plan.requests_max {
            return None;
        }
        let due = self.plan.rate.map(|rate| self.began + Duration::from_secs_f64(number as f64 / rate));
        let at = due.unwrap_or_else(Instant::now);
        (at - self.began < self.plan.lasting).then_some((number, due))
    }
}

/// Asks as planned, over all the connections. Where every one is busy at a request's time, it waits for one, and the wait
/// counts.
///
/// # Errors
/// Where a connection's task ended by itself.
pub async fn run(connections: Vec<Box<dyn Searcher>>, plan: Plan) -> anyhow::Result<Outcome> {
    let shared = Arc::new(Shared { plan, began: Instant::now(), next: AtomicU64::new(0) });
    let mut tasks = tokio::task::JoinSet::new();
    for connection in connections {
        tasks.spawn(ask(connection, Arc::clone(&shared)));
    }
    let mut outcome = Outcome::new()?;
    while let Some(one) = tasks.join_next().await {
        outcome.add(&one??)?;
    }
    outcome.took = shared.began.elapsed();
    Ok(outcome)
}

async fn ask(mut connection: Box<dyn Searcher>, shared: Arc<Shared>) -> anyhow::Result<Outcome> {
    let mut outcome = Outcome::new()?;
    while let Some((number, due)) = shared.next() {
        let from = match due {
            Some(due) => {
                sleep_until(due).await;
                due
            }
            None => Instant::now(),
        };
        let faces = &shared.plan.face_ids;
        let answer = connection.search(&faces[(number % faces.len() as u64) as usize]).await;
        outcome.note(from.elapsed(), answer);
    }
    Ok(outcome)
}
