//! Setting retention rules, and what the processes see of them.

use vidimus_domain::UnixMillis;
use vidimus_domain::limits::RETENTION_MIN;
use vidimus_domain::retention::{Cutoffs, Retention, RetentionRule};

use crate::catalog::{LEASE, Replaced};
use crate::executor::{Kind, Lost, Process};
use crate::random::{Random, hours, millis, minutes};
use crate::reply::Reply;
use crate::rules::Rule;

/// A rule as it was read from the store.
#[derive(Clone, Copy)]
pub struct ReadRule {
    retention: Retention,
    /// When the reading began.
    at: UnixMillis,
}

impl ReadRule {
    /// What had expired when the rule was read: it stays expired, whenever this is acted upon.
    pub fn cutoffs(&self, process: &Process) -> Cutoffs {
        let at = if process.keeps(Rule::SweepReadsRetention) { self.at } else { process.now() };
        let cutoffs = self.retention.cutoffs(at);
        if process.keeps(Rule::PhotosHaveTheirTime) { cutoffs } else { Cutoffs { photos: None, ..cutoffs } }
    }
}

impl Process {
    /// What has expired by the rule as it is believed here now.
    pub fn cutoffs(&self) -> Cutoffs {
        if !self.keeps(Rule::TransitionsEraseAged) {
            return Cutoffs::default();
        }
        self.with(|world| {
            let believed = world.catalog.believed(world.now).copied().collect::<Vec<_>>();
            let picked = world.random.pick(&believed).expect("there is always a rule");
            picked.cutoffs(world.now)
        })
    }

    /// Reads the rule as it is in the store.
    pub async fn read_rule(&self) -> Result<ReadRule, Lost> {
        let at = self.now();
        let read = self.effect("reads the rule".to_owned(), |world| world.catalog.current().0);
        Ok(ReadRule { retention: read.await?, at })
    }
}

fn draw_rule(random: &mut Random) -> RetentionRule {
    let mut kept = || match random.below(10) {
        0..=3 => None,
        4..=5 => Some(random.between(millis(1_000), millis(20_000))),
        _ => Some(random.between(minutes(5), hours(40))),
    };
    let (faces, photos) = (kept(), kept());
    RetentionRule::new(faces, photos).expect("it is a rule")
}

/// Sets a rule, and often another one soon after.
pub async fn set_rules(process: &Process) {
    set_rule(process).await;
    if process.with(|world| world.random.chance(500)) {
        let pause = process.with(|world| world.random.between(millis(0), LEASE * 2));
        process.sleep(pause).await;
        set_rule(process).await;
    }
}

/// Sets a rule and waits until that is answered, or is not.
async fn set_rule(process: &Process) {
    let rule = process.with(|world| draw_rule(&mut world.random));
    let reply = Reply::default();
    let answered = reply.clone();
    process.spawn(Kind::Server, "administration", |server| async move {
        answered.give(put_rule(&server, rule).await);
    });
    let _ = reply.wait(process, minutes(1)).await;
}

/// The write is in the store before anything can expire that came after its decision, or never; whoever was told of it
/// counts on it.
async fn put_rule(process: &Process, rule: RetentionRule) -> Result<(), Lost> {
    let (before, over) = process.with(|world| world.catalog.current());
    let now = process.now();
    let believed_until =
        if process.keeps(Rule::OldRulesAreBelieved) { now.plus(LEASE).plus(LEASE) } else { now };
    let mut retention = before.changed(rule, now, believed_until);
    if !process.keeps(Rule::FloorsStay) {
        retention = Retention { rule, ..Retention::default() };
    }
    let flight = process.with(|world| world.random.between(millis(0), RETENTION_MIN));
    process.sleep(flight).await;
    let put = process.with(|world| {
        let put = world.catalog.put(retention, over, Replaced { decided_at: now, at: world.now });
        put.inspect(|_| world.note(format!("administration: writes {retention:?}")))
    });
    let number = put.ok_or(Lost)?;
    if process.keeps(Rule::RulesAnswerLater) {
        process.sleep(LEASE).await;
    }
    process.with(|world| {
        world.note("administration: answers".to_owned());
        world.catalog.answered(number);
        world.count("a rule was set");
        if retention.faces_floor > before.faces_floor {
            world.count("a rule was lengthened");
        }
    });
    Ok(())
}
