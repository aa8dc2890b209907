//! A topic of the log with one consumer group.

use std::marker::PhantomData;
use std::time::Duration;

use vidimus_domain::codec::Stored;
use vidimus_domain::event::{AcceptedPhoto, Change};
use vidimus_domain::{ImageId, UnixMillis};

pub const PARTITIONS: usize = 2;

/// A consumer that has not asked for so long is taken for dead: its partitions go to whoever asks.
const SESSION: Duration = Duration::from_secs(30);

/// Who reads a partition. The generation tells a consumer that others have read it meanwhile.
#[derive(Clone, Copy, Default)]
struct Owner {
    consumer: Option<usize>,
    asked_at: UnixMillis,
    generation: u64,
}

/// A partition that a consumer may read.
#[derive(Clone, Copy)]
pub struct Assigned {
    pub partition: usize,
    pub generation: u64,
    pub committed: u64,
}

/// What a topic carries.
pub trait Event: Stored {
    /// The image, which picks the partition.
    fn image(&self) -> ImageId;
}

impl Event for Change {
    fn image(&self) -> ImageId {
        self.image
    }
}

impl Event for AcceptedPhoto {
    fn image(&self) -> ImageId {
        self.image
    }
}

/// Durable on return of `append`, until it is lost as a whole.
pub struct Log<E> {
    partitions: [Vec<Vec<u8>>; PARTITIONS],
    commits: [u64; PARTITIONS],
    owners: [Owner; PARTITIONS],
    /// The log's life: another one after it was lost.
    pub incarnation: u64,
    /// Whether something was appended since this was last asked: it wakes who waits for it.
    pub appended: bool,
    carries: PhantomData<E>,
}

impl<E> Default for Log<E> {
    fn default() -> Self {
        Self {
            partitions: Default::default(),
            commits: Default::default(),
            owners: Default::default(),
            incarnation: 0,
            appended: false,
            carries: PhantomData,
        }
    }
}

fn partition_of(image: ImageId) -> usize {
    usize::from(image.to_bytes()[0]) % PARTITIONS
}

impl<E: Event> Log<E> {
    pub fn append(&mut self, event: &E) {
        self.partitions[partition_of(event.image())].push(event.encode());
        self.appended = true;
    }

    /// The partitions of a consumer, which by asking shows that it lives.
    pub fn assignment(&mut self, consumer: usize, now: UnixMillis) -> Vec<Assigned> {
        let mut assigned = Vec::new();
        for (partition, owner) in self.owners.iter_mut().enumerate() {
            let preferred = partition % 2 == consumer;
            let dead = owner.consumer.is_none() || now.since(owner.asked_at) > SESSION;
            if owner.consumer != Some(consumer) && (dead || preferred) {
                *owner = Owner { consumer: Some(consumer), asked_at: now, generation: owner.generation + 1 };
            }
            if owner.consumer == Some(consumer) {
                owner.asked_at = now;
                let committed = self.commits[partition];
                assigned.push(Assigned { partition, generation: owner.generation, committed });
            }
        }
        assigned
    }

    pub fn read(&self, partition: usize, from: u64, limit: usize) -> Vec<E> {
        let events = self.partitions[partition].iter().skip(from as usize).take(limit);
        events.map(|bytes| E::decode(bytes).expect("an appended event is one")).collect()
    }

    /// Commits unless the log is another one now. A commit never goes back.
    pub fn commit(&mut self, incarnation: u64, partition: usize, next: u64) {
        if incarnation == self.incarnation {
            self.commits[partition] = self.commits[partition].max(next);
        }
    }

    pub fn commits(&self) -> [u64; PARTITIONS] {
        self.commits
    }

    pub fn ends(&self) -> [u64; PARTITIONS] {
        std::array::from_fn(|partition| self.partitions[partition].len() as u64)
    }

    pub fn is_consumed(&self) -> bool {
        self.commits == self.ends()
    }

    /// Everything is gone, commits too.
    pub fn lose(&mut self) {
        *self = Self { incarnation: self.incarnation + 1, ..Self::default() };
    }
}
