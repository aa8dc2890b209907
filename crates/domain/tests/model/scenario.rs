//! One run: trouble, then rest, then reconciling; and what must be true at each.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use vidimus_domain::placements::MoveStage;
use vidimus_domain::point::PointBody;
use vidimus_domain::record::{Record, State};
use vidimus_domain::{FaceNumber, UnixMillis};

use crate::audit::{Invariant, Violation};
use crate::executor::{Executor, Kind, Shared, Task};
use crate::random::hours;
use crate::rules::Rule;
use crate::world::{Faults, World};
use crate::{bulk, client, indexing, ledger, moves, user_client};

const CONSUMERS: usize = 2;
const LEDGER: usize = CONSUMERS;
/// The embedding workers' numbers, where there are jobs.
const WORKERS: std::ops::Range<usize> = LEDGER + 1..LEDGER + 3;
/// The driver's number, where the collection is moved.
const DRIVER: usize = LEDGER + 3;
/// The consumer that may sleep.
const SLEEPER: usize = 1;
/// After so many steps trouble ends, whoever still calls: between two crashes a process may get nowhere.
const TROUBLE_STEPS_MAX: u64 = 200_000;
/// In so many steps all comes to rest where nothing goes wrong any more.
const STEPS_MAX: u64 = 1_000_000;
/// The time in which all that is to go has gone: a day, two walks of the ledger, and some.
const GONE_AFTER: Duration = hours(80);

/// A run that broke an invariant.
#[derive(Debug)]
pub struct Failure {
    pub seed: u64,
    pub violation: Violation,
    trace: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Violation { invariant, what } = &self.violation;
        write!(
            formatter,
            "seed {} breaks {invariant:?}: {what}\nthe last effects:\n{}",
            self.seed, self.trace
        )
    }
}

/// What happened how often.
pub type Counts = BTreeMap<&'static str, u64>;

/// Runs the model from a seed, with all rules kept or one broken.
pub fn run(seed: u64, broken: &'static [Rule]) -> Result<Counts, Box<Failure>> {
    run_world(seed, World::new(seed, broken))
}

/// As [`run`], with clients that change users too.
pub fn run_with_users(seed: u64, broken: &'static [Rule]) -> Result<Counts, Box<Failure>> {
    let mut world = World::new(seed, broken);
    world.users_are_there = true;
    run_world(seed, world)
}

/// As [`run`], with jobs that bring photos in too.
pub fn run_with_bulk(seed: u64, broken: &'static [Rule]) -> Result<Counts, Box<Failure>> {
    let mut world = World::new(seed, broken);
    world.bulk_is_there = true;
    run_world(seed, world)
}

/// As [`run`], with a collection that is moved and searches that take their time.
pub fn run_with_moves(seed: u64, broken: &'static [Rule]) -> Result<Counts, Box<Failure>> {
    let mut world = World::new(seed, broken);
    world.moves_are_there = true;
    run_world(seed, world)
}

/// As [`run_with_moves`], where moves turn the collection to other face models too, and jobs bring photos in.
pub fn run_with_models(seed: u64, broken: &'static [Rule]) -> Result<Counts, Box<Failure>> {
    let mut world = World::new(seed, broken);
    (world.moves_are_there, world.models_turn, world.bulk_is_there) = (true, true, true);
    run_world(seed, world)
}

fn run_world(seed: u64, world: World) -> Result<Counts, Box<Failure>> {
    let mut executor = Executor::new(world, start);
    let found =
        trouble(&mut executor).and_then(|()| rest(&mut executor)).and_then(|()| reconcile(&mut executor));
    let mut world = executor.world.borrow_mut();
    match found {
        Ok(()) => Ok(std::mem::take(&mut world.counts)),
        Err(violation) => {
            world.note(format!("broken: {:?}", violation.invariant));
            Err(Box::new(Failure { seed, violation, trace: world.trace() }))
        }
    }
}

fn start(world: &Shared, number: usize) -> Task {
    let sleepy = (number == SLEEPER || number == WORKERS.start) && world.borrow().faults.sleep > 0;
    if number == LEDGER {
        return Task::new(world, (Kind::Daemon(number), "ledger"), sleepy, ledger::run);
    }
    if WORKERS.contains(&number) {
        let (worker, name) = (number - WORKERS.start, format!("embedding {number}"));
        let run = move |process| bulk::work(process, worker);
        return Task::new(world, (Kind::Daemon(number), &name), sleepy, run);
    }
    if number == DRIVER {
        return Task::new(world, (Kind::Daemon(number), "driver"), false, moves::drive);
    }
    let name = format!("indexing {number}");
    Task::new(world, (Kind::Daemon(number), &name), sleepy, move |process| indexing::consume(process, number))
}

fn draw_faults(world: &mut World) -> Faults {
    let moves = world.moves_are_there;
    let mut draw = |choices: &[u64]| world.random.pick(choices).unwrap_or_default();
    // Whoever writes everything twice and is told all records by each move would not get on between two crashes.
    let (crash, error) = if moves { (10, 40) } else { (u64::MAX, u64::MAX) };
    Faults {
        crash: draw(&[0, 3, 10, 25]).min(crash),
        error: draw(&[0, 10, 40, 80]).min(error),
        won_but_conflict: draw(&[0, 50, 200]),
        sleep: draw(&[0, 20, 100, 200]),
        power_loss: draw(&[0, 0, 1, 4]),
    }
}

/// Clients call while things go wrong.
fn trouble(executor: &mut Executor) -> Result<(), Violation> {
    let log_lost_at = {
        let mut world = executor.world.borrow_mut();
        world.faults = draw_faults(&mut world);
        if world.random.chance(250) { Some(200 + world.random.below(2_000)) } else { None }
    };
    for number in 0..=LEDGER {
        executor.start_daemon(number);
    }
    start_workers(executor);
    let clients = 2 + executor.world.borrow_mut().random.below(2);
    for number in 0..clients {
        let operations = 4 + executor.world.borrow_mut().random.below(6);
        let name = format!("client {number}");
        let with_users = executor.world.borrow().users_are_there;
        let task = Task::new(&executor.world, (Kind::Client, &name), false, async move |process| {
            if with_users {
                user_client::run(process, 2 * operations).await;
            } else {
                client::run(process, operations).await;
            }
        });
        executor.add(task);
    }
    let mut log_lost = false;
    let stopped = |executor: &Executor, step| {
        if !log_lost && log_lost_at.is_some_and(|at| is_time_to_lose_log(&executor.world.borrow(), at, step))
        {
            log_lost = executor.world.borrow_mut().lose_log();
        }
        !executor.is_running(&[Kind::Client])
    };
    until(executor, TROUBLE_STEPS_MAX, stopped).map(drop)
}

fn start_workers(executor: &mut Executor) {
    if executor.world.borrow().moves_are_there {
        executor.start_daemon(DRIVER);
    }
    let there = executor.world.borrow().bulk_is_there;
    for number in WORKERS.filter(|_| there) {
        executor.start_daemon(number);
    }
}

/// The worst moment is when something acknowledged is not searchable yet; where none comes, any will do.
fn is_time_to_lose_log(world: &World, from: u64, step: u64) -> bool {
    let missing = || world.audit.owed(world.now).any(|face| !world.matches(face));
    let waits = |image| world.blobs.record(image).is_some_and(|(record, _)| world.audit.is_awaited(&record));
    let waiting = || world.audit.taken().any(waits);
    let moving = &world.placements.current().0.moving;
    let filling = || moving.as_ref().is_some_and(|moving| moving.stage == MoveStage::Filling);
    if world.moves_are_there {
        return step >= from && filling();
    }
    step >= from && (step >= from + 1_000 || missing() || waiting())
}

/// Nothing goes wrong any more: what was begun ends, and the log is consumed.
fn rest(executor: &mut Executor) -> Result<(), Violation> {
    {
        let mut world = executor.world.borrow_mut();
        let power_loss = world.faults.power_loss > 0;
        world.faults = Faults::default();
        world.is_resting = true;
        world.note("all goes well from here on".to_owned());
        if power_loss {
            world.lose_power();
        }
    }
    executor.stop_daemons();
    for number in 0..CONSUMERS {
        executor.start_daemon(number);
    }
    start_workers(executor);
    come_to_rest(executor, |executor| {
        let at_rest = !executor.is_running(&[Kind::Client, Kind::Server]);
        let world = executor.world.borrow();
        at_rest && is_all_consumed(&world) && is_moved(&world)
    })?;
    let mut world = executor.world.borrow_mut();
    if world.log.incarnation == 0 {
        check_owed(&mut world);
        check_taken(&mut world);
    }
    verdict(&world)
}

/// The ledger walks for some days; then records, points and photos are one.
fn reconcile(executor: &mut Executor) -> Result<(), Violation> {
    executor.start_daemon(LEDGER);
    let end = executor.world.borrow().now.plus(GONE_AFTER * 2);
    come_to_rest(executor, |executor| {
        let world = executor.world.borrow();
        world.now >= end && is_all_consumed(&world)
    })?;
    let mut world = executor.world.borrow_mut();
    check_owed(&mut world);
    check_taken(&mut world);
    check_points(&mut world);
    check_placements(&mut world);
    check_records(&mut world);
    check_photos(&mut world);
    world.check_users();
    world.check_shown_users();
    verdict(&world)
}

fn come_to_rest(executor: &mut Executor, done: impl Fn(&Executor) -> bool) -> Result<(), Violation> {
    if until(executor, STEPS_MAX, |executor, _| done(executor))? {
        return Ok(());
    }
    Err(Violation { invariant: Invariant::Rest, what: "the processes do not come to rest".to_owned() })
}

/// Runs until it is done, and says whether that came in so many steps.
fn until(
    executor: &mut Executor,
    steps_max: u64,
    mut done: impl FnMut(&Executor, u64) -> bool,
) -> Result<bool, Violation> {
    for step in 0..steps_max {
        if done(executor, step) {
            return Ok(true);
        }
        if !executor.step() {
            return verdict(&executor.world.borrow()).map(|()| true);
        }
    }
    Ok(false)
}

fn verdict(world: &World) -> Result<(), Violation> {
    world.audit.first_broken().cloned().map_or(Ok(()), Err)
}

/// Whether no move is under way, and everybody knows.
fn is_moved(world: &World) -> bool {
    world.placements.believed(world.now).all(|placements| placements.moving.is_none())
}

fn is_all_consumed(world: &World) -> bool {
    world.log.is_consumed() && world.photo_log.is_consumed()
}

/// I2: of what was taken something has come, and all that came of it is searchable.
fn check_taken(world: &mut World) {
    let mut broken = Vec::new();
    for image in world.audit.taken() {
        let Some((record, _)) = world.blobs.record(image) else { continue };
        if world.audit.is_awaited(&record) {
            broken.push((Invariant::I2, format!("the photo of {image} was taken and waits for ever")));
        }
        for (face, _) in record.live_faces(world.horizon()) {
            let is_lost = is_without_template(world, &record, face.number);
            if !is_lost && !world.matches(record.face_id(face.number)) {
                broken.push((Invariant::I2, format!("{image} was taken, and its face is not searchable")));
            }
        }
    }
    report(world, broken);
}

/// I2: what was acknowledged is searchable.
fn check_owed(world: &mut World) {
    let lost = world.audit.owed(world.now).find(|face| !world.matches(*face));
    if let Some(face) = lost {
        world.audit.broken(Invariant::I2, format!("{face} was acknowledged and is not searchable"));
    }
}

/// Whether something that was so at `since` should have gone by now.
fn overdue(world: &World, since: UnixMillis) -> bool {
    world.now.since(since) >= GONE_AFTER
}

/// Points are those that the records should have; nothing is left of what is erased.
fn check_points(world: &mut World) {
    let mut broken = Vec::new();
    for point in world.index.points(&world.placements.current().0.read) {
        let record = world.blobs.record(point.face.image()).map(|(record, _)| record);
        let face = record.as_ref().and_then(|record| record.face(point.face.number()?));
        match &point.body {
            PointBody::Live(_) if face.and_then(|face| face.live()).is_none() => {
                broken.push((Invariant::I3, format!("{} has a live point and no live face", point.face)));
            }
            PointBody::Erased { erased_at } if overdue(world, *erased_at) => {
                broken.push((Invariant::I9, format!("the mark of {} is left", point.face)));
            }
            _ => {}
        }
    }
    report(world, broken);
}

/// Nothing is left in what the collection has left.
fn check_placements(world: &mut World) {
    let now = world.placements.current().0.clone();
    let others = world.index.placements().filter(|placement| **placement != now.read).cloned();
    let broken = others.map(|placement| (Invariant::I9, format!("points are left in {placement}")));
    let broken = broken.collect();
    report(world, broken);
}

fn check_records(world: &mut World) {
    let mut broken = Vec::new();
    for record in world.blobs.records() {
        let image = record.origin.image;
        for (face, _) in record.live_faces(world.horizon()) {
            let id = record.face_id(face.number);
            if !world.matches(id) && !is_without_template(world, &record, face.number) {
                broken.push((Invariant::I2, format!("{id} is live and not searchable")));
            }
        }
        if record.is_husk_to_remove(world.now) && overdue(world, record.changed_at) {
            broken.push((Invariant::I9, format!("the husk of {image} is left")));
        }
        if keeps_expired(world, &record) {
            broken.push((Invariant::I9, format!("the record of {image} keeps an expired template")));
        }
        let live = record.faces.iter().any(|face| face.live().is_some());
        let waits = record.state == State::Accepted;
        if waits && overdue(world, record.changed_at) {
            broken.push((Invariant::I2, format!("the photo of {image} waits for ever")));
        }
        if live != (record.state == State::Enrolled) || (record.photo.is_some() && !live && !waits) {
            broken.push((Invariant::I4, format!("the record of {image} contradicts itself")));
        }
    }
    report(world, broken);
}

/// Whether somebody who slept brought the face in by a model that has been left since, and its photo went before a template of the
/// collection's model was made. Nobody was told of such a face.
fn is_without_template(world: &World, record: &Record, number: FaceNumber) -> bool {
    let own = &world.placements.current().0.face_model;
    record.photo.is_none() && record.lacking(own).any(|(face, _)| face.number == number)
}

fn keeps_expired(world: &World, record: &Record) -> bool {
    let then = world.catalog.current().0.horizon(world.now.minus(GONE_AFTER));
    record.faces.iter().any(|face| face.live().is_some() && face.live_at(then).is_none())
}

fn check_photos(world: &mut World) {
    let mut broken = Vec::new();
    for photo in world.blobs.photos() {
        let record = world.blobs.record(photo.image).map(|(record, _)| record);
        let named = record.is_some_and(|record| record.photo.as_ref() == Some(&photo.key));
        let then = world.catalog.current().0.cutoffs(world.now.minus(GONE_AFTER));
        if named && then.has_photo_expired(photo.key.put_at) {
            broken.push((Invariant::I9, format!("the photo of {} has outlived its rule", photo.image)));
        }
        if !named && overdue(world, photo.put_at) {
            broken.push((Invariant::I9, format!("a photo of {} is left that no record names", photo.image)));
        }
    }
    report(world, broken);
}

fn report(world: &mut World, broken: Vec<(Invariant, String)>) {
    for (invariant, what) in broken {
        world.audit.broken(invariant, what);
    }
}
