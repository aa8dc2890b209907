//! The audit log, from the log to the blob store, in batches.
//!
//! A batch is named by the log's incarnation, its partition and its first offset, and put only if absent. Where one exists
//! already (the ledger died between putting it and committing), the ledger goes on after its last record.

use std::collections::BTreeMap;
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
/// The pause after a failure.
const PAUSE: Duration = Duration::from_secs(2);

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

impl AuditBatches {
    /// Runs until shutdown; begins anew, at its commit, after any failure.
    pub(crate) async fn run(self) {
        while !self.shutdown.has_begun() {
            if let Err(error) = self.consume().await {
                tracing::error!(%error, "writing audit batches failed; it begins again at its commit");
                tokio::select! {
                    () = self.deps.clock.sleep(PAUSE) => {}
                    () = self.shutdown.begun() => {}
                }
            }
        }
    }

    async fn consume(&self) -> PortResult<()> {
        // Where the log was lost, joining begins it anew, with another name.
        let mut subscription = self.deps.log.subscribe(Topic::Audit, GROUP).await?;
        let incarnation = self.deps.log.incarnation().await?;
        let mut waiting = BTreeMap::<u32, Waiting>::new();
        loop {
            let records = tokio::select! {
                records = subscription.next(self.config.audit_batch_records_max, WAIT) => records?,
                () = self.shutdown.begun() => Vec::new(),
            };
            let now = self.deps.clock.now();
            let gathering = !records.is_empty() && records.len() < self.config.audit_batch_records_max;
            for record in records {
                let partition = waiting.entry(record.position.partition);
                partition.or_insert_with(|| Waiting { since: now, records: Vec::new() }).add(record);
            }
            let ending = self.shutdown.has_begun();
            let due = |waiting: &Waiting| ending || self.is_due(waiting, now);
            let partitions =
                waiting.iter().filter(|(_, waiting)| due(waiting)).map(|(partition, _)| *partition);
            for partition in partitions.collect::<Vec<_>>() {
                let records = waiting.remove(&partition).map(|waiting| waiting.records).unwrap_or_default();
                self.write(&incarnation, records, &mut *subscription).await?;
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

    /// Writes one partition's records and commits them.
    async fn write(
        &self,
        incarnation: &Nonce,
        mut records: Vec<LogRecord>,
        subscription: &mut dyn Subscription,
    ) -> PortResult<()> {
        while let (Some(first), Some(last)) = (records.first(), records.last()) {
            let (first, last) = (first.position, last.position);
            let key = BlobKey::audit_batch(incarnation, first.partition, first.offset);
            let batch = batch(incarnation, &records)?;
            match self.deps.blobs.put(&key, batch.encode_to_vec().into(), PutCondition::IfAbsent).await {
                Ok(_) => {
                    self.metrics.audited.inc_by(records.len() as u64);
                    self.metrics.batches.inc();
                    records.clear();
                }
                Err(error) if error.kind() == PortErrorKind::Conflict => {
                    let stored_to = self.last_offset(&key).await?;
                    records.retain(|record| record.position.offset > stored_to);
                }
                Err(error) => return Err(error),
            }
            if records.is_empty() {
                subscription.commit(Position { partition: last.partition, offset: last.offset + 1 }).await?;
            }
        }
        Ok(())
    }

    async fn last_offset(&self, key: &BlobKey) -> PortResult<u64> {
        let corrupt = || PortError::new(PortErrorKind::Corrupt, "read audit batch");
        let blob = self.deps.blobs.get(key).await?.ok_or_else(corrupt)?;
        let batch = v1::AuditBatch::decode(blob.bytes).map_err(|error| corrupt().because(error))?;
        if batch.format > FORMAT {
            return Err(PortError::new(PortErrorKind::TooNew, "read audit batch"));
        }
        Ok(batch.last_offset)
    }
}

fn batch(incarnation: &Nonce, records: &[LogRecord]) -> PortResult<v1::AuditBatch> {
    let decode = |record: &LogRecord| {
        stored::decode::<Audit>("decode audit record", &record.payload).map(|audit| audit.to_proto())
    };
    let offset = |record: Option<&LogRecord>| record.map(|record| record.position.offset).unwrap_or_default();
    Ok(v1::AuditBatch {
        format: FORMAT,
        log_incarnation: incarnation.to_string(),
        partition: records.first().map(|record| record.position.partition).unwrap_or_default(),
        first_offset: offset(records.first()),
        last_offset: offset(records.last()),
        records: records.iter().map(decode).collect::<PortResult<_>>()?,
    })
}
