//! Puts on their way to the disk: one by itself, what comes meanwhile in rounds.
//!
//! A put by itself is at its end soonest. Many at a time have the disk write the same blocks of inodes and folders over and over,
//! with a sleep of the thread and an interrupt for each; written together they are two syncs of the whole disk, however many
//! they are, and one of each folder that is new. A round takes all that wait when it begins, so that the more come at a time, the more are written together.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::{OwnedRwLockWriteGuard, oneshot};
use vidimus_domain::blob_key::BlobKey;
use vidimus_ports::{Etag, PortResult, PutCondition};

use super::{Store, ended};
use crate::lanes::Admission;

/// Puts of one round, and the bytes after which it takes no more.
const ROUND_MAX: usize = 64;
const ROUND_BYTES: usize = 16 << 20;

/// A put that was admitted, and whose key is locked.
pub(super) struct Put {
    pub(super) key: BlobKey,
    pub(super) bytes: Bytes,
    pub(super) condition: PutCondition,
    /// Held until it is done.
    pub(super) _held: (Admission, OwnedRwLockWriteGuard<()>),
}

/// Has puts written.
#[derive(Clone)]
pub(super) struct Puts(Arc<Shared>);

struct Shared {
    store: Arc<Store>,
    queue: Mutex<Queue>,
}

#[derive(Default)]
struct Queue {
    /// They wait for a round. While there are any, its thread is there.
    waiting: VecDeque<Waiting>,
    /// A thread writes a put by itself.
    has_one: bool,
    /// A thread writes rounds.
    has_rounds: bool,
}

struct Waiting {
    put: Put,
    reply: oneshot::Sender<PortResult<Etag>>,
}

impl Puts {
    pub(super) fn new(store: Arc<Store>) -> Self {
        Self(Arc::new(Shared { store, queue: Mutex::default() }))
    }

    /// Writes it in its turn. It is written to its end, whether or not the caller still waits.
    pub(super) async fn put(&self, put: Put) -> PortResult<Etag> {
        let (reply, answer) = oneshot::channel();
        self.come(Waiting { put, reply });
        answer.await.map_err(|_| ended())?
    }

    fn come(&self, waiting: Waiting) {
        let mut queue = self.0.queue();
        let shared = Arc::clone(&self.0);
        if !queue.has_one && queue.waiting.is_empty() {
            queue.has_one = true;
            tokio::task::spawn_blocking(move || write_one(shared, waiting));
            return;
        }
        queue.waiting.push_back(waiting);
        if !queue.has_rounds {
            queue.has_rounds = true;
            tokio::task::spawn_blocking(move || write_rounds(shared));
        }
    }
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes them to their ends. A panic leaves none of them with an answer, and takes nobody else with it.
    fn write(&self, round: Vec<Waiting>) -> Answers {
        let (puts, replies): (Vec<Put>, Vec<_>) =
            round.into_iter().map(|waiting| (waiting.put, waiting.reply)).unzip();
        let write = || match &puts[..] {
            [one] => vec![self.store.put(&one.key, &one.bytes, &one.condition)],
            puts => {
                let objects = puts.iter().map(|put| (&put.key, &put.bytes[..], &put.condition));
                self.store.put_together(&objects.collect::<Vec<_>>())
            }
        };
        let answers = catch_unwind(AssertUnwindSafe(write)).unwrap_or_default();
        Answers(replies.into_iter().zip(answers).collect())
    }
}

/// Whoever has an answer may drop the store and open it anew: the thread lets go of it first.
fn write_one(shared: Arc<Shared>, waiting: Waiting) {
    let answers = shared.write(vec![waiting]);
    shared.queue().has_one = false;
    drop(shared);
    answers.send();
}

/// Until nobody waits.
fn write_rounds(shared: Arc<Shared>) {
    let mut round = shared.queue().next_round();
    while !round.is_empty() {
        let answers = shared.write(round);
        round = shared.queue().next_round();
        if round.is_empty() {
            drop(shared);
            return answers.send();
        }
        answers.send();
    }
}

/// Answers to puts that are done, whose keys are free.
struct Answers(Vec<(oneshot::Sender<PortResult<Etag>>, PortResult<Etag>)>);

impl Answers {
    fn send(self) {
        for (reply, answer) in self.0 {
            // Whoever does not wait any more is not told.
            let _ = reply.send(answer);
        }
    }
}

impl Queue {
    /// The puts of the next round; where there are none, the rounds have ended.
    fn next_round(&mut self) -> Vec<Waiting> {
        let (mut round, mut bytes) = (Vec::new(), 0);
        while round.len() < ROUND_MAX && bytes < ROUND_BYTES {
            let Some(next) = self.waiting.pop_front() else { break };
            bytes += next.put.bytes.len();
            round.push(next);
        }
        self.has_rounds = !round.is_empty();
        round
    }
}
