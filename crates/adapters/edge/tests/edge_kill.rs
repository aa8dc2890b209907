//! `kill -9` loses no write that returned.
//!
//! A program of its own, without the test harness: with a folder in its environment it is the writer that is killed, else
//! it starts itself as that writer, kills it in the midst of its work, and looks at what it left; several times
//! over, on one folder.

use std::collections::BTreeMap;
use std::env;
use std::io::{BufRead as _, BufReader, Write as _, stdout};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use tempfile::TempDir;
use vidimus_domain::geometry::BoundingBox;
use vidimus_domain::point::{Gallery, LivePoint, Point, PointBody, ShownFace};
use vidimus_domain::retention::Horizon;
use vidimus_domain::{
    CollectionUid, FaceId, FaceNumber, ImageId, Part, Template, TenantId, UnixMillis, Version,
};
use vidimus_edge::{EdgeConfig, EdgeIndex};
use vidimus_ports::{FaceIndex as _, IndexSearch, Listing, RemoveIf};

/// Tells the program that it is the writer, and where it writes.
const FOLDER: &str = "VIDIMUS_EDGE_KILL_FOLDER";
/// The batch at which it begins.
const FIRST: &str = "VIDIMUS_EDGE_KILL_FIRST";
/// How many writes return before each kill: soon after the start, while there is one segment, and after graphs were built.
const KILLED_AFTER: [usize; 5] = [3, 40, 150, 600, 30];
/// Faces of one write.
const BATCH: u64 = 64;
/// Every so many batches are flushed.
const FLUSHED_EVERY: u64 = 16;

/// What is there of a face.
type Faces = BTreeMap<FaceId, Option<Point>>;

/// What the writer does with each batch in turn, each told on a line of its own after it returned.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Step {
    Enrol(u64),
    Erase(u64),
    Remove(u64),
    Flush(u64),
}

fn main() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    match (env::var_os(FOLDER), env::var(FIRST)) {
        (Some(folder), Ok(first)) => runtime.block_on(write_for_ever(Path::new(&folder), first.parse()?)),
        // `cargo test -- --list` asks every test program what it has.
        _ if env::args().any(|argument| argument == "--list") => Ok(()),
        _ => runtime.block_on(kill_again_and_again(TempDir::new()?.path())),
    }
}

async fn kill_again_and_again(folder: &Path) -> Result<()> {
    let mut expected = Faces::new();
    let mut first = 0;
    for killed_after in KILLED_AFTER {
        let steps = run_and_kill(folder, first, killed_after)?;
        steps.iter().for_each(|step| step.expect(&mut expected));
        let last = *steps.last().context("the writer did nothing")?;
        check(folder, &mut expected, last.next())
            .await
            .with_context(|| format!("killed after {} writes", steps.len()))?;
        first = last.next().batch() + 1;
        writeln!(stdout(), "killed after {} writes: {} faces are as told", steps.len(), expected.len())?;
    }
    Ok(())
}

/// Starts the writer, kills it after so many steps, and returns all that it told.
fn run_and_kill(folder: &Path, first: u64, killed_after: usize) -> Result<Vec<Step>> {
    let mut writer = Command::new(env::current_exe()?)
        .env(FOLDER, folder)
        .env(FIRST, first.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .context("start writer")?;
    let mut steps = Vec::new();
    for line in BufReader::new(writer.stdout.take().context("its output")?).lines() {
        // The last line may be half a one.
        match (Step::read(&line?), steps.len() < killed_after) {
            (Ok(step), _) => steps.push(step),
            (Err(error), true) => return Err(error),
            (Err(_), false) => break,
        }
        if steps.len() == killed_after {
            writer.kill().context("kill writer")?;
        }
    }
    ensure!(!writer.wait()?.success() && steps.len() >= killed_after, "the writer ended by itself");
    Ok(steps)
}

impl Step {
    fn read(line: &str) -> Result<Self> {
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["enrolled", batch, "done"] => Ok(Self::Enrol(batch.parse()?)),
            ["erased", batch, "done"] => Ok(Self::Erase(batch.parse()?)),
            ["removed", batch, "done"] => Ok(Self::Remove(batch.parse()?)),
            ["flushed", batch, "done"] => Ok(Self::Flush(batch.parse()?)),
            _ => bail!("{line:?} is no step"),
        }
    }

    const fn batch(self) -> u64 {
        match self {
            Self::Enrol(batch) | Self::Erase(batch) | Self::Remove(batch) | Self::Flush(batch) => batch,
        }
    }

    const fn next(self) -> Self {
        match self {
            Self::Enrol(batch) => Self::Erase(batch),
            Self::Erase(batch) => Self::Remove(batch),
            Self::Remove(batch) if batch % FLUSHED_EVERY == 0 => Self::Flush(batch),
            Self::Remove(batch) | Self::Flush(batch) => Self::Enrol(batch + 1),
        }
    }

    fn expect(self, faces: &mut Faces) {
        match self {
            Self::Enrol(batch) => {
                faces.extend(enrolled(batch).into_iter().map(|point| (point.face, Some(point))));
            }
            Self::Erase(batch) => {
                let point = erased(batch);
                faces.insert(point.face, Some(point));
            }
            Self::Remove(batch) => {
                faces.insert(nth_face(batch, 11), None);
            }
            Self::Flush(_) => {}
        }
    }
}

/// Whatever was told is there, and found where it is live; of the step that the kill struck, each face is as before or as
/// after it. `expected` becomes what is there.
async fn check(folder: &Path, expected: &mut Faces, struck: Step) -> Result<()> {
    let index = EdgeIndex::open(EdgeConfig::new(folder)).await?;
    let mut after = expected.clone();
    struck.expect(&mut after);
    for (face, after) in after {
        let stored = index.get(&gallery()?, &[face]).await?.pop();
        let before = expected.get(&face).cloned().unwrap_or_default();
        ensure!(stored == before || stored == after, "{face}: {stored:?} for {before:?} or {after:?}");
        expected.insert(face, stored);
    }
    for (face, point) in expected.iter().step_by(97) {
        if let Some(Point { body: PointBody::Live(live), .. }) = point {
            let found = index.search(search(live.template.clone())?).await?;
            ensure!(found.candidates.first().is_some_and(|best| best.face == *face), "{face} is not found");
        }
    }
    let listed = index.scroll(&gallery()?, Listing::Everything, None, usize::MAX >> 1).await?;
    let there = expected.values().flatten().count();
    ensure!(listed.len() == there, "{} points are listed, {there} are there", listed.len());
    index.close(Duration::from_secs(60)).await?;
    Ok(())
}

/// A batch is enrolled, a face of it erased, another one removed, and so on.
async fn write_for_ever(folder: &Path, first: u64) -> Result<()> {
    let config = EdgeConfig { optimize_after: Duration::from_millis(50), ..EdgeConfig::new(folder) };
    let index = EdgeIndex::open(config).await?;
    let gallery = gallery()?;
    for batch in first.. {
        index.write(&gallery, &enrolled(batch)).await?;
        tell("enrolled", batch)?;
        index.write(&gallery, &[erased(batch)]).await?;
        tell("erased", batch)?;
        let remove = RemoveIf { face: nth_face(batch, 11), version_max: Version::new(1) };
        index.remove(&gallery, &[remove]).await?;
        tell("removed", batch)?;
        if batch.is_multiple_of(FLUSHED_EVERY) {
            index.flush(UnixMillis::new(1)).await?;
            tell("flushed", batch)?;
        }
    }
    Ok(())
}

fn tell(what: &str, nth: u64) -> Result<()> {
    let mut out = stdout().lock();
    writeln!(out, "{what} {nth} done")?;
    Ok(out.flush()?)
}

fn gallery() -> Result<Gallery> {
    let part =
        Part { tenant: TenantId::from_random([1; 16]), collection: CollectionUid::from_random([2; 16]) };
    Ok(Gallery { part, placement: "sface-2021dec".parse()? })
}

fn search(probe: Template) -> Result<IndexSearch> {
    let horizon = Horizon::without_rule(UnixMillis::new(1));
    Ok(IndexSearch {
        gallery: gallery()?,
        probe,
        without: None,
        with_user_only: false,
        limit: 3,
        cosine_min: 0.5,
        horizon,
    })
}

/// A batch's faces with their numbers, the same in every process.
fn faces(batch: u64) -> impl Iterator<Item = (u64, FaceId)> {
    (batch * BATCH..(batch + 1) * BATCH).map(|number| {
        let mut bytes = [7; 16];
        bytes[..8].copy_from_slice(&number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
        (number, ImageId::from_random(bytes).face(FaceNumber::FIRST))
    })
}

fn nth_face(batch: u64, nth: usize) -> FaceId {
    faces(batch).map(|(_, face)| face).nth(nth).unwrap_or_else(|| unreachable!("a batch has more"))
}

fn enrolled(batch: u64) -> Vec<Point> {
    faces(batch).map(|(number, face)| live(number, face)).collect()
}

fn erased(batch: u64) -> Point {
    let body = PointBody::Erased { erased_at: UnixMillis::new(2) };
    Point { face: nth_face(batch, 5), version: Version::new(2), body }
}

fn live(number: u64, face: FaceId) -> Point {
    let mut state = number + 1;
    let values = (0..128)
        .map(|_| {
            // splitmix64 (Steele, Lea and Flood 2014), shortened.
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            ((mixed >> 40) as f32) / ((1_u64 << 24) as f32) - 0.5
        })
        .collect();
    let body = LivePoint {
        template: Template::normalised(values).unwrap_or_else(|error| unreachable!("{error}")),
        enrolled_at: UnixMillis::new(1),
        expires_at: UnixMillis::NEVER,
        shown: ShownFace {
            bounding_box: BoundingBox::default(),
            confidence: 0.5,
            external_image_id: None,
            user: None,
        },
    };
    Point { face, version: Version::new(1), body: PointBody::Live(body) }
}
