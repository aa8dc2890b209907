//! The ledger: retention, reconciling, removal of husks and of photos that no record names.

use std::collections::{BTreeMap, BTreeSet};

use vidimus_domain::point::PointBody;
use vidimus_domain::record::{Record, State, Write, expire, is_fresh, projection};
use vidimus_domain::{FaceId, FaceModelName, FaceNumber, ImageId, Placement, UnixMillis, Version};

use crate::administration::ReadRule;
use crate::blobs::StoredPhoto;
use crate::executor::{Lost, Process};
use crate::moves;
use crate::random::{hours, millis, minutes};
use crate::records::{Read, Written, is_old};
use crate::rules::Rule;
use crate::world::{Cause, short};

/// The versions of an image's points.
type Seen = Vec<(FaceNumber, Version)>;

/// Sweeps and walks through everything now and then, for ever.
pub async fn run(process: Process) {
    // Only what breaks the rule keeps to this one.
    let first_rule = process.read_rule().await.ok();
    loop {
        let pause = process.with(|world| {
            let longest = if world.random.chance(300) { minutes(5) } else { hours(24) };
            world.random.between(millis(0), longest)
        });
        process.sleep(pause).await;
        // What fails is found again by the next sweep or walk.
        if process.with(|world| world.random.chance(500)) {
            let _ = sweep(&process, first_rule).await;
        }
        let _ = walk(&process, first_rule).await;
    }
}

/// The rule as it is now.
async fn rule_now(process: &Process, first_rule: Option<ReadRule>) -> Result<ReadRule, Lost> {
    match first_rule {
        Some(old) if !process.keeps(Rule::SweepReadsRetention) => Ok(old),
        _ => process.read_rule().await,
    }
}

/// Finds what has expired through the index; what is erased is decided on the records.
async fn sweep(process: &Process, first_rule: Option<ReadRule>) -> Result<(), Lost> {
    let rule = rule_now(process, first_rule).await?;
    let horizon = rule.cutoffs(process).horizon(process.now());
    let placement = process.believed_placements().read;
    let list = process.effect("lists expired points".to_owned(), move |world| {
        let expired = world.index.points(&placement).filter(|point| match &point.body {
            PointBody::Live(live) => !live.is_shown_at(horizon),
            PointBody::Erased { .. } => false,
        });
        expired.map(|point| point.face.image()).collect::<BTreeSet<_>>()
    });
    for image in list.await? {
        process.count("the sweep found an expired face");
        let rule = rule_now(process, first_rule).await?;
        let read = process.read_record(image).await?;
        expire_record(process, &read, rule).await?;
    }
    Ok(())
}

/// Erases what has expired, by compare-and-swap on what was read. Returns whether there was something.
async fn expire_record(process: &Process, read: &Read, rule: ReadRule) -> Result<bool, Lost> {
    let write = Write { now: process.now(), nonce: process.nonce(), cutoffs: rule.cutoffs(process) };
    let expired = read.record.as_ref().and_then(|record| expire(record, write));
    let Some(expired) = expired.filter(|_| process.keeps(Rule::Retention)) else { return Ok(false) };
    if process.write_record(&expired, read, Cause::Expiry).await? == Written::Yes {
        process.count("retention erased a face");
        if expired.state == State::Enrolled && expired.photo.is_none() {
            process.count("a photo went before its faces");
        }
        process.remove_photos(Some(&expired)).await;
        process.append_change_of(&expired).await?;
    }
    Ok(true)
}

async fn walk(process: &Process, first_rule: Option<ReadRule>) -> Result<(), Lost> {
    let rule = rule_now(process, first_rule).await?;
    let placement = process.believed_placements().read;
    let seen = points(process, None, &placement).await?;
    let images = process.effect("lists records".to_owned(), |world| world.blobs.images()).await?;
    let every = images.into_iter().chain(seen.keys().copied()).collect::<BTreeSet<_>>();
    for image in every {
        visit(process, (image, seen.get(&image)), rule).await?;
    }
    if process.keeps(Rule::LeftIsCleared) && process.with(|world| world.moves_are_there) {
        moves::clear_left(process).await?;
    }
    sweep_photos(process).await
}

/// The points in an index collection, of one image or all. They are read before the records: a point without a record is one
/// whose record is gone, not one whose record is yet to come.
pub async fn points(
    process: &Process,
    of: Option<ImageId>,
    placement: &Placement,
) -> Result<BTreeMap<ImageId, Seen>, Lost> {
    let placement = placement.clone();
    let scroll = process.effect("lists points".to_owned(), move |world| {
        let mut seen = BTreeMap::<_, Seen>::new();
        for point in
            world.index.points(&placement).filter(|point| of.is_none_or(|of| point.face.image() == of))
        {
            if let Some(number) = point.face.number() {
                seen.entry(point.face.image()).or_default().push((number, point.version));
            }
        }
        seen
    });
    scroll.await
}

async fn visit(
    process: &Process,
    (image, seen): (ImageId, Option<&Seen>),
    rule: ReadRule,
) -> Result<(), Lost> {
    let read = process.read_record(image).await?;
    if let Some(record) = &read.record {
        if expire_record(process, &read, rule).await? {
            return Ok(());
        }
        if is_husk_to_remove(process, record) && is_fresh(read.at, process.now()) {
            process.count("a husk was removed");
            let name = format!("removes record {}", short(image));
            return process.effect(name, move |world| world.blobs.remove_record(image)).await;
        }
    }
    if differs((read.record.as_ref(), seen), &process.believed_placements().face_model, process.now()) {
        return look_again(process, image).await;
    }
    if process.with(|world| world.models_turn) {
        say_lacking(process, read.record.as_ref()).await?;
    }
    say_old_photo(process, read.record.as_ref()).await
}

/// A photo that has waited for long is said again: what was said first may be lost.
async fn say_old_photo(process: &Process, record: Option<&Record>) -> Result<(), Lost> {
    let waits = |record: &&Record| {
        record.state == State::Accepted && process.now().since(record.changed_at) >= minutes(10)
    };
    let Some(record) = record.filter(waits).filter(|_| process.keeps(Rule::OldPhotosAreSaid)) else {
        return Ok(());
    };
    process.count("a photo was said again");
    process.append_photo(record.origin.image).await
}

/// The domain's rule, or what it is with a part of it broken.
fn is_husk_to_remove(process: &Process, record: &Record) -> bool {
    let now = process.now();
    let husk = matches!(record.state, State::Erased | State::Refused(_));
    if !process.keeps(Rule::HusksStayADay) && record.origin.external_image_id.is_none() {
        return husk;
    }
    if !process.keeps(Rule::DerivableHusksStay) {
        let mut underivable = record.clone();
        underivable.origin.external_image_id = None;
        return underivable.is_husk_to_remove(now);
    }
    record.is_husk_to_remove(now)
}

/// A difference is read once more before the change is appended.
async fn look_again(process: &Process, image: ImageId) -> Result<(), Lost> {
    let believed = process.believed_placements();
    let seen = points(process, Some(image), &believed.read).await?;
    let seen = seen.get(&image);
    let read = process.read_record(image).await?;
    if differs((read.record.as_ref(), seen), &believed.face_model, process.now())
        && process.keeps(Rule::Reconciling)
    {
        process.count("reconciling found a difference");
        let known =
            read.record.map(|record| record.faces.iter().map(|face| (face.number, face.version)).collect());
        process.append_change(image, seen.cloned().or(known).unwrap_or_default()).await?;
    }
    Ok(())
}

/// A face without a template of the collection's model has one made, where there is a photo.
async fn say_lacking(process: &Process, record: Option<&Record>) -> Result<(), Lost> {
    let own = process.believed_placements().face_model;
    match record {
        Some(record) if record.photo.is_some() && record.lacking(&own).next().is_some() => {
            process.count("reconciling found a face without its template");
            process.append_photo(record.origin.image).await
        }
        _ => Ok(()),
    }
}

/// Whether the points, in a placement for templates of that model, are not those that the record should have.
pub fn differs(
    (record, seen): (Option<&Record>, Option<&Seen>),
    model: &FaceModelName,
    now: UnixMillis,
) -> bool {
    let Some(record) = record else { return seen.is_some() };
    let version = |face: FaceId| {
        let number = face.number()?;
        seen?.iter().find(|(seen, _)| *seen == number).map(|(_, version)| *version)
    };
    let should = projection(record, model, now);
    let lacks = should.write.iter().any(|point| version(point.face).is_none_or(|seen| seen < point.version));
    lacks || should.remove.iter().any(|(face, _)| version(*face).is_some())
}

async fn sweep_photos(process: &Process) -> Result<(), Lost> {
    let photos = process.effect("lists photos".to_owned(), |world| world.blobs.photos()).await?;
    for photo in photos {
        if is_old(&photo, process.now()) || !process.keeps(Rule::YoungPhotosStay) {
            sweep_photo(process, &photo).await?;
        }
    }
    Ok(())
}

async fn sweep_photo(process: &Process, photo: &StoredPhoto) -> Result<(), Lost> {
    let read = process.read_record(photo.image).await?;
    let names = |record: &Record| {
        let counts = record.state != State::Accepted || process.keeps(Rule::AcceptedPhotosAreNamed);
        counts && record.photo.as_ref() == Some(&photo.key)
    };
    let named = read.record.as_ref().is_some_and(names);
    if !named && process.keeps(Rule::PhotosAreSwept) {
        process.count("a photo was swept");
        process.remove_photo(photo.image, &photo.key).await?;
    }
    Ok(())
}
