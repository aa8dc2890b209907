//! The bulk lane: ingestion accepts photos, workers embed them, and clients wait for what comes of each.

use std::collections::BTreeMap;
use std::time::Duration;

use vidimus_domain::face::DetectedFace;
use vidimus_domain::record::{
    Acceptance, BulkPhoto, PhotoKey, Record, State, Write, accept, embedded, is_fresh, refuse,
};
use vidimus_domain::time::ERASED_KEPT;
use vidimus_domain::{FaceId, ImageId, RequestId, Version};

use crate::client::{Sent, draw_enrolment, patience, wait_a_little};
use crate::executor::{Kind, Lost, Process};
use crate::ingestion::EnrolmentRequest;
use crate::log::Assigned;
use crate::models::{self, by_model};
use crate::random::{hours, millis, minutes};
use crate::records::Written;
use crate::reply::Reply;
use crate::rules::Rule;
use crate::world::Cause;

/// The longest that a job is begun again after its photo is known to have waited still: with the longest that a call is on its
/// way, less than the day for which it is remembered from then on.
const AGAIN_FOR: Duration = hours(8);

/// What has come of a job's photo.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It waits, for this job or for one that it found there.
    Waiting,
    /// These faces are its own.
    Enrolled(Vec<FaceId>),
    /// Somebody else brought it in, it was refused, or its faces are gone.
    Otherwise,
}

/// Accepts a photo. On return its record is written and it is said on the log, or something has come of it already. Returns the
/// version of the record that holds it.
async fn accept_photo(process: &Process, request: &EnrolmentRequest) -> Result<Version, Lost> {
    let (image, began) = (request.origin.image, process.now());
    loop {
        if !is_fresh(began, process.now()) && process.keeps(Rule::AttemptDeadline) {
            process.count("an attempt was too old");
            return Err(Lost);
        }
        let read = process.read_record(image).await?;
        let before = read.record.map(|record| forgetful(process, record));
        let photos_removed = process.remove_photos(before.as_ref()).await;
        // The key of a photo that may not be needed: it is put only where it is.
        let remembers = process.keeps(Rule::RequestMemory);
        let id = if remembers { request.id.clone() } else { forgotten(process) };
        let write = Write { now: process.now(), nonce: process.nonce(), cutoffs: process.cutoffs() };
        let photo = PhotoKey::new(process.now(), process.nonce());
        let would = BulkPhoto { request: id.clone(), photo, photos_removed: photos_removed.clone() };
        match accept(&request.origin, before.as_ref(), would, write) {
            Ok(Acceptance::Changed(_)) => {}
            Ok(Acceptance::AlreadyDone | Acceptance::AlreadyThere) => {
                return say_again(process, before.as_ref()).await;
            }
            Err(_) => return Err(Lost),
        }
        let put = process.put_photo(image).await?;
        let write = Write { now: process.now(), nonce: process.nonce(), cutoffs: process.cutoffs() };
        let bulk = BulkPhoto { request: id, photo: put.key.clone(), photos_removed };
        let Ok(Acceptance::Changed(record)) = accept(&request.origin, before.as_ref(), bulk, write) else {
            continue;
        };
        let in_time = is_fresh(put.at, process.now()) || !process.keeps(Rule::PhotoFreshness);
        let read = crate::records::Read { record: before, ..read };
        let cause = Cause::Acceptance(request.number);
        if in_time && process.write_record(&record, &read, cause).await? == Written::Yes {
            process.count("a photo was accepted");
            process.append_photo(image).await?;
            return Ok(record.version);
        }
    }
}

/// Who finds the photo waiting says so again: whoever accepted it may have died before (rule 3).
async fn say_again(process: &Process, record: Option<&Record>) -> Result<Version, Lost> {
    let record = record.ok_or(Lost)?;
    if record.state == State::Accepted && process.keeps(Rule::AcceptanceAppendsAgain) {
        process.count("a retry found its photo accepted");
        process.append_photo(record.origin.image).await?;
    }
    Ok(record.version)
}

fn forgotten(process: &Process) -> RequestId {
    process.nonce().to_string().parse().expect("a nonce is a request id")
}

/// With its rule broken, a request is forgotten a day after it came, whether its photo has been embedded or not.
fn forgetful(process: &Process, mut record: Record) -> Record {
    if !process.keeps(Rule::WaitingRequestsStay) {
        let now = process.now();
        record.requests.retain(|request| now.since(request.at) < ERASED_KEPT);
    }
    record
}

/// What has come of the photo, by its record.
async fn outcome(process: &Process, request: &EnrolmentRequest) -> Result<Outcome, Lost> {
    let read = process.read_record(request.origin.image).await?;
    let Some(record) = read.record else { return Ok(Outcome::Otherwise) };
    if record.waits_for(&request.id) {
        return Ok(Outcome::Waiting);
    }
    let live = |number| record.face(number).is_some_and(|face| face.live().is_some());
    Ok(match record.remembered(&request.id) {
        Some(mine) if !mine.faces.is_empty() && mine.faces.iter().all(|number| live(*number)) => {
            Outcome::Enrolled(mine.faces.iter().map(|number| record.face_id(*number)).collect())
        }
        _ => Outcome::Otherwise,
    })
}

/// A job of one photo: has it accepted, waits for what comes of it, and is begun again for as long as it may be, also when
/// that is known. Whoever was not told what has come of it cannot tell since when it is remembered for a day only: that day
/// counts from when its photo waited for certain. What waits after that day may be somebody else's.
pub async fn run_job(process: &Process) {
    let sent = process.with(draw_enrolment);
    let (mut waited_at, mut is_known) = (sent.issued_at, false);
    for attempt in 0..12 {
        let is_late = process.now().since(waited_at) > AGAIN_FOR;
        if (is_late && process.keeps(Rule::JobsAreBegunAgainInTime)) || (is_known && attempt > 8) {
            return;
        }
        if begin(process, &sent).await.is_err() {
            process.count("a job was begun again");
            wait_a_little(process).await;
            continue;
        }
        for _ in 0..20 {
            let asked_at = process.now();
            match outcome(process, &sent.request).await {
                Ok(Outcome::Waiting) => {
                    if asked_at.since(waited_at) <= AGAIN_FOR {
                        waited_at = asked_at;
                    }
                    let pause = process.with(|world| world.random.between(millis(100), hours(4)));
                    process.sleep(pause).await;
                }
                Ok(outcome) => {
                    is_known = true;
                    answered(process, &sent, outcome);
                    break;
                }
                Err(Lost) => wait_a_little(process).await,
            }
        }
        let pause = process.with(|world| world.random.between(millis(0), hours(3)));
        process.sleep(pause).await;
    }
}

fn answered(process: &Process, sent: &Sent, outcome: Outcome) {
    let Outcome::Enrolled(faces) = outcome else { return };
    process.with(|world| {
        world.note("bulk: answers".to_owned());
        world.count("a job's photo was enrolled");
        world.audit.enrolment_answered(sent.request.number, sent.issued_at, &faces);
        let known = faces.iter().filter(|face| !world.known_faces.contains(face)).collect::<Vec<_>>();
        let known = known.into_iter().copied().collect::<Vec<_>>();
        world.known_faces.extend(known);
    });
}

async fn begin(process: &Process, sent: &Sent) -> Result<(), Lost> {
    let (reply, sent) = (Reply::default(), sent.clone());
    let accepted = reply.clone();
    process.spawn(Kind::Server, "bulk", |server| async move {
        let taken = accept_photo(&server, &sent.request).await;
        if let Ok(version) = taken {
            server.with(|world| world.audit.acceptance_answered(sent.request.origin.image, version));
        }
        accepted.give(taken.map(drop));
    });
    let wait = process.with(|world| patience(&mut world.random));
    reply.wait(process, wait).await
}

/// What the encoder finds in an image: nothing in some, and always the same faces in the others.
fn encode(image: ImageId, process: &Process) -> Vec<DetectedFace> {
    let faces = u64::from(image.to_bytes()[3]) % 4;
    let photo = u64::from(image.to_bytes()[2]) % 2;
    (0..faces)
        .map(|face| process.with(|world| crate::client::detected(photo, face, &mut world.random)))
        .collect()
}

/// Embeds one photo as its record is now. On return its record says what came of it, and that is said on the log.
async fn embed(process: &Process, image: ImageId) -> Result<(), Lost> {
    loop {
        let read = process.read_record(image).await?;
        let Some(before) = &read.record else { return Ok(()) };
        if before.state != State::Accepted {
            process.count("a worker found a photo embedded");
            process.remove_photos(Some(before)).await;
            if process.with(|world| world.models_turn) {
                models::complete(process, image).await?;
            }
            if process.keeps(Rule::EmbeddingAppendsAgain) {
                process.append_change_of(before).await?;
            }
            return Ok(());
        }
        let before = forgetful(process, before.clone());
        // The time that encoding takes.
        let pause = process.with(|world| world.random.between(millis(1), minutes(1)));
        process.sleep(pause).await;
        let faces = encode(image, process);
        let write = Write { now: process.now(), nonce: process.nonce(), cutoffs: process.cutoffs() };
        let after = if faces.is_empty() {
            process.count("a photo was refused");
            refuse(&before, "no face", write)
        } else {
            let model = process.believed_placements().face_model;
            embedded(&before, (&model, by_model(&faces, &model)), None, write).ok().flatten()
        };
        let Some(after) = after else { return Ok(()) };
        if process.write_record(&after, &read, Cause::Embedding).await? == Written::Yes {
            process.count("a photo was embedded");
            process.remove_photos(Some(&after)).await;
            if process.with(|world| world.models_turn) {
                models::complete(process, image).await?;
            }
            return process.append_change_of(&after).await;
        }
    }
}

/// What a worker has of a partition.
#[derive(Clone, Copy)]
struct Place {
    generation: u64,
    next: u64,
    committed: u64,
}

/// Embeds what is said on the log, for ever; after any failure it begins again at the commit.
pub async fn work(process: Process, number: usize) {
    loop {
        let incarnation = process.with(|world| world.photo_log.incarnation);
        let worker = Worker { process: &process, number, incarnation, places: BTreeMap::new() };
        let Err(Lost) = worker.run().await;
        process.sleep(millis(200)).await;
    }
}

struct Worker<'a> {
    process: &'a Process,
    number: usize,
    incarnation: u64,
    places: BTreeMap<usize, Place>,
}

impl Worker<'_> {
    async fn run(mut self) -> Result<std::convert::Infallible, Lost> {
        loop {
            let any = self.take_some().await?;
            if any || self.is_behind() {
                self.process.sleep(millis(100)).await;
            } else {
                let longest = self.process.with(|world| world.random.between(minutes(1), hours(6)));
                self.process.sleep_until_append(longest).await;
            }
        }
    }

    fn is_behind(&self) -> bool {
        let ends = self.process.with(|world| world.photo_log.ends());
        self.places.iter().any(|(partition, place)| place.next < ends[*partition])
    }

    async fn take_some(&mut self) -> Result<bool, Lost> {
        let mut any = false;
        for partition in self.assigned()? {
            let next = self.places[&partition].next;
            let read = self
                .process
                .effect("reads photos".to_owned(), move |world| world.photo_log.read(partition, next, 3));
            let photos = read.await?;
            any |= !photos.is_empty();
            if let Some(place) = self.places.get_mut(&partition) {
                place.next += photos.len() as u64;
            }
            if !self.process.keeps(Rule::EmbeddingCommitsLast) {
                self.commit(partition).await?;
            }
            for photo in photos {
                embed(self.process, photo.image).await?;
            }
            self.commit(partition).await?;
        }
        Ok(any)
    }

    /// Asks which partitions are its own; where others have read one meanwhile, begins there at the commit.
    fn assigned(&mut self) -> Result<Vec<usize>, Lost> {
        let number = self.number;
        let (incarnation, assigned) = self.process.with(|world| {
            let now = world.now;
            (world.photo_log.incarnation, world.photo_log.assignment(number, now))
        });
        if incarnation != self.incarnation {
            return Err(Lost);
        }
        let mut partitions = Vec::new();
        for Assigned { partition, generation, committed } in assigned {
            if self.places.get(&partition).is_none_or(|place| place.generation != generation) {
                self.places.insert(partition, Place { generation, next: committed, committed });
            }
            partitions.push(partition);
        }
        self.places.retain(|partition, _| partitions.contains(partition));
        Ok(partitions)
    }

    async fn commit(&mut self, partition: usize) -> Result<(), Lost> {
        let Some(place) = self.places.get_mut(&partition).filter(|place| place.next > place.committed) else {
            return Ok(());
        };
        let (incarnation, next) = (self.incarnation, place.next);
        let commit = self.process.effect(format!("commits photos {partition}: {next}"), move |world| {
            world.photo_log.commit(incarnation, partition, next);
        });
        commit.await?;
        place.committed = next;
        Ok(())
    }
}
