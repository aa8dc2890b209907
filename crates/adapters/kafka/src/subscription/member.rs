//! What the thread that polls, the rebalances and the caller share.

mod take_up;

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Headers};
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{ClientContext, Message, Offset, TopicPartitionList};
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::sync::futures::Notified;
use vidimus_domain::Nonce;
use vidimus_ports::{Header, LogRecord, PortError, PortErrorKind, PortResult, Position, Topic};

use super::places::{Arrival, Flow, Places, Standing, is_trimmed};
use crate::appender::position;
use crate::client::{Context, log_line};
use crate::error::{code, kind, port_error};
use crate::incarnation::Incarnation;
use crate::metrics::KafkaMetrics;
use crate::queries::{Deadline, bounds};

/// The longest that a poll waits.
const POLL: Duration = Duration::from_millis(100);
/// How long the buffer is full before reading stops.
const ROOM_WAIT: Duration = Duration::from_millis(500);
/// The longest that a partition is kept for what was given out of it to be committed: within the second in which embedding commits, and
/// what its last photos take. A session lives on meanwhile, and a rebalance may take [`WORK_MAX`](super::places::WORK_MAX).
const DRAIN: Duration = Duration::from_secs(3);
/// The pause before a commit that met a rebalance is tried again.
const COMMIT_PAUSE: Duration = Duration::from_millis(50);

/// What a consumer reads.
pub(crate) struct Reading {
    pub(crate) topic: Topic,
    /// The life of the log that it has joined in.
    pub(crate) life: Nonce,
    /// Says which one counts.
    pub(crate) incarnation: Incarnation,
    /// The topic's name in the cluster.
    pub(crate) name: String,
    /// What must be waited for on the thread that polls runs there.
    pub(crate) runtime: Handle,
}

/// What the thread that polls, the rebalances and the caller share.
pub(crate) struct Shared {
    topic: Topic,
    life: Nonce,
    incarnation: Incarnation,
    name: String,
    runtime: Handle,
    timeout: Duration,
    damage_patience: Duration,
    metrics: KafkaMetrics,
    places: Mutex<Places>,
    /// Held by whoever commits, and, alone, by whoever lets go of partitions.
    committing: RwLock<()>,
    arrived: Notify,
    /// Told when records were taken or committed, and at the end.
    changed: Condvar,
}

/// The client library's view of a consumer.
pub(crate) struct Member {
    shared: Arc<Shared>,
}

impl Member {
    pub(crate) const fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }
}

impl ClientContext for Member {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log_line(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        Context::default().error(error, reason);
    }
}

impl ConsumerContext for Member {
    /// Runs on the thread that polls, or that ends the client.
    fn rebalance(
        &self,
        consumer: &BaseConsumer<Self>,
        event: RDKafkaRespErr,
        partitions: &mut TopicPartitionList,
    ) {
        self.shared.read_on(consumer);
        match event {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => self.shared.assign(consumer, partitions),
            _ => self.shared.revoke(consumer, partitions),
        }
    }
}

impl Shared {
    pub(crate) fn new(
        Reading { topic, life, incarnation, name, runtime }: Reading,
        (timeout, damage_patience): (Duration, Duration),
        metrics: KafkaMetrics,
    ) -> Self {
        Self {
            topic,
            life,
            incarnation,
            name,
            runtime,
            timeout,
            damage_patience,
            metrics,
            places: Mutex::default(),
            committing: RwLock::new(()),
            arrived: Notify::new(),
            changed: Condvar::new(),
        }
    }

    fn places(&self) -> MutexGuard<'_, Places> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Polls until the consumer is dropped or has ended.
    pub(crate) fn run(&self, client: &BaseConsumer<Member>) {
        while self.mind_room(client) {
            match client.poll(POLL) {
                Some(Ok(message)) => self.arrive(client, &message),
                Some(Err(error)) => self.trouble(&error),
                None => {}
            }
        }
    }

    /// Waits a while for room for records. Where there is none, reading stops, and polling goes on: it serves rebalances. False where the
    /// consumer is over.
    fn mind_room(&self, client: &BaseConsumer<Member>) -> bool {
        let places = self.places();
        let waits = |places: &mut Places| !places.has_room() && !places.is_paused() && !places.is_over();
        let waited = self.changed.wait_timeout_while(places, ROOM_WAIT, waits);
        let (mut places, _) = waited.unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        places.end_if_damaged(now, self.damage_patience);
        let flow = places.flow(now);
        drop(places);
        let all = || client.assignment();
        let done = match flow {
            Flow::Unchanged => Ok(()),
            Flow::Pause => all().and_then(|partitions| client.pause(&partitions)),
            Flow::Resume => all().and_then(|partitions| client.resume(&partitions)),
            Flow::Stuck => {
                let reason = "nothing was taken for too long: its partitions are given to others";
                self.end(PortErrorKind::Unavailable, reason.to_owned());
                Ok(())
            }
        };
        if let Err(error) = done {
            self.end(PortErrorKind::Unavailable, error.to_string());
        }
        !self.places().is_over()
    }

    /// Has reading go on before partitions come and go: the client library would keep one that leaves stopped until it is back, and one
    /// that comes is not stopped with the others.
    fn read_on(&self, client: &BaseConsumer<Member>) {
        if self.places().resume()
            && let Err(error) = client.assignment().and_then(|partitions| client.resume(&partitions))
        {
            self.end(PortErrorKind::Unavailable, error.to_string());
        }
    }

    fn arrive(&self, client: &BaseConsumer<Member>, message: &BorrowedMessage<'_>) {
        let record = match record(message) {
            Ok(record) => record,
            Err(error) => return self.end(error.kind(), error.to_string()),
        };
        let arrival = self.places().arrival(record.position);
        match arrival {
            Arrival::NotOurs => return,
            Arrival::Gap => {
                if let Err(error) = self.pass_gap(client, record.position) {
                    return self.end(error.kind(), error.to_string());
                }
            }
            Arrival::BegunAnew => return self.end_as_lost(Some(record.position.partition)),
            Arrival::Next => {}
        }
        self.places().take(record);
        self.arrived.notify_one();
    }

    /// Passes over what is missing before a record, if it was trimmed.
    fn pass_gap(&self, client: &BaseConsumer<Member>, to: Position) -> PortResult<()> {
        let (first, _) = bounds(client, &self.name, to.partition, Deadline::after(self.timeout))?;
        if !is_trimmed(to.offset, first) {
            let reason =
                format!("records before offset {} of partition {} are missing", to.offset, to.partition);
            return Err(self.damage(&reason));
        }
        self.tell_trimmed(to.partition);
        Ok(())
    }

    /// Records that cannot be read.
    fn damage(&self, reason: &str) -> PortError {
        self.metrics.damaged(self.topic);
        tracing::error!(topic = self.topic.name(), reason, "records of the log are damaged");
        PortError::new(PortErrorKind::Corrupt, "read log").because(reason)
    }

    fn tell_trimmed(&self, partition: u32) {
        self.metrics.skipped(self.topic, "trimmed");
        let topic = self.topic.name();
        tracing::warn!(
            topic,
            partition,
            "the log was trimmed past the commit: it is read from its oldest record"
        );
    }

    /// The log was lost, as this partition shows, or its life's name: ends the consumer.
    fn end_as_lost(&self, partition: Option<u32>) {
        self.metrics.skipped(self.topic, "begun_anew");
        let topic = self.topic.name();
        tracing::warn!(
            topic,
            partition,
            "the log was lost and begun anew: it is read from its oldest record"
        );
        self.end(PortErrorKind::Unavailable, "the log was lost and begun anew: subscribe again".to_owned());
    }

    /// What the client library reports mends itself, but for what somebody must mend.
    fn trouble(&self, error: &KafkaError) {
        if is_damage(error) {
            return self.stand_still(error);
        }
        let is_fatal = matches!(error, KafkaError::MessageConsumptionFatal(_));
        let kind = code(error).map_or(PortErrorKind::Unavailable, kind);
        if is_fatal || matches!(kind, PortErrorKind::NotFound | PortErrorKind::Internal) {
            self.end(kind, error.to_string());
        }
    }

    /// The library comes by the same damage again and again: it is told of once.
    fn stand_still(&self, error: &KafkaError) {
        if self.places().is_damaged() {
            return;
        }
        // It does not say of which partition: it is one of those that do not go on from here.
        let places: Vec<String> =
            self.places().next_places().map(|(partition, next)| format!("{partition} at {next}")).collect();
        let reason = format!("{error}, of one of the partitions {}", places.join(", "));
        let damage = self.damage(&reason);
        self.places().damage(Instant::now(), damage.to_string());
    }

    /// Ends the consumer. What is not there any more was lost: whoever subscribes next makes it anew.
    fn end(&self, kind: PortErrorKind, reason: String) {
        let is_gone = matches!(kind, PortErrorKind::NotFound | PortErrorKind::Invalid);
        self.places().end(if is_gone { PortErrorKind::Unavailable } else { kind }, reason);
        self.arrived.notify_one();
    }

    /// Ends the thread, which then leaves the group.
    pub(crate) fn close(&self) {
        self.places().closing = true;
        self.changed.notify_all();
    }

    /// Becomes ready when a record has arrived, or the consumer has ended, since the last time.
    pub(crate) fn arrived(&self) -> Notified<'_> {
        self.arrived.notified()
    }

    /// Gives out up to `limit` records.
    pub(crate) fn give(&self, limit: usize) -> PortResult<Vec<LogRecord>> {
        let given = self.places().give(limit);
        self.changed.notify_all();
        given
    }

    /// Lets go of partitions, once what was given out of them is committed or has had its time, and no commit is under way.
    fn revoke(&self, client: &BaseConsumer<Member>, revoked: &TopicPartitionList) {
        let partitions = numbers(revoked);
        if !client.assignment_lost() {
            self.drain(&partitions);
        }
        let _alone = self.committing.write().unwrap_or_else(PoisonError::into_inner);
        for partition in partitions {
            self.places().revoke(partition);
        }
        if let Err(error) = client.incremental_unassign(revoked) {
            tracing::warn!(topic = self.topic.name(), %error, "revoked partitions could not be let go of");
        }
    }

    /// Waits for what was given out of partitions to be committed, and gives out no more of them.
    fn drain(&self, partitions: &[u32]) {
        let mut places = self.places();
        for partition in partitions {
            places.leave(*partition);
        }
        let waits = |places: &mut Places| {
            !places.is_over() && partitions.iter().any(|partition| places.is_out(*partition))
        };
        let waited = self.changed.wait_timeout_while(places, drain_wait(self.topic), waits);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }

    /// Commits. Blocks. One that meets a rebalance is tried again until it is over: then the partition is still this
    /// consumer's, or nothing is committed.
    pub(crate) fn commit(&self, client: &BaseConsumer<Member>, next: Position) -> PortResult<()> {
        let deadline = Deadline::after(self.timeout);
        loop {
            let error = match self.try_commit(client, next, deadline)? {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            if !is_rebalancing(&error) || deadline.has_passed() {
                return Err(port_error("commit")(error));
            }
            std::thread::park_timeout(COMMIT_PAUSE);
        }
    }

    fn try_commit(
        &self,
        client: &BaseConsumer<Member>,
        next: Position,
        deadline: Deadline,
    ) -> PortResult<Result<(), KafkaError>> {
        let _one_of_many = self.committing.read().unwrap_or_else(PoisonError::into_inner);
        let standing = self.places().standing(next);
        match standing {
            Standing::Done => return Ok(Ok(())),
            Standing::NotOurs => {
                self.metrics.commit_ignored();
                tracing::info!(
                    topic = self.topic.name(),
                    ?next,
                    "the partition is another consumer's: not committed"
                );
                return Ok(Ok(()));
            }
            Standing::Ahead if bounds(client, &self.name, next.partition, deadline)?.1 < next.offset => {
                let error = PortError::new(PortErrorKind::Invalid, "commit");
                return Err(error.because("it is past the end of the partition"));
            }
            Standing::Ahead | Standing::Ours => {}
        }
        let mut list = TopicPartitionList::new();
        let offset = Offset::Offset(next.offset.cast_signed());
        let committed = list
            .add_partition_offset(&self.name, next.partition.cast_signed(), offset)
            .and_then(|()| client.commit(&list, CommitMode::Sync));
        if committed.is_ok() {
            self.places().committed(next);
            self.changed.notify_all();
        }
        Ok(committed)
    }
}

/// How long a partition that is to be let go of waits for commits. Changes are committed when the index has them for good, up to half a
/// minute later, and audit records when a batch is full or ten seconds old; dead letters may only be looked at. What is not committed of
/// these is given again, which does no harm and costs less than to embed a photo again.
const fn drain_wait(topic: Topic) -> Duration {
    match topic {
        Topic::Photos => DRAIN,
        Topic::Changes | Topic::Audit | Topic::PhotosDead => Duration::ZERO,
    }
}

/// Whether the client library, or the broker, has met records that it cannot read: it goes on behind them.
fn is_damage(error: &KafkaError) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(code(error), Some(Code::BadMessage | Code::BadCompression | Code::InvalidMessage))
}

/// Whether a commit failed since the membership that it was made in is over, or in doubt.
fn is_rebalancing(error: &KafkaError) -> bool {
    matches!(
        code(error),
        Some(
            RDKafkaErrorCode::IllegalGeneration
                | RDKafkaErrorCode::UnknownMemberId
                | RDKafkaErrorCode::RebalanceInProgress
                | RDKafkaErrorCode::AssignmentLost
                | RDKafkaErrorCode::FencedInstanceId
        )
    )
}

fn numbers(partitions: &TopicPartitionList) -> Vec<u32> {
    partitions.elements().iter().filter_map(|element| u32::try_from(element.partition()).ok()).collect()
}

fn record(message: &BorrowedMessage<'_>) -> PortResult<LogRecord> {
    let bytes = |bytes: Option<&[u8]>| Bytes::copy_from_slice(bytes.unwrap_or_default());
    let headers = message.headers().into_iter().flat_map(|headers| headers.iter());
    let header = |header: rdkafka::message::Header<'_, &[u8]>| Header {
        name: header.key.to_owned(),
        value: bytes(header.value),
    };
    Ok(LogRecord {
        position: position(message.partition(), message.offset())?,
        key: bytes(message.key()),
        payload: bytes(message.payload()),
        headers: headers.map(header).collect(),
    })
}
