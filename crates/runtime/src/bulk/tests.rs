use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use async_trait::async_trait;
use futures::stream;
use tonic::{Response, Status};
use vidimus_ports::clock::ManualClock;
use vidimus_ports::random::SeededRandom;

use super::*;
use crate::errors::status_from_failure;

/// Takes photos, and knows after so many questions what has come of each.
#[derive(Default)]
struct Door {
    /// How often each was asked about.
    asked: Mutex<BTreeMap<Vec<u8>, u32>>,
    offers: AtomicUsize,
    accepting: AtomicUsize,
    accepting_most: AtomicUsize,
    /// Every photo waits still.
    knows_none: AtomicBool,
    /// What the next offers are answered with.
    failures: Mutex<Vec<Failure>>,
}

fn state(name: &[u8], outcome: v1::BulkOutcome) -> v1::BulkState {
    v1::BulkState { image_id: name.to_vec(), outcome: outcome.into(), ..v1::BulkState::default() }
}

fn elsewhere<T>() -> Result<Response<T>, Status> {
    Err(Status::unimplemented("this is about bulk jobs"))
}

#[async_trait]
impl Ingestion for Door {
    async fn accept_photo(
        &self,
        request: Request<v1::AcceptPhotoRequest>,
    ) -> Result<Response<v1::BulkState>, Status> {
        let accepting = self.accepting.fetch_add(1, Ordering::SeqCst) + 1;
        self.accepting_most.fetch_max(accepting, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(1)).await;
        self.accepting.fetch_sub(1, Ordering::SeqCst);
        self.offers.fetch_add(1, Ordering::SeqCst);
        if let Some(failure) = self.failures.lock().unwrap().pop() {
            return Err(status_from_failure(&failure));
        }
        let name = request.into_inner().name;
        let known = name.starts_with("known");
        let outcome = if known { v1::BulkOutcome::AlreadyThere } else { v1::BulkOutcome::Waiting };
        Ok(Response::new(state(name.as_bytes(), outcome)))
    }

    async fn bulk_states(
        &self,
        request: Request<v1::BulkStatesRequest>,
    ) -> Result<Response<v1::BulkStatesResponse>, Status> {
        let mut asked = self.asked.lock().unwrap();
        let mut of = |image: &Vec<u8>| {
            let times = asked.entry(image.clone()).or_default();
            *times += 1;
            let knows_none = self.knows_none.load(Ordering::SeqCst);
            let is_known = *times > 1 && !knows_none && !image.starts_with(b"never");
            state(image, if is_known { v1::BulkOutcome::Enrolled } else { v1::BulkOutcome::Waiting })
        };
        let states = request.into_inner().image_ids.iter().map(&mut of).collect();
        Ok(Response::new(v1::BulkStatesResponse { states }))
    }

    async fn index_faces(
        &self,
        _: Request<v1::IndexFacesRequest>,
    ) -> Result<Response<v1::IndexFacesResponse>, Status> {
        elsewhere()
    }

    async fn delete_faces(
        &self,
        _: Request<v1::DeleteFacesRequest>,
    ) -> Result<Response<v1::DeleteFacesResponse>, Status> {
        elsewhere()
    }

    async fn create_user(
        &self,
        _: Request<v1::CreateUserRequest>,
    ) -> Result<Response<v1::CreateUserResponse>, Status> {
        elsewhere()
    }

    async fn delete_user(
        &self,
        _: Request<v1::DeleteUserRequest>,
    ) -> Result<Response<v1::DeleteUserResponse>, Status> {
        elsewhere()
    }

    async fn associate_faces(
        &self,
        _: Request<v1::AssociateFacesRequest>,
    ) -> Result<Response<v1::AssociateFacesResponse>, Status> {
        elsewhere()
    }

    async fn disassociate_faces(
        &self,
        _: Request<v1::DisassociateFacesRequest>,
    ) -> Result<Response<v1::DisassociateFacesResponse>, Status> {
        elsewhere()
    }

    async fn import_templates(
        &self,
        _: Request<v1::ImportTemplatesRequest>,
    ) -> Result<Response<v1::BulkState>, Status> {
        elsewhere()
    }
}

/// A clock on which a second passes in some milliseconds.
fn fast_clock() -> Arc<ManualClock> {
    let clock = Arc::new(ManualClock::new(UnixMillis::new(1_800_000_000_000)));
    let hand = Arc::downgrade(&clock);
    tokio::spawn(async move {
        while let Some(clock) = hand.upgrade() {
            clock.advance(Duration::from_millis(250));
            drop(clock);
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    });
    clock
}

/// For so long nothing more happens than what is looked for.
async fn rest() {
    tokio::time::sleep(Duration::from_millis(200)).await;
}

fn job(door: &Arc<Door>) -> BulkJob {
    BulkJob {
        ingestion: door.clone(),
        clock: fast_clock(),
        random: Arc::new(SeededRandom::new(1)),
        collection: v1::CollectionRef::default(),
        caller: v1::Caller::default(),
        job_id: "job".to_owned(),
        silence_max: Duration::from_secs(100),
    }
}

fn photo(name: &str) -> Result<Option<JobPhoto>, Failure> {
    let photo = Ok(Bytes::from_static(b"photo"));
    Ok(Some(JobPhoto { name: name.to_owned(), external_image_id: String::new(), photo }))
}

async fn all(
    mut answers: JobAnswers,
) -> Result<BTreeMap<String, Result<v1::BulkOutcome, ErrorCode>>, Failure> {
    let mut all = BTreeMap::new();
    while let Some(answer) = answers.recv().await {
        let JobAnswer { name, state } = answer?;
        let outcome = state.map(|state| state.outcome()).map_err(|failure| failure.code);
        assert!(all.insert(name.clone(), outcome).is_none(), "{name} is answered twice");
    }
    Ok(all)
}

#[tokio::test]
async fn every_photo_is_answered_once_when_it_is_known() {
    let door = Arc::new(Door::default());
    let names = (0..200).map(|number| format!("{number:03}")).chain(["known".to_owned()]);
    let photos = names.clone().map(|name| photo(&name)).collect::<Vec<_>>();
    let answers = all(job(&door).run(stream::iter(photos))).await.unwrap();
    assert_eq!(answers.keys().cloned().collect::<Vec<_>>(), names.collect::<Vec<_>>());
    let there = answers.values().filter(|outcome| **outcome == Ok(v1::BulkOutcome::AlreadyThere)).count();
    assert_eq!(there, 1);
    assert!(answers.values().all(|outcome| *outcome != Ok(v1::BulkOutcome::Waiting)));
    assert_eq!(door.accepting_most.load(Ordering::SeqCst), ACCEPTING_MAX);
}

#[tokio::test]
async fn no_more_is_taken_than_can_be_waited_for() {
    let door = Arc::new(Door::default());
    let taken = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&taken);
    let photos = stream::iter((0..5 * WAITING_MAX).map(move |number| {
        counted.fetch_add(1, Ordering::SeqCst);
        photo(&format!("never-{number}"))
    }));
    let answers = job(&door).run(photos);
    while taken.load(Ordering::SeqCst) < WAITING_MAX {
        rest().await;
    }
    rest().await;
    assert_eq!(taken.load(Ordering::SeqCst), WAITING_MAX);
    drop(answers);
    rest().await;
    let offers = door.offers.load(Ordering::SeqCst);
    rest().await;
    assert_eq!(door.offers.load(Ordering::SeqCst), offers, "where nobody reads, it ends");
}

#[tokio::test]
async fn large_photos_are_held_in_small_numbers() {
    // Their names are counted too.
    let whole = PHOTO_BYTES_MAX - 10;
    for (bytes, most) in [(whole, 4), (whole / 2, 7), (whole / 100, ACCEPTING_MAX)] {
        let door = Arc::new(Door::default());
        let large = Bytes::from(vec![0; bytes]);
        let photos = (0..40).map(|number| {
            let photo = photo(&number.to_string()).unwrap().unwrap();
            Ok(Some(JobPhoto { photo: Ok(large.clone()), ..photo }))
        });
        let photos: Vec<Result<Option<JobPhoto>, Failure>> = photos.collect();
        assert_eq!(all(job(&door).run(stream::iter(photos))).await.unwrap().len(), 40);
        assert_eq!(door.accepting_most.load(Ordering::SeqCst), most, "of {bytes} bytes");
    }
}

#[tokio::test]
async fn once_it_is_full_as_many_are_taken_as_go_together() {
    for (known, taken_then) in [(TAKEN_AT_ONCE - 1, 0), (TAKEN_AT_ONCE, TAKEN_AT_ONCE)] {
        let door = Arc::new(Door::default());
        let taken = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&taken);
        let photos = stream::iter((0..2 * WAITING_MAX).map(move |number| {
            counted.fetch_add(1, Ordering::SeqCst);
            photo(&if number < known { format!("{number}") } else { format!("never-{number}") })
        }));
        door.knows_none.store(true, Ordering::SeqCst);
        let mut answers = job(&door).run(photos);
        while taken.load(Ordering::SeqCst) < WAITING_MAX {
            rest().await;
        }
        door.knows_none.store(false, Ordering::SeqCst);
        for _ in 0..known {
            answers.recv().await.unwrap().unwrap();
        }
        rest().await;
        assert_eq!(taken.load(Ordering::SeqCst), WAITING_MAX + taken_then);
    }
}

#[tokio::test]
async fn one_photo_that_hangs_holds_up_no_other() {
    let door = Arc::new(Door::default());
    let names = (0..2 * ASKED_MAX).map(|number| format!("never-{number}")).chain(["fine".to_owned()]);
    let photos = names.map(|name| photo(&name)).collect::<Vec<_>>();
    let mut answers = job(&door).run(stream::iter(photos));
    let first = tokio::time::timeout(Duration::from_secs(60), answers.recv()).await.unwrap();
    assert_eq!(first.unwrap().unwrap().name, "fine");
}

#[tokio::test]
async fn the_end_is_asked_for_soon_and_then_less_often() {
    let door = Arc::new(Door::default());
    let clock = Arc::new(ManualClock::new(UnixMillis::new(1_800_000_000_000)));
    let slow = BulkJob { clock: clock.clone(), ..job(&door) };
    let _answers = slow.run(stream::iter([photo("never")]));
    let times = || door.asked.lock().unwrap().get(&b"never"[..]).copied().unwrap_or_default();
    while times() == 0 {
        rest().await;
    }
    for _ in 0..40 {
        clock.advance(LAST_ASK_PAUSE);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // After 25, 50, 100, 200 ms and every 250 ms from then on it is seven; every 250 ms alone is five, every 25 ms forty.
    let asked = times();
    assert!((6..=9).contains(&asked), "{asked} times in a second");
}

#[tokio::test]
async fn what_may_help_is_tried_again_and_what_may_not_is_the_answer() {
    for (failure, offers, expected) in [
        (Failure::unavailable("too many wait", Duration::from_secs(5)), 2, Ok(v1::BulkOutcome::Enrolled)),
        (Failure::new(ErrorCode::InvalidParameter, "no"), 1, Err(ErrorCode::InvalidParameter)),
    ] {
        let door = Arc::new(Door::default());
        door.failures.lock().unwrap().push(failure);
        let answers = all(job(&door).run(stream::iter([photo("a")]))).await.unwrap();
        assert_eq!(answers["a"], expected);
        assert_eq!(door.offers.load(Ordering::SeqCst), offers);
    }
}

#[tokio::test]
async fn a_photo_is_not_offered_for_ever() {
    let door = Arc::new(Door::default());
    let away = Failure::unavailable("away", Duration::from_secs(5));
    *door.failures.lock().unwrap() = vec![away; 1000];
    let answers = all(job(&door).run(stream::iter([photo("a")]))).await.unwrap();
    assert_eq!(answers["a"], Err(ErrorCode::Unavailable));
    assert_eq!(door.offers.load(Ordering::SeqCst), OFFERS_MAX as usize);
}

#[tokio::test]
async fn a_job_that_slept_offers_nothing_again() {
    let door = Arc::new(Door::default());
    *door.failures.lock().unwrap() = vec![Failure::unavailable("away", Duration::from_secs(5)); 1000];
    let clock = Arc::new(ManualClock::new(UnixMillis::new(1_800_000_000_000)));
    let slow = BulkJob { clock: clock.clone(), ..job(&door) };
    let answers = all(slow.run(stream::iter([photo("a")])));
    let meanwhile = async {
        while door.offers.load(Ordering::SeqCst) == 0 {
            rest().await;
        }
        rest().await;
        clock.advance(Duration::from_secs(25 * 3600));
    };
    let (answers, ()) = tokio::join!(answers, meanwhile);
    assert_eq!(answers.unwrap()["a"], Err(ErrorCode::Unavailable));
    assert_eq!(door.offers.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn what_holds_for_all_ends_the_job() {
    let door = Arc::new(Door::default());
    door.failures.lock().unwrap().push(Failure::new(ErrorCode::NotFound, "no such collection"));
    let photos = stream::iter((0..10).map(|number| photo(&number.to_string())));
    assert_eq!(all(job(&door).run(photos)).await.unwrap_err().code, ErrorCode::NotFound);
    let broken = stream::iter([Err(Failure::new(ErrorCode::InvalidParameter, "it broke off"))]);
    let failed = all(job(&Arc::new(Door::default())).run(broken)).await.unwrap_err();
    assert_eq!(failed.message, "it broke off");
    let silent = all(job(&Arc::new(Door::default())).run(stream::pending())).await.unwrap_err();
    assert_eq!(silent.code, ErrorCode::InvalidParameter);
}

#[tokio::test]
async fn a_sender_that_says_it_is_there_is_waited_for() {
    let door = Arc::new(Door::default());
    let clock = Arc::new(ManualClock::new(UnixMillis::new(1_800_000_000_000)));
    let slow = BulkJob { clock: clock.clone(), ..job(&door) };
    let (said, messages) = mpsc::channel(1);
    let heard = stream::unfold(messages, async |mut messages| Some((messages.recv().await?, messages)));
    let mut answers = slow.run(heard);
    for _ in 0..3 {
        clock.advance(Duration::from_secs(60));
        said.send(Ok(None)).await.unwrap();
        rest().await;
    }
    said.send(photo("known")).await.unwrap();
    let answer = answers.recv().await.unwrap().unwrap();
    assert_eq!(answer.state.unwrap().outcome(), v1::BulkOutcome::AlreadyThere);
    clock.advance(Duration::from_secs(101));
    let silent = answers.recv().await.unwrap().unwrap_err();
    assert_eq!(silent.code, ErrorCode::InvalidParameter);
}

#[tokio::test]
async fn a_photo_that_is_not_offered_is_answered_too() {
    let refused = Failure::new(ErrorCode::ImageTooLarge, "too large");
    let photo = JobPhoto { photo: Err(refused), ..photo("large").unwrap().unwrap() };
    let door = Arc::new(Door::default());
    let answers = all(job(&door).run(stream::iter([Ok(Some(photo))]))).await.unwrap();
    assert_eq!(answers["large"], Err(ErrorCode::ImageTooLarge));
    assert_eq!(door.offers.load(Ordering::SeqCst), 0);
}
