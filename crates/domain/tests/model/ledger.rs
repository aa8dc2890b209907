//! The ledger: retention, reconciling, removal of husks and of photos that no record names.

use std::collections::{BTreeMap, BTreeSet};

use vidimus_domain::record::{Record, State, Write, expire, is_fresh, projection};
use vidimus_domain::{FaceId, FaceNumber, ImageId, UnixMillis, Version};

use crate::blobs::StoredPhoto;
use crate::executor::{Lost, Process};
use crate::random::{hours, millis, minutes};
use crate::records::{Written, is_old};
use crate::rules::Rule;
use crate::world::{Cause, short};

/// The versions of an image's points.
type Seen = Vec<(FaceNumber, Version)>;

/// Walks through everything now and then, for ever.
pub async fn run(process: Process) {
    loop {
        let pause = process.with(|world| {
            let longest = if world.random.chance(300) { minutes(5) } else { hours(24) };
            world.random.between(millis(0), longest)
        });
        process.sleep(pause).await;
        // What fails is found again by the next walk.
        let _ = walk(&process).await;
    }
}

async fn walk(process: &Process) -> Result<(), Lost> {
    let seen = points(process, None).await?;
    let images = process.effect("lists records".to_owned(), |world| world.blobs.images()).await?;
    let every = images.into_iter().chain(seen.keys().copied()).collect::<BTreeSet<_>>();
    for image in every {
        visit(process, image, seen.get(&image)).await?;
    }
    sweep_photos(process).await
}

/// The points in the index, of one image or all. They are read before the records: a point without a record is one
/// whose record is gone, not one whose record is yet to come.
async fn points(process: &Process, of: Option<ImageId>) -> Result<BTreeMap<ImageId, Seen>, Lost> {
    let scroll = process.effect("lists points".to_owned(), move |world| {
        let mut seen = BTreeMap::<_, Seen>::new();
        for point in world.index.points().filter(|point| of.is_none_or(|of| point.face.image() == of)) {
            if let Some(number) = point.face.number() {
                seen.entry(point.face.image()).or_default().push((number, point.version));
            }
        }
        seen
    });
    scroll.await
}

async fn visit(process: &Process, image: ImageId, seen: Option<&Seen>) -> Result<(), Lost> {
    let read = process.read_record(image).await?;
    if let Some(record) = &read.record {
        let write = Write { now: process.now(), nonce: process.nonce() };
        let expired = expire(record, write).filter(|_| process.keeps(Rule::Retention));
        if let Some(expired) = expired {
            if process.write_record(&expired, &read, Cause::Expiry).await? == Written::Yes {
                process.count("retention erased a face");
                process.remove_photos(Some(&expired)).await;
                process.append_change_of(&expired).await?;
            }
            return Ok(());
        }
        if is_husk_to_remove(process, record) && is_fresh(read.at, process.now()) {
            process.count("a husk was removed");
            let name = format!("removes record {}", short(image));
            return process.effect(name, move |world| world.blobs.remove_record(image)).await;
        }
    }
    if differs(read.record.as_ref(), seen, process.now()) {
        return look_again(process, image).await;
    }
    Ok(())
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
    let seen = points(process, Some(image)).await?;
    let seen = seen.get(&image);
    let read = process.read_record(image).await?;
    if differs(read.record.as_ref(), seen, process.now()) && process.keeps(Rule::Reconciling) {
        process.count("reconciling found a difference");
        let known =
            read.record.map(|record| record.faces.iter().map(|face| (face.number, face.version)).collect());
        process.append_change(image, seen.cloned().or(known).unwrap_or_default()).await?;
    }
    Ok(())
}

/// Whether the points are not those that the record should have.
fn differs(record: Option<&Record>, seen: Option<&Seen>, now: UnixMillis) -> bool {
    let Some(record) = record else { return seen.is_some() };
    let version = |face: FaceId| {
        let number = face.number()?;
        seen?.iter().find(|(seen, _)| *seen == number).map(|(_, version)| *version)
    };
    let should = projection(record, now);
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
    let named = read.record.is_some_and(|record| record.photo.as_ref() == Some(&photo.key));
    if !named && process.keeps(Rule::PhotosAreSwept) {
        process.count("a photo was swept");
        process.remove_photo(photo.image, &photo.key).await?;
    }
    Ok(())
}
