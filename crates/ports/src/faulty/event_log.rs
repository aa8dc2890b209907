//! An [`EventLog`] with interference.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use vidimus_domain::Nonce;

use super::stage::{Interference, Moment, Stage, around};
use crate::error::PortResult;
use crate::event_log::{Append, Committed, EventLog, LogRecord, Position, Subscription, Topic, TopicState};

/// Decorates an [`EventLog`] and its subscriptions.
pub struct FaultyEventLog {
    inner: Arc<dyn EventLog>,
    interference: Arc<dyn Interference>,
}

impl FaultyEventLog {
    /// `inner`, with `interference` around its calls.
    #[must_use]
    pub fn new(inner: Arc<dyn EventLog>, interference: Arc<dyn Interference>) -> Self {
        Self { inner, interference }
    }
}

#[async_trait]
impl EventLog for FaultyEventLog {
    async fn append(&self, topic: Topic, record: Append) -> PortResult<Position> {
        around(&*self.interference, Stage::Append(topic), self.inner.append(topic, record)).await
    }

    async fn subscribe(&self, topic: Topic, group: &str) -> PortResult<Box<dyn Subscription>> {
        let inner = around(&*self.interference, Stage::LogRead, self.inner.subscribe(topic, group)).await?;
        Ok(Box::new(FaultySubscription { inner, interference: self.interference.clone() }))
    }

    async fn state(&self, topic: Topic) -> PortResult<Vec<TopicState>> {
        around(&*self.interference, Stage::LogRead, self.inner.state(topic)).await
    }

    async fn committed(&self, topic: Topic, group: &str) -> PortResult<Vec<Committed>> {
        around(&*self.interference, Stage::LogRead, self.inner.committed(topic, group)).await
    }

    async fn trim(&self, topic: Topic, position: Position) -> PortResult<()> {
        around(&*self.interference, Stage::Trim, self.inner.trim(topic, position)).await
    }

    async fn incarnation(&self) -> PortResult<Nonce> {
        around(&*self.interference, Stage::LogRead, self.inner.incarnation()).await
    }
}

struct FaultySubscription {
    inner: Box<dyn Subscription>,
    interference: Arc<dyn Interference>,
}

#[async_trait]
impl Subscription for FaultySubscription {
    fn incarnation(&self) -> Nonce {
        self.inner.incarnation()
    }

    /// Interferes before the read alone: what a failure after it withheld would never be given to this consumer again.
    async fn next(&mut self, limit: usize, wait: Duration) -> PortResult<Vec<LogRecord>> {
        self.interference.at(Stage::LogRead, Moment::Before).await?;
        self.inner.next(limit, wait).await
    }

    async fn commit(&mut self, next: Committed) -> PortResult<()> {
        around(&*self.interference, Stage::Commit, self.inner.commit(next)).await
    }
}
