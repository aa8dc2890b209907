//! What all processes share: the stores, time, chance, the auditor and the trace.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use vidimus_domain::codec::Stored;
use vidimus_domain::event::{AcceptedPhoto, Change};
use vidimus_domain::point::{Point, PointBody};
use vidimus_domain::record::{PhotoKey, Record};
use vidimus_domain::retention::Horizon;
use vidimus_domain::{FaceId, ImageId, Part, Placement, UnixMillis};

use crate::audit::{Auditor, Invariant};
use crate::blobs::{Blobs, Put};
use crate::catalog::{Catalog, PlacementHistory};
use crate::executor::{Late, Task};
use crate::index::{Index, PointWrite};
use crate::log::Log;
use crate::models::dimension;
use crate::random::Random;
use crate::rules::Rule;
use crate::user_audit::UserAuditor;

const TRACED: usize = 80;
pub const BEGIN: UnixMillis = UnixMillis::new(1_760_000_000_000);

/// How often what goes wrong, in a thousand effects or steps.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    /// A process dies.
    pub crash: u64,
    /// A call fails: without effect, after it, or the effect comes late.
    pub error: u64,
    /// A conditional put that won says that it lost.
    pub won_but_conflict: u64,
    /// A writer sleeps, where it is one that does.
    pub sleep: u64,
    /// The index loses power.
    pub power_loss: u64,
}

pub struct World {
    pub now: UnixMillis,
    pub random: Random,
    pub part: Part,
    pub blobs: Blobs,
    pub catalog: Catalog,
    pub placements: PlacementHistory,
    /// Changes to project.
    pub log: Log<Change>,
    /// Photos to embed.
    pub photo_log: Log<AcceptedPhoto>,
    pub index: Index,
    pub audit: Auditor,
    pub users: UserAuditor,
    /// Whether clients change users in this run.
    pub users_are_there: bool,
    /// Whether photos are brought in by jobs too in this run.
    pub bulk_is_there: bool,
    /// Whether the collection is moved, and searched by processes, in this run.
    pub moves_are_there: bool,
    /// Whether a move may turn it to another face model.
    pub models_turn: bool,
    /// Whether no further move begins.
    pub is_resting: bool,
    /// Placements that a move has gone to.
    pub entered: BTreeSet<Placement>,
    pub faults: Faults,
    pub broken: &'static [Rule],
    pub known_faces: Vec<FaceId>,
    pub spawned: Vec<Task>,
    pub late: Vec<Late>,
    pub counts: BTreeMap<&'static str, u64>,
    trace: VecDeque<(UnixMillis, String)>,
}

/// Why a record is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The enrolment of that number.
    Enrolment(u64),
    /// The bulk acceptance of that number.
    Acceptance(u64),
    /// The photo was embedded, or refused.
    Embedding,
    Deletion,
    Expiry,
    Association,
    Disassociation,
}

impl World {
    pub fn new(seed: u64, broken: &'static [Rule]) -> Self {
        let mut random = Random::new(seed);
        let part = Part {
            tenant: vidimus_domain::TenantId::from_random(random.bytes()),
            collection: vidimus_domain::CollectionUid::from_random(random.bytes()),
        };
        Self {
            now: BEGIN,
            random,
            part,
            blobs: Blobs::default(),
            catalog: Catalog::default(),
            placements: PlacementHistory::default(),
            log: Log::default(),
            photo_log: Log::default(),
            index: Index::default(),
            audit: Auditor::default(),
            users: UserAuditor::default(),
            users_are_there: false,
            bulk_is_there: false,
            moves_are_there: false,
            models_turn: false,
            is_resting: false,
            entered: BTreeSet::new(),
            faults: Faults::default(),
            broken,
            known_faces: Vec::new(),
            spawned: Vec::new(),
            late: Vec::new(),
            counts: BTreeMap::new(),
            trace: VecDeque::new(),
        }
    }

    pub fn keeps(&self, rule: Rule) -> bool {
        !self.broken.contains(&rule)
    }

    /// Counts that something happened, so that a test can say what the model reaches.
    pub fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    pub fn note(&mut self, line: String) {
        if self.trace.len() == TRACED {
            self.trace.pop_front();
        }
        self.trace.push_back((self.now, line));
    }

    pub fn trace(&self) -> String {
        let line = |(at, line): &(UnixMillis, String)| {
            let since = at.since(BEGIN);
            let seconds = since.as_secs();
            let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
            let (seconds, millis) = (seconds % 60, since.subsec_millis());
            format!("  {days}d {hours:02}:{minutes:02}:{seconds:02}.{millis:03} {line}\n")
        };
        self.trace.iter().map(line).collect()
    }

    pub fn put_record(&mut self, record: &Record, over: Option<u64>, cause: Cause) -> Put {
        let before = self.blobs.record(record.origin.image).map(|(before, _)| before);
        let put = self.blobs.put_record(record, over, self.keeps(Rule::CompareAndSwap));
        if put == Put::Done {
            self.check_photo(record);
            self.audit.record_written(before.as_ref(), record, cause);
            self.check_users();
            if self.random.chance(self.faults.won_but_conflict) {
                self.count("a put that won said that it lost");
                return Put::Conflict;
            }
        }
        put
    }

    fn check_photo(&mut self, record: &Record) {
        let image = record.origin.image;
        let gone = record.photo.as_ref().filter(|key| !self.blobs.has_photo(&self.part, image, key));
        if let Some(key) = gone {
            let what = format!("the record of {image} names photo {} that is not there", key.nonce);
            self.audit.broken(Invariant::Photo, what);
        }
    }

    /// Removes a photo and looks whether the record still has its own.
    pub fn remove_photo(&mut self, image: ImageId, key: &PhotoKey) {
        self.blobs.remove_photo(&self.part, image, key);
        if let Some((record, _)) = self.blobs.record(image) {
            self.check_photo(&record);
        }
    }

    /// Writes a point and has the auditor look at it.
    pub fn write_point(&mut self, placement: &Placement, point: &Point) -> PointWrite {
        let write = self.index.write(placement, point, self.keeps(Rule::VersionCondition));
        if let PointWrite::WentBack { had } = write {
            let what = format!("{} went from version {} to {}", point.face, had.get(), point.version.get());
            self.audit.broken(Invariant::I5, what);
        }
        if let PointBody::Live(live) = &point.body {
            let model = self.placements.face_model_in(placement);
            if model.is_none_or(|model| dimension(model) != live.template.dimension()) {
                let what = format!("{} is written into {placement} by another model", point.face);
                self.audit.broken(Invariant::I7, what);
            }
            self.audit.live_point_written(point.face, live.expires_at);
        }
        write
    }

    /// Whether a search would find the face now, wherever it may look.
    pub fn matches(&self, face: FaceId) -> bool {
        self.placements.believed(self.now).any(|placements| self.matches_in(&placements.read, face))
    }

    /// Whether a search of that index collection would find the face now, by any of the rules that it may believe.
    pub fn matches_in(&self, placement: &Placement, face: FaceId) -> bool {
        let Some(live) = self.index.live_point(placement, face) else { return false };
        let now = if self.keeps(Rule::SearchesHideExpired) { self.now } else { BEGIN };
        let mut cutoffs = self.catalog.believed(self.now).map(|retention| retention.cutoffs(self.now).faces);
        let keeps_the_rule = self.keeps(Rule::SearchesHideAged);
        cutoffs.any(|cutoff| {
            let faces_cutoff = cutoff.filter(|_| keeps_the_rule);
            live.is_shown_at(Horizon { now, faces_cutoff })
        })
    }

    /// Which faces can match by the rule in force.
    pub fn horizon(&self) -> Horizon {
        self.catalog.current().0.horizon(self.now)
    }

    /// What the auditor watches all the time: nothing that is dead matches (I3).
    pub fn watch(&mut self) {
        let (answered, any) = (self.catalog.cutoff_answered(self.now), self.catalog.cutoff_any(self.now));
        self.audit.time_passes(self.now, answered, any);
        if !self.index.is_ready() && self.keeps(Rule::SearchesWait) {
            return;
        }
        let found = self.audit.dead_at(self.now).find(|(face, _)| self.matches(*face));
        if let Some((face, why)) = found {
            self.audit.broken(Invariant::I3, format!("{face} matches, though it {why}"));
        }
        self.watch_users();
    }

    pub fn lose_power(&mut self) {
        self.index.lose_power(self.log.commits(), self.log.ends());
        self.count("the index lost power");
        self.note("the index loses power".to_owned());
    }

    /// The log is lost as a whole, where it has something to lose. One thing at a time: what the index has not flushed
    /// is not lost with it, and no power is lost before everything is reconciled.
    pub fn lose_log(&mut self) -> bool {
        if (self.log.is_consumed() && self.photo_log.is_consumed()) || !self.index.is_ready() {
            return false;
        }
        self.index.flush();
        self.log.lose();
        self.photo_log.lose();
        self.faults.power_loss = 0;
        self.count("the log was lost");
        self.note("the log is lost".to_owned());
        true
    }
}

/// A short name of an image for the trace.
pub fn short(image: ImageId) -> String {
    image.to_string()[..4].to_owned()
}

/// A record for the trace.
pub fn told(record: &Record) -> String {
    let faces = record.faces.iter().map(|face| {
        let mark = if face.live().is_some() { "" } else { " erased" };
        format!("{}@{}{mark}", face.number.get(), face.version.get() - BEGIN.get() as u64)
    });
    let faces = faces.collect::<Vec<_>>().join(", ");
    let bytes = record.encode().len();
    format!("{} {:?} [{faces}] ({bytes} bytes)", short(record.origin.image), record.state)
}
