//! What every [`BlobStore`] must do.
//!
//! The suite works under tenants of its own, so the store may hold other things. Every content it puts is another one:
//! a backend may take its etags from the content, because every object of the service carries a nonce.

use std::sync::Arc;

use bytes::Bytes;
use tokio::task::JoinSet;
use vidimus_domain::blob_key::{BlobKey, BlobPrefix};
use vidimus_domain::record::PhotoKey;
use vidimus_domain::{CollectionUid, ImageId, Part, TenantId, UnixMillis};

use crate::blob_store::{BlobEntry, BlobStore, Etag, PutCondition};
use crate::error::{PortErrorKind, PortResult};
use crate::random::Random;

/// Writers in the races.
const WRITERS: usize = 16;

/// Runs the whole suite.
///
/// # Errors
/// Whatever error the store gives where it may give none.
///
/// # Panics
/// Where the store breaks the contract.
pub async fn conforms(store: Arc<dyn BlobStore>, random: &dyn Random) -> PortResult<()> {
    absent_objects_are_absent(&*store, random).await?;
    puts_keep_their_conditions(&*store, random).await?;
    deleted_objects_are_gone(&*store, random).await?;
    older_versions_are_forgotten(&*store, random).await?;
    contents_come_back_as_they_were(&*store, random).await?;
    one_writer_wins(&store, random).await?;
    no_update_is_lost(&store, random).await?;
    listings_page_in_order(&*store, random).await?;
    listings_stay_under_their_prefix(&*store, random).await
}

/// A part that no one else has.
#[must_use]
pub fn fresh_part(random: &dyn Random) -> Part {
    Part {
        tenant: TenantId::from_random(random.bytes16()),
        collection: CollectionUid::from_random(random.bytes16()),
    }
}

fn fresh_record(random: &dyn Random) -> BlobKey {
    BlobKey::record(&fresh_part(random), ImageId::from_random(random.bytes16()))
}

fn content(random: &dyn Random) -> Bytes {
    Bytes::copy_from_slice(&random.bytes16())
}

fn assert_conflict<T: std::fmt::Debug>(result: PortResult<T>, what: &str) {
    assert_eq!(result.map_err(|error| error.kind()).err(), Some(PortErrorKind::Conflict), "{what}");
}

/// Nothing is read, deleted or put over where there is nothing.
async fn absent_objects_are_absent(store: &dyn BlobStore, random: &dyn Random) -> PortResult<()> {
    let key = fresh_record(random);
    assert_eq!(store.get(&key).await?, None);
    store.delete(&key).await?;
    let condition = PutCondition::IfMatch(Etag::new("0123456789abcdef0123456789abcdef"));
    assert_conflict(store.put(&key, content(random), condition).await, "put over an absent object");
    assert_eq!(store.get(&key).await?, None, "a put that was refused left nothing");
    Ok(())
}

/// Puts take place exactly where their condition holds.
async fn puts_keep_their_conditions(store: &dyn BlobStore, random: &dyn Random) -> PortResult<()> {
    let key = fresh_record(random);
    let (first, second) = (content(random), content(random));
    let first_etag = store.put(&key, first.clone(), PutCondition::IfAbsent).await?;
    let read = store.get(&key).await?.unwrap_or_else(|| unreachable!("read after write"));
    assert_eq!((&read.bytes, &read.etag), (&first, &first_etag));

    assert_conflict(
        store.put(&key, second.clone(), PutCondition::IfAbsent).await,
        "put over a present object",
    );
    assert_eq!(store.get(&key).await?.map(|blob| blob.bytes), Some(first));

    let second_etag = store.put(&key, second.clone(), PutCondition::IfMatch(first_etag.clone())).await?;
    assert_ne!(first_etag, second_etag);
    assert_conflict(
        store.put(&key, content(random), PutCondition::IfMatch(first_etag)).await,
        "put over a state that has gone",
    );
    let read = store.get(&key).await?.map(|blob| (blob.bytes, blob.etag));
    assert_eq!(read, Some((second, second_etag)));
    Ok(())
}

/// A deleted object is absent; its old state does not come back with a new object.
async fn deleted_objects_are_gone(store: &dyn BlobStore, random: &dyn Random) -> PortResult<()> {
    let key = fresh_record(random);
    let old = store.put(&key, content(random), PutCondition::IfAbsent).await?;
    store.delete(&key).await?;
    assert_eq!(store.get(&key).await?, None);
    assert_conflict(
        store.put(&key, content(random), PutCondition::IfMatch(old.clone())).await,
        "put over a deleted object",
    );
    let anew = content(random);
    store.put(&key, anew.clone(), PutCondition::IfAbsent).await?;
    assert_conflict(
        store.put(&key, content(random), PutCondition::IfMatch(old)).await,
        "put over the state of an earlier life",
    );
    assert_eq!(store.get(&key).await?.map(|blob| blob.bytes), Some(anew));
    store.delete(&key).await?;
    store.delete(&key).await?;
    assert_eq!(store.get(&key).await?, None);
    Ok(())
}

/// Forgetting what an object was leaves it as it is; where there is none it does nothing.
async fn older_versions_are_forgotten(store: &dyn BlobStore, random: &dyn Random) -> PortResult<()> {
    let key = fresh_record(random);
    store.forget_versions(&key).await?;
    let first = store.put(&key, content(random), PutCondition::IfAbsent).await?;
    store.forget_versions(&key).await?;
    let second = store.put(&key, content(random), PutCondition::IfMatch(first)).await?;
    let present = content(random);
    let third = store.put(&key, present.clone(), PutCondition::IfMatch(second)).await?;
    store.forget_versions(&key).await?;
    let read = store.get(&key).await?.map(|blob| (blob.bytes, blob.etag));
    assert_eq!(read, Some((present, third.clone())));
    store.put(&key, content(random), PutCondition::IfMatch(third)).await?;
    store.delete(&key).await?;
    store.forget_versions(&key).await?;
    assert_eq!(store.get(&key).await?, None);
    Ok(())
}

/// Empty, small and large objects of any bytes come back as they were.
async fn contents_come_back_as_they_were(store: &dyn BlobStore, random: &dyn Random) -> PortResult<()> {
    let part = fresh_part(random);
    for size in [0, 1, 4095, 4096, 65_537, vidimus_domain::limits::PHOTO_BYTES_MAX] {
        let mut bytes = vec![0; size];
        random.fill(&mut bytes);
        let bytes = Bytes::from(bytes);
        let key = BlobKey::record(&part, ImageId::from_random(random.bytes16()));
        store.put(&key, bytes.clone(), PutCondition::IfAbsent).await?;
        let read = store.get(&key).await?.map(|blob| blob.bytes);
        assert!(read.as_ref() == Some(&bytes), "{size} bytes came back as they were");
        store.delete(&key).await?;
    }
    Ok(())
}

/// Of concurrent puts over one state exactly one wins, and it is the winner's content that is there.
async fn one_writer_wins(store: &Arc<dyn BlobStore>, random: &dyn Random) -> PortResult<()> {
    let key = fresh_record(random);
    let mut condition = PutCondition::IfAbsent;
    for _round in 0..4 {
        let mut writers = JoinSet::new();
        for _ in 0..WRITERS {
            let (store, key, condition, bytes) =
                (store.clone(), key.clone(), condition.clone(), content(random));
            writers.spawn(async move { (bytes.clone(), store.put(&key, bytes, condition).await) });
        }
        let mut winners = Vec::new();
        for (bytes, result) in writers.join_all().await {
            match result {
                Ok(etag) => winners.push((bytes, etag)),
                lost => assert_conflict(lost, "the puts that did not win"),
            }
        }
        assert_eq!(winners.len(), 1, "exactly one put wins");
        let read = store.get(&key).await?.map(|blob| (blob.bytes, blob.etag));
        assert_eq!(read.as_ref(), winners.first());
        condition = winners.pop().map_or(condition, |(_, etag)| PutCondition::IfMatch(etag));
    }
    Ok(())
}

/// A counter that many writers raise by compare-and-swap ends at the number of their successes.
async fn no_update_is_lost(store: &Arc<dyn BlobStore>, random: &dyn Random) -> PortResult<()> {
    const RAISES_EACH: u64 = 3;
    let key = fresh_record(random);
    store.put(&key, Bytes::copy_from_slice(&0_u64.to_le_bytes()), PutCondition::IfAbsent).await?;
    let mut writers = JoinSet::new();
    for _ in 0..WRITERS / 2 {
        let (store, key) = (store.clone(), key.clone());
        writers.spawn(async move { raise(&*store, &key, RAISES_EACH).await });
    }
    for raised in writers.join_all().await {
        raised?;
    }
    let end = store.get(&key).await?.map(|blob| counter(&blob.bytes));
    assert_eq!(end, Some(WRITERS as u64 / 2 * RAISES_EACH));
    Ok(())
}

async fn raise(store: &dyn BlobStore, key: &BlobKey, times: u64) -> PortResult<()> {
    let mut left = times;
    while left > 0 {
        let Some(read) = store.get(key).await? else { unreachable!("the counter is never deleted") };
        let raised = Bytes::copy_from_slice(&(counter(&read.bytes) + 1).to_le_bytes());
        match store.put(key, raised, PutCondition::IfMatch(read.etag)).await {
            Ok(_) => left -= 1,
            Err(error) if error.kind() == PortErrorKind::Conflict => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn counter(bytes: &[u8]) -> u64 {
    bytes.try_into().map_or(0, u64::from_le_bytes)
}

/// Pages follow each other in the order of keys, also after a key that has gone, and tell sizes and times.
async fn listings_page_in_order(store: &dyn BlobStore, random: &dyn Random) -> PortResult<()> {
    let part = fresh_part(random);
    let mut keys = Vec::new();
    for index in 0..25 {
        let key = BlobKey::record(&part, ImageId::from_random(random.bytes16()));
        store.put(&key, Bytes::from(vec![7; index]), PutCondition::IfAbsent).await?;
        keys.push((key, index as u64));
    }
    keys.sort();
    let prefix = BlobPrefix::records(&part);
    for limit in [1, 7, 25, 100] {
        let listed = list_all(store, &prefix, limit).await?;
        assert!(listed.iter().all(|entry| entry.modified_at.get() > 0));
        let listed: Vec<_> = listed.into_iter().map(|entry| (entry.key, entry.size)).collect();
        assert_eq!(listed, keys, "pages of {limit}");
    }
    let (gone, _) = keys.remove(10);
    store.delete(&gone).await?;
    let next = store.list(&prefix, Some(&gone), 1).await?;
    assert_eq!(next.first().map(|entry| &entry.key), keys.get(10).map(|(key, _)| key));
    assert_eq!(store.list(&prefix, keys.last().map(|(key, _)| key), 5).await?, []);
    assert_eq!(store.list(&prefix, None, 0).await?, []);
    Ok(())
}

async fn list_all(store: &dyn BlobStore, prefix: &BlobPrefix, limit: usize) -> PortResult<Vec<BlobEntry>> {
    let mut listed: Vec<BlobEntry> = Vec::new();
    loop {
        let page = store.list(prefix, listed.last().map(|entry| &entry.key), limit).await?;
        assert!(page.len() <= limit);
        let ends = page.len() < limit;
        listed.extend(page);
        if ends {
            return Ok(listed);
        }
    }
}

/// A listing shows what lies under its prefix, in every folder of it, and nothing of another collection or tenant.
async fn listings_stay_under_their_prefix(store: &dyn BlobStore, random: &dyn Random) -> PortResult<()> {
    let mine = fresh_part(random);
    let beside = Part { collection: CollectionUid::from_random(random.bytes16()), ..mine };
    let foreign = fresh_part(random);
    for part in [mine, beside, foreign] {
        for key in keys_of_one_photo(&part, random) {
            store.put(&key, content(random), PutCondition::IfAbsent).await?;
        }
    }
    for (prefix, expected) in [
        (BlobPrefix::records(&mine), 1),
        (BlobPrefix::photos(&mine), 2),
        (BlobPrefix::collection_contents(&mine), 3),
        (BlobPrefix::collection_uids(mine.tenant), 2),
        (BlobPrefix::tenant_contents(mine.tenant), 8),
        (BlobPrefix::records(&fresh_part(random)), 0),
    ] {
        let listed = list_all(store, &prefix, 3).await?;
        let inside = |entry: &BlobEntry| entry.key.as_str().starts_with(prefix.as_str());
        assert!(listed.iter().all(inside), "{prefix:?} shows only what is under it");
        assert!(listed.is_sorted_by(|left, right| left.key < right.key), "{prefix:?} is in order");
        assert_eq!(listed.len(), expected, "{prefix:?}");
    }
    Ok(())
}

fn keys_of_one_photo(part: &Part, random: &dyn Random) -> [BlobKey; 4] {
    let image = ImageId::from_random(random.bytes16());
    let photo =
        |day: &str| PhotoKey { day: day.to_owned(), nonce: random.nonce(), put_at: UnixMillis::new(0) };
    [
        BlobKey::record(part, image),
        BlobKey::photo(part, image, &photo("2026-01-31")),
        BlobKey::photo(part, image, &photo("2026-02-01")),
        BlobKey::collection_uid(part.tenant, part.collection),
    ]
}
