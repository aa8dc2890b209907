//! The bounded queue between callers and the threads that encode.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::oneshot;
use vidimus_domain::Template;
use vidimus_domain::geometry::Landmarks;
use vidimus_ports::{EncodedPhoto, EncoderError};

/// Templates at given landmarks, each where the face could be aligned.
pub type Templates = Vec<Option<Template>>;

/// A photo that waits, and what is asked of it.
#[derive(Debug)]
pub struct Job {
    /// Its bytes.
    pub photo: Bytes,
    /// What is asked, and whom the answer goes to.
    pub asked: Asked,
}

/// What is asked of a photo, and by whom: a reply is closed where its caller has gone.
#[derive(Debug)]
pub enum Asked {
    /// Its faces.
    Faces(oneshot::Sender<Result<EncodedPhoto, EncoderError>>),
    /// The templates of faces that were found before.
    Templates(Vec<Landmarks>, oneshot::Sender<Result<Templates, EncoderError>>),
}

impl Asked {
    fn is_closed(&self) -> bool {
        match self {
            Self::Faces(reply) => reply.is_closed(),
            Self::Templates(_, reply) => reply.is_closed(),
        }
    }
}

/// A first-in, first-out queue of limited length. Jobs whose callers have gone neither count nor run.
#[derive(Debug)]
pub struct JobQueue {
    state: Mutex<State>,
    changed: Condvar,
    jobs_max: usize,
}

#[derive(Debug, Default)]
struct State {
    jobs: VecDeque<Job>,
    closed: bool,
}

impl JobQueue {
    /// A queue of at most `jobs_max` waiting jobs.
    #[must_use]
    pub fn new(jobs_max: usize) -> Self {
        Self { state: Mutex::default(), changed: Condvar::new(), jobs_max }
    }

    /// Adds a job, or gives it back where the queue is full or closed.
    pub fn push(&self, job: Job) -> Result<(), Job> {
        let mut state = self.lock();
        if state.jobs.len() >= self.jobs_max {
            state.jobs.retain(|waiting| !waiting.asked.is_closed());
        }
        if state.closed || state.jobs.len() >= self.jobs_max {
            return Err(job);
        }
        state.jobs.push_back(job);
        self.changed.notify_one();
        Ok(())
    }

    /// Waits for the next job whose caller still waits; none once the queue is closed.
    pub fn pop(&self) -> Option<Job> {
        let mut state = self.lock();
        loop {
            if state.closed {
                return None;
            }
            match state.jobs.pop_front() {
                Some(job) if job.asked.is_closed() => {}
                Some(job) => return Some(job),
                None => state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }

    /// Ends every `pop`; jobs that wait are dropped, which their callers see.
    pub fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        state.jobs.clear();
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::thread;

    use super::*;

    type Answer = oneshot::Receiver<Result<EncodedPhoto, EncoderError>>;

    fn job(name: &'static str) -> (Job, Answer) {
        let (reply, answer) = oneshot::channel();
        (Job { photo: Bytes::from_static(name.as_bytes()), asked: Asked::Faces(reply) }, answer)
    }

    #[test]
    fn a_full_queue_refuses_until_a_caller_goes() {
        let queue = JobQueue::new(2);
        let (first, first_answer) = job("first");
        let (second, _second_answer) = job("second");
        let (third, _third_answer) = job("third");
        queue.push(first).unwrap();
        queue.push(second).unwrap();
        let third = queue.push(third).unwrap_err();
        drop(first_answer);
        queue.push(third).unwrap();
        assert_eq!(queue.pop().unwrap().photo, "second");
        assert_eq!(queue.pop().unwrap().photo, "third");
    }

    #[test]
    fn a_job_whose_caller_has_gone_is_skipped() {
        let queue = JobQueue::new(4);
        let (first, answer) = job("first");
        let (second, _answer) = job("second");
        queue.push(first).unwrap();
        queue.push(second).unwrap();
        drop(answer);
        assert_eq!(queue.pop().unwrap().photo, "second");
    }

    #[test]
    fn closing_ends_waiters_and_drops_jobs() {
        let queue = Arc::new(JobQueue::new(1));
        let waiter = thread::spawn({
            let queue = Arc::clone(&queue);
            move || queue.pop().is_none()
        });
        queue.close();
        assert!(waiter.join().unwrap());
        let (late, mut answer) = job("late");
        drop(queue.push(late).unwrap_err());
        assert!(answer.try_recv().is_err());
    }
}
