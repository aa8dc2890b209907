//! What the thread that polls, the rebalances and the caller share.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use bytes::Bytes;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Headers};
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{ClientContext, Message, Offset, TopicPartitionList};
use tokio::sync::Notify;
use tokio::sync::futures::Notified;
use vidimus_ports::{Header, LogRecord, PortError, PortErrorKind, PortResult, Position, Topic};

use super::places::{Arrival, Places, Standing, start};
use crate::appender::position;
use crate::client::{Context, log_line};
use crate::error::{code, kind, port_error};
use crate::metrics::KafkaMetrics;
use crate::queries::{Deadline, committed};

/// The longest that a poll waits.
const POLL: Duration = Duration::from_millis(100);
/// The pause before a commit that met a rebalance is tried again.
const COMMIT_PAUSE: Duration = Duration::from_millis(50);

/// What the thread that polls, the rebalances and the caller share.
pub(crate) struct Shared {
    topic: Topic,
    name: String,
    timeout: Duration,
    metrics: KafkaMetrics,
    places: Mutex<Places>,
    /// Held by whoever commits, and, alone, by whoever lets go of partitions.
    committing: RwLock<()>,
    arrived: Notify,
    room: Condvar,
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
        match event {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => self.shared.assign(consumer, partitions),
            _ => self.shared.revoke(consumer, partitions),
        }
    }
}

impl Shared {
    pub(crate) fn new(topic: Topic, name: String, timeout: Duration, metrics: KafkaMetrics) -> Self {
        Self {
            topic,
            name,
            timeout,
            metrics,
            places: Mutex::default(),
            committing: RwLock::new(()),
            arrived: Notify::new(),
            room: Condvar::new(),
        }
    }

    fn places(&self) -> MutexGuard<'_, Places> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Polls until the consumer is dropped or has ended.
    pub(crate) fn run(&self, client: &BaseConsumer<Member>) {
        while self.wait_for_room() {
            match client.poll(POLL) {
                Some(Ok(message)) => self.arrive(&message),
                Some(Err(error)) => self.trouble(&error),
                None => {}
            }
        }
    }

    /// Waits until there is room for records; false where the consumer is over.
    fn wait_for_room(&self) -> bool {
        let places = self.places();
        let waits = |places: &mut Places| !places.has_room() && !places.is_over();
        let places = self.room.wait_while(places, waits).unwrap_or_else(PoisonError::into_inner);
        !places.is_over()
    }

    fn arrive(&self, message: &BorrowedMessage<'_>) {
        let record = match record(message) {
            Ok(record) => record,
            Err(error) => return self.end(error.kind(), error.to_string()),
        };
        let position = record.position;
        let arrival = self.places().arrive(record);
        match arrival {
            Arrival::Next => {}
            Arrival::NotOurs => return,
            Arrival::Trimmed => self.tell_skip(position.partition, arrival),
            Arrival::BegunAnew => {
                self.tell_skip(position.partition, arrival);
                let reason = "the log was lost and begun anew: subscribe again";
                return self.end(PortErrorKind::Unavailable, reason.to_owned());
            }
        }
        self.arrived.notify_one();
    }

    fn tell_skip(&self, partition: u32, arrival: Arrival) {
        let topic = self.topic.name();
        if arrival == Arrival::BegunAnew {
            self.metrics.skipped(self.topic, "begun_anew");
            tracing::warn!(
                topic,
                partition,
                "the log was lost and begun anew: it is read from its oldest record"
            );
        } else {
            self.metrics.skipped(self.topic, "trimmed");
            tracing::warn!(
                topic,
                partition,
                "the log was trimmed past the commit: it is read from its oldest record"
            );
        }
    }

    /// What the client library reports mends itself, but for what somebody must mend.
    fn trouble(&self, error: &KafkaError) {
        let is_fatal = matches!(error, KafkaError::MessageConsumptionFatal(_));
        let kind = code(error).map_or(PortErrorKind::Unavailable, kind);
        if is_fatal || matches!(kind, PortErrorKind::NotFound | PortErrorKind::Internal) {
            self.end(kind, error.to_string());
        }
    }

    fn end(&self, kind: PortErrorKind, reason: String) {
        self.places().end(kind, reason);
        self.arrived.notify_one();
    }

    /// Ends the thread, which then leaves the group.
    pub(crate) fn close(&self) {
        self.places().closing = true;
        self.room.notify_all();
    }

    /// Becomes ready when a record has arrived, or the consumer has ended, since the last time.
    pub(crate) fn arrived(&self) -> Notified<'_> {
        self.arrived.notified()
    }

    /// Gives out up to `limit` records.
    pub(crate) fn give(&self, limit: usize) -> PortResult<Vec<LogRecord>> {
        let given = self.places().give(limit);
        self.room.notify_all();
        given
    }

    /// Takes up partitions, each at the group's commit.
    fn assign(&self, client: &BaseConsumer<Member>, assigned: &TopicPartitionList) {
        let places = self.starts(client, &numbers(assigned));
        let taken_up = places.and_then(|starts| {
            let mut list = TopicPartitionList::new();
            for Position { partition, offset } in starts {
                let offset = Offset::Offset(offset.cast_signed());
                list.add_partition_offset(&self.name, partition.cast_signed(), offset)
                    .map_err(port_error("take up partitions"))?;
            }
            client.incremental_assign(&list).map_err(port_error("take up partitions"))
        });
        if let Err(error) = taken_up {
            tracing::warn!(topic = self.topic.name(), %error, "assigned partitions could not be taken up");
            self.end(error.kind(), error.to_string());
            let _ = client.incremental_assign(assigned);
        }
    }

    /// Where the consumer begins in each of `partitions`.
    fn starts(&self, client: &BaseConsumer<Member>, partitions: &[u32]) -> PortResult<Vec<Position>> {
        let deadline = Deadline::after(self.timeout);
        let committed = committed(client, &self.name, partitions, deadline)?;
        let mut starts = Vec::new();
        for partition in partitions {
            let commit = committed.iter().find(|place| place.partition == *partition);
            let bounds = self.bounds(client, *partition, deadline)?;
            let (place, arrival) = start(commit.map(|place| place.offset), bounds);
            if arrival != Arrival::Next {
                self.tell_skip(*partition, arrival);
            }
            self.places().assign(*partition, place);
            starts.push(Position { partition: *partition, offset: place.next });
        }
        Ok(starts)
    }

    fn bounds(
        &self,
        client: &BaseConsumer<Member>,
        partition: u32,
        deadline: Deadline,
    ) -> PortResult<(u64, u64)> {
        let bounds = client.fetch_watermarks(&self.name, partition.cast_signed(), deadline.left());
        let (first, next) = bounds.map_err(port_error("read the log's bounds"))?;
        Ok((position(0, first)?.offset, position(0, next)?.offset))
    }

    /// Lets go of partitions, once no commit is under way.
    fn revoke(&self, client: &BaseConsumer<Member>, revoked: &TopicPartitionList) {
        let _alone = self.committing.write().unwrap_or_else(PoisonError::into_inner);
        for partition in numbers(revoked) {
            self.places().revoke(partition);
        }
        if let Err(error) = client.incremental_unassign(revoked) {
            tracing::warn!(topic = self.topic.name(), %error, "revoked partitions could not be let go of");
        }
        self.room.notify_all();
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
            Standing::Ahead if self.bounds(client, next.partition, deadline)?.1 < next.offset => {
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
        }
        Ok(committed)
    }
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
