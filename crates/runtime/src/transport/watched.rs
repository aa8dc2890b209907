//! Following what other processes know.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use super::Pool;
use super::pool::Member;
use crate::shutdown::Shutdown;

/// The name under which a process with the indexing role says (`grpc.health.v1.Health`) whether the index has all that it should.
pub const SEARCHABLE: &str = "vidimus.searchable";

/// How often the others are asked.
const INTERVAL: Duration = Duration::from_millis(500);
/// How long one of them may take to answer.
const PATIENCE: Duration = Duration::from_secs(1);
/// What was asked so long ago says nothing any more: this process stood still meanwhile.
const OLD: Duration = Duration::from_millis(1500);

/// Keeps `known` at what the processes of `pool` say of `service`, until shutdown begins: true where any of them knows that it is so,
/// false where those that answer all say that it is not. Where none answers, what was known last stays, and is not sent again: whoever
/// must know that somebody is there waits for it to be sent.
pub async fn follow(pool: Arc<Pool>, service: &'static str, known: watch::Sender<bool>, shutdown: Shutdown) {
    while !shutdown.has_begun() {
        let asked_at = Instant::now();
        if let Some(said) = ask_all(&pool, service).await
            && asked_at.elapsed() < OLD
        {
            known.send_replace(said);
        }
        tokio::select! {
            () = tokio::time::sleep(INTERVAL) => {}
            () = shutdown.begun() => {}
        }
    }
}

async fn ask_all(pool: &Pool, service: &'static str) -> Option<bool> {
    let members = pool.members();
    let answers = members.iter().map(|member| ask(member, service));
    let said: Vec<bool> = futures::future::join_all(answers).await.into_iter().flatten().collect();
    (!said.is_empty()).then(|| said.contains(&true))
}

/// What one process says; none where it does not answer or knows nothing of it.
async fn ask(member: &Member, service: &'static str) -> Option<bool> {
    let mut client = HealthClient::new(member.channel.clone());
    let asked = client.check(HealthCheckRequest { service: service.to_owned() });
    let answer = tokio::time::timeout(PATIENCE, asked).await.ok()?.ok()?;
    Some(answer.into_inner().status() == ServingStatus::Serving)
}
