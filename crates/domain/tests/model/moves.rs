//! Moving the collection to another index collection: whoever drives it, and what the processes see of it.

use std::collections::BTreeSet;
use std::time::Duration;

use vidimus_domain::placements::{Move, MoveStage, Placements};
use vidimus_domain::record::is_fresh;
use vidimus_domain::{FaceModelName, Placement};

use crate::catalog::PLACEMENTS_LEASE;
use crate::executor::{Lost, Process};
use crate::ledger::{differs, points};
use crate::models::{self, Lacks};
use crate::random::{hours, millis, minutes};
use crate::rules::Rule;

/// Placements that there are.
const PLACEMENTS: u64 = 7;

/// Placements as they were read from the store, and the number of their state.
pub struct Read {
    pub placements: Placements,
    number: usize,
}

impl Process {
    /// Where the collection lies, as it is believed here now.
    pub fn believed_placements(&self) -> Placements {
        self.placements_believed_for(PLACEMENTS_LEASE)
    }

    /// Where the collection lies, as somebody might believe who believes what was read for so long.
    pub fn placements_believed_for(&self, lease: Duration) -> Placements {
        self.with(|world| {
            let believed = world.placements.believed_for(world.now, lease).cloned().collect::<Vec<_>>();
            let picked =
                if believed.len() > 1 { world.random.below(believed.len() as u64) as usize } else { 0 };
            believed[picked].clone()
        })
    }

    pub async fn read_placements(&self) -> Result<Read, Lost> {
        let read = self.effect("reads the placements".to_owned(), |world| {
            let (placements, number) = world.placements.current();
            Read { placements: placements.clone(), number }
        });
        read.await
    }

    /// Writes the placements over those that were read.
    async fn write_placements(&self, what: &str, placements: Placements, over: &Read) -> Result<bool, Lost> {
        let number = over.number;
        let put = self.effect(what.to_owned(), move |world| {
            let now = world.now;
            world.placements.put(placements, number, now)
        });
        put.await
    }
}

/// Moves the collection now and then, for ever.
pub async fn drive(process: Process) {
    let mut has_begun = false;
    loop {
        let pause = process.with(|world| match world.random.below(8) {
            0..=1 => Some(world.random.between(millis(0), millis(3_000))),
            2 => Some(world.random.between(millis(0), minutes(30))),
            3 => Some(world.random.between(millis(0), hours(20))),
            _ => None,
        });
        match pause {
            Some(pause) => process.sleep(pause).await,
            // The worst moment is when something else is going on.
            None => process.sleep_until_append(hours(1)).await,
        }
        // What fails is taken up where it stands.
        let _ = go_on(&process, &mut has_begun).await;
    }
}

async fn go_on(process: &Process, has_begun: &mut bool) -> Result<(), Lost> {
    let read = process.read_placements().await?;
    let Some(moving) = read.placements.moving.clone() else {
        if process.with(|world| world.is_resting) {
            return Ok(());
        }
        *has_begun = true;
        return begin(process, &read).await;
    };
    if !std::mem::replace(has_begun, true) {
        process.count("a move was taken up");
    }
    match moving.stage {
        MoveStage::Filling => fill_and_switch(process, &moving).await?,
        MoveStage::Leaving => {
            if process.keeps(Rule::MovesDropLater) {
                process.sleep(PLACEMENTS_LEASE).await;
            }
            if moving.face_model != read.placements.face_model {
                models::settle(process, &moving).await?;
            }
            finish(process, &moving).await?;
        }
    }
    Ok(())
}

async fn begin(process: &Process, read: &Read) -> Result<(), Lost> {
    let number = process.with(|world| world.random.below(PLACEMENTS));
    let target: Placement = format!("p{number}").parse().expect("it is a placement");
    let mut before = read.placements.clone();
    if !process.keeps(Rule::LeftIsNotEntered) {
        before.left.retain(|left| left.placement != target);
    }
    // Where it may not go now it goes elsewhere later.
    let model = models::draw_model(process, &before);
    if model != before.face_model {
        process.count("a move to another model was tried");
    }
    let Ok(begun) = before.begun((&target, &model), process.now()) else { return Ok(()) };
    if process.write_placements(&format!("begins a move to {target}"), begun, read).await? {
        process.count("a move began");
        let entered = process.with(|world| !world.entered.insert(target));
        if entered {
            process.count("a placement was entered again");
        }
    }
    Ok(())
}

async fn fill_and_switch(process: &Process, moving: &Move) -> Result<(), Lost> {
    if process.keeps(Rule::MovesWaitBeforeWalk) {
        process.sleep(PLACEMENTS_LEASE).await;
    }
    let own = process.read_placements().await?.placements.face_model;
    let is_turning = moving.face_model != own;
    for image in process.effect("lists records".to_owned(), |world| world.blobs.images()).await? {
        if is_turning {
            process.append_photo(image).await?;
        } else {
            process.append_change(image, Vec::new()).await?;
        }
    }
    if process.with(|world| world.random.chance(150)) {
        return give_up(process, moving).await;
    }
    if process.keeps(Rule::MovesCompare) {
        until_projected(process).await;
        loop {
            match say_differences(process, moving, &own).await? {
                Found::Nothing => break,
                Found::Differences => process.count("a move found differences"),
                Found::PhotosAreGone => return give_up(process, moving).await,
            }
            until_projected(process).await;
        }
    }
    if is_turning && process.with(|world| world.random.chance(300)) {
        // Whoever drives may sleep here.
        let pause = process.with(|world| world.random.between(millis(0), minutes(30)));
        process.sleep(pause).await;
    }
    let read = process.read_placements().await?;
    let Some(switched) = read.placements.switched(moving) else { return Ok(()) };
    if process.write_placements("switches reads", switched, &read).await? {
        process.count(if is_turning { "a move switched the model" } else { "a move switched" });
    }
    Ok(())
}

/// Waits until all is committed that the log has now, or the log is another one.
async fn until_projected(process: &Process) {
    let (incarnation, ends) = process.with(|world| (world.photo_log.incarnation, world.photo_log.ends()));
    loop {
        let done = process.with(|world| {
            let committed =
                world.photo_log.commits().iter().zip(&ends).all(|(committed, end)| committed >= end);
            committed || !world.models_turn || world.photo_log.incarnation != incarnation
        });
        if done {
            break;
        }
        process.sleep(millis(250)).await;
    }
    let (incarnation, ends) = process.with(|world| (world.log.incarnation, world.log.ends()));
    loop {
        let done = process.with(|world| {
            let committed = world.log.commits().iter().zip(&ends).all(|(committed, end)| committed >= end);
            committed || world.log.incarnation != incarnation
        });
        if done {
            return;
        }
        process.sleep(millis(250)).await;
    }
}

/// What a comparison has found.
enum Found {
    Nothing,
    Differences,
    /// Of some faces no template can be made.
    PhotosAreGone,
}

/// Compares the target with the records, and says what differs.
async fn say_differences(process: &Process, moving: &Move, own: &FaceModelName) -> Result<Found, Lost> {
    let target = &moving.other;
    let seen = points(process, None, target).await?;
    let images = process.effect("lists records".to_owned(), |world| world.blobs.images()).await?;
    let mut found = Found::Nothing;
    for image in images.into_iter().chain(seen.keys().copied()).collect::<BTreeSet<_>>() {
        let seen = points(process, Some(image), target).await?.remove(&image);
        let record = process.read_record(image).await?.record;
        match models::lacks(process, record.as_ref(), moving, own) {
            Lacks::Photo => return Ok(Found::PhotosAreGone),
            Lacks::Template => {
                found = Found::Differences;
                process.append_photo(image).await?;
            }
            Lacks::Nothing => {}
        }
        if differs((record.as_ref(), seen.as_ref()), &moving.face_model, process.now()) {
            found = Found::Differences;
            process.append_change(image, seen.unwrap_or_default()).await?;
        }
    }
    Ok(found)
}

async fn give_up(process: &Process, moving: &Move) -> Result<(), Lost> {
    let read = process.read_placements().await?;
    let Some(given_up) = read.placements.cancelled(moving, process.now().plus(PLACEMENTS_LEASE)) else {
        return Ok(());
    };
    if process.write_placements("gives the move up", given_up, &read).await? {
        process.count("a move was given up");
        process.sleep(PLACEMENTS_LEASE).await;
        clear_left(process).await?;
    }
    Ok(())
}

async fn finish(process: &Process, moving: &Move) -> Result<(), Lost> {
    let read = process.read_placements().await?;
    let Some(finished) = read.placements.finished(moving, process.now().plus(PLACEMENTS_LEASE)) else {
        return Ok(());
    };
    if process.write_placements("finishes the move", finished, &read).await? {
        process.count("a move was finished");
        if process.keeps(Rule::MovesDropLater) {
            process.sleep(PLACEMENTS_LEASE).await;
        }
        clear_left(process).await?;
    }
    Ok(())
}

/// Clears what was left, as long as something may come there; remembers what is clean.
pub async fn clear_left(process: &Process) -> Result<(), Lost> {
    let read_at = process.now();
    let read = process.read_placements().await?;
    for placement in read.placements.to_clear().cloned().collect::<Vec<_>>() {
        let began_at = process.now();
        if !is_fresh(read_at, began_at) {
            return Ok(());
        }
        let cleared = placement.clone();
        let clear = process.effect(format!("clears {placement}"), move |world| {
            world.index.clear(&cleared);
            world.index.epoch
        });
        let epoch = clear.await?;
        // What power loss could bring back is not gone.
        if process.keeps(Rule::ClearingIsFlushed) {
            let flush = process.effect("flushes".to_owned(), |world| {
                world.index.flush();
                world.index.epoch
            });
            if flush.await? != epoch {
                return Ok(());
            }
        }
        let over = process.read_placements().await?;
        if let Some(clean) = over.placements.cleared(&placement, (began_at, process.now()))
            && process.write_placements("remembers a clean placement", clean, &over).await?
        {
            process.count("a placement was clean");
        }
    }
    let over = process.read_placements().await?;
    if let Some(tidied) = over.placements.tidied(read_at) {
        process.write_placements("forgets clean placements", tidied, &over).await?;
    }
    Ok(())
}
