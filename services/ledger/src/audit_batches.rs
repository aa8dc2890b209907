//! The audit log, from the log to the blob store, in batches.
//!
//! A batch is named by the log's incarnation, its partition and its first offset, and put only if absent. Where one exists
//! already (the ledger died between putting it and committing), the ledger goes on after its last record.
//!
//! A damaged record holds nothing up: its batch keeps it as it was. What a newer version of the program has written, a record
//! or a batch, holds its partition up, and what was before it is written. While a partition is held up the others go on.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use prost::Message;
use vidimus_domain::blob_key::BlobKey;
use vidimus_domain::codec::{FORMAT, Stored};
use vidimus_domain::event::Audit;
use vidimus_domain::{Nonce, UnixMillis};
use vidimus_ports::{
    LogRecord, PortError, PortErrorKind, PortResult, Position, PutCondition, Subscription, Topic,
};
use vidimus_proto::internal::v1;
use vidimus_runtime::shutdown::Shutdown;
use vidimus_runtime::stored;

use crate::metrics::Metrics;
use crate::{LedgerConfig, LedgerDeps};

/// The consumer group.
const GROUP: &str = "ledger";
/// How long one wait for records lasts at most.
const WAIT: Duration = Duration::from_millis(500);
/// How long it lets records gather that it has no batch of yet: each look takes time from whoever waits for an append.
const GATHER: Duration = Duration::from_millis(250);
/// The pause after a failure. It is outside of the group: a process that can read what this one cannot may be given the partition.
const PAUSE: Duration = Duration::from_secs(2);
/// How long a partition is held up before the ledger begins again at its commit.
const HELD_UP: Duration = Duration::from_secs(10);

pub(crate) struct AuditBatches {
    pub(crate) config: LedgerConfig,
    pub(crate) deps: LedgerDeps,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) shutdown: Shutdown,
}

/// Records of one partition that wait to be written.
struct Waiting {
    since: UnixMillis,
    records: Vec<LogRecord>,
}

impl Waiting {
    /// A partition that was lost and is given again begins at its commit: what waits already is given once more.
    fn add(&mut self, record: LogRecord) {
        if self.records.last().is_none_or(|last| last.position.offset < record.position.offset) {
            self.records.push(record);
        }
    }
}

/// What one consumer was given.
#[derive(Default)]
struct Given {
    waiting: BTreeMap<u32, Waiting>,
    /// Partitions that could not be written. The log gives their records again only to another consumer.
    held_up: BTreeSet<u32>,
    held_up_since: Option<UnixMillis>,
}

impl Given {
    fn add(&mut self, records: Vec<LogRecord>, now: UnixMillis) {
        for record in records {
            let partition = record.position.partition;
            if !self.held_up.contains(&partition) {
                let waiting = self.waiting.entry(partition);
                waiting.or_insert_with(|| Waiting { since: now, records: Vec::new() }).add(record);
            }
        }
    }

    /// Takes the records of every partition that is due.
    fn take_due(&mut self, is_due: impl Fn(&Waiting) -> bool) -> Vec<Vec<LogRecord>> {
        let due = self.waiting.extract_if(.., |_, waiting| is_due(waiting));
        due.map(|(_, waiting)| waiting.records).collect()
    }

    fn hold_up(&mut self, partition: u32, now: UnixMillis) {
        self.held_up.insert(partition);
        self.held_up_since.get_or_insert(now);
    }

    /// Whether it is time to try partitions again that are held up.
    fn is_over(&self, now: UnixMillis) -> bool {
        self.held_up_since.is_some_and(|since| now.since(since) >= HELD_UP)
    }
}

/// Whether the log or the store is away or full, which it is for every partition.
fn is_for_all(error: &PortError) -> bool {
    matches!(error.kind(), PortErrorKind::Unavailable | PortErrorKind::Full)
}

impl AuditBatches {
    /// Runs until shutdown; begins anew, at its commit, after any failure.
    pub(crate) async fn run(self) {
        while !self.shutdown.has_begun() {
            if let Err(error) = self.consume().await {
                tracing::error!(%error, "writing audit batches failed; it begins again at its commit");
            }
            tokio::select! {
                () = self.deps.clock.sleep(PAUSE) => {}
                () = self.shutdown.begun() => {}
            }
        }
    }

    /// Writes batches until shutdown, or until partitions that are held up are to be tried again: once all that the log has for the
    /// others is written.
    async fn consume(&self) -> PortResult<()> {
        // Where the log was lost, joining begins it anew, with another name.
        let mut subscription = self.deps.log.subscribe(Topic::Audit, GROUP).await?;
        let incarnation = subscription.incarnation();
        let mut given = Given::default();
        loop {
            let records = tokio::select! {
                records = subscription.next(self.config.audit_batch_records_max, WAIT) => records?,
                () = self.shutdown.begun() => Vec::new(),
            };
            let now = self.deps.clock.now();
            let has_all = records.len() < self.config.audit_batch_records_max;
            let gathering = !records.is_empty() && has_all;
            given.add(records, now);
            let ending = self.shutdown.has_begun() || (has_all && given.is_over(now));
            for records in given.take_due(|waiting| ending || self.is_due(waiting, now)) {
                let partition = records.first().map(|record| record.position.partition);
                match self.write(&incarnation, records, &mut *subscription).await {
                    Err(error) if !is_for_all(&error) => {
                        tracing::error!(%error, partition, "an audit partition is held up; the others go on");
                        partition.into_iter().for_each(|partition| given.hold_up(partition, now));
                    }
                    written => written?,
                }
            }
            if ending {
                return Ok(());
            }
            if gathering {
                tokio::select! {
                    () = self.deps.clock.sleep(GATHER.min(self.config.audit_batch_wait)) => {}
                    () = self.shutdown.begun() => {}
                }
            }
        }
    }

    fn is_due(&self, waiting: &Waiting, now: UnixMillis) -> bool {
        waiting.records.len() >= self.config.audit_batch_records_max
            || now.since(waiting.since) >= self.config.audit_batch_wait
    }

    /// Writes one partition's records and commits them: those before the first that is too new, where there is such.
    async fn write(
        &self,
        incarnation: &Nonce,
        mut records: Vec<LogRecord>,
        subscription: &mut dyn Subscription,
    ) -> PortResult<()> {
        let too_new = take_too_new(&mut records);
        while let (Some(first), Some(last)) = (records.first(), records.last()) {
            let (first, last) = (first.position, last.position);
            let key = BlobKey::audit_batch(incarnation, first.partition, first.offset);
            let batch = batch(incarnation, &records);
            match self.deps.blobs.put(&key, batch.encode_to_vec().into(), PutCondition::IfAbsent).await {
                Ok(_) => {
                    self.count(&batch);
                    records.clear();
                }
                Err(error) if error.kind() == PortErrorKind::Conflict => {
                    let stored_to = self.stored_to(&key, &records).await?;
                    records.retain(|record| record.position.offset > stored_to);
                }
                Err(error) => return Err(error),
            }
            if records.is_empty() {
                subscription.commit(Position { partition: last.partition, offset: last.offset + 1 }).await?;
            }
        }
        too_new.map_or(Ok(()), Err)
    }

    fn count(&self, stored: &v1::AuditBatch) {
        self.metrics.audited.inc_by(stored.records.len() as u64);
        self.metrics.batches.inc();
        for v1::UnreadableAudit { offset, reason, .. } in &stored.unreadable {
            self.metrics.unreadable_audits.inc();
            let partition = stored.partition;
            tracing::error!(
                partition,
                offset,
                reason,
                "an audit record is damaged; its batch keeps it as it was"
            );
        }
    }

    /// The last offset of the batch that has the name of these records' already. It is of the same log only where it begins with the same
    /// record: nothing is taken for stored by its name alone.
    async fn stored_to(&self, key: &BlobKey, records: &[LogRecord]) -> PortResult<u64> {
        let corrupt = || PortError::new(PortErrorKind::Corrupt, "read audit batch");
        let blob = self.deps.blobs.get(key).await?.ok_or_else(corrupt)?;
        let batch = v1::AuditBatch::decode(blob.bytes).map_err(|error| corrupt().because(error))?;
        if batch.format > FORMAT {
            return Err(PortError::new(PortErrorKind::TooNew, "read audit batch"));
        }
        let ours = records.first().and_then(|record| decode(record).ok());
        let is_unreadable = batch.unreadable.iter().any(|record| record.offset == batch.first_offset);
        let theirs = batch.records.first().filter(|_| !is_unreadable);
        let is_anothers = ours.zip(theirs).is_some_and(|(ours, theirs)| ours.request_id != theirs.request_id);
        if is_anothers || batch.last_offset < batch.first_offset {
            return Err(corrupt().because("it is not of these records"));
        }
        Ok(batch.last_offset)
    }
}

fn decode(record: &LogRecord) -> PortResult<Audit> {
    stored::decode("decode audit record", &record.payload)
}

/// Takes the first record that is too new away, with all behind it, and returns its error; none where there is none.
fn take_too_new(records: &mut Vec<LogRecord>) -> Option<PortError> {
    let is_too_new = |error: &PortError| error.kind() == PortErrorKind::TooNew;
    let too_new = |(place, record)| Some((place, decode(record).err().filter(is_too_new)?));
    let (place, error) = records.iter().enumerate().find_map(too_new)?;
    records.truncate(place);
    Some(error)
}

/// One partition's records as a batch. An older program passes over what is unreadable, which it would not have stored, and reads the
/// rest: so this is of the same format.
fn batch(incarnation: &Nonce, records: &[LogRecord]) -> v1::AuditBatch {
    let offset = |record: Option<&LogRecord>| record.map(|record| record.position.offset).unwrap_or_default();
    let mut batch = v1::AuditBatch {
        format: FORMAT,
        log_incarnation: incarnation.to_string(),
        partition: records.first().map(|record| record.position.partition).unwrap_or_default(),
        first_offset: offset(records.first()),
        last_offset: offset(records.last()),
        records: Vec::new(),
        unreadable: Vec::new(),
    };
    for record in records {
        match decode(record) {
            Ok(audit) => batch.records.push(audit.to_proto()),
            Err(error) => batch.unreadable.push(v1::UnreadableAudit {
                offset: record.position.offset,
                key: record.key.to_vec(),
                payload: record.payload.to_vec(),
                reason: error.to_string(),
            }),
        }
    }
    batch
}
