//! Faults by script and by seed.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use rand::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;
use tokio::sync::watch;

use super::stage::{Interference, Moment, Stage};
use crate::error::{PortError, PortErrorKind, PortResult};

/// What happens to a call.
#[derive(Clone, Debug)]
pub enum Fault {
    /// It takes so much longer.
    Delay(Duration),
    /// It fails so. After the effect, `Unavailable` is the caller that is told of a failure that was none.
    Fail(PortErrorKind),
    /// It sleeps until the gate is opened. A gate that is never opened, and a caller that is aborted there, is a
    /// crash.
    Pause(Arc<Gate>),
}

/// How often calls meet a fault that no script names; each a probability.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct FaultRates {
    /// To be delayed, before or after the effect, by up to `delay_max`.
    pub delay: f64,
    /// The longest delay.
    pub delay_max: Duration,
    /// To fail with `Unavailable` before the effect.
    pub fail_before: f64,
    /// To fail with `Unavailable` after the effect.
    pub fail_after: f64,
}

/// Where callers sleep.
#[derive(Debug)]
pub struct Gate {
    state: watch::Sender<GateState>,
}

#[derive(Clone, Copy, Debug, Default)]
struct GateState {
    arrived: u64,
    is_open: bool,
}

impl Gate {
    /// A closed gate.
    #[must_use]
    pub fn closed() -> Arc<Self> {
        Arc::new(Self { state: watch::Sender::new(GateState::default()) })
    }

    /// Waits until `callers` have arrived in all.
    pub async fn reached_by(&self, callers: u64) {
        // An error means that the gate is gone, which cannot be while it is borrowed here.
        let _ = self.state.subscribe().wait_for(|state| state.arrived >= callers).await;
    }

    /// Lets everyone through, now and later.
    pub fn open(&self) {
        self.state.send_modify(|state| state.is_open = true);
    }

    async fn pass(&self) {
        self.state.send_modify(|state| state.arrived += 1);
        let _ = self.state.subscribe().wait_for(|state| state.is_open).await;
    }
}

/// Decides what happens to which call: what a script names, else by chance. The same seed and the same order of calls
/// give the same faults.
#[derive(Debug)]
pub struct FaultPlan {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    script: HashMap<(Stage, Moment, u64), Fault>,
    calls: HashMap<(Stage, Moment), u64>,
    rates: FaultRates,
    random: Xoshiro256PlusPlus,
}

impl FaultPlan {
    /// No faults but those that [`FaultPlan::script`] adds.
    #[must_use]
    pub fn scripted() -> Arc<Self> {
        Self::seeded(0, FaultRates::default())
    }

    /// Faults by chance, and those that [`FaultPlan::script`] adds.
    #[must_use]
    pub fn seeded(seed: u64, rates: FaultRates) -> Arc<Self> {
        let random = Xoshiro256PlusPlus::seed_from_u64(seed);
        let state = State { script: HashMap::new(), calls: HashMap::new(), rates, random };
        Arc::new(Self { state: Mutex::new(state) })
    }

    /// Adds a fault: it meets the call that is there after `skipped` more have been.
    pub fn script(&self, stage: Stage, moment: Moment, skipped: u64, fault: Fault) {
        let mut state = self.state();
        let calls = state.calls.get(&(stage, moment)).copied().unwrap_or(0);
        state.script.insert((stage, moment, calls + skipped), fault);
    }

    /// Changes how often faults come by chance: to none, before a test looks at the outcome.
    pub fn set_rates(&self, rates: FaultRates) {
        self.state().rates = rates;
    }

    /// How many calls have been there.
    #[must_use]
    pub fn calls(&self, stage: Stage, moment: Moment) -> u64 {
        self.state().calls.get(&(stage, moment)).copied().unwrap_or(0)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Counts a call and returns what happens to it.
    fn meet(&mut self, stage: Stage, moment: Moment) -> Option<Fault> {
        let calls = self.calls.entry((stage, moment)).or_default();
        let number = *calls;
        *calls += 1;
        self.script.remove(&(stage, moment, number)).or_else(|| self.by_chance(moment))
    }

    fn by_chance(&mut self, moment: Moment) -> Option<Fault> {
        let fail = match moment {
            Moment::Before => self.rates.fail_before,
            Moment::After => self.rates.fail_after,
        };
        // Drawn also where no fault can come of it, so that the order of draws depends on the calls alone.
        let (fails, delays, length) = (self.draw(), self.draw(), self.draw());
        if fails < fail {
            return Some(Fault::Fail(PortErrorKind::Unavailable));
        }
        (delays < self.rates.delay).then(|| Fault::Delay(self.rates.delay_max.mul_f64(length)))
    }

    /// Uniform in 0..1, of 53 bits.
    fn draw(&mut self) -> f64 {
        (self.random.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

#[async_trait]
impl Interference for FaultPlan {
    async fn at(&self, stage: Stage, moment: Moment) -> PortResult<()> {
        let fault = self.state().meet(stage, moment);
        match fault {
            None => return Ok(()),
            Some(Fault::Fail(kind)) => {
                let reason = format!("planned: {stage}, {moment:?}");
                return Err(PortError::new(kind, "call port").because(reason));
            }
            Some(Fault::Delay(delay)) => tokio::time::sleep(delay).await,
            Some(Fault::Pause(gate)) => gate.pass().await,
        }
        Ok(())
    }
}
