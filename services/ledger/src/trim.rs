//! Trimming: the log lets go of what every configured group has committed, and of nothing else. A group without a commit
//! counts as zero.

use vidimus_ports::{EventLog, PortResult, Position, Topic};
use vidimus_runtime::shutdown::Shutdown;

use crate::{LedgerConfig, LedgerDeps};

pub(crate) async fn run(config: LedgerConfig, deps: LedgerDeps, shutdown: Shutdown) {
    while !shutdown.has_begun() {
        for topic in Topic::ALL {
            if let Err(error) = trim(&*deps.log, topic).await {
                tracing::warn!(%error, topic = topic.name(), "trimming failed; it is tried again");
            }
        }
        tokio::select! {
            () = deps.clock.sleep(config.trim_interval) => {}
            () = shutdown.begun() => {}
        }
    }
}

async fn trim(log: &dyn EventLog, topic: Topic) -> PortResult<()> {
    let groups = topic.groups();
    if groups.is_empty() {
        return Ok(());
    }
    let mut commits = Vec::new();
    for group in groups {
        commits.push(log.committed(topic, group).await?);
    }
    for partition in log.state(topic).await? {
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
