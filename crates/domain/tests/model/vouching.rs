//! Who may be believed about the index: a model of its own, of seconds, where the rest of this one is of days.
//!
//! The index goes and comes back, at times without what it was told last. Processes of indexing ask it all the time, notice in their own
//! time that it went, and tell it again what it lacks; each says, for a second, whether the index has all. Processes of query ask them
//! for that, and search. Any process may be killed, or stand still for a while, at any moment; what is on its way takes up to a second.
//! Nobody may answer from an index that lacks something: a face whose deletion was acknowledged might match (I3).

use std::collections::{BTreeMap, VecDeque};

use crate::random::Random;
use crate::rules::Rule;

/// All times are milliseconds. As `vidimus_runtime::transport` has them: how long what is said is good, how often it is asked for, and
/// how long an answer may take.
const GOOD_FOR: u64 = 1_000;
const ASKED_EVERY: u64 = 500;
const PATIENCE: u64 = 1_000;
/// What was asked so long ago says nothing: whoever asked stood still meanwhile.
const OLD: u64 = 1_500;
/// As the watch of indexing has them: how often it says what it knows, how often each of two asks the index, and how long after an
/// answer the index is taken to be there.
const SAID_EVERY: u64 = 300;
const LOOKED_EVERY: u64 = 1_000;
const THERE_FOR: u64 = 3_000;
/// As the trust of query has it: how long nobody is believed.
const NOTICED_AFTER: u64 = 6_000;

/// Processes of indexing; those behind them are of query.
const INDEXING: usize = 2;
const PROCESSES: usize = 4;
/// How long a run is.
const LENGTH: u64 = 400_000;
/// Events that are told where a run is wrong.
const TRACED: usize = 80;
/// How long something may be stopped, or away.
const SPANS: [u64; 6] = [100, 800, 2_500, 6_000, 12_000, 40_000];

#[derive(Clone, Copy, Debug)]
enum Event {
    IndexGoes,
    IndexReturns,
    /// Somebody is stopped, or killed.
    Fault,
    Starts(usize),
    /// A process of indexing asks the index whether it is there.
    Looks(usize),
    LookReaches {
        process: usize,
        asked_at: u64,
    },
    LookAnswered {
        process: usize,
        asked_at: u64,
        life: u64,
    },
    /// Its consumer looks whether the index was lost, and whether all is told again.
    Consumes(usize),
    Tells(usize),
    Says(usize),
    /// A process of query asks those of indexing.
    Asks(usize),
    AskReaches {
        query: usize,
        indexing: usize,
        asked_at: u64,
    },
    AskAnswered {
        query: usize,
        asked_at: u64,
        word: Option<bool>,
    },
    AskOver {
        query: usize,
        asked_at: u64,
    },
    Searches(usize),
    SearchReaches(usize),
    SearchAnswered {
        query: usize,
        life: u64,
        has_all: bool,
    },
}

impl Event {
    /// The process in which it takes place; none where it is the index's, or nobody's.
    fn process(self) -> Option<usize> {
        match self {
            Self::IndexGoes | Self::IndexReturns | Self::Fault | Self::Starts(_) => None,
            Self::LookReaches { .. } | Self::SearchReaches(_) => None,
            Self::Looks(process) | Self::LookAnswered { process, .. } | Self::Consumes(process) => {
                Some(process)
            }
            Self::Tells(process) | Self::Says(process) => Some(process),
            Self::AskReaches { indexing, .. } => Some(indexing),
            Self::Asks(query) | Self::Searches(query) => Some(query),
            Self::AskAnswered { query, .. } | Self::AskOver { query, .. } => Some(query),
            Self::SearchAnswered { query, .. } => Some(query),
        }
    }
}

/// The servers of the index.
struct Index {
    /// Another one whenever they went.
    life: u64,
    is_up: bool,
    has_all: bool,
    /// The life in which each process of indexing has told its part again.
    told: [u64; INDEXING],
}

/// What a process knows; what it does not need stays as it was.
#[derive(Clone, Default)]
struct Process {
    /// Its connection's life of the index; none before the first.
    connected: Option<u64>,
    /// Connections that were made again, and how many of these it has acted upon.
    losses: u64,
    seen_losses: u64,
    // Indexing.
    caught_up: bool,
    is_telling: bool,
    answered_at: Option<u64>,
    said: Option<(bool, u64)>,
    // Query.
    asked_at: Option<u64>,
    answers: Vec<Option<bool>>,
    known: bool,
    /// How often it was told something.
    heard: u64,
    distrusted_until: Option<u64>,
    heard_before: Option<u64>,
}

impl Process {
    /// It has reached the index.
    fn reaches(&mut self, life: u64) {
        let before = self.connected.replace(life);
        self.losses += u64::from(before.is_some_and(|before| before != life));
    }
}

pub struct Vouching {
    random: Random,
    broken: &'static [Rule],
    now: u64,
    /// By time and order: what comes, and the life of the process that it is meant for.
    events: BTreeMap<(u64, u64), (Event, u64)>,
    order: u64,
    index: Index,
    processes: [Process; PROCESSES],
    lives: [u64; PROCESSES],
    stopped_until: [u64; PROCESSES],
    pub counts: BTreeMap<&'static str, u64>,
    wrong: Option<String>,
    trace: VecDeque<String>,
}

/// Runs the model from a seed, with all rules kept or some broken.
pub fn run(seed: u64, broken: &'static [Rule]) -> Result<BTreeMap<&'static str, u64>, String> {
    let mut model = Vouching {
        random: Random::new(seed),
        broken,
        now: 0,
        events: BTreeMap::new(),
        order: 0,
        index: Index { life: 1, is_up: true, has_all: true, told: [1; INDEXING] },
        processes: Default::default(),
        lives: [0; PROCESSES],
        stopped_until: [0; PROCESSES],
        counts: BTreeMap::new(),
        wrong: None,
        trace: VecDeque::new(),
    };
    (0..PROCESSES).for_each(|process| model.later(0, Event::Starts(process)));
    model.later(10_000, Event::IndexGoes);
    model.later(10_000, Event::Fault);
    while model.now < LENGTH && model.wrong.is_none() {
        model.step();
    }
    model.wrong.map_or(Ok(model.counts), |wrong| {
        Err(format!("seed {seed}: {wrong}\n{}", Vec::from(model.trace).join("\n")))
    })
}

impl Vouching {
    fn keeps(&self, rule: Rule) -> bool {
        !self.broken.contains(&rule)
    }

    fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    fn later(&mut self, wait: u64, event: Event) {
        let life = event.process().map_or(0, |process| self.lives[process]);
        self.order += 1;
        self.events.insert((self.now + wait, self.order), (event, life));
    }

    /// What happens rarely is told where a run is wrong.
    fn note(&mut self, event: Event) {
        if matches!(event, Event::Searches(_) | Event::SearchReaches(_) | Event::Says(_) | Event::Looks(_)) {
            return;
        }
        if self.trace.len() == TRACED {
            self.trace.pop_front();
        }
        self.trace.push_back(format!("  {:>6} {event:?}", self.now));
    }

    /// How long something is on its way.
    fn flight(&mut self) -> u64 {
        let longest = match self.random.below(100) {
            0 => 1_000,
            1..=9 => 300,
            _ => 15,
        };
        self.random.below(longest)
    }

    fn span(&mut self) -> u64 {
        let longest = self.random.pick(&SPANS).unwrap_or(1);
        self.random.below(longest)
    }

    /// The next thing happens: not to whom has been killed since, and to whom stands still when he goes on.
    fn step(&mut self) {
        let Some(((at, order), (event, life))) = self.events.pop_first() else { return };
        self.now = at;
        if let Some(process) = event.process() {
            if self.lives[process] != life {
                return;
            }
            let until = self.stopped_until[process];
            if at < until {
                self.events.insert((until, order), (event, life));
                return;
            }
        }
        self.note(event);
        match event {
            Event::IndexGoes | Event::IndexReturns => self.index_turns(),
            Event::Fault => self.fault(),
            Event::Starts(process) => self.start(process),
            Event::Looks(_) | Event::LookReaches { .. } | Event::LookAnswered { .. } => self.look(event),
            Event::Consumes(process) => self.consume(process),
            Event::Tells(process) => self.tell(process),
            Event::Says(process) => self.say(process),
            Event::Asks(query) => self.ask(query),
            Event::AskReaches { query, indexing, asked_at } => self.asked(query, indexing, asked_at),
            Event::AskAnswered { query, asked_at, word } => self.answered(query, asked_at, word),
            Event::AskOver { query, asked_at } => self.hear(query, asked_at),
            Event::Searches(_) | Event::SearchReaches(_) | Event::SearchAnswered { .. } => self.search(event),
        }
    }

    /// The index goes, or is back.
    fn index_turns(&mut self) {
        if !self.index.is_up {
            self.index.is_up = true;
            let wait = 3_000 + self.random.below(30_000);
            return self.later(wait, Event::IndexGoes);
        }
        self.index.is_up = false;
        self.index.life += 1;
        if self.random.chance(700) {
            self.count("the index lost its tail");
            self.index.has_all = false;
            self.index.told = [0; INDEXING];
        }
        let wait = self.span();
        self.later(wait, Event::IndexReturns);
    }

    fn fault(&mut self) {
        let process = self.random.below(PROCESSES as u64) as usize;
        let span = self.span();
        if self.random.chance(500) {
            self.stopped_until[process] = self.now + span;
        } else {
            self.lives[process] += 1;
            self.stopped_until[process] = 0;
            self.later(span, Event::Starts(process));
        }
        let wait = self.random.below(12_000);
        self.later(wait, Event::Fault);
    }

    fn start(&mut self, process: usize) {
        self.lives[process] += 1;
        self.processes[process] = Process::default();
        if process < INDEXING {
            self.later(0, Event::Looks(process));
            self.later(LOOKED_EVERY / 2, Event::Looks(process));
            self.later(0, Event::Consumes(process));
            return self.later(0, Event::Says(process));
        }
        // It connects before it does anything.
        if !self.index.is_up {
            return self.later(ASKED_EVERY, Event::Starts(process));
        }
        self.processes[process].reaches(self.index.life);
        // The index may have come back just now.
        let wait = if self.keeps(Rule::QueryBeginsByWaiting) { NOTICED_AFTER } else { 0 };
        self.later(wait, Event::Asks(process));
        self.later(0, Event::Searches(process));
    }

    fn look(&mut self, event: Event) {
        match event {
            Event::Looks(process) => {
                let (there, wait) = (self.flight(), LOOKED_EVERY + self.random.below(100));
                self.later(there, Event::LookReaches { process, asked_at: self.now });
                self.later(wait, Event::Looks(process));
            }
            Event::LookReaches { process, asked_at } if self.index.is_up => {
                let back = self.flight();
                self.later(back, Event::LookAnswered { process, asked_at, life: self.index.life });
            }
            Event::LookAnswered { process, asked_at, life } => {
                let process = &mut self.processes[process];
                process.reaches(life);
                process.answered_at = process.answered_at.max(Some(asked_at));
            }
            _ => {}
        }
    }

    /// A consumer may wait for something else for long before it looks.
    fn consume(&mut self, number: usize) {
        let process = &mut self.processes[number];
        if process.seen_losses != process.losses {
            process.caught_up = false;
            process.seen_losses = process.losses;
            process.is_telling = false;
        }
        let has_told = process.connected == Some(self.index.told[number]);
        if !process.caught_up && has_told && self.index.has_all {
            process.caught_up = true;
        } else if !process.caught_up && !has_told && !process.is_telling {
            process.is_telling = true;
            let wait = if self.random.chance(700) { self.random.below(6_000) } else { self.span() };
            self.later(wait, Event::Tells(number));
        }
        let wait = if self.random.chance(950) { self.random.below(500) } else { self.span() };
        self.later(wait, Event::Consumes(number));
    }

    /// A process of indexing has told its part from its commit on, if it was connected to one life of the index all the while.
    fn tell(&mut self, number: usize) {
        let process = &mut self.processes[number];
        process.is_telling = false;
        if !self.index.is_up {
            return;
        }
        process.reaches(self.index.life);
        if process.losses == process.seen_losses {
            self.index.told[number] = self.index.life;
            self.index.has_all |= self.index.told == [self.index.life; INDEXING];
        }
    }

    fn say(&mut self, process: usize) {
        let knows_losses = self.keeps(Rule::LossesAreNotVouchedFor);
        let needs_answers = self.keeps(Rule::VouchingNeedsAnswers);
        let now = self.now;
        let process_now = &mut self.processes[process];
        let is_there = process_now.answered_at.is_some_and(|at| now - at < THERE_FOR) || !needs_answers;
        let is_known = process_now.losses == process_now.seen_losses || !knows_losses;
        process_now.said = Some((process_now.caught_up && is_there && is_known, now));
        self.later(SAID_EVERY, Event::Says(process));
    }

    fn ask(&mut self, query: usize) {
        let asked_at = self.now;
        (self.processes[query].asked_at, self.processes[query].answers) = (Some(asked_at), Vec::new());
        for indexing in 0..INDEXING {
            let there = self.flight();
            self.later(there, Event::AskReaches { query, indexing, asked_at });
        }
        self.later(PATIENCE, Event::AskOver { query, asked_at });
    }

    fn asked(&mut self, query: usize, indexing: usize, asked_at: u64) {
        let (now, wears_out) = (self.now, self.keeps(Rule::WordsWearOut));
        let said = self.processes[indexing].said.filter(|(_, at)| now - at <= GOOD_FOR || !wears_out);
        let (back, word) = (self.flight(), said.map(|(word, _)| word));
        // The worst moment to stand still is when an answer is on its way.
        if self.random.chance(10) {
            self.stopped_until[query] = self.now + self.span();
        }
        self.later(back, Event::AskAnswered { query, asked_at, word });
    }

    fn answered(&mut self, query: usize, asked_at: u64, word: Option<bool>) {
        let process = &mut self.processes[query];
        if process.asked_at == Some(asked_at) {
            process.answers.push(word);
            if process.answers.len() == INDEXING {
                self.hear(query, asked_at);
            }
        }
    }

    /// One that knows is enough; where nobody says anything, what was known stays.
    fn hear(&mut self, query: usize, asked_at: u64) {
        let is_late = self.now - asked_at > OLD && self.keeps(Rule::LateWordsAreDropped);
        let process = &mut self.processes[query];
        if process.asked_at != Some(asked_at) {
            return;
        }
        process.asked_at = None;
        let said = process.answers.drain(..).flatten().reduce(|one, other| one || other);
        if let Some(word) = said.filter(|_| !is_late) {
            (process.known, process.heard) = (word, process.heard + 1);
        }
        self.later(ASKED_EVERY, Event::Asks(query));
    }

    /// Whether what the index says may be told to a client.
    fn check(&mut self, query: usize) -> bool {
        let (distrusts, hears_anew) = (self.keeps(Rule::QueryDistrusts), self.keeps(Rule::WordsAreHeardAnew));
        let now = self.now;
        let process = &mut self.processes[query];
        if process.losses != process.seen_losses {
            process.seen_losses = process.losses;
            process.distrusted_until = distrusts.then_some(now + NOTICED_AFTER);
            process.heard_before = None;
        }
        if let Some(until) = process.distrusted_until {
            if now < until
                || hears_anew && *process.heard_before.get_or_insert(process.heard) == process.heard
            {
                return false;
            }
            process.distrusted_until = None;
        }
        process.known
    }

    fn search(&mut self, event: Event) {
        match event {
            Event::Searches(query) => {
                if self.check(query) {
                    let there = self.flight();
                    self.later(there, Event::SearchReaches(query));
                } else {
                    self.count("a search was refused");
                }
                let wait = self.random.below(400);
                self.later(wait, Event::Searches(query));
            }
            Event::SearchReaches(query) if self.index.is_up => {
                let (back, has_all) = (self.flight(), self.index.has_all);
                self.later(back, Event::SearchAnswered { query, life: self.index.life, has_all });
            }
            Event::SearchAnswered { query, life, has_all } => {
                self.processes[query].reaches(life);
                if self.check(query) || !self.keeps(Rule::SearchesCheckAfter) {
                    self.count("a search was answered by an index");
                    if !has_all {
                        let what = format!(
                            "at {} ms query {query} answered by an index that lacks something",
                            self.now
                        );
                        self.wrong.get_or_insert(what);
                    }
                }
            }
            _ => {}
        }
    }
}
