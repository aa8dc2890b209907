//! What the cluster says of topics and groups. Everything here blocks.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::KafkaResult;
use rdkafka::metadata::Metadata;
use rdkafka::{Offset, TopicPartitionList};
use vidimus_ports::{Committed, PortError, PortErrorKind, PortResult, TopicState};

use crate::appender::position;
use crate::client::{Context, OffThread, Trouble, serve};
use crate::error::{OpenError, port_error};

/// Groups whose clients are kept. There are fewer in a service; what tests ask for beyond them is asked with a client
/// made for it.
const GROUPS_MAX: usize = 8;

/// After this long without an answer it is asked why: a password or a certificate that is not accepted is no matter of time.
const FIRST_LOOK: Duration = Duration::from_secs(2);

type Client = OffThread<BaseConsumer<Context>>;

/// A moment at which a call gives up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline(Instant);

impl Deadline {
    pub(crate) fn after(timeout: Duration) -> Self {
        Self(Instant::now() + timeout)
    }

    /// What is left; never nothing, since the library takes that for no limit in places.
    pub(crate) fn left(self) -> Duration {
        self.0.saturating_duration_since(Instant::now()).max(Duration::from_millis(1))
    }

    pub(crate) fn has_passed(self) -> bool {
        Instant::now() >= self.0
    }
}

/// Asks the cluster.
pub(crate) struct Queries {
    common: ClientConfig,
    timeout: Duration,
    client: Client,
    groups: Mutex<HashMap<String, Arc<Client>>>,
}

impl Queries {
    pub(crate) fn new(common: &ClientConfig, group: &str, timeout: Duration) -> KafkaResult<Self> {
        let client = make(common, group)?;
        Ok(Self { common: common.clone(), timeout, client, groups: Mutex::default() })
    }

    pub(crate) fn deadline(&self) -> Deadline {
        Deadline::after(self.timeout)
    }

    /// What the cluster says of one topic. Never makes one.
    fn metadata(&self, topic: &str) -> KafkaResult<Metadata> {
        serve(&self.client);
        self.client.fetch_metadata(Some(topic), self.timeout)
    }

    /// What the cluster says of all topics; where it cannot be reached, with the reason. Never makes one.
    pub(crate) fn reach(&self) -> Result<Metadata, OpenError> {
        serve(&self.client);
        let deadline = self.deadline();
        let mut asked = self.client.fetch_metadata(None, FIRST_LOOK.min(self.timeout));
        if asked.is_err() && !self.trouble().is_some_and(|trouble| trouble.is_refusal) {
            asked = self.client.fetch_metadata(None, deadline.left());
        }
        let metadata = asked.map_err(|source| OpenError::Unreachable { source, said: self.why() })?;
        // Not before it answers: what was met before the first question is the reason too, and the library does not say the same again soon.
        self.client.context().forget_trouble();
        Ok(metadata)
    }

    /// Why no broker lets the service in, as far as it is known: one that asks for TLS or a password may hang up without a word.
    fn why(&self) -> String {
        let asked = match self.common.get("security.protocol") {
            Some("plaintext") => " (asked without TLS and without a password)",
            Some("ssl") => " (asked without a password)",
            Some("sasl_plaintext") => " (asked without TLS)",
            _ => "",
        };
        match self.trouble() {
            Some(trouble) if trouble.is_refusal => trouble.said,
            Some(trouble) => trouble.said + asked,
            None => format!("no broker answers{asked}"),
        }
    }

    /// What the client met last while it tried to reach a broker.
    fn trouble(&self) -> Option<Trouble> {
        serve(&self.client);
        self.client.context().trouble()
    }

    /// The oldest offset of a partition and the next one.
    pub(crate) fn bounds(&self, topic: &str, partition: u32, deadline: Deadline) -> PortResult<(u64, u64)> {
        bounds(&*self.client, topic, partition, deadline)
    }

    /// Every partition's bounds.
    pub(crate) fn state(&self, topic: &str) -> PortResult<Vec<TopicState>> {
        let deadline = self.deadline();
        let mut states = Vec::new();
        for partition in self.partitions(topic)? {
            let (first_offset, next_offset) = self.bounds(topic, partition, deadline)?;
            states.push(TopicState { partition, first_offset, next_offset });
        }
        Ok(states)
    }

    /// A group's commits in a topic.
    pub(crate) fn committed(&self, topic: &str, group: &str) -> PortResult<Vec<Committed>> {
        let client = self.group(group).map_err(port_error("ask for commits"))?;
        serve(&client);
        committed(&**client, topic, &self.partitions(topic)?, self.deadline())
    }

    fn partitions(&self, topic: &str) -> PortResult<Vec<u32>> {
        const CONTEXT: &str = "read the topic's partitions";
        let metadata = self.metadata(topic).map_err(port_error(CONTEXT))?;
        let found = metadata.topics().iter().find(|found| found.name() == topic);
        let partitions = found.map(|topic| topic.partitions()).unwrap_or_default();
        if partitions.is_empty() {
            let reason = format!("there is no topic {topic}");
            return Err(PortError::new(PortErrorKind::NotFound, CONTEXT).because(reason));
        }
        let mut numbers: Vec<u32> =
            partitions.iter().filter_map(|partition| u32::try_from(partition.id()).ok()).collect();
        numbers.sort_unstable();
        Ok(numbers)
    }

    /// A client of that group, which is no member of it.
    fn group(&self, group: &str) -> KafkaResult<Arc<Client>> {
        let mut groups = self.groups.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = groups.get(group) {
            return Ok(Arc::clone(client));
        }
        let client = Arc::new(make(&self.common, group)?);
        if groups.len() < GROUPS_MAX {
            groups.insert(group.to_owned(), Arc::clone(&client));
        }
        Ok(client)
    }
}

fn make(common: &ClientConfig, group: &str) -> KafkaResult<Client> {
    let mut config = common.clone();
    config.set("group.id", group).set("enable.auto.commit", "false");
    Ok(OffThread::new(BaseConsumer::from_config_and_context(&config, Context::default())?))
}

/// The oldest offset of a partition and the next one, as `consumer` is told.
pub(crate) fn bounds<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    topic: &str,
    partition: u32,
    deadline: Deadline,
) -> PortResult<(u64, u64)> {
    const CONTEXT: &str = "read the log's bounds";
    let bounds = consumer.fetch_watermarks(topic, partition.cast_signed(), deadline.left());
    let (first, next) = bounds.map_err(port_error(CONTEXT))?;
    let negative = |_| PortError::new(PortErrorKind::Internal, CONTEXT).because("an offset is negative");
    Ok((u64::try_from(first).map_err(negative)?, u64::try_from(next).map_err(negative)?))
}

/// The commits of `consumer`'s group for `partitions`, where it has one.
pub(crate) fn committed<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    topic: &str,
    partitions: &[u32],
    deadline: Deadline,
) -> PortResult<Vec<Committed>> {
    const CONTEXT: &str = "read commits";
    let mut asked = TopicPartitionList::with_capacity(partitions.len());
    for partition in partitions {
        asked.add_partition(topic, partition.cast_signed());
    }
    let answered = consumer.committed_offsets(asked, deadline.left()).map_err(port_error(CONTEXT))?;
    let mut places = Vec::new();
    for element in answered.elements() {
        element.error().map_err(port_error(CONTEXT))?;
        if let Offset::Offset(offset) = element.offset() {
            places.push(position(element.partition(), offset)?);
        }
    }
    Ok(places)
}
