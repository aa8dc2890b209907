//! Dead letters: photos that could not be embedded, as the log keeps them, and how they are sent again.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use vidimus_domain::codec::Stored;
use vidimus_domain::event::AcceptedPhoto;
use vidimus_domain::record::{State, Write, try_again};
use vidimus_domain::retention::Cutoffs;
use vidimus_ports::consumer_group::lag;
use vidimus_ports::event_log::HEADERS_MAX;
use vidimus_ports::{
    Append, BlobStore, Clock, EventLog, Header, LogRecord, PortError, PortErrorKind, PortResult, Position,
    Random, Subscription, Topic,
};

use crate::records::{Records, Written};
use crate::stored;

/// Why a record is a dead letter.
pub const REASON_HEADER: &str = "vidimus-reason";
/// Where it stood in the topic that it came from: `PARTITION/OFFSET`.
pub const ORIGIN_HEADER: &str = "vidimus-origin";

/// Who reads them. What this group has committed was sent again.
const GROUP: &str = "dead-letters";
/// Letters that are read at a time.
const PAGE: usize = 256;
/// How long one wait for letters lasts at most.
const WAIT: Duration = Duration::from_secs(1);
/// For how long the log may give none of the letters that are left. Kafka holds a group's first rebalance back for 3 s, and gives a
/// member that died without a word 6 s more.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often a record is read and decided anew.
const ATTEMPTS_MAX: usize = 32;

/// The longest that a reason may be.
const REASON_CHARACTERS_MAX: usize = 1000;

/// The record as a dead letter: its key, payload and headers as they were, why it is one, and where it stood.
#[must_use]
pub fn dead_letter(record: &LogRecord, reason: &str) -> Append {
    let origin = format!("{}/{}", record.position.partition, record.position.offset);
    letter_from(record, reason, origin.into())
}

fn letter_from(record: &LogRecord, reason: &str, origin: Bytes) -> Append {
    let reason = reason.chars().take(REASON_CHARACTERS_MAX).collect::<String>();
    original(record).with_header(REASON_HEADER, reason).with_header(ORIGIN_HEADER, origin)
}

/// The record as it was before it became a letter.
fn original(record: &LogRecord) -> Append {
    let mut append = Append::new(&record.key, record.payload.clone());
    append.headers = original_headers(&record.headers);
    append
}

/// The headers without those that dead letters add, of which there must be room for two.
fn original_headers(headers: &[Header]) -> Vec<Header> {
    let is_own = |header: &&Header| header.name == REASON_HEADER || header.name == ORIGIN_HEADER;
    headers.iter().filter(|header| !is_own(header)).take(HEADERS_MAX - 2).cloned().collect()
}

/// A dead letter.
#[derive(Clone, Debug)]
pub struct DeadLetter {
    /// Where it stands among the dead letters.
    pub position: Position,
    /// The photo; none where even that could not be read.
    pub photo: Option<AcceptedPhoto>,
    /// Why it is here.
    pub reason: String,
}

/// What became of letters that were sent again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Replayed {
    /// Photos that wait to be embedded again.
    pub sent: u64,
    /// Letters that nothing could be done about: the photo is gone, or was enrolled otherwise, or the letter cannot be read.
    pub dropped: u64,
    /// Letters that stay dead, each with this reason instead of its own: the photo's record is damaged.
    pub kept: u64,
}

/// What dead letters stand on.
#[derive(Clone)]
pub struct DeadLetters {
    /// The log.
    pub log: Arc<dyn EventLog>,
    /// Records.
    pub blobs: Arc<dyn BlobStore>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Nonces.
    pub random: Arc<dyn Random>,
}

impl DeadLetters {
    /// The letters that were not sent again yet, `limit` at most, oldest first in each partition.
    ///
    /// # Errors
    /// Where the log fails; `Unavailable` where it has letters and does not give them.
    pub async fn list(&self, limit: usize) -> PortResult<Vec<DeadLetter>> {
        let mut reading = self.join().await?;
        let mut letters = Vec::new();
        while letters.len() < limit {
            let records = reading.next(PAGE.min(limit - letters.len())).await?;
            if records.is_empty() {
                break;
            }
            letters.extend(records.iter().map(letter));
        }
        Ok(letters)
    }

    /// Sends all of them again: each record that set its photo aside accepts it anew, and that is said on the log. A letter
    /// is committed only then. One whose record is damaged becomes a new letter, behind the others.
    ///
    /// # Errors
    /// Where the log or the store fails; `Unavailable` where the log has letters and does not give them; `TooNew` where a newer
    /// version of the program has written a letter or its record. What was sent until then is sent.
    pub async fn replay(&self) -> PortResult<Replayed> {
        let mut reading = self.join().await?;
        let mut replayed = Replayed::default();
        loop {
            let records = reading.next(PAGE).await?;
            if records.is_empty() {
                return Ok(replayed);
            }
            for record in records {
                match self.send_again(&record).await {
                    Ok(true) => replayed.sent += 1,
                    Ok(false) => replayed.dropped += 1,
                    Err(error) if error.kind() == PortErrorKind::Corrupt => {
                        self.keep(&record, &error).await?;
                        replayed.kept += 1;
                    }
                    Err(error) => return Err(error),
                }
                let next = Position { offset: record.position.offset + 1, ..record.position };
                reading.subscription.commit(next).await?;
            }
        }
    }

    /// How many there are that were not sent again.
    ///
    /// # Errors
    /// Where the log fails.
    pub async fn waiting(&self) -> PortResult<u64> {
        crate::backlog::uncommitted(&*self.log, Topic::PhotosDead).await
    }

    /// Begins to read the letters that wait now.
    async fn join(&self) -> PortResult<Reading<'_>> {
        let subscription = self.log.subscribe(Topic::PhotosDead, GROUP).await?;
        let states = self.log.state(Topic::PhotosDead).await?;
        let committed = self.log.committed(Topic::PhotosDead, GROUP).await?;
        let waiting = states.iter().zip(lag(&states, &committed));
        let left = waiting.map(|(state, (partition, records))| {
            (partition, state.next_offset.saturating_sub(records)..state.next_offset)
        });
        Ok(Reading { of: self, subscription, left: left.collect() })
    }

    async fn send_again(&self, record: &LogRecord) -> PortResult<bool> {
        let photo = match stored::decode::<AcceptedPhoto>("read dead letter", &record.payload) {
            Ok(photo) => photo,
            Err(error) if error.kind() == PortErrorKind::Corrupt => return Ok(false),
            Err(error) => return Err(error),
        };
        if !self.accept_again(&photo).await? {
            return Ok(false);
        }
        self.log.append(Topic::Photos, original(record)).await?;
        Ok(true)
    }

    /// Makes it a new letter, of the same origin.
    async fn keep(&self, record: &LogRecord, error: &PortError) -> PortResult<()> {
        tracing::error!(%error, position = ?record.position, "a dead letter cannot be sent again; it is kept");
        let origin = record.header(ORIGIN_HEADER).cloned().unwrap_or_default();
        let kept = letter_from(record, &error.to_string(), origin);
        self.log.append(Topic::PhotosDead, kept).await?;
        Ok(())
    }

    /// Whether there is something to do with the record's photo now, by this or before.
    async fn accept_again(&self, photo: &AcceptedPhoto) -> PortResult<bool> {
        let records = Records::new(Arc::clone(&self.blobs), Arc::clone(&self.clock));
        for _ in 0..ATTEMPTS_MAX {
            let read = records.read(&photo.part, photo.image).await?;
            let Some(before) = &read.record else { return Ok(false) };
            // One that is enrolled was to be embedded anew, for another face model.
            if before.state == State::Accepted || (before.state == State::Enrolled && before.photo.is_some())
            {
                return Ok(true);
            }
            // Whether its time has come is for the worker to see, which knows the collection's rule.
            let write =
                Write { now: self.clock.now(), nonce: self.random.nonce(), cutoffs: Cutoffs::default() };
            let Some(after) = try_again(before, write) else { return Ok(false) };
            if records.write(&after, &read).await? == Written::Yes {
                return Ok(true);
            }
        }
        let error = PortError::new(PortErrorKind::Unavailable, "accept photo again");
        Err(error.because("the record is being changed by many at once"))
    }
}

/// A member of the group that reads the letters which waited when it joined: what comes later is no affair of its own, or letters that
/// come back would be sent again without end.
struct Reading<'a> {
    of: &'a DeadLetters,
    subscription: Box<dyn Subscription>,
    /// The offsets of each partition that it was not given yet.
    left: BTreeMap<u32, Range<u64>>,
}

impl Reading<'_> {
    /// The next letters, `limit` at most; none where none are left. That the log gives none says nothing: the group may not have come
    /// together yet, or another member may hold them.
    async fn next(&mut self, limit: usize) -> PortResult<Vec<LogRecord>> {
        let since = self.of.clock.now();
        while self.count() > 0 {
            let mut records = self.subscription.next(limit, WAIT).await?;
            records.retain(|record| self.take(record.position));
            if !records.is_empty() {
                return Ok(records);
            }
            self.see_what_others_did().await?;
            if self.count() > 0 && self.of.clock.now().since(since) >= PATIENCE {
                return Err(self.not_given());
            }
        }
        Ok(Vec::new())
    }

    fn count(&self) -> u64 {
        self.left.values().map(|left| left.end.saturating_sub(left.start)).sum()
    }

    /// Whether the letter at this position was left; it is not from now on.
    fn take(&mut self, position: Position) -> bool {
        let Some(left) = self.left.get_mut(&position.partition) else { return false };
        let was_left = left.contains(&position.offset);
        if was_left {
            left.start = position.offset + 1;
        }
        was_left
    }

    /// What another member has committed was sent again.
    async fn see_what_others_did(&mut self) -> PortResult<()> {
        for place in self.of.log.committed(Topic::PhotosDead, GROUP).await? {
            if let Some(left) = self.left.get_mut(&place.partition) {
                left.start = left.start.max(place.offset);
            }
        }
        Ok(())
    }

    fn not_given(&self) -> PortError {
        let reason = format!(
            "of the letters {} are left, and the log has given none for {} s: another process may hold them; try again",
            self.count(),
            PATIENCE.as_secs(),
        );
        PortError::new(PortErrorKind::Unavailable, "read dead letters").because(reason)
    }
}

fn letter(record: &LogRecord) -> DeadLetter {
    let reason = record.header(REASON_HEADER).map(|reason| String::from_utf8_lossy(reason).into_owned());
    DeadLetter {
        position: record.position,
        photo: AcceptedPhoto::decode(&record.payload).ok(),
        reason: reason.unwrap_or_default(),
    }
}
