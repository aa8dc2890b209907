//! The port's suite, and what is this adapter's own: damage, a full disk, writing while graphs are built.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;
use vidimus_domain::geometry::BoundingBox;
use vidimus_domain::point::{Gallery, LivePoint, Point, PointBody, ShownFace};
use vidimus_domain::retention::Horizon;
use vidimus_domain::{FaceId, FaceNumber, ImageId, Template, UnixMillis, Version};
use vidimus_edge::{EdgeConfig, EdgeIndex};
use vidimus_ports::conformance::blob_store::fresh_part;
use vidimus_ports::conformance::face_index::{Subject, conforms};
use vidimus_ports::conformance::galleries::Faces;
use vidimus_ports::random::SeededRandom;
use vidimus_ports::{FaceIndex, IndexSearch, Listing, PortErrorKind, Random as _};

/// When everything lives that is enrolled here.
const TODAY: Horizon = Horizon::without_rule(UnixMillis::new(2));
const PATIENCE: Duration = Duration::from_secs(60);

/// A gallery with faces of one generator.
struct Fixture {
    random: SeededRandom,
    drawn: Faces,
    gallery: Gallery,
}

impl Fixture {
    fn new() -> Result<Self> {
        let random = SeededRandom::new(1);
        let gallery = Gallery { part: fresh_part(&random), placement: "sface-2021dec".parse()? };
        Ok(Self { random, drawn: Faces::new(1), gallery })
    }

    fn face(&self) -> FaceId {
        ImageId::from_random(self.random.bytes16()).face(FaceNumber::FIRST)
    }

    fn points(&mut self, count: usize) -> Vec<Point> {
        (0..count).map(|_| live(self.face(), 1, self.drawn.identity())).collect()
    }

    fn search(&self, probe: &Template) -> IndexSearch {
        let (gallery, probe) = (self.gallery.clone(), probe.clone());
        IndexSearch {
            gallery,
            probe,
            without: None,
            with_user_only: false,
            limit: 10,
            cosine_min: 0.9,
            horizon: TODAY,
        }
    }
}

fn live(face: FaceId, version: u64, template: Template) -> Point {
    let body = LivePoint {
        template,
        enrolled_at: UnixMillis::new(1),
        expires_at: UnixMillis::NEVER,
        shown: ShownFace {
            bounding_box: BoundingBox::default(),
            confidence: 0.5,
            external_image_id: None,
            user: None,
        },
    };
    Point { face, version: Version::new(version), body: PointBody::Live(body) }
}

fn erased(face: FaceId, version: u64) -> Point {
    let body = PointBody::Erased { erased_at: UnixMillis::new(1) };
    Point { face, version: Version::new(version), body }
}

fn template(point: &Point) -> Result<&Template> {
    match &point.body {
        PointBody::Live(live) => Ok(&live.template),
        PointBody::Erased { .. } => anyhow::bail!("an erased point"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn passes_the_suite() -> Result<()> {
    let root = TempDir::new()?;
    let index = Arc::new(EdgeIndex::open(EdgeConfig::new(root.path())).await?);
    let subject = Subject {
        index: Arc::clone(&index) as Arc<dyn FaceIndex>,
        random: Box::new(SeededRandom::new(1)),
        placement: "sface-2021dec".parse()?,
        // As bad a folder's name as a placement may have.
        absent: "..".parse()?,
    };
    conforms(&subject).await?;
    index.optimized().await?;
    conforms(&Subject { absent: "another".parse()?, random: Box::new(SeededRandom::new(2)), ..subject })
        .await?;
    index.close(PATIENCE).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn placements_are_there_after_reopening() -> Result<()> {
    let root = TempDir::new()?;
    let mut fixture = Fixture::new()?;
    let points = fixture.points(300);
    let gone = erased(points[0].face, 2);
    let narrow = Gallery { placement: "narrow".parse()?, ..fixture.gallery.clone() };
    let small = live(fixture.face(), 1, Template::normalised(vec![1.0, 2.0, 3.0])?);
    {
        let index = EdgeIndex::open(EdgeConfig::new(root.path())).await?;
        index.write(&fixture.gallery, &points).await?;
        index.write(&fixture.gallery, std::slice::from_ref(&gone)).await?;
        index.write(&narrow, std::slice::from_ref(&small)).await?;
        index.close(PATIENCE).await?;
    }
    // A shard that was being made when the process died.
    fs::create_dir_all(root.path().join("third.new/wal"))?;
    let index = EdgeIndex::open(EdgeConfig::new(root.path())).await?;
    assert_eq!(index.get(&fixture.gallery, &[points[0].face]).await?, [gone]);
    assert_eq!(index.get(&fixture.gallery, &[points[1].face]).await?, points[1..2]);
    assert_eq!(index.count(&fixture.gallery, Listing::LiveAt(TODAY)).await?, 299);
    assert_eq!(index.get(&narrow, &[small.face]).await?, std::slice::from_ref(&small));
    let third = Gallery { placement: "third".parse()?, ..narrow };
    index.write(&third, std::slice::from_ref(&small)).await?;
    assert_eq!(index.get(&third, &[small.face]).await?, [small]);
    let placements: Vec<String> =
        index.statistics().await?.iter().map(|placement| placement.placement.to_string()).collect();
    assert_eq!(placements, ["narrow", "sface-2021dec", "third"]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_folder_is_named() -> Result<()> {
    type Harm = fn(&Path) -> Result<()>;
    fn segments(folder: &Path) -> Result<()> {
        Ok(fs::remove_dir_all(folder.join("segments"))?)
    }
    fn config(folder: &Path) -> Result<()> {
        Ok(fs::write(folder.join("edge_config.json"), "{\"vectors\": {")?)
    }
    fn state(folder: &Path) -> Result<()> {
        for segment in fs::read_dir(folder.join("segments"))? {
            fs::write(segment?.path().join("segment.json"), [0; 100])?;
        }
        Ok(())
    }
    let harms: [(&str, Harm); 3] = [("segments", segments), ("configuration", config), ("state", state)];
    for (what, harm) in harms {
        let root = TempDir::new()?;
        let mut fixture = Fixture::new()?;
        let index = EdgeIndex::open(EdgeConfig::new(root.path())).await?;
        let points = fixture.points(100);
        index.write(&fixture.gallery, &points).await?;
        index.close(PATIENCE).await?;
        drop(index);
        let folder = root.path().join("sface-2021dec.index");
        harm(&folder)?;
        let error = EdgeIndex::open(EdgeConfig::new(root.path())).await.err();
        let error = error.with_context(|| format!("without its {what} it was opened"))?;
        assert_eq!(error.kind(), PortErrorKind::Corrupt, "{what}: {error}");
        ensure!(error.to_string().contains(&folder.display().to_string()), "{what}: {error}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_refuses_enrolments_only() -> Result<()> {
    let root = TempDir::new()?;
    let mut fixture = Fixture::new()?;
    let points = fixture.points(3);
    {
        let index = EdgeIndex::open(EdgeConfig::new(root.path())).await?;
        index.write(&fixture.gallery, &points).await?;
        index.close(PATIENCE).await?;
    }
    let state = rustix::fs::statvfs(root.path())?;
    let free_bytes_min = state.f_bavail * state.f_frsize * 2;
    let index = EdgeIndex::open(EdgeConfig { free_bytes_min, ..EdgeConfig::new(root.path()) }).await?;
    let more = fixture.points(1);
    let refused = index.write(&fixture.gallery, &more).await;
    assert_eq!(refused.map_err(|error| error.kind()), Err(PortErrorKind::Full));
    let probe = template(&points[1])?;
    assert_eq!(index.search(fixture.search(probe)).await?.candidates.len(), 1);
    index.write(&fixture.gallery, &[erased(points[1].face, 2)]).await?;
    assert_eq!(index.search(fixture.search(probe)).await?.candidates, []);
    Ok(())
}

/// Points are written again, erased, enrolled again and searched for while segments are indexed and merged underneath.
#[tokio::test(flavor = "multi_thread")]
async fn reads_and_writes_go_on_while_it_optimises() -> Result<()> {
    const FACES: usize = 24_000;
    let root = TempDir::new()?;
    let config = EdgeConfig { optimize_after: Duration::ZERO, ..EdgeConfig::new(root.path()) };
    let index = EdgeIndex::open(config).await?;
    let mut fixture = Fixture::new()?;
    let mut points = fixture.points(FACES);
    let mut met_optimiser = false;
    for (nth, batch) in points.chunks_mut(500).enumerate() {
        index.write(&fixture.gallery, batch).await?;
        for (at, point) in batch.iter_mut().enumerate() {
            let template = template(point)?.clone();
            match at % 5 {
                0 => *point = erased(point.face, 3),
                1 => *point = live(point.face, 4, template),
                _ => continue,
            }
        }
        let changed: Vec<Point> =
            batch.iter().filter(|point| point.version > Version::new(1)).cloned().collect();
        index.write(&fixture.gallery, &changed).await?;
        let late: Vec<Point> =
            changed.iter().map(|point| live(point.face, 2, fixture.drawn.identity())).collect();
        index.write(&fixture.gallery, &late).await?;
        for (at, point) in batch.iter().enumerate().skip(nth % 7).step_by(83) {
            let probe = match &point.body {
                PointBody::Live(live) => live.template.clone(),
                PointBody::Erased { .. } => continue,
            };
            let found = index.search(fixture.search(&probe)).await?;
            ensure!(found.candidates.iter().any(|best| best.face == point.face), "face {at} of batch {nth}");
        }
        met_optimiser |= index.statistics().await?.iter().any(|placement| placement.optimizing);
    }
    ensure!(met_optimiser, "nothing was optimised meanwhile");
    index.optimized().await?;
    for batch in points.chunks(1_000) {
        let faces: Vec<FaceId> = batch.iter().map(|point| point.face).collect();
        let mut stored = index.get(&fixture.gallery, &faces).await?;
        stored.sort_by_key(|point| faces.iter().position(|face| *face == point.face));
        ensure!(stored == batch, "I5: a point is not as it was last written");
    }
    let live = points.iter().filter(|point| matches!(point.body, PointBody::Live(_))).count() as u64;
    assert_eq!(index.count(&fixture.gallery, Listing::LiveAt(TODAY)).await?, live);
    let statistics = index.statistics().await?.pop().context("one placement")?;
    ensure!(statistics.indexed_vectors > 0 && statistics.segments <= 4, "{statistics:?}");
    Ok(())
}

/// Half of a large part's faces have a user, and then only few: they are found though its graph leads elsewhere.
#[tokio::test(flavor = "multi_thread")]
async fn faces_with_a_user_are_found_in_a_large_part() -> Result<()> {
    const FACES: usize = 22_000;
    let root = TempDir::new()?;
    let index = EdgeIndex::open(EdgeConfig::new(root.path())).await?;
    let mut fixture = Fixture::new()?;
    let mut points = fixture.points(FACES);
    for (version, every) in [(2, 2), (3, 400)] {
        for (nth, point) in points.iter_mut().enumerate() {
            *point = live(point.face, version, template(point)?.clone());
            if let PointBody::Live(live) = &mut point.body
                && nth % every == 0
            {
                live.shown.user = Some(("anna".parse()?, 1));
            }
        }
        for batch in points.chunks(1_000) {
            index.write(&fixture.gallery, batch).await?;
        }
        if every == 2 {
            index.optimized().await?;
        }
        let probe = fixture.drawn.identity();
        let mut expected = Vec::new();
        for point in points.iter().step_by(every) {
            expected.push((point.face, probe.cosine(template(point)?)));
        }
        expected.sort_by(|left, right| right.1.total_cmp(&left.1));
        let search = IndexSearch { with_user_only: true, cosine_min: -1.0, ..fixture.search(&probe) };
        let hits = index.search(search).await?;
        let is_best = |face: FaceId| expected[..10].iter().any(|(best, _)| *best == face);
        let found = hits.candidates.iter().filter(|hit| is_best(hit.face)).count();
        ensure!(found >= 9, "of one in {every}: {:?}", hits.candidates);
        // The engine's own estimate: while it optimises it counts some points twice.
        ensure!(
            hits.gallery_faces >= FACES.div_ceil(every) as u64,
            "{} of one in {every}",
            hits.gallery_faces
        );
    }
    Ok(())
}
