//! Trimming: the log lets go of what every configured group has committed, and of nothing else. A group without a commit
//! counts as zero. What it looks at on the way says how far each group is behind.

use std::sync::Arc;

use vidimus_ports::consumer_group::lag;
use vidimus_ports::{EventLog, PortResult, Position, Topic};
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

impl Trimmer {
    pub(crate) async fn run(self) {
        while !self.shutdown.has_begun() {
            for topic in Topic::ALL {
                if let Err(error) = self.trim(&*self.deps.log, topic).await {
                    tracing::warn!(%error, topic = topic.name(), "trimming failed; it is tried again");
                }
            }
            tokio::select! {
                () = self.deps.clock.sleep(self.config.trim_interval) => {}
                () = self.shutdown.begun() => {}
            }
        }
    }

    async fn trim(&self, log: &dyn EventLog, topic: Topic) -> PortResult<()> {
        let groups = topic.groups();
        if groups.is_empty() {
            return Ok(());
        }
        let mut commits = Vec::new();
        for group in groups {
            commits.push(log.committed(topic, group).await?);
        }
        let states = log.state(topic).await?;
        for (group, committed) in groups.iter().zip(&commits) {
            for (partition, records) in lag(&states, committed) {
                let label = LagLabel { topic: topic.name(), group, partition };
                self.metrics.lag.get_or_create(&label).set(i64::try_from(records).unwrap_or(i64::MAX));
            }
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
