//! A bulk job's stream: has each photo accepted, waits for what comes of it, and answers that.
//!
//! At most [`ACCEPTING_MAX`] photos are held and [`WAITING_MAX`] are waited for at a time; past that nothing more is taken from
//! the stream, so that its sender is slowed down by the stream's own flow control. Then [`TAKEN_AT_ONCE`] are taken at once when
//! there is room for them: what comes together is written together, for fewer syncs. What is not there yet is asked for oldest
//! first: photos are embedded in about the order in which they came.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::stream::{Stream, StreamExt};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tonic::Request;
use vidimus_domain::limits::PHOTO_BYTES_MAX;
use vidimus_domain::record::is_fresh;
use vidimus_domain::{ErrorCode, Failure, UnixMillis};
use vidimus_ports::{Clock, Random};
use vidimus_proto::internal::v1;
use vidimus_proto::internal::v1::ingestion_server::Ingestion;

use crate::errors::failure_from_status;
use crate::traces::{self, Origin};

/// Photos of one stream that are being accepted at a time.
pub const ACCEPTING_MAX: usize = 32;
/// Bytes of theirs, names included, where none has more than [`PHOTO_BYTES_MAX`].
pub const ACCEPTING_BYTES_MAX: usize = 4 * PHOTO_BYTES_MAX;
/// Photos of one stream that are accepted and waited for at a time.
pub const WAITING_MAX: usize = 1024;
/// Where so many waited for have been reached, as many as this are answered before more are taken.
const TAKEN_AT_ONCE: usize = 128;
/// Photos that are asked about at a time: few, since the rest of those that are asked in vain are asked again.
const ASKED_MAX: usize = 16;
/// The pause before what was not there yet is asked for again.
const ASK_PAUSE: Duration = Duration::from_millis(250);
/// The same where no more than [`ASKED_MAX`] are left of the job, whose end is waited for: it doubles with each time that none of
/// them was known, up to [`ASK_PAUSE`].
const LAST_ASK_PAUSE: Duration = Duration::from_millis(25);
/// A photo that was asked for so often lets those behind it go first.
const PATIENCE: u32 = 16;
/// Answers that wait for a slow reader.
const ANSWERS_MAX: usize = 64;
/// How often a photo is offered before it is given up, and the longest pause between: ten minutes in all.
const OFFERS_MAX: u32 = 64;
const OFFER_PAUSE_FIRST: Duration = Duration::from_millis(100);
const OFFER_PAUSE_LAST: Duration = Duration::from_secs(10);
/// The longest that one call may take.
const CALL_TIMEOUT: Duration = Duration::from_secs(60);

/// A photo of a job.
#[derive(Clone, Debug)]
pub struct JobPhoto {
    /// Its name in the job.
    pub name: String,
    /// The client's name for it; empty: none.
    pub external_image_id: String,
    /// Its bytes; why it is refused, where it is not even offered.
    pub photo: Result<Bytes, Failure>,
}

/// What has come of a photo.
#[derive(Clone, Debug)]
pub struct JobAnswer {
    /// Its name in the job.
    pub name: String,
    /// What has come of it; the failure where it could not be brought in now.
    pub state: Result<v1::BulkState, Failure>,
}

/// A job: whose photos go where.
#[derive(Clone)]
pub struct BulkJob {
    /// Takes the photos.
    pub ingestion: Arc<dyn Ingestion>,
    /// For pauses.
    pub clock: Arc<dyn Clock>,
    /// For their jitter.
    pub random: Arc<dyn Random>,
    /// Where faces go.
    pub collection: v1::CollectionRef,
    /// Who brings them.
    pub caller: v1::Caller,
    /// What the job is known by across its retries.
    pub job_id: String,
    /// How long the sender may be silent while nothing is waited for.
    pub silence_max: Duration,
}

/// The answers of a job, in the order in which they become known. A failure ends it.
pub type JobAnswers = mpsc::Receiver<Result<JobAnswer, Failure>>;

impl BulkJob {
    /// Runs the job over `photos` until all are answered, the stream fails, or nobody reads the answers any more. Where the
    /// sender has no photo yet and says that it is still there, none comes.
    #[must_use]
    pub fn run<S>(self, photos: S) -> JobAnswers
    where
        S: Stream<Item = Result<Option<JobPhoto>, Failure>> + Send + 'static,
    {
        let (answers, reader) = mpsc::channel(ANSWERS_MAX);
        let session = Session {
            photos: Box::pin(photos),
            has_ended: false,
            is_full: false,
            accepting: JoinSet::new(),
            accepting_bytes: 0,
            waiting: VecDeque::new(),
            ask_at: self.clock.now(),
            last_pause: LAST_ASK_PAUSE,
            heard_at: self.clock.now(),
            answers: answers.clone(),
            origin: Origin::current(),
            job: Arc::new(self),
        };
        tokio::spawn(async move {
            if let Err(failure) = session.run().await {
                // Where nobody reads there is nobody to tell.
                let _ = answers.send(Err(failure)).await;
            }
        });
        reader
    }

    /// Offers a photo until it is taken, refused for good, or has been offered often enough, and for less than an hour: what one
    /// offer did is remembered for a day, and a job that slept longer would bring back what was deleted meanwhile.
    async fn accept(&self, photo: JobPhoto) -> Result<v1::BulkState, Failure> {
        let request = self.request(photo)?;
        let (mut pause, mut offers) = (OFFER_PAUSE_FIRST, 1);
        let offered_at = self.clock.now();
        loop {
            let failure = match in_time(self.ingestion.accept_photo(Request::new(request.clone()))).await {
                Ok(state) => return Ok(state.into_inner()),
                Err(failure) => failure,
            };
            let may_help = failure.is_retryable() || failure.code == ErrorCode::Conflict;
            if !may_help || offers >= OFFERS_MAX {
                return Err(failure);
            }
            offers += 1;
            let hint = failure.retry_after.unwrap_or_default().min(OFFER_PAUSE_LAST);
            self.clock.sleep(self.jittered(pause.max(hint))).await;
            if !is_fresh(offered_at, self.clock.now()) {
                return Err(failure);
            }
            pause = (pause * 2).min(OFFER_PAUSE_LAST);
        }
    }

    fn request(&self, photo: JobPhoto) -> Result<v1::AcceptPhotoRequest, Failure> {
        Ok(v1::AcceptPhotoRequest {
            collection: Some(self.collection.clone()),
            caller: Some(self.caller.clone()),
            job_id: self.job_id.clone(),
            name: photo.name,
            external_image_id: photo.external_image_id,
            photo: photo.photo?,
        })
    }

    async fn ask(&self, image_ids: Vec<Vec<u8>>) -> Result<Vec<v1::BulkState>, Failure> {
        let request = v1::BulkStatesRequest {
            collection: Some(self.collection.clone()),
            job_id: self.job_id.clone(),
            image_ids,
        };
        Ok(in_time(self.ingestion.bulk_states(Request::new(request))).await?.into_inner().states)
    }

    /// Between half of it and all of it.
    fn jittered(&self, pause: Duration) -> Duration {
        let share = f64::from(self.random.bytes16()[0]) / f64::from(u8::MAX);
        pause.mul_f64(0.5 + share / 2.0)
    }
}

async fn in_time<T>(call: impl Future<Output = Result<T, tonic::Status>>) -> Result<T, Failure> {
    match tokio::time::timeout(CALL_TIMEOUT, call).await {
        Ok(answer) => answer.map_err(|status| failure_from_status(&status)),
        Err(_) => Err(Failure::unavailable("ingestion is slow", Duration::from_secs(1))),
    }
}

/// A photo that is accepted and not embedded yet.
struct Waiting {
    name: String,
    image_id: Vec<u8>,
    asked: u32,
}

struct Session {
    job: Arc<BulkJob>,
    photos: Pin<Box<dyn Stream<Item = Result<Option<JobPhoto>, Failure>> + Send>>,
    has_ended: bool,
    /// So many are waited for that no more are taken.
    is_full: bool,
    /// Photos that are being accepted, with their bytes. Each in a task of its own: it may hold what an answer here waits for.
    accepting: JoinSet<(usize, JobAnswer)>,
    accepting_bytes: usize,
    waiting: VecDeque<Waiting>,
    ask_at: UnixMillis,
    /// The next pause while the job's end is waited for.
    last_pause: Duration,
    /// When the sender was heard of last, or something was waited for.
    heard_at: UnixMillis,
    answers: mpsc::Sender<Result<JobAnswer, Failure>>,
    /// The request that brings the job. Its photos are too many for one trace.
    origin: Origin,
}

impl Session {
    async fn run(mut self) -> Result<(), Failure> {
        loop {
            let is_idle = self.accepting.is_empty() && self.waiting.is_empty();
            if self.has_ended && is_idle {
                return Ok(());
            }
            let has_room = self.has_room();
            let now = self.job.clock.now();
            if !is_idle {
                self.heard_at = now;
            }
            let silent_until = self.heard_at.plus(self.job.silence_max);
            let job = Arc::clone(&self.job);
            tokio::select! {
                photo = self.photos.next(), if has_room && !self.has_ended => self.take(photo)?,
                Some(accepted) = self.accepting.join_next() => {
                    let (bytes, accepted) = accepted.map_err(|_| Failure::new(ErrorCode::Internal, "internal error"))?;
                    self.accepting_bytes -= bytes;
                    self.accepted(accepted).await?;
                }
                () = job.clock.sleep(self.ask_at.since(now)), if !self.waiting.is_empty() => self.ask().await?,
                () = job.clock.sleep(silent_until.since(now)), if is_idle => return Err(silent()),
                () = self.answers.closed() => return Ok(()),
            }
        }
    }

    /// Whether one more photo may be taken.
    fn has_room(&mut self) -> bool {
        let held = self.accepting.len() + self.waiting.len();
        self.is_full = held >= WAITING_MAX || self.is_full && held > WAITING_MAX - TAKEN_AT_ONCE;
        let has_room = self.accepting.len() < ACCEPTING_MAX
            && self.accepting_bytes + PHOTO_BYTES_MAX <= ACCEPTING_BYTES_MAX;
        has_room && !self.is_full
    }

    fn take(&mut self, said: Option<Result<Option<JobPhoto>, Failure>>) -> Result<(), Failure> {
        let Some(photo) = said.transpose()? else {
            self.has_ended = true;
            return Ok(());
        };
        self.heard_at = self.job.clock.now();
        let Some(photo) = photo else { return Ok(()) };
        let job = Arc::clone(&self.job);
        let part = self.origin.part("bulk photo");
        let bytes =
            photo.photo.as_ref().map_or(0, Bytes::len) + photo.name.len() + photo.external_image_id.len();
        self.accepting_bytes += bytes;
        let accepting = async move {
            let name = photo.name.clone();
            let state = traces::noted(part, job.accept(photo)).await;
            (bytes, JobAnswer { name, state })
        };
        self.accepting.spawn(accepting);
        Ok(())
    }

    async fn accepted(&mut self, answer: JobAnswer) -> Result<(), Failure> {
        match &answer.state {
            Ok(state) if state.outcome() == v1::BulkOutcome::Waiting => {
                let image_id = state.image_id.clone();
                self.waiting.push_back(Waiting { name: answer.name, image_id, asked: 0 });
            }
            // What holds for one photo of the job holds for all.
            Err(failure) if ends_the_job(failure.code) => return Err(failure.clone()),
            _ => self.answer(answer).await,
        }
        Ok(())
    }

    /// Asks for the oldest. Where all of them are known, the next may be asked for at once.
    async fn ask(&mut self) -> Result<(), Failure> {
        let oldest = self.waiting.iter().take(ASKED_MAX).map(|waiting| waiting.image_id.clone());
        let states = match self.job.ask(oldest.collect()).await {
            Ok(states) => states,
            Err(failure) if failure.is_retryable() => Vec::new(),
            Err(failure) => return Err(failure),
        };
        let asked = states.len();
        let mut still_waiting = Vec::new();
        for state in states {
            let Some(mut waiting) = self.waiting.pop_front() else { break };
            if state.outcome() == v1::BulkOutcome::Waiting {
                waiting.asked += 1;
                still_waiting.push(waiting);
            } else {
                self.answer(JobAnswer { name: waiting.name, state: Ok(state) }).await;
            }
        }
        let pause = self.pause_after(asked, still_waiting.len());
        for waiting in still_waiting.into_iter().rev() {
            if waiting.asked % PATIENCE == 0 {
                self.waiting.push_back(waiting);
            } else {
                self.waiting.push_front(waiting);
            }
        }
        self.ask_at = self.job.clock.now().plus(pause);
        Ok(())
    }

    /// The pause after so many were asked about, of which so many are still waited for.
    fn pause_after(&mut self, asked: usize, still_waiting: usize) -> Duration {
        let are_last = self.has_ended && self.accepting.is_empty() && self.waiting.is_empty();
        if asked > 0 && still_waiting == 0 {
            Duration::ZERO
        } else if asked == 0 || !are_last {
            ASK_PAUSE
        } else {
            let pause = if still_waiting < asked { LAST_ASK_PAUSE } else { self.last_pause };
            self.last_pause = (pause * 2).min(ASK_PAUSE);
            pause
        }
    }

    async fn answer(&mut self, answer: JobAnswer) {
        // Where nobody reads any more, the loop ends at its next turn.
        let _ = self.answers.send(Ok(answer)).await;
    }
}

fn silent() -> Failure {
    Failure::new(ErrorCode::InvalidParameter, "no photo came for too long: begin the job again")
}

/// Failures that are not one photo's.
const fn ends_the_job(code: ErrorCode) -> bool {
    matches!(code, ErrorCode::NotFound | ErrorCode::Denied | ErrorCode::Unauthenticated)
}

#[cfg(test)]
mod tests;
