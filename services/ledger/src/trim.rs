//! Trimming: the log lets go of what every configured group has committed, and of nothing else. A group without a commit
//! counts as zero. What it looks at on the way says how far each group is behind; where it cannot look, nothing is said.

use std::collections::BTreeMap;
use std::sync::Arc;

use vidimus_domain::Nonce;
use vidimus_ports::consumer_group::lag;
use vidimus_ports::{Committed, EventLog, PortResult, Position, Topic, TopicState};
use vidimus_runtime::shutdown::Shutdown;

use crate::metrics::{LagLabel, Metrics};
use crate::{LedgerConfig, LedgerDeps};

/// Trims from time to time.
pub(crate) struct Trimmer {
    pub(crate) deps: LedgerDeps,
    pub(crate) config: LedgerConfig,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) shutdown: Shutdown,
}

/// What a look at a topic says.
struct Look {
    /// Of which life of the log it was at first.
    incarnation: Nonce,
    states: Vec<TopicState>,
    /// Of each group.
    commits: Vec<Vec<Committed>>,
}

impl Trimmer {
    pub(crate) async fn run(self) {
        let mut told = BTreeMap::new();
        while !self.shutdown.has_begun() {
            for topic in Topic::ALL {
                if let Err(error) = self.trim(topic, told.entry(topic.name()).or_default()).await {
                    tracing::warn!(%error, topic = topic.name(), "trimming failed; it is tried again");
                }
            }
            tokio::select! {
                () = self.deps.clock.sleep(self.config.trim_interval) => {}
                () = self.shutdown.begun() => {}
            }
        }
    }

    /// Trims a topic and tells how far its groups are behind. What was `told` last time is told no more where the log fails.
    async fn trim(&self, topic: Topic, told: &mut Vec<LagLabel>) -> PortResult<()> {
        let log = &*self.deps.log;
        let Look { incarnation, states, commits } = look(log, topic).await.inspect_err(|_| {
            for label in told.iter() {
                self.metrics.lag.remove(label);
            }
        })?;
        told.clear();
        for (group, committed) in topic.groups().iter().zip(&commits) {
            for (partition, records) in lag(&states, committed) {
                let label = LagLabel { topic: topic.name(), group, partition };
                self.metrics.lag.get_or_create(&label).set(i64::try_from(records).unwrap_or(i64::MAX));
                told.push(label);
            }
        }
        // A commit of one life of the log says nothing of the next one's records.
        if log.incarnation().await? != incarnation {
            return Ok(());
        }
        for partition in states {
            let committed = |places: &Vec<Position>| {
                let place = places.iter().find(|place| place.partition == partition.partition);
                place.map_or(0, |place| place.offset)
            };
            let offset = commits.iter().map(committed).min().unwrap_or(0);
            if offset > partition.first_offset {
                log.trim(topic, Position { partition: partition.partition, offset }).await?;
            }
        }
        Ok(())
    }
}

async fn look(log: &dyn EventLog, topic: Topic) -> PortResult<Look> {
    let incarnation = log.incarnation().await?;
    let mut commits = Vec::new();
    for group in topic.groups() {
        commits.push(log.committed(topic, group).await?);
    }
    Ok(Look { incarnation, states: log.state(topic).await?, commits })
}
