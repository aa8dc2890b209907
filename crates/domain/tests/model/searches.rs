//! Searches that take their time: they look where the collection lies, sleep, and look there.

use std::collections::BTreeSet;

use vidimus_domain::record::is_fresh;

use crate::executor::{Kind, Lost, Process};
use crate::rules::Rule;

/// Begins a search for all that matches; what it finds the auditor hears.
pub fn search(process: &Process) {
    process.spawn(Kind::Server, "search", |server| async move {
        // Whoever asked is told of a failure, and of nothing else.
        let _ = answer(&server).await;
    });
}

async fn answer(process: &Process) -> Result<(), Lost> {
    let began = process.now();
    let mut placement = process.believed_placements().read;
    loop {
        let searched = placement.clone();
        let found = process.effect(format!("searches {placement}"), move |world| {
            let faces = world.index.points(&searched).map(|point| point.face);
            let matching = faces.filter(|face| world.matches_in(&searched, *face)).collect::<BTreeSet<_>>();
            let is_believed = world.index.is_ready() || !world.keeps(Rule::SearchesWait);
            is_believed.then_some(matching)
        });
        let found = found.await?.ok_or(Lost)?;
        // A call has a deadline, by far less than an hour.
        if !is_fresh(began, process.now()) {
            return Err(Lost);
        }
        let now = process.believed_placements().read;
        if now == placement || !process.keeps(Rule::SearchesLookAgain) {
            process.with(|world| {
                world.note(format!("search: answers {} faces", found.len()));
                world.count("a search was answered");
                let now = world.now;
                world.audit.searched(began, now, &found);
            });
            return Ok(());
        }
        process.count("a search found that reads had switched");
        placement = now;
    }
}
