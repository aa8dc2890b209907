//! The encoder: threads of its own behind a bounded queue.

use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle};

use async_trait::async_trait;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;
use vidimus_domain::FaceModelName;
use vidimus_domain::geometry::Landmarks;
use vidimus_ports::{EncodedPhoto, EncoderError, FaceEncoder, PortError, PortErrorKind};

use crate::error::OnnxError;
use crate::pipeline::Pipeline;
use crate::queue::{Asked, Job, JobQueue, Templates};
use crate::runtime::OnnxRuntime;
use crate::store::Model;

/// How much an encoder takes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EncoderConfig {
    /// Threads that encode, each with the model loaded for itself (about 100 MB for `sface-2021dec`).
    pub workers: NonZeroUsize,
    /// Photos that wait at most; past them calls are refused as busy.
    pub queue_photos_max: NonZeroUsize,
}

impl Default for EncoderConfig {
    /// A thread for each core, and some 16 photos, about a second's work, waiting for each.
    fn default() -> Self {
        let workers = thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        Self { workers, queue_photos_max: workers.saturating_mul(WAITING_PER_WORKER) }
    }
}

/// Photos that wait for each worker by default.
const WAITING_PER_WORKER: NonZeroUsize = NonZeroUsize::new(16).unwrap();

/// A [`FaceEncoder`] on ONNX Runtime. Dropping it ends its threads, each after the photo that it is at.
#[derive(Debug)]
pub struct OnnxEncoder {
    face_model: FaceModelName,
    dimension: usize,
    queue: Arc<JobQueue>,
    workers: Vec<JoinHandle<()>>,
    /// Of each worker's models.
    runs: Vec<Arc<AtomicU64>>,
}

impl OnnxEncoder {
    /// Loads the model once for each worker and starts the workers.
    ///
    /// # Errors
    /// Where ONNX Runtime refuses the model, or a thread cannot be started.
    pub fn new(config: &EncoderConfig, runtime: &OnnxRuntime, model: &Model) -> Result<Self, OnnxError> {
        let mut encoder = Self {
            face_model: model.manifest.face_model()?,
            dimension: model.manifest.embedder.dimension,
            queue: Arc::new(JobQueue::new(config.queue_photos_max.get())),
            workers: Vec::with_capacity(config.workers.get()),
            runs: Vec::with_capacity(config.workers.get()),
        };
        for number in 0..config.workers.get() {
            let pipeline = Pipeline::new(runtime, model)?;
            encoder.runs.push(pipeline.runs());
            let queue = Arc::clone(&encoder.queue);
            let worker = thread::Builder::new()
                .name(format!("encode-{number}"))
                .spawn(move || work(&queue, pipeline))
                .map_err(|error| OnnxError::Inference(format!("start a thread: {error}")))?;
            encoder.workers.push(worker);
        }
        Ok(encoder)
    }

    /// How often a model ran so far, the detector or the embedder, on any thread. A call that is dropped before its turn adds
    /// nothing.
    #[must_use]
    pub fn model_runs(&self) -> u64 {
        self.runs.iter().map(|runs| runs.load(Ordering::Relaxed)).sum()
    }
}

/// Encodes until the queue is closed. A panic fails its photo and nothing else.
fn work(queue: &JobQueue, mut pipeline: Pipeline) {
    while let Some(job) = queue.pop() {
        // A caller that has gone meanwhile needs no answer.
        match job.asked {
            Asked::Faces(reply) => {
                let _ = reply.send(caught(|| pipeline.encode(&job.photo)));
            }
            Asked::Templates(landmarks, reply) => {
                let _ = reply.send(caught(|| pipeline.embed_at(&job.photo, &landmarks)));
            }
        }
    }
}

fn caught<T>(work: impl FnOnce() -> Result<T, EncoderError>) -> Result<T, EncoderError> {
    let worked = catch_unwind(AssertUnwindSafe(work));
    worked.unwrap_or_else(|_| Err(failed(PortErrorKind::Internal, "it panicked")))
}

fn failed(kind: PortErrorKind, reason: &'static str) -> EncoderError {
    EncoderError::Failed(PortError::new(kind, "encode photo").because(reason))
}

impl OnnxEncoder {
    async fn ask<T>(
        &self,
        photo: Bytes,
        asked: Asked,
        answer: oneshot::Receiver<Result<T, EncoderError>>,
    ) -> Result<T, EncoderError> {
        self.queue.push(Job { photo, asked }).map_err(|_| EncoderError::Busy)?;
        answer
            .await
            .unwrap_or_else(|_| Err(failed(PortErrorKind::Unavailable, "the encoder is shutting down")))
    }
}

impl Drop for OnnxEncoder {
    fn drop(&mut self) {
        self.queue.close();
        for worker in self.workers.drain(..) {
            // A worker catches every panic, so there is nothing to learn from how it ended.
            let _ = worker.join();
        }
    }
}

#[async_trait]
impl FaceEncoder for OnnxEncoder {
    fn face_model(&self) -> &FaceModelName {
        &self.face_model
    }

    fn dimension(&self) -> usize {
        self.dimension
    }

    async fn encode(&self, photo: Bytes) -> Result<EncodedPhoto, EncoderError> {
        let (reply, answer) = oneshot::channel();
        self.ask(photo, Asked::Faces(reply), answer).await
    }

    async fn embed_at(&self, photo: Bytes, landmarks: Vec<Landmarks>) -> Result<Templates, EncoderError> {
        let (reply, answer) = oneshot::channel();
        self.ask(photo, Asked::Templates(landmarks, reply), answer).await
    }
}
