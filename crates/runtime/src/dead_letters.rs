//! Dead letters: photos that could not be embedded, as the log keeps them, and how they are sent again.

use std::sync::Arc;
use std::time::Duration;

use vidimus_domain::codec::Stored;
use vidimus_domain::event::AcceptedPhoto;
use vidimus_domain::record::{State, Write, try_again};
use vidimus_domain::retention::Cutoffs;
use vidimus_ports::event_log::HEADERS_MAX;
use vidimus_ports::{
    Append, BlobStore, Clock, EventLog, Header, LogRecord, PortResult, Position, Random, Topic,
};

use crate::records::{Records, Written};

/// Why a record is a dead letter.
pub const REASON_HEADER: &str = "vidimus-reason";
/// Where it stood in the topic that it came from: `PARTITION/OFFSET`.
pub const ORIGIN_HEADER: &str = "vidimus-origin";

/// Who reads them. What this group has committed was sent again.
const GROUP: &str = "dead-letters";
/// Letters that are read at a time.
const PAGE: usize = 256;
/// How long the log may take to give what it has.
const WAIT: Duration = Duration::from_secs(1);
/// How often a record is read and decided anew.
const ATTEMPTS_MAX: usize = 32;

/// The longest that a reason may be.
const REASON_CHARACTERS_MAX: usize = 1000;

/// The record as a dead letter: its key, payload and headers as they were, why it is one, and where it stood.
#[must_use]
pub fn dead_letter(record: &LogRecord, reason: &str) -> Append {
    let mut letter = Append::new(&record.key, record.payload.clone());
    letter.headers = original_headers(&record.headers);
    let reason = reason.chars().take(REASON_CHARACTERS_MAX).collect::<String>();
    let origin = format!("{}/{}", record.position.partition, record.position.offset);
    letter.with_header(REASON_HEADER, reason).with_header(ORIGIN_HEADER, origin)
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
    record: LogRecord,
}

/// What became of letters that were sent again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Replayed {
    /// Photos that wait to be embedded again.
    pub sent: u64,
    /// Letters that nothing could be done about: the photo is gone, or was enrolled otherwise, or the letter cannot be read.
    pub dropped: u64,
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
    /// Where the log fails.
    pub async fn list(&self, limit: usize) -> PortResult<Vec<DeadLetter>> {
        let mut subscription = self.log.subscribe(Topic::PhotosDead, GROUP).await?;
        let mut left = self.waiting().await?;
        let mut letters = Vec::new();
        while letters.len() < limit && left > 0 {
            let records = subscription.next(PAGE.min(limit - letters.len()), WAIT).await?;
            if records.is_empty() {
                break;
            }
            left = left.saturating_sub(records.len() as u64);
            letters.extend(records.into_iter().map(letter));
        }
        Ok(letters)
    }

    /// Sends all of them again: each record that set its photo aside accepts it anew, and that is said on the log. A letter
    /// is committed only then.
    ///
    /// # Errors
    /// Where the log or the store fails; what was sent until then is sent.
    pub async fn replay(&self) -> PortResult<Replayed> {
        let mut subscription = self.log.subscribe(Topic::PhotosDead, GROUP).await?;
        let mut left = self.waiting().await?;
        let mut replayed = Replayed::default();
        while left > 0 {
            let records = subscription.next(PAGE, WAIT).await?;
            if records.is_empty() {
                break;
            }
            left = left.saturating_sub(records.len() as u64);
            for record in records {
                let position = record.position;
                if self.send_again(letter(record)).await? {
                    replayed.sent += 1;
                } else {
                    replayed.dropped += 1;
                }
                let next = Position { offset: position.offset + 1, ..position };
                subscription.commit(next).await?;
            }
        }
        Ok(replayed)
    }

    /// How many there are that were not sent again.
    ///
    /// # Errors
    /// Where the log fails.
    pub async fn waiting(&self) -> PortResult<u64> {
        crate::backlog::uncommitted(&*self.log, Topic::PhotosDead).await
    }

    async fn send_again(&self, letter: DeadLetter) -> PortResult<bool> {
        let Some(photo) = &letter.photo else { return Ok(false) };
        if !self.accept_again(photo).await? {
            return Ok(false);
        }
        let mut append = Append::new(&letter.record.key, letter.record.payload.clone());
        append.headers = original_headers(&letter.record.headers);
        self.log.append(Topic::Photos, append).await?;
        Ok(true)
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
        Ok(false)
    }
}

fn letter(record: LogRecord) -> DeadLetter {
    let reason = record.header(REASON_HEADER).map(|reason| String::from_utf8_lossy(reason).into_owned());
    DeadLetter {
        position: record.position,
        photo: AcceptedPhoto::decode(&record.payload).ok(),
        reason: reason.unwrap_or_default(),
        record,
    }
}
