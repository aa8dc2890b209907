//! One consumer of a group.
//!
//! A thread polls the client, which is what keeps the consumer in its group and serves rebalances, and puts records into a
//! bounded buffer that [`Subscription::next`] takes from. What was taken away from the consumer leaves the buffer at once.
//!
//! A partition of photos that is to go to another consumer is let go of once what was given out of it is committed, or three seconds have
//! passed: so a rebalance has little embedded twice. Nothing of it is given out meanwhile, and commits are served.
//!
//! Where records are damaged the client library stands still in their partition, and the consumer goes on with the others for a while
//! before it begins again at its commit, which heals what was damaged on its way. What the library leaves out was trimmed, if the log says
//! so, or is damaged: then the consumer ends at once, and nobody commits past it.
//!
//! Where the cluster's data was lost, a consumer may be let into its group again, on topics that others have made anew, before it hears that
//! the old ones are gone. So it looks, whenever it is given partitions, whether the log still lives the life that it has joined in, and ends
//! where it does not: whoever takes offsets of one life for offsets of another loses records.
//!
//! A commit is made only for a partition that is the consumer's, and a partition is let go of only when no commit is under
//! way: so no commit is ever sent in the name of a membership that it was not made in. One that is sent by a process
//! that slept through the loss of its membership bears the old generation, and the group's coordinator refuses it.

mod member;
mod places;

use std::sync::{Arc, Weak};
use std::time::Duration;

use async_trait::async_trait;
use rdkafka::ClientConfig;
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::Instant;
use vidimus_domain::Nonce;
use vidimus_ports::{Committed, LogRecord, PortError, PortErrorKind, PortResult, Subscription, Topic};

use crate::config::millis;
use crate::error::{panicked, port_error};
use crate::incarnation::Incarnation;
use crate::metrics::KafkaMetrics;
use member::{Member, Reading, Shared};
use places::WORK_MAX;

/// After this long without a sign of life a consumer's partitions are given to others.
const SESSION_TIMEOUT: &str = "6000";
/// How often it gives one.
const HEARTBEAT: &str = "2000";
/// Kilobytes that the client library reads ahead.
const READ_AHEAD_KILOBYTES: &str = "16384";
/// Of the audit, the broker gathers so many bytes, or waits so many milliseconds, before it answers: its records wait for a batch
/// anyway. With each handed on at once, at 150 a second, a search's p99 was 17 ms soon after a start; gathered for half a second, 13. Handed
/// on twice a second it may still meet more than one search in a hundred at 180 a second.
const AUDIT_FETCH_BYTES_MIN: &str = "1048576";
const AUDIT_FETCH_WAIT: &str = "2000";
/// What a commit may take past its timeout before it is given up.
const GRACE: Duration = Duration::from_secs(5);

/// What a consumer joins with.
pub(crate) struct ConsumerParams {
    pub(crate) common: ClientConfig,
    pub(crate) topic: Topic,
    /// The life of the log whose records it reads.
    pub(crate) life: Nonce,
    /// Says which one counts.
    pub(crate) incarnation: Incarnation,
    /// The topic's name in the cluster.
    pub(crate) name: String,
    /// The group's name in the cluster.
    pub(crate) group: String,
    /// The longest that a call may take.
    pub(crate) timeout: Duration,
    /// How long it goes on with its other partitions where records of one are damaged.
    pub(crate) damage_patience: Duration,
    pub(crate) metrics: KafkaMetrics,
    /// How many consumers there are: told when one has left its group.
    pub(crate) present: watch::Sender<usize>,
}

/// A consumer of a group. Dropping it leaves the group, a moment later and on another thread.
pub(crate) struct Consumer {
    shared: Arc<Shared>,
    life: Nonce,
    /// The thread's: so it ends there.
    client: Weak<BaseConsumer<Member>>,
    timeout: Duration,
}

impl Consumer {
    /// Joins. Blocks, though not until it is given partitions; within a runtime.
    pub(crate) fn join(params: ConsumerParams) -> PortResult<Self> {
        const CONTEXT: &str = "join the consumer group";
        let mut config = params.common;
        config
            .set("group.id", &params.group)
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("auto.offset.reset", "earliest")
            .set("isolation.level", "read_committed")
            .set("partition.assignment.strategy", "cooperative-sticky")
            .set("session.timeout.ms", SESSION_TIMEOUT)
            .set("heartbeat.interval.ms", HEARTBEAT)
            .set("max.poll.interval.ms", millis(WORK_MAX))
            .set("queued.max.messages.kbytes", READ_AHEAD_KILOBYTES)
            .set("fetch.error.backoff.ms", "100")
            .set("check.crcs", "true");
        if params.topic == Topic::Audit {
            config.set("fetch.min.bytes", AUDIT_FETCH_BYTES_MIN).set("fetch.wait.max.ms", AUDIT_FETCH_WAIT);
        }
        let waits = (params.timeout, params.damage_patience);
        let of = Reading {
            topic: params.topic,
            life: params.life,
            incarnation: params.incarnation,
            name: params.name.clone(),
            runtime: Handle::current(),
        };
        let shared = Arc::new(Shared::new(of, waits, params.metrics));
        let member = Member::new(Arc::clone(&shared));
        let client = BaseConsumer::from_config_and_context(&config, member).map_err(port_error(CONTEXT))?;
        client.subscribe(&[&params.name]).map_err(port_error(CONTEXT))?;
        let client = Arc::new(client);
        let weak = Arc::downgrade(&client);
        params.present.send_modify(|present| *present += 1);
        let thread = std::thread::Builder::new().name("kafka-consumer".to_owned());
        let running = thread.spawn({
            let shared = Arc::clone(&shared);
            let present = params.present.clone();
            move || {
                shared.run(&client);
                drop(client);
                present.send_modify(|present| *present -= 1);
            }
        });
        running.map_err(|error| PortError::new(PortErrorKind::Internal, CONTEXT).because(error))?;
        Ok(Self { shared, life: params.life, client: weak, timeout: params.timeout })
    }
}

#[async_trait]
impl Subscription for Consumer {
    fn incarnation(&self) -> Nonce {
        self.life
    }

    async fn next(&mut self, limit: usize, wait: Duration) -> PortResult<Vec<LogRecord>> {
        let deadline = Instant::now() + wait;
        loop {
            let arrived = self.shared.arrived();
            let records = self.shared.give(limit)?;
            if !records.is_empty() || tokio::time::timeout_at(deadline, arrived).await.is_err() {
                return Ok(records);
            }
        }
    }

    async fn commit(&mut self, next: Committed) -> PortResult<()> {
        const CONTEXT: &str = "commit";
        let ended = || PortError::new(PortErrorKind::Unavailable, CONTEXT).because("the consumer has ended");
        let client = self.client.upgrade().ok_or_else(ended)?;
        let shared = Arc::clone(&self.shared);
        let work = tokio::task::spawn_blocking(move || shared.commit(&client, next));
        let done = tokio::time::timeout(self.timeout + GRACE, work).await;
        let late = |_| PortError::new(PortErrorKind::Unavailable, CONTEXT).because("no answer in time");
        done.map_err(late)?.map_err(panicked)?
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        self.shared.close();
    }
}
