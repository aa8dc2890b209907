//! What every [`EventLog`] must do.
//!
//! The suite uses groups of its own and marks its payloads, so the topics may hold other records. It waits for
//! deliveries up to a deadline that leaves room for a broker's rebalancing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::error::{PortError, PortErrorKind, PortResult};
use crate::event_log::{
    Append, Committed, EventLog, HEADERS_BYTES_MAX, HEADERS_MAX, KEY_BYTES_MAX, LogRecord, PAYLOAD_BYTES_MAX,
    Position, Subscription, Topic, TopicState,
};
use crate::random::Random;

/// The longest that a delivery may take.
const DEADLINE: Duration = Duration::from_secs(60);

/// The longest that one call of `next` waits.
const WAIT: Duration = Duration::from_millis(200);

/// Records by position.
type Delivered = BTreeMap<Position, Bytes>;

/// Runs the whole suite.
///
/// # Errors
/// Whatever error the log gives where it may give none.
///
/// # Panics
/// Where the log breaks the contract.
pub async fn conforms(log: Arc<dyn EventLog>, random: &dyn Random) -> PortResult<()> {
    assert_eq!(log.incarnation().await?, log.incarnation().await?, "a log has one incarnation");
    keys_keep_to_one_partition_in_order(&*log, random).await?;
    records_are_given_as_they_were_appended(&*log, random).await?;
    what_is_too_long_is_refused(&*log, random).await?;
    every_group_is_given_every_record(&*log, random).await?;
    concurrent_appends_are_all_there(&log, random).await?;
    waiting_consumers_wake(&log, random).await?;
    groups_go_on_at_their_commit(&*log, random).await?;
    commits_never_go_back(&*log, random).await?;
    consumers_share_the_partitions(&*log, random).await?;
    trimmed_records_are_not_given(&*log, random).await?;
    topics_are_apart(&*log, random).await
}

/// What the suite's checks work with: a log, a topic, and a mark that no one else's payloads have.
struct Bench<'a> {
    log: &'a dyn EventLog,
    topic: Topic,
    mark: String,
    appended: Delivered,
}

impl<'a> Bench<'a> {
    fn new(log: &'a dyn EventLog, topic: Topic, random: &dyn Random) -> Self {
        Self { log, topic, mark: format!("conformance-{}", random.nonce()), appended: Delivered::new() }
    }

    /// A group that no one else has; the same for the same name.
    fn group(&self, name: &str) -> String {
        format!("{}-{name}", self.mark)
    }

    async fn append(&mut self, key: &str, text: &str) -> PortResult<Position> {
        let payload = Bytes::from(format!("{}/{text}", self.mark));
        let position = self.log.append(self.topic, Append::new(key.as_bytes(), payload.clone())).await?;
        assert!(self.appended.insert(position, payload).is_none(), "a position is given once");
        Ok(position)
    }

    /// Appends `count` records, spread over the partitions.
    async fn append_many(&mut self, count: usize) -> PortResult<()> {
        for index in 0..count {
            self.append(&format!("key-{index}"), &format!("record-{index}")).await?;
        }
        Ok(())
    }

    async fn subscribe(&self, group: &str) -> PortResult<Box<dyn Subscription>> {
        self.log.subscribe(self.topic, &self.group(group)).await
    }

    /// Reads on until all of `wanted` were delivered; only marked records are kept.
    async fn read(&self, consumer: &mut dyn Subscription, wanted: &Delivered) -> PortResult<Delivered> {
        let mut delivered = Delivered::new();
        let deadline = Instant::now() + DEADLINE;
        while !wanted.keys().all(|position| delivered.contains_key(position)) {
            assert!(Instant::now() < deadline, "{} of {} delivered in time", delivered.len(), wanted.len());
            delivered.extend(self.read_some(consumer).await?);
        }
        Ok(delivered)
    }

    async fn read_some(&self, consumer: &mut dyn Subscription) -> PortResult<Delivered> {
        let marked = self.read_marked(consumer).await?;
        Ok(marked.into_iter().map(|record| (record.position, record.payload)).collect())
    }

    async fn read_marked(&self, consumer: &mut dyn Subscription) -> PortResult<Vec<LogRecord>> {
        let records = consumer.next(7, WAIT).await?;
        assert!(records.len() <= 7, "no more than asked for");
        let mut last: BTreeMap<u32, u64> = BTreeMap::new();
        for record in &records {
            let Position { partition, offset } = record.position;
            let before = last.insert(partition, offset);
            assert!(before.is_none_or(|before| before < offset), "a partition's records come in order");
        }
        Ok(records.into_iter().filter(|record| record.payload.starts_with(self.mark.as_bytes())).collect())
    }

    /// The end of every partition that the bench appended to, as a consumer commits it.
    fn ends(&self) -> Vec<Committed> {
        let mut ends = BTreeMap::new();
        for position in self.appended.keys() {
            ends.insert(position.partition, position.offset + 1);
        }
        ends.into_iter().map(|(partition, offset)| Position { partition, offset }).collect()
    }

    async fn partition(&self, partition: u32) -> PortResult<TopicState> {
        let states = self.log.state(self.topic).await?;
        let found = states.into_iter().find(|state| state.partition == partition);
        found.ok_or(PortError::new(PortErrorKind::NotFound, "find the partition in the topic's state"))
    }
}

/// Records of one key go to one partition and stand in the order of their appends.
async fn keys_keep_to_one_partition_in_order(log: &dyn EventLog, random: &dyn Random) -> PortResult<()> {
    let mut bench = Bench::new(log, Topic::Changes, random);
    for key in ["a", "b", "c", "d", "e"] {
        let first = bench.append(key, "1").await?;
        let second = bench.append(key, "2").await?;
        assert_eq!(first.partition, second.partition, "one key, one partition");
        assert!(first.offset < second.offset, "in the order of the appends");
        let state = bench.partition(second.partition).await?;
        assert!(state.first_offset <= first.offset && state.next_offset > second.offset, "{state:?}");
    }
    Ok(())
}

/// Key and headers come back as they were appended, whatever bytes they are, and up to the longest.
async fn records_are_given_as_they_were_appended(log: &dyn EventLog, random: &dyn Random) -> PortResult<()> {
    let bench = Bench::new(log, Topic::PhotosDead, random);
    let payload = |text: &str| Bytes::from(format!("{}/{text}", bench.mark));
    let mut longest = payload("").to_vec();
    longest.resize(PAYLOAD_BYTES_MAX, 7);
    let longest_value = vec![0; HEADERS_BYTES_MAX - HEADERS_MAX];
    let mut many = Append::new(&[7; KEY_BYTES_MAX], longest);
    for _ in 1..HEADERS_MAX {
        many = many.with_header("h", Bytes::new());
    }
    let appends = [
        Append::new(b"", payload("bare")),
        Append::new(&[0, 255, 10], payload("headed"))
            .with_header("reason", "no face")
            .with_header("reason", "")
            .with_header("\u{e9}t\u{e9}", Bytes::from_static(&[0, 13, 10, 255])),
        many.with_header("v", longest_value),
    ];
    let mut wanted = BTreeMap::new();
    for append in appends {
        let position = log.append(bench.topic, append.clone()).await?;
        let Append { key, payload, headers } = append;
        wanted.insert(position, LogRecord { position, key, payload, headers });
    }
    let mut consumer = bench.subscribe("group").await?;
    let deadline = Instant::now() + DEADLINE;
    let mut delivered = BTreeMap::new();
    while delivered.len() < wanted.len() {
        assert!(Instant::now() < deadline, "{} of {} delivered in time", delivered.len(), wanted.len());
        let records = bench.read_marked(&mut *consumer).await?;
        delivered.extend(records.into_iter().map(|record| (record.position, record)));
    }
    assert!(delivered == wanted, "records are given as they were appended");
    Ok(())
}

/// What passes a bound is refused and is not there.
async fn what_is_too_long_is_refused(log: &dyn EventLog, random: &dyn Random) -> PortResult<()> {
    let mut bench = Bench::new(log, Topic::PhotosDead, random);
    let marked = Append::new(b"key", bench.mark.clone());
    let mut longer = bench.mark.clone().into_bytes();
    longer.resize(PAYLOAD_BYTES_MAX + 1, 7);
    let many = (0..=HEADERS_MAX).fold(marked.clone(), |append, _| append.with_header("h", ""));
    for refused in [
        Append::new(b"key", longer),
        Append::new(&[7; KEY_BYTES_MAX + 1], bench.mark.clone()),
        marked.clone().with_header("h", vec![0; HEADERS_BYTES_MAX]),
        marked.with_header("", "value"),
        many,
    ] {
        let error = log.append(bench.topic, refused).await.err();
        assert_eq!(error.map(|error| error.kind()), Some(PortErrorKind::Invalid));
    }
    bench.append("key", "fitting").await?;
    let mut consumer = bench.subscribe("group").await?;
    let delivered = bench.read(&mut *consumer, &bench.appended).await?;
    assert_eq!(delivered, bench.appended, "what was refused is not there");
    Ok(())
}

/// Every group is given every record, as it was appended, whatever other groups read or commit.
async fn every_group_is_given_every_record(log: &dyn EventLog, random: &dyn Random) -> PortResult<()> {
    let mut bench = Bench::new(log, Topic::Changes, random);
    bench.append_many(20).await?;
    bench.append("empty", "").await?;
    for group in ["one", "two"] {
        let mut consumer = bench.subscribe(group).await?;
        assert_eq!(bench.read(&mut *consumer, &bench.appended).await?, bench.appended);
        for end in bench.ends() {
            consumer.commit(end).await?;
        }
    }
    Ok(())
}

/// Concurrent appends get positions of their own and are all delivered.
async fn concurrent_appends_are_all_there(log: &Arc<dyn EventLog>, random: &dyn Random) -> PortResult<()> {
    let mut bench = Bench::new(&**log, Topic::Audit, random);
    let mut writers = JoinSet::new();
    for index in 0..64 {
        let (log, payload) = (log.clone(), Bytes::from(format!("{}/{index}", bench.mark)));
        writers.spawn(async move {
            let key = format!("key-{index}");
            (payload.clone(), log.append(Topic::Audit, Append::new(key.as_bytes(), payload)).await)
        });
    }
    for (payload, position) in writers.join_all().await {
        assert!(bench.appended.insert(position?, payload).is_none(), "a position is given once");
    }
    let mut consumer = bench.subscribe("group").await?;
    assert_eq!(bench.read(&mut *consumer, &bench.appended).await?, bench.appended);
    Ok(())
}

/// A consumer that waits for records is given them when they come, not when its wait is over; one that has nothing
/// to read gets nothing.
async fn waiting_consumers_wake(log: &Arc<dyn EventLog>, random: &dyn Random) -> PortResult<()> {
    let mut bench = Bench::new(&**log, Topic::Photos, random);
    bench.append("key", "before").await?;
    let mut consumer = bench.subscribe("group").await?;
    bench.read(&mut *consumer, &bench.appended).await?;
    while !consumer.next(7, WAIT).await?.is_empty() {}
    let waiting = tokio::spawn(async move { consumer.next(7, DEADLINE * 10).await });
    tokio::task::yield_now().await;
    let position = bench.append("key", "awaited").await?;
    let woken = tokio::time::timeout(DEADLINE, waiting).await.map(Result::ok);
    let Ok(Some(records)) = woken else { unreachable!("the waiting consumer wakes") };
    assert_eq!(records?.first().map(|record| record.position), Some(position));
    Ok(())
}

/// A group begins at the oldest record and goes on at its commit; what it did not commit is given again.
async fn groups_go_on_at_their_commit(log: &dyn EventLog, random: &dyn Random) -> PortResult<()> {
    let mut bench = Bench::new(log, Topic::Changes, random);
    bench.append_many(10).await?;
    let group = bench.group("group");
    assert_eq!(log.committed(bench.topic, &group).await?, [], "a new group has no commit");
    let mut first = bench.subscribe("group").await?;
    bench.read(&mut *first, &bench.appended).await?;
    let done = bench.ends();
    for end in &done {
        first.commit(*end).await?;
    }
    let committed: BTreeSet<Committed> = log.committed(bench.topic, &group).await?.into_iter().collect();
    assert!(done.iter().all(|end| committed.contains(end)), "{committed:?} has {done:?}");

    let before = std::mem::take(&mut bench.appended);
    for index in 0..10 {
        bench.append(&format!("key-{index}"), "later").await?;
    }
    bench.read(&mut *first, &bench.appended).await?;
    drop(first);
    let mut second = bench.subscribe("group").await?;
    let again = bench.read(&mut *second, &bench.appended).await?;
    assert!(
        before.keys().all(|position| !again.contains_key(position)),
        "what is committed is not given again"
    );
    Ok(())
}

/// A commit of an earlier place has no effect.
async fn commits_never_go_back(log: &dyn EventLog, random: &dyn Random) -> PortResult<()> {
    let mut bench = Bench::new(log, Topic::Changes, random);
    let first = bench.append("key", "1").await?;
    let last = bench.append("key", "2").await?;
    let mut consumer = bench.subscribe("group").await?;
    bench.read(&mut *consumer, &bench.appended).await?;
    let end = Position { offset: last.offset + 1, ..last };
    consumer.commit(end).await?;
    consumer.commit(first).await?;
    let committed = log.committed(bench.topic, &bench.group("group")).await?;
    assert!(committed.contains(&end), "{committed:?} still has {end:?}");
    Ok(())
}

/// Two consumers of a group read all records between them; when one goes, the other is given what it left.
async fn consumers_share_the_partitions(log: &dyn EventLog, random: &dyn Random) -> PortResult<()> {
    let mut bench = Bench::new(log, Topic::Changes, random);
    bench.append_many(20).await?;
    let (mut left, mut right) = (bench.subscribe("group").await?, bench.subscribe("group").await?);
    let (mut left_had, mut right_had) = (Delivered::new(), Delivered::new());
    let together = |left: &Delivered, right: &Delivered| -> Delivered {
        left.iter().chain(right).map(|(position, payload)| (*position, payload.clone())).collect()
    };
    let deadline = Instant::now() + DEADLINE;
    while together(&left_had, &right_had) != bench.appended {
        assert!(Instant::now() < deadline, "{} and {} of 20 in time", left_had.len(), right_had.len());
        left_had.extend(bench.read_some(&mut *left).await?);
        right_had.extend(bench.read_some(&mut *right).await?);
    }
    drop(left);
    // A partition may have moved after the left consumer was given some of it: that is not given a second time.
    left_had.retain(|position, _| !right_had.contains_key(position));
    bench.read(&mut *right, &left_had).await?;
    Ok(())
}

/// A new consumer is given nothing from before a trim, and everything from there on.
async fn trimmed_records_are_not_given(log: &dyn EventLog, random: &dyn Random) -> PortResult<()> {
    let mut bench = Bench::new(log, Topic::Photos, random);
    for index in 0..6 {
        bench.append("key", &index.to_string()).await?;
    }
    let mut appended = bench.appended.clone();
    let Some(cut) = appended.keys().nth(3).copied() else { unreachable!("six were appended") };
    let kept = appended.split_off(&cut);
    log.trim(bench.topic, cut).await?;
    log.trim(bench.topic, Position { offset: cut.offset - 1, ..cut }).await?;
    let mut consumer = bench.subscribe("group").await?;
    assert_eq!(bench.read(&mut *consumer, &kept).await?, kept, "only what was kept is given");
    let state = bench.partition(cut.partition).await?;
    assert!(state.first_offset <= cut.offset && state.next_offset > cut.offset + 2, "{state:?}");
    Ok(())
}

/// Records and commits of one topic are not another's.
async fn topics_are_apart(log: &dyn EventLog, random: &dyn Random) -> PortResult<()> {
    let mut bench = Bench::new(log, Topic::PhotosDead, random);
    let position = bench.append("key", "dead").await?;
    let mut consumer = bench.subscribe("group").await?;
    bench.read(&mut *consumer, &bench.appended).await?;
    consumer.commit(Position { offset: position.offset + 1, ..position }).await?;
    assert_eq!(log.committed(Topic::Audit, &bench.group("group")).await?, []);
    let elsewhere = log.subscribe(Topic::Audit, &bench.group("group")).await;
    let delivered = bench.read_some(&mut *elsewhere?).await?;
    assert_eq!(delivered, Delivered::new());
    Ok(())
}
