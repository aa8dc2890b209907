//! The log itself: what the port's calls come to.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use tokio::sync::watch;
use vidimus_domain::Nonce;
use vidimus_ports::{
    Append, Committed, EventLog, PortError, PortErrorKind, PortResult, Position, Random, Subscription, Topic,
    TopicState,
};

use crate::appender::Appender;
use crate::client::{Context, OffThread};
use crate::config::{KafkaConfig, brokers};
use crate::error::{OpenError, later_where_lost, panicked, port_error};
use crate::incarnation::Incarnation;
use crate::metrics::KafkaMetrics;
use crate::queries::Queries;
use crate::subscription::{Consumer, ConsumerParams};
use crate::topics::{LOOK_PAUSE, Topics, Wanted};

/// The group whose name the clients bear that only ask; nobody ever joins it.
const QUERIES_GROUP: &str = "queries";

/// What a log is opened with.
#[derive(Clone)]
pub struct KafkaDeps {
    /// Names the log's life where it begins.
    pub random: Arc<dyn Random>,
    /// What is counted.
    pub metrics: KafkaMetrics,
}

/// An [`EventLog`] on a Kafka cluster.
pub struct KafkaEventLog {
    config: KafkaConfig,
    common: ClientConfig,
    metrics: KafkaMetrics,
    appender: Arc<Appender>,
    queries: Arc<Queries>,
    admin: OffThread<AdminClient<Context>>,
    incarnation: Incarnation,
    /// How many consumers there are.
    consumers: watch::Sender<usize>,
}

impl KafkaEventLog {
    /// Reaches the cluster that `uri` names, makes the topics that are missing, and checks all of them.
    ///
    /// # Errors
    /// Where the configuration cannot be right, a topic is set up in a way that would lose records, or the cluster is away.
    pub async fn open(uri: &str, config: KafkaConfig, deps: KafkaDeps) -> Result<Self, OpenError> {
        config.check()?;
        let common = config.client(brokers(uri)?)?;
        let log = tokio::task::spawn_blocking(move || Self::connect(config, common, deps));
        let log = log.await.map_err(panicked)??;
        log.prepare().await?;
        Ok(log)
    }

    fn connect(config: KafkaConfig, common: ClientConfig, deps: KafkaDeps) -> Result<Self, OpenError> {
        const DOING: &str = "make Kafka clients";
        let KafkaDeps { random, metrics } = deps;
        let group = config.group(QUERIES_GROUP);
        let queries =
            Queries::new(&common, &group, config.call_timeout).map_err(OpenError::cluster(DOING))?;
        let queries = Arc::new(queries);
        let appender = Appender::new(&common, &config, metrics.clone()).map_err(OpenError::cluster(DOING))?;
        let appender = Arc::new(appender);
        let admin = AdminClient::from_config_and_context(&common, Context::default())
            .map_err(OpenError::cluster(DOING))?;
        let mut client = common.clone();
        client.set("group.id", group).set("enable.auto.commit", "false").set("auto.offset.reset", "earliest");
        let incarnation = Incarnation {
            topic: config.incarnation_topic(),
            client,
            queries: Arc::clone(&queries),
            appender: Arc::clone(&appender),
            random,
        };
        Ok(Self {
            config,
            common,
            metrics,
            appender,
            queries,
            admin: OffThread::new(admin),
            incarnation,
            consumers: watch::Sender::new(0),
        })
    }

    /// Waits until the consumers that were dropped have left their groups, so that their partitions are others' at once and
    /// not when a session has run out; at most `patience`. Returns whether they have.
    pub async fn close(&self, patience: Duration) -> bool {
        let mut consumers = self.consumers.subscribe();
        let left = consumers.wait_for(|present| *present == 0);
        tokio::time::timeout(patience, left).await.is_ok()
    }

    /// Makes what is missing, the incarnation's topic last: so whoever finds it finds the others too, unless they were lost. The order of
    /// steps is what [`Incarnation`] stands on. Returns the name of the log's life.
    async fn prepare(&self) -> Result<Nonce, OpenError> {
        let topics = Topics { config: &self.config, admin: &self.admin, queries: &self.queries };
        let lives = topics.present().await?.contains(&self.incarnation.topic);
        let life = if lives { self.when_known(|| self.incarnation.read()).await? } else { None };
        let partitions = self.config.partitions;
        let wanted = Topic::ALL.map(|topic| Wanted { name: self.config.topic(topic), partitions });
        let mut missing = topics.missing(&wanted).await?;
        if life.is_some() && !missing.is_empty() {
            // A broker that has just come back may not have heard of them yet.
            tokio::time::sleep(LOOK_PAUSE).await;
            missing = topics.missing(&wanted).await?;
        }
        if let Some(nonce) = life
            && !missing.is_empty()
        {
            let lost: Vec<&str> = missing.iter().map(|topic| topic.name.as_str()).collect();
            tracing::error!(?lost, "topics were lost and are made anew: the log begins another life");
            self.incarnation.end(nonce).await?;
        }
        topics.make(&missing).await?;
        topics.check(&wanted).await?;
        let named = [Wanted { name: self.incarnation.topic.clone(), partitions: 1 }];
        topics.make(&topics.missing(&named).await?).await?;
        topics.check(&named).await?;
        Ok(self.when_known(|| self.incarnation.read_or_begin()).await?)
    }

    /// Asks of a topic that is there, again where a broker does not know it yet, or not yet that it leads it: each hears of a new one in
    /// its own time.
    async fn when_known<T, F>(&self, ask: impl Fn() -> F) -> PortResult<T>
    where
        F: Future<Output = PortResult<T>>,
    {
        let deadline = self.queries.deadline();
        loop {
            match ask().await {
                Err(error) if is_too_early(error.kind()) && !deadline.has_passed() => {
                    tokio::time::sleep(LOOK_PAUSE).await;
                }
                answered => return answered,
            }
        }
    }

    /// Runs a query on the blocking pool.
    async fn ask<T: Send + 'static>(
        &self,
        query: impl FnOnce(&Queries) -> PortResult<T> + Send + 'static,
    ) -> PortResult<T> {
        let queries = Arc::clone(&self.queries);
        let answered = tokio::task::spawn_blocking(move || query(&queries)).await.map_err(panicked)?;
        answered.map_err(later_where_lost)
    }

    async fn delete_before(&self, topic: &str, position: Position) -> PortResult<()> {
        let failed = port_error("trim log");
        let mut places = TopicPartitionList::new();
        let offset = Offset::Offset(position.offset.cast_signed());
        places.add_partition_offset(topic, position.partition.cast_signed(), offset).map_err(&failed)?;
        let options = AdminOptions::new().request_timeout(Some(self.config.call_timeout));
        let deleted = self.admin.delete_records(&places, &options).await.map_err(&failed)?;
        deleted.elements().iter().try_for_each(|element| element.error()).map_err(failed)
    }
}

const fn is_too_early(kind: PortErrorKind) -> bool {
    matches!(kind, PortErrorKind::NotFound | PortErrorKind::Unavailable)
}

#[async_trait]
impl EventLog for KafkaEventLog {
    async fn append(&self, topic: Topic, record: Append) -> PortResult<Position> {
        self.appender.append(&self.config.topic(topic), &record).await.map_err(later_where_lost)
    }

    async fn subscribe(&self, topic: Topic, group: &str) -> PortResult<Box<dyn Subscription>> {
        // Consumers end and subscribe again where their topic is gone: so a log that was lost is begun anew while we run.
        let life = self.prepare().await?;
        let params = ConsumerParams {
            common: self.common.clone(),
            topic,
            life,
            incarnation: self.incarnation.clone(),
            name: self.config.topic(topic),
            group: self.config.group(group),
            timeout: self.config.call_timeout,
            damage_patience: self.config.damage_patience,
            metrics: self.metrics.clone(),
            present: self.consumers.clone(),
        };
        let joined = tokio::task::spawn_blocking(move || Consumer::join(params)).await.map_err(panicked)?;
        Ok(Box::new(joined?))
    }

    async fn state(&self, topic: Topic) -> PortResult<Vec<TopicState>> {
        let name = self.config.topic(topic);
        self.ask(move |queries| queries.state(&name)).await
    }

    async fn committed(&self, topic: Topic, group: &str) -> PortResult<Vec<Committed>> {
        let (name, group) = (self.config.topic(topic), self.config.group(group));
        self.ask(move |queries| queries.committed(&name, &group)).await
    }

    async fn trim(&self, topic: Topic, position: Position) -> PortResult<()> {
        let name = self.config.topic(topic);
        let bounds = {
            let name = name.clone();
            self.ask(move |queries| queries.bounds(&name, position.partition, queries.deadline()))
        };
        let (first_offset, next_offset) = bounds.await?;
        if position.offset > next_offset {
            let error = PortError::new(PortErrorKind::Invalid, "trim log");
            return Err(error.because("it is past the end of the partition"));
        }
        if position.offset <= first_offset {
            return Ok(());
        }
        self.delete_before(&name, position).await
    }

    async fn incarnation(&self) -> PortResult<Nonce> {
        match self.incarnation.read().await.map_err(later_where_lost)? {
            Some(nonce) => Ok(nonce),
            // Topics were lost, and whoever began to make them anew has not come to the end, or never will.
            None => Ok(self.prepare().await?),
        }
    }
}
