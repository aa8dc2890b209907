use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use vidimus_domain::blob_key::BlobKey;
use vidimus_domain::point::{Gallery, Point, PointBody};
use vidimus_domain::record::PhotoKey;
use vidimus_domain::{FaceNumber, ImageId, UnixMillis, Version};

use super::*;
use crate::conformance;
use crate::conformance::blob_store::fresh_part;
use crate::memory::{MemoryBlobStore, MemoryEventLog, MemoryFaceIndex};
use crate::{
    Append, BlobStore, EventLog, FaceIndex, Listing, PortErrorKind, PutCondition, Random, SeededRandom,
    SystemClock, Topic,
};

fn store(interference: Arc<dyn Interference>) -> FaultyBlobStore {
    FaultyBlobStore::new(Arc::new(MemoryBlobStore::new(Arc::new(SystemClock))), interference)
}

fn log(interference: Arc<dyn Interference>) -> FaultyEventLog {
    FaultyEventLog::new(Arc::new(MemoryEventLog::new(SeededRandom::new(1).nonce())), interference)
}

fn keys(random: &SeededRandom) -> (BlobKey, BlobKey) {
    let (part, image) = (fresh_part(random), ImageId::from_random(random.bytes16()));
    let photo = PhotoKey { day: "2026-01-31".to_owned(), nonce: random.nonce(), put_at: UnixMillis::new(0) };
    (BlobKey::photo(&part, image, &photo), BlobKey::record(&part, image))
}

#[tokio::test]
async fn without_faults_the_wrappers_conform() {
    let random = SeededRandom::new(1);
    conformance::blob_store::conforms(Arc::new(store(FaultPlan::scripted())), &random).await.unwrap();
    conformance::event_log::conforms(Arc::new(log(FaultPlan::scripted())), &random).await.unwrap();
}

#[tokio::test]
async fn a_failure_before_has_no_effect_and_one_after_has() {
    let plan = FaultPlan::scripted();
    let store = store(plan.clone());
    let (photo, record) = keys(&SeededRandom::new(1));
    let stage = Stage::Put(BlobKind::Record);
    for (moment, is_there) in [(Moment::Before, false), (Moment::After, true)] {
        plan.script(stage, moment, 0, Fault::Fail(PortErrorKind::Unavailable));
        // The fault is of records' puts: the photo's is none.
        store.put(&photo, Bytes::new(), PutCondition::IfAbsent).await.unwrap();
        let failed = store.put(&record, Bytes::new(), PutCondition::IfAbsent).await.unwrap_err();
        assert_eq!(failed.kind(), PortErrorKind::Unavailable);
        assert_eq!(store.get(&record).await.unwrap().is_some(), is_there, "{moment:?}");
        store.delete(&photo).await.unwrap();
    }
    assert_eq!((plan.calls(stage, Moment::Before), plan.calls(stage, Moment::After)), (2, 1));
}

#[tokio::test]
async fn a_paused_call_goes_on_when_the_gate_opens() {
    let plan = FaultPlan::scripted();
    let log = Arc::new(log(plan.clone()));
    let gate = Gate::closed();
    plan.script(Stage::Append(Topic::Changes), Moment::Before, 1, Fault::Pause(gate.clone()));
    let append = |text: &'static str| {
        let log = log.clone();
        async move { log.append(Topic::Changes, Append::new(b"key", text)).await }
    };
    append("first").await.unwrap();
    let sleeping = tokio::spawn(append("second"));
    gate.reached_by(1).await;
    let third = append("third").await.unwrap();
    assert!(!sleeping.is_finished());
    gate.open();
    let second = sleeping.await.unwrap().unwrap();
    assert!(second.offset > third.offset, "the sleeper came last");
}

#[tokio::test]
async fn hooks_are_told_of_the_stages_in_order() {
    let told = Arc::new(Mutex::new(Vec::new()));
    let hook = Arc::new(StageHook::new({
        let told = told.clone();
        move |stage: Stage, moment| told.lock().unwrap().push(format!("{moment:?} {stage}"))
    }));
    let (store, log) = (store(hook.clone()), log(hook));
    let (photo, record) = keys(&SeededRandom::new(1));
    store.put(&photo, Bytes::new(), PutCondition::IfAbsent).await.unwrap();
    store.put(&record, Bytes::new(), PutCondition::IfAbsent).await.unwrap();
    store.put(&record, Bytes::new(), PutCondition::IfAbsent).await.unwrap_err();
    let position = log.append(Topic::Changes, Append::new(b"key", "")).await.unwrap();
    let mut consumer = log.subscribe(Topic::Changes, "indexing").await.unwrap();
    consumer.commit(position).await.unwrap();
    assert_eq!(
        *told.lock().unwrap(),
        [
            "Before photo put",
            "After photo put",
            "Before record put",
            "After record put",
            "Before record put",
            "Before append to vidimus.changes",
            "After append to vidimus.changes",
            "Before log read",
            "After log read",
            "Before commit",
            "After commit",
        ]
    );
}

#[tokio::test]
async fn a_seed_gives_the_same_faults_again() {
    let rates =
        FaultRates { delay: 0.5, delay_max: Duration::from_micros(10), fail_before: 0.3, fail_after: 0.2 };
    let mut outcomes = Vec::new();
    for seed in [1, 1, 2] {
        let plan = FaultPlan::seeded(seed, rates);
        let log = log(plan.clone());
        let mut failed = Vec::new();
        for _ in 0..100 {
            failed.push(log.append(Topic::Audit, Append::new(b"key", "")).await.is_err());
        }
        let appended: u64 = log_length(&log, &plan).await;
        let told = failed.iter().filter(|failed| !**failed).count() as u64;
        assert!(appended > told && appended < 100, "{appended} appended, {told} told");
        outcomes.push(failed);
    }
    assert_eq!(outcomes[0], outcomes[1]);
    assert_ne!(outcomes[0], outcomes[2]);
}

async fn log_length(log: &FaultyEventLog, plan: &FaultPlan) -> u64 {
    plan.set_rates(FaultRates::default());
    let state = log.state(Topic::Audit).await.unwrap();
    state.iter().map(|partition| partition.next_offset).sum()
}

#[tokio::test]
async fn a_power_loss_leaves_what_was_flushed() {
    let random = SeededRandom::new(1);
    let index = FlushedOnly::new(|| Arc::new(MemoryFaceIndex::new()));
    let gallery = Gallery { part: fresh_part(&random), placement: "model".parse().unwrap() };
    let image = ImageId::from_random(random.bytes16());
    let point = |number, version| Point {
        face: image.face(FaceNumber::new(number).unwrap()),
        version: Version::new(version),
        body: PointBody::Erased { erased_at: UnixMillis::new(1) },
    };
    let versions = async || -> Vec<u64> {
        let listed = index.scroll(&gallery, Listing::Everything, None, 10).await.unwrap();
        listed.iter().map(|point| point.version.get()).collect()
    };
    index.write(&gallery, &[point(1, 1), point(2, 1)]).await.unwrap();
    let flushed_before = index.flush(UnixMillis::new(7)).await.unwrap();
    assert_eq!(flushed_before, UnixMillis::new(7));
    index.write(&gallery, &[point(1, 2), point(3, 2)]).await.unwrap();
    index.remove_part(&Gallery { part: fresh_part(&random), ..gallery.clone() }).await.unwrap();
    assert_eq!(versions().await, [2, 1, 2]);
    index.lose_power().await.unwrap();
    assert_eq!(versions().await, [1, 1]);
    index.remove_part(&gallery).await.unwrap();
    assert_eq!(index.losses(), 1);
    assert_eq!(index.flush(UnixMillis::new(8)).await.unwrap(), flushed_before, "nobody has begun again");
    index.begun_again(1);
    assert_eq!(index.flush(UnixMillis::new(9)).await.unwrap(), UnixMillis::new(9));
    index.lose_power().await.unwrap();
    assert_eq!(versions().await, [] as [u64; 0]);
    assert_eq!(index.losses(), 2);
}
