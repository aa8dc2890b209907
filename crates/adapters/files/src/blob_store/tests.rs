use std::collections::BTreeMap;
use std::path::Path;

use proptest::prelude::*;
use vidimus_domain::ImageId;
use vidimus_ports::conformance;
use vidimus_ports::conformance::blob_store::fresh_part;
use vidimus_ports::{SeededRandom, SystemRandom};

use super::*;
use crate::simulated::SimulatedDisk;

fn open(root: &Path) -> FileBlobStore {
    FileBlobStore::open(Directory::open(root).unwrap(), 0, Arc::new(SystemRandom)).unwrap()
}

fn open_simulated(disk: &SimulatedDisk) -> Result<Store, OpenError> {
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let directory = Directory::on_disk("/", shared.clone())?;
    let space = Space::new(shared, "/".into(), 1000).always_read();
    Store::open(directory, space, Arc::new(SeededRandom::new(1)))
}

fn record_key(image: u8) -> BlobKey {
    let part = fresh_part(&SeededRandom::new(9));
    BlobKey::record(&part, ImageId::from_random([image; 16]))
}

#[tokio::test(flavor = "multi_thread")]
async fn conforms() {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(open(folder.path()));
    conformance::blob_store::conforms(store, &SeededRandom::new(1)).await.unwrap();
}

#[tokio::test]
async fn objects_are_there_after_reopening_and_leftovers_are_not() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let key = record_key(1);
    let etag = store.put(&key, Bytes::from_static(b"content"), PutCondition::IfAbsent).await.unwrap();
    drop(store);
    std::fs::write(folder.path().join("tmp/left"), "half").unwrap();
    let store = open(folder.path());
    assert_eq!(store.get(&key).await.unwrap().unwrap().etag, etag);
    assert_eq!(std::fs::read_dir(folder.path().join("tmp")).unwrap().count(), 0);
    store.put(&key, Bytes::from_static(b"more"), PutCondition::IfMatch(etag)).await.unwrap();
}

#[tokio::test]
async fn damage_is_told_and_never_taken_for_absence() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let key = record_key(1);
    let etag = store.put(&key, Bytes::from_static(b"content"), PutCondition::IfAbsent).await.unwrap();
    let path = object_path(&folder.path().join("objects"), &key);
    let sound = std::fs::read(&path).unwrap();
    for damaged in
        [&sound[..sound.len() - 1], &sound[..20], b"", b"something else that is longer than a header"]
    {
        std::fs::write(&path, damaged).unwrap();
        let error = store.get(&key).await.unwrap_err();
        assert_eq!(error.kind(), PortErrorKind::Corrupt);
        assert!(error.to_string().contains(key.as_str()), "{error}");
        let over = store.put(&key, Bytes::new(), PutCondition::IfAbsent).await.unwrap_err();
        assert_eq!(over.kind(), PortErrorKind::Conflict);
    }
    std::fs::write(&path, sound).unwrap();
    assert_eq!(store.get(&key).await.unwrap().unwrap().etag, etag);
}

#[tokio::test]
async fn deleting_the_last_object_removes_its_folders() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let keys: Vec<_> = (0..4).map(record_key).collect();
    for _round in 0..2 {
        for key in &keys {
            store.put(key, Bytes::new(), PutCondition::IfAbsent).await.unwrap();
        }
        for key in &keys {
            store.delete(key).await.unwrap();
        }
        assert_eq!(std::fs::read_dir(folder.path().join("objects")).unwrap().count(), 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn puts_and_deletions_in_the_same_folders_do_not_disturb_each_other() {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(open(folder.path()));
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..8_u8 {
        let store = store.clone();
        writers.spawn(async move {
            // All ids begin alike, so all lie in one fan-out folder, which comes and goes.
            let key = BlobKey::listed(&format!("shared/folder/aa-{writer}")).unwrap();
            for _ in 0..40 {
                store.put(&key, Bytes::from(vec![writer; 10]), PutCondition::IfAbsent).await.unwrap();
                assert_eq!(store.get(&key).await.unwrap().unwrap().bytes, vec![writer; 10]);
                store.delete(&key).await.unwrap();
            }
        });
    }
    writers.join_all().await;
    assert_eq!(std::fs::read_dir(folder.path().join("objects")).unwrap().count(), 0);
}

#[test]
fn a_full_disk_refuses_new_objects_and_lets_deletions_go_on() {
    let disk = SimulatedDisk::new(1);
    let store = open_simulated(&disk).unwrap();
    let etag = store.put(&record_key(1), &[1; 500], &PutCondition::IfAbsent).unwrap();
    disk.set_free_bytes(1400);
    let refused = store.put(&record_key(2), &[2; 500], &PutCondition::IfAbsent).unwrap_err();
    assert_eq!(refused.kind(), PortErrorKind::Full);
    assert!(store.get(&record_key(2)).unwrap().is_none());
    let etag = store.put(&record_key(1), &[1; 400], &PutCondition::IfMatch(etag)).unwrap();
    assert!(store.get(&record_key(1)).unwrap().is_some());
    // Nothing is left at all.
    disk.set_free_bytes(10);
    let refused = store.put(&record_key(1), &[1; 300], &PutCondition::IfMatch(etag.clone())).unwrap_err();
    assert_eq!(refused.kind(), PortErrorKind::Full);
    assert_eq!(store.get(&record_key(1)).unwrap().unwrap().etag, etag, "what was there is there");
    assert!(disk.is_empty(Path::new("/tmp")).unwrap(), "what could not be written is removed");
    store.delete(&record_key(1)).unwrap();
    assert!(store.get(&record_key(1)).unwrap().is_none());
    disk.set_free_bytes(10_000);
    store.put(&record_key(2), &[2; 500], &PutCondition::IfAbsent).unwrap();
}

/// However many come at a time, each has its own answer, and those whose condition does not hold take no other with them.
#[tokio::test(flavor = "multi_thread")]
async fn puts_at_a_time_are_answered_each_for_itself() {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(open(folder.path()));
    let keys: Vec<_> = (0..100).map(record_key).collect();
    for (count, were_there) in [(50, 0), (100, 50)] {
        let mut puts = tokio::task::JoinSet::new();
        for (number, key) in keys.iter().take(count).cloned().enumerate() {
            let store = store.clone();
            let bytes = Bytes::copy_from_slice(key.as_str().as_bytes());
            puts.spawn(async move { (number, store.put(&key, bytes, PutCondition::IfAbsent).await) });
        }
        for (number, answer) in puts.join_all().await {
            let refused = answer.err().map(|error| error.kind());
            assert_eq!(refused, (number < were_there).then_some(PortErrorKind::Conflict), "{number}");
        }
    }
    drop(store);
    let store = open(folder.path());
    for key in &keys {
        assert_eq!(store.get(key).await.unwrap().unwrap().bytes, key.as_str().as_bytes());
    }
    assert_eq!(std::fs::read_dir(folder.path().join("tmp")).unwrap().count(), 0);
}

#[test]
fn puts_by_two_syncs_of_the_machines_own_disk_are_there() {
    let folder = tempfile::tempdir().unwrap();
    let directory = Directory::open(folder.path()).unwrap();
    let space = Space::new(directory.disk().clone(), folder.path().to_owned(), 0);
    let store = Store::open(directory, space, Arc::new(SystemRandom)).unwrap();
    let keys: Vec<_> = (0..20).map(record_key).collect();
    store.put(&keys[7], b"before", &PutCondition::IfAbsent).unwrap();
    let whole = store.disk().whole(&store.objects).unwrap();
    let objects: Vec<_> =
        keys.iter().map(|key| (key, key.as_str().as_bytes(), &PutCondition::IfAbsent)).collect();
    let answers = store.put_by_two_syncs(&objects, &*whole);
    for (number, (key, answer)) in keys.iter().zip(answers).enumerate() {
        let found = store.get(key).unwrap().unwrap();
        if number == 7 {
            assert_eq!(answer.unwrap_err().kind(), PortErrorKind::Conflict);
            assert_eq!(found.bytes, "before");
        } else {
            assert_eq!((found.etag, &found.bytes[..]), (answer.unwrap(), key.as_str().as_bytes()));
        }
    }
    assert!(store.disk().is_empty(&store.temporary).unwrap());
}

#[tokio::test]
async fn whoever_does_not_wait_any_more_holds_up_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(open(folder.path()));
    for number in 0..60 {
        let store = store.clone();
        let put = async move { store.put(&record_key(number), Bytes::new(), PutCondition::IfAbsent).await };
        let put = tokio::spawn(put);
        tokio::task::yield_now().await;
        if number % 2 == 0 {
            put.abort();
        }
    }
    for number in 60..70 {
        store.put(&record_key(number), Bytes::new(), PutCondition::IfAbsent).await.unwrap();
    }
    for number in 0..70 {
        let is_there = store.get(&record_key(number)).await.unwrap().is_some();
        assert!(is_there || number < 60, "{number}");
    }
}

/// What a script does to some of a few keys.
#[derive(Clone, Debug)]
enum Step {
    Put(u8),
    /// All of these, together.
    PutTogether(Vec<u8>),
    Delete(u8),
}

const KEYS: u8 = 4;

fn script() -> impl Strategy<Value = Vec<Step>> {
    let some = prop::sample::subsequence((0..KEYS).collect::<Vec<_>>(), 2..=usize::from(KEYS));
    let step = prop_oneof![
        3 => (0..KEYS).prop_map(Step::Put),
        2 => some.prop_map(Step::PutTogether),
        2 => (0..KEYS).prop_map(Step::Delete),
    ];
    prop::collection::vec(step, 1..10)
}

/// Content by key, as far as it was acknowledged, and what was not.
#[derive(Default)]
struct Acknowledged {
    content: BTreeMap<u8, u8>,
    interrupted: Vec<(u8, Option<u8>)>,
}

/// Runs the script until it ends or the power fails.
fn run(store: &Store, script: &[Step]) -> Acknowledged {
    let mut acknowledged = Acknowledged::default();
    for (number, step) in (1..).zip(script) {
        for (key, content, answer) in take_step(store, number, step) {
            if answer.is_err() {
                acknowledged.interrupted.push((key, content));
            } else {
                acknowledged.content.remove(&key);
                acknowledged.content.extend(content.map(|content| (key, content)));
            }
        }
        if !acknowledged.interrupted.is_empty() {
            break;
        }
    }
    acknowledged
}

/// What each key was to hold, and the answer.
fn take_step(store: &Store, number: u8, step: &Step) -> Vec<(u8, Option<u8>, PortResult<()>)> {
    let keys = match step {
        Step::Delete(key) => return vec![(*key, None, store.delete(&record_key(*key)))],
        Step::Put(key) => std::slice::from_ref(key),
        Step::PutTogether(keys) => keys,
    };
    let content = [number; 100];
    let condition = |key: &u8| {
        let present = store.get(&record_key(*key)).unwrap();
        (record_key(*key), present.map_or(PutCondition::IfAbsent, |blob| PutCondition::IfMatch(blob.etag)))
    };
    let puts: Vec<_> = keys.iter().map(condition).collect();
    let answers = match &puts[..] {
        [(key, condition)] => vec![store.put(key, &content, condition)],
        puts => {
            let objects = puts.iter().map(|(key, condition)| (key, &content[..], condition));
            store.put_together(&objects.collect::<Vec<_>>())
        }
    };
    assert_eq!(answers.len(), keys.len());
    keys.iter().zip(answers).map(|(key, answer)| (*key, Some(number), answer.map(|_| ()))).collect()
}

/// What each key holds after opening anew: objects of one write each, or none.
fn contents(disk: &SimulatedDisk) -> Vec<Option<u8>> {
    let store = open_simulated(disk).unwrap();
    let content = |key| {
        let blob = store.get(&record_key(key)).unwrap()?;
        assert!(blob.bytes.len() == 100 && blob.bytes.iter().all(|byte| *byte == blob.bytes[0]));
        Some(blob.bytes[0])
    };
    (0..KEYS).map(content).collect()
}

#[test]
fn an_interrupted_opening_is_taken_up_again() {
    for calls in 0.. {
        let disk = SimulatedDisk::new(calls);
        disk.fail_after(calls);
        let opened = open_simulated(&disk).is_ok();
        for after in [disk.after_kill(), disk.after_power_loss()] {
            open_simulated(&after).unwrap();
        }
        if opened {
            assert!(calls > 5);
            break;
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// After a power loss at any call every acknowledged step is there, and the interrupted one whole or not at all.
    #[test]
    fn power_losses_undo_nothing_that_was_acknowledged(
        script in script(),
        seed: u64,
        unwritten_bytes in prop_oneof![3 => Just(Some(0)), 1 => Just(Some(UNWRITTEN_MAX + 1)), 1 => Just(None)],
        fails_whole_syncs in prop::bool::weighted(0.3),
    ) {
        for calls in 0.. {
            let disk = SimulatedDisk::new(seed.wrapping_add(calls));
            disk.set_unwritten_bytes(unwritten_bytes);
            let store = open_simulated(&disk).unwrap();
            disk.fail_whole_syncs(fails_whole_syncs);
            disk.fail_after(calls);
            let acknowledged = run(&store, &script);
            let after = contents(&disk.after_power_loss());
            for (key, found) in (0..).zip(&after) {
                let expected = acknowledged.content.get(&key).copied();
                let also = acknowledged.interrupted.iter().find(|(other, _)| *other == key);
                prop_assert!(*found == expected || also.is_some_and(|(_, content)| found == content),
                    "key {key} after {calls} calls: {found:?}, acknowledged {expected:?}, interrupted {also:?}");
            }
            // Had only the process been killed: what the next one finds stays, though the power goes then.
            let killed = disk.after_kill();
            prop_assert_eq!(contents(&killed), contents(&killed.after_power_loss()));
            if acknowledged.interrupted.is_empty() {
                break;
            }
        }
    }

    /// Listings of any keys are in order and complete, from any key on and in pages of any length.
    #[test]
    fn listings_are_in_order_whatever_the_keys(
        names in prop::collection::btree_set("[0-9a-c]{1,3}(-[0-9a-b]{0,2})?(/[0-9a-cz.]{1,3}){0,2}", 1..30),
        after in "[0-9a-c]{1,3}",
        limit in 1..8_usize,
    ) {
        let store = open_simulated(&SimulatedDisk::new(1)).unwrap();
        let part = fresh_part(&SeededRandom::new(9));
        let prefix = BlobPrefix::records(&part);
        let key = |name: &str| BlobKey::listed(&format!("{}{name}", prefix.as_str()));
        let mut keys: Vec<BlobKey> = names.iter().filter_map(|name| key(name).ok()).collect();
        keys.sort();
        for key in &keys {
            store.put(key, b"x", &PutCondition::IfAbsent).unwrap();
        }
        let after = key(&after).unwrap();
        keys.retain(|key| *key > after);
        let mut listed: Vec<BlobKey> = Vec::new();
        loop {
            let page = store.list(&prefix, Some(listed.last().unwrap_or(&after)), limit).unwrap();
            let ends = page.len() < limit;
            listed.extend(page.into_iter().map(|entry| entry.key));
            if ends {
                break;
            }
        }
        prop_assert_eq!(listed, keys);
    }
}
