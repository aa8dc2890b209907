//! `kill -9` of the server in the midst of writes: whatever it said to be written is there, and that it was away is noticed.

use std::collections::BTreeMap;
use std::io::{Write as _, stdout};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use tokio::time::sleep;
use vidimus_domain::point::{Gallery, Point};
use vidimus_domain::{FaceId, UnixMillis, Version};
use vidimus_ports::{FaceIndex as _, Listing, PortResult, RemoveIf};
use vidimus_qdrant::QdrantIndex;

use crate::fixture::{Fixture, erased, live, template};
use crate::server::Target;

/// How many writes are acknowledged before each kill: soon after the start, and after graphs were built.
const KILLED_AFTER: [usize; 4] = [3, 60, 400, 20];
/// Faces of one batch.
const BATCH: usize = 64;
const PATIENCE: Duration = Duration::from_secs(120);

/// What is there of a face.
type Faces = BTreeMap<FaceId, Option<Point>>;

/// A batch is enrolled, one face of it erased, another one removed, a third written again.
#[derive(Clone, Debug)]
enum Step {
    Write(Vec<Point>),
    Remove(FaceId),
}

impl Step {
    fn of_batch(points: Vec<Point>) -> Vec<Self> {
        let again = template(&points[7]).map(|template| live(points[7].face, 3, template.clone()));
        let (gone, removed) = (erased(points[5].face, 2), points[11].face);
        let mut steps = vec![Self::Write(points), Self::Write(vec![gone]), Self::Remove(removed)];
        steps.extend(again.map(|again| Self::Write(vec![again])));
        steps
    }

    async fn carry_out(&self, index: &QdrantIndex, gallery: &Gallery) -> PortResult<()> {
        match self {
            Self::Write(points) => index.write(gallery, points).await,
            Self::Remove(face) => {
                let remove = RemoveIf { face: *face, version_max: Version::new(1) };
                index.remove(gallery, &[remove]).await
            }
        }
    }

    fn expect(&self, faces: &mut Faces) {
        match self {
            Self::Write(points) => faces.extend(points.iter().map(|point| (point.face, Some(point.clone())))),
            Self::Remove(face) => {
                faces.insert(*face, None);
            }
        }
    }
}

/// Carries steps out until the server is away: those that were acknowledged, and the one that was struck.
async fn write_until_it_is_away(
    index: Arc<QdrantIndex>,
    mut fixture: Fixture,
    acknowledged: Arc<AtomicUsize>,
) -> (Fixture, Vec<Step>, Step) {
    let mut steps = Vec::new();
    loop {
        for step in Step::of_batch(fixture.points(BATCH)) {
            if step.carry_out(&index, &fixture.gallery).await.is_err() {
                return (fixture, steps, step);
            }
            steps.push(step);
            acknowledged.fetch_add(1, Ordering::SeqCst);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_again_and_again_it_loses_nothing() -> Result<()> {
    let mut target = Target::own(None).await?;
    let index = target.index().await?;
    let (mut fixture, mut expected) = (Fixture::new(1)?, Faces::new());
    for (nth, killed_after) in KILLED_AFTER.into_iter().enumerate() {
        let acknowledged = Arc::new(AtomicUsize::new(0));
        let writer =
            tokio::spawn(write_until_it_is_away(Arc::clone(&index), fixture, Arc::clone(&acknowledged)));
        let began = Instant::now();
        while acknowledged.load(Ordering::SeqCst) < killed_after {
            ensure!(began.elapsed() < PATIENCE && !writer.is_finished(), "the writer does not get on");
            sleep(Duration::from_millis(1)).await;
        }
        let server = target.own.as_mut().context("a server of our own")?;
        server.kill()?;
        let (drawn, steps, struck) = writer.await?;
        fixture = drawn;
        server.start_again().await?;
        steps.iter().for_each(|step| step.expect(&mut expected));
        check(&index, &fixture, &mut expected, &struck).await?;
        make_good(&index, &fixture.gallery, &expected, nth as u64 + 1).await?;
        find(&index, &fixture, &expected).await?;
        writeln!(stdout(), "killed after {} writes: {} faces are as told", steps.len(), expected.len())?;
    }
    Ok(())
}

/// Of the step that the kill struck each face is as before or as after it; all others are as they were told to be.
/// `expected` becomes what is there.
async fn check(index: &QdrantIndex, fixture: &Fixture, expected: &mut Faces, struck: &Step) -> Result<()> {
    let mut after = expected.clone();
    struck.expect(&mut after);
    let faces: Vec<FaceId> = after.keys().copied().collect();
    let stored = index.get(&fixture.gallery, &faces).await?;
    let mut stored: BTreeMap<FaceId, Point> = stored.into_iter().map(|point| (point.face, point)).collect();
    for (face, after) in after {
        let there = stored.remove(&face);
        let before = expected.get(&face).cloned().unwrap_or_default();
        ensure!(there == before || there == after, "{face}: {there:?} for {before:?} or {after:?}");
        expected.insert(face, there);
    }
    let listed = index.scroll(&fixture.gallery, Listing::Everything, None, usize::MAX >> 1).await?;
    let there = expected.values().flatten().count();
    ensure!(listed.len() == there, "{} points are listed, {there} are there", listed.len());
    Ok(())
}

/// As whoever commits does it: it learns of the loss, nothing more counts as durable, all is written again, and then it does.
async fn make_good(index: &QdrantIndex, gallery: &Gallery, faces: &Faces, kills: u64) -> Result<()> {
    let now = UnixMillis::new(1_000_000 * i64::try_from(kills)?);
    let covered = index.flush(now).await?;
    let losses = index.losses();
    ensure!(losses >= kills, "{kills} kills, {losses} were noticed");
    ensure!(covered < now.minus(Duration::from_secs(30)), "what may be lost counts as durable");
    let there: Vec<Point> = faces.values().flatten().cloned().collect();
    for batch in there.chunks(1_000) {
        index.write(gallery, batch).await?;
    }
    index.begun_again(losses);
    index.made_good(losses);
    assert_eq!(index.flush(now).await?, now.minus(Duration::from_secs(30)));
    Ok(())
}

async fn find(index: &QdrantIndex, fixture: &Fixture, faces: &Faces) -> Result<()> {
    for point in faces.values().flatten().step_by(97) {
        let Some(probe) = template(point) else { continue };
        let found = index.search(fixture.search(probe, 0.9)).await?;
        ensure!(
            found.candidates.first().is_some_and(|best| best.face == point.face),
            "{} is not found",
            point.face
        );
    }
    Ok(())
}
