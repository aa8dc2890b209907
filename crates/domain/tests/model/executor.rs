//! Runs the processes: one thread, one effect at a time, in an order drawn from the seed. A process can die before and
//! after each effect, and sleep there.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use vidimus_domain::{Nonce, UnixMillis};

use crate::random::{hours, millis, minutes};
use crate::rules::Rule;
use crate::world::World;

/// The longest that a call is on its way, and that it comes late: less than a day together with the hour of a read.
const FLIGHT_MAX: Duration = hours(10);
const PAUSE_MAX: Duration = hours(5 * 24);

pub type Shared = Rc<RefCell<World>>;

/// A call failed; its effect may have taken place, or may still.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lost;

/// What kind of process a task is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Outside of the service: it does not crash.
    Client,
    /// Serves one call.
    Server,
    /// Runs for ever: it is started again when it dies. The number tells which.
    Daemon(usize),
}

pub struct Task {
    pub kind: Kind,
    name: String,
    future: Pin<Box<dyn Future<Output = ()>>>,
    wake_at: Rc<Cell<UnixMillis>>,
    idle: Rc<Cell<bool>>,
}

/// An effect whose caller was told that it failed.
pub struct Late {
    at: UnixMillis,
    name: String,
    act: Box<dyn FnOnce(&mut World)>,
}

/// A process's hold on the world.
#[derive(Clone)]
pub struct Process {
    world: Shared,
    wake_at: Rc<Cell<UnixMillis>>,
    /// Whether it waits for something to be appended to the log.
    idle: Rc<Cell<bool>>,
    name: Rc<str>,
    sleepy: bool,
}

/// What a process does next, which says how long it may sleep there.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    /// A call is on its way.
    Flight,
    /// The process goes on.
    Pause,
}

struct Yield(bool);

impl Future for Yield {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        if std::mem::replace(&mut self.0, true) { Poll::Ready(()) } else { Poll::Pending }
    }
}

/// How an effect ends.
enum Fate {
    Done,
    FailedBefore,
    FailedAfter,
    Late,
}

impl Process {
    pub fn now(&self) -> UnixMillis {
        self.world.borrow().now
    }

    pub fn keeps(&self, rule: Rule) -> bool {
        self.world.borrow().keeps(rule)
    }

    pub fn with<T>(&self, act: impl FnOnce(&mut World) -> T) -> T {
        act(&mut self.world.borrow_mut())
    }

    pub fn nonce(&self) -> Nonce {
        self.with(|world| world.random.nonce())
    }

    pub fn count(&self, what: &'static str) {
        self.with(|world| world.count(what));
    }

    pub async fn sleep(&self, duration: Duration) {
        self.wake_at.set(self.now().plus(duration));
        Yield(false).await;
    }

    /// Sleeps until something is appended to the log, or so long.
    pub async fn sleep_until_append(&self, longest: Duration) {
        self.idle.set(true);
        self.sleep(longest).await;
        self.idle.set(false);
    }

    async fn step(&self, step: Step) {
        let sleepy = self.sleepy;
        let delay = self.with(|world| delay(world, step, sleepy));
        self.sleep(delay).await;
    }

    /// Does one thing to the world, which may fail, before or after, or come late.
    pub async fn effect<T>(
        &self,
        name: String,
        act: impl FnOnce(&mut World) -> T + 'static,
    ) -> Result<T, Lost> {
        self.step(Step::Flight).await;
        let fate = self.with(draw_fate);
        let who = Rc::clone(&self.name);
        let done = match fate {
            Fate::Done | Fate::FailedAfter => self.with(|world| {
                world.note(format!("{who}: {name}"));
                Some(act(world))
            }),
            Fate::FailedBefore => None,
            Fate::Late => {
                let name = format!("{who}, late: {name}");
                let act = Box::new(move |world: &mut World| drop(act(world)));
                self.with(|world| {
                    let at = world.now.plus(world.random.between(millis(0), FLIGHT_MAX));
                    world.late.push(Late { at, name, act });
                });
                None
            }
        };
        self.step(Step::Pause).await;
        let failed = matches!(fate, Fate::FailedAfter);
        done.filter(|_| !failed).ok_or(Lost)
    }

    /// Starts another process.
    pub fn spawn<F: Future<Output = ()> + 'static>(
        &self,
        kind: Kind,
        name: &str,
        run: impl FnOnce(Self) -> F,
    ) {
        let sleepy = self.with(|world| world.faults.sleep > 0 && world.random.chance(400));
        let task = Task::new(&self.world, (kind, name), sleepy, run);
        self.with(|world| world.spawned.push(task));
    }
}

fn draw_fate(world: &mut World) -> Fate {
    if !world.random.chance(world.faults.error) {
        return Fate::Done;
    }
    match world.random.below(3) {
        0 => Fate::FailedBefore,
        1 => Fate::FailedAfter,
        _ => Fate::Late,
    }
}

fn delay(world: &mut World, step: Step, sleepy: bool) -> Duration {
    if sleepy && world.random.chance(world.faults.sleep) {
        world.count("a process slept");
        let longest = if step == Step::Flight { FLIGHT_MAX } else { PAUSE_MAX };
        let range = world.random.pick(&[minutes(5), hours(2), hours(10), PAUSE_MAX, PAUSE_MAX]);
        return world.random.between(millis(0), range.unwrap_or(longest).min(longest));
    }
    match world.random.below(10) {
        0..=3 => millis(0),
        4..=8 => millis(world.random.below(10)),
        _ => millis(world.random.below(2_000)),
    }
}

impl Task {
    pub fn new<F: Future<Output = ()> + 'static>(
        world: &Shared,
        (kind, name): (Kind, &str),
        sleepy: bool,
        run: impl FnOnce(Process) -> F,
    ) -> Self {
        let wake_at = Rc::new(Cell::new(world.borrow().now));
        let idle = Rc::new(Cell::new(false));
        let process = Process {
            world: Rc::clone(world),
            wake_at: Rc::clone(&wake_at),
            idle: Rc::clone(&idle),
            name: name.into(),
            sleepy,
        };
        Self { kind, name: name.to_owned(), future: Box::pin(run(process)), wake_at, idle }
    }
}

/// The processes and the world that they share.
pub struct Executor {
    pub world: Shared,
    tasks: Vec<Task>,
    start: fn(&Shared, usize) -> Task,
}

impl Executor {
    /// `start` makes the daemon of that number.
    pub fn new(world: World, start: fn(&Shared, usize) -> Task) -> Self {
        Self { world: Rc::new(RefCell::new(world)), tasks: Vec::new(), start }
    }

    pub fn add(&mut self, task: Task) {
        self.tasks.push(task);
    }

    pub fn start_daemon(&mut self, number: usize) {
        let task = (self.start)(&self.world, number);
        self.tasks.push(task);
    }

    pub fn stop_daemons(&mut self) {
        self.tasks.retain(|task| !matches!(task.kind, Kind::Daemon(_)));
    }

    pub fn is_running(&self, kinds: &[Kind]) -> bool {
        self.tasks.iter().any(|task| kinds.contains(&task.kind)) || !self.world.borrow().late.is_empty()
    }

    /// Lets one process take one step. Returns whether all is well.
    pub fn step(&mut self) -> bool {
        self.advance();
        self.land_late();
        self.poll_one();
        self.wake_idle();
        self.tasks.append(&mut self.world.borrow_mut().spawned);
        let world = &mut *self.world.borrow_mut();
        if world.random.chance(world.faults.power_loss) {
            world.lose_power();
        }
        world.watch();
        world.audit.first_broken().is_none()
    }

    /// Time moves to the first thing that is due, where nothing is yet.
    fn advance(&self) {
        let mut world = self.world.borrow_mut();
        let tasks = self.tasks.iter().map(|task| task.wake_at.get());
        if let Some(next) = tasks.chain(world.late.iter().map(|late| late.at)).min() {
            world.now = world.now.max(next);
        }
    }

    fn land_late(&self) {
        let mut world = self.world.borrow_mut();
        let now = world.now;
        if let Some(place) = world.late.iter().position(|late| late.at <= now) {
            let late = world.late.swap_remove(place);
            world.count("an effect came late");
            world.note(late.name);
            (late.act)(&mut world);
        }
    }

    fn wake_idle(&self) {
        let mut world = self.world.borrow_mut();
        let changes = std::mem::take(&mut world.log.appended);
        if std::mem::take(&mut world.photo_log.appended) || changes {
            for task in self.tasks.iter().filter(|task| task.idle.get()) {
                let wait = world.random.between(millis(0), millis(200));
                task.wake_at.set(task.wake_at.get().min(world.now.plus(wait)));
            }
        }
    }

    fn poll_one(&mut self) {
        let now = self.world.borrow().now;
        let due = |task: &Task| task.wake_at.get() <= now;
        let ready = (0..self.tasks.len()).filter(|place| due(&self.tasks[*place])).collect::<Vec<_>>();
        let Some(place) = self.world.borrow_mut().random.pick(&ready) else { return };
        let crashes = self.tasks[place].kind != Kind::Client && {
            let mut world = self.world.borrow_mut();
            let rate = world.faults.crash;
            world.random.chance(rate)
        };
        if crashes {
            self.crash(place);
        } else if self.poll(place) {
            self.tasks.swap_remove(place);
        }
    }

    fn poll(&mut self, place: usize) -> bool {
        let future = self.tasks[place].future.as_mut();
        future.poll(&mut Context::from_waker(Waker::noop())).is_ready()
    }

    fn crash(&mut self, place: usize) {
        let task = self.tasks.swap_remove(place);
        let mut world = self.world.borrow_mut();
        world.count("a process crashed");
        world.note(format!("{}: crashes", task.name));
        drop(world);
        if let Kind::Daemon(number) = task.kind {
            let restarted = (self.start)(&self.world, number);
            let wait = {
                let mut world = self.world.borrow_mut();
                let wait = world.random.between(millis(10), minutes(2));
                world.now.plus(wait)
            };
            restarted.wake_at.set(wait);
            self.tasks.push(restarted);
        }
    }
}
