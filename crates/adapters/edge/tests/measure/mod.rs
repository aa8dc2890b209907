//! Recall against an exact scan, on galleries with a face model's quantiles.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use vidimus_domain::geometry::BoundingBox;
use vidimus_domain::point::{Gallery, LivePoint, Point, PointBody, ShownFace};
use vidimus_domain::retention::Horizon;
use vidimus_domain::{
    CollectionUid, FaceId, FaceNumber, ImageId, Part, Template, TenantId, UnixMillis, Version,
};
use vidimus_edge::{EdgeIndex, SearchEffort};
use vidimus_ports::conformance::galleries::{Faces, QUANTILES};
use vidimus_ports::random::SeededRandom;
use vidimus_ports::{FaceIndex as _, Hits, IndexSearch, Random as _};

/// Candidates asked for.
const LIMIT: usize = 100;
/// Recall@10.
const TOP: usize = 10;
/// Products that are summed side by side: one sum alone waits for itself at every step.
const LANES: usize = 8;

/// Identities with their face ids, and who is searched for.
pub struct Population {
    /// Where they are enrolled.
    pub gallery: Gallery,
    /// The enrolled faces.
    pub faces: Vec<(FaceId, Template)>,
    /// Other photos of some who are enrolled.
    pub mates: Vec<Template>,
    /// People who are not.
    pub strangers: Vec<Template>,
}

/// A probe, and what an exact scan says of it.
pub struct Scanned {
    probe: Template,
    truth: Truth,
}

struct Truth {
    /// The best [`LIMIT`] places among the faces with their scores, best first.
    best: Vec<(usize, f32)>,
    /// How many faces reach each of the quantiles' cosines.
    reached: [u64; QUANTILES.len()],
}

/// How searches are asked for.
#[derive(Clone, Copy)]
pub struct How {
    /// Candidates at most.
    pub limit: u32,
    /// None: what the part's size asks for.
    pub effort: Option<SearchEffort>,
    /// Faces enrolled at or before this do not match, as under a retention rule.
    pub faces_cutoff: Option<UnixMillis>,
}

impl How {
    /// As a search goes by itself, for as many candidates as it has where nothing is said.
    pub const USUAL: Self = Self { limit: LIMIT as u32, effort: None, faces_cutoff: None };
}

/// How well searches of one kind did.
#[derive(Debug)]
pub struct Outcome {
    /// Share of the ten nearest that were among the ten best of the answer.
    pub recall_at_10: f64,
    /// Share of those who reach each quantile's cosine (among the best 100) that the answer had.
    pub candidate_recall: [f64; QUANTILES.len()],
    /// One search after the other, sorted.
    latencies: Vec<Duration>,
}

impl Population {
    /// Draws `faces` identities and so many probes of either kind.
    pub fn draw(seed: u64, faces: usize, probes: usize) -> Result<Self> {
        let random = SeededRandom::new(seed);
        let mut drawn = Faces::new(seed);
        let part = Part {
            tenant: TenantId::from_random(random.bytes16()),
            collection: CollectionUid::from_random(random.bytes16()),
        };
        let enrolled: Vec<(FaceId, Template)> = (0..faces)
            .map(|_| (ImageId::from_random(random.bytes16()).face(FaceNumber::FIRST), drawn.identity()))
            .collect();
        let step = (faces / probes).max(1);
        let mates = enrolled.iter().step_by(step).take(probes).map(|(_, face)| drawn.mate(face)).collect();
        let strangers = (0..probes).map(|_| drawn.identity()).collect();
        let gallery = Gallery { part, placement: "sface-2021dec".parse()? };
        Ok(Self { gallery, faces: enrolled, mates, strangers })
    }

    /// Enrols all faces, `told` so many after each batch.
    pub async fn enrol(&self, index: &EdgeIndex, told: impl Fn(usize)) -> Result<()> {
        for batch in self.faces.chunks(1_000) {
            let points: Vec<Point> = batch.iter().map(|(face, template)| live(*face, template)).collect();
            index.write(&self.gallery, &points).await?;
            told(batch.len());
        }
        Ok(())
    }

    /// Compares every probe with every face.
    pub fn scan(&self, probes: &[Template]) -> Vec<Scanned> {
        let scan = |probe: &Template| {
            let scores: Vec<f32> =
                self.faces.iter().map(|(_, face)| dot(probe.values(), face.values())).collect();
            Scanned { probe: probe.clone(), truth: Truth::of(&scores) }
        };
        probes.iter().map(scan).collect()
    }

    /// Searches for every probe in turn, with the effort of the gallery's size or another, and compares.
    pub async fn search(&self, index: &Arc<EdgeIndex>, probes: &[Scanned], how: How) -> Result<Outcome> {
        let mut tally = Tally::default();
        for Scanned { probe, truth } in probes {
            let search = IndexSearch {
                gallery: self.gallery.clone(),
                probe: probe.clone(),
                without: None,
                with_user_only: false,
                limit: how.limit,
                cosine_min: -1.0,
                horizon: Horizon { now: UnixMillis::new(2), faces_cutoff: how.faces_cutoff },
            };
            let begun = Instant::now();
            let hits = match how.effort {
                Some(effort) => index.search_with(search, effort).await?,
                None => index.search(search).await?,
            };
            tally.latencies.push(begun.elapsed());
            self.compare(&hits, truth, &mut tally)?;
        }
        Ok(tally.outcome())
    }

    fn compare(&self, hits: &Hits, truth: &Truth, tally: &mut Tally) -> Result<()> {
        let found: Vec<FaceId> = hits.candidates.iter().map(|candidate| candidate.face).collect();
        let first: HashSet<&FaceId> = found.iter().take(TOP).collect();
        let all: HashSet<&FaceId> = found.iter().collect();
        for (nth, (at, cosine)) in truth.best.iter().enumerate() {
            let face = &self.faces.get(*at).context("a face of the gallery")?.0;
            if nth < TOP {
                tally.top.count(first.contains(face));
            }
            for (quantile, candidates) in QUANTILES.iter().zip(&mut tally.candidates) {
                if f64::from(*cosine) >= quantile.cosine {
                    candidates.count(all.contains(face));
                }
            }
        }
        Ok(())
    }
}

impl Truth {
    fn of(scores: &[f32]) -> Self {
        let mut places: Vec<usize> = (0..scores.len()).collect();
        let best = LIMIT.min(places.len());
        let descending = |left: &usize, right: &usize| scores[*right].total_cmp(&scores[*left]);
        if best < places.len() {
            places.select_nth_unstable_by(best, descending);
            places.truncate(best);
        }
        places.sort_unstable_by(descending);
        let reached = QUANTILES.map(|quantile| {
            scores.iter().filter(|score| f64::from(**score) >= quantile.cosine).count() as u64
        });
        Self { best: places.into_iter().map(|at| (at, scores[at])).collect(), reached }
    }
}

#[derive(Default)]
struct Share {
    hits: u64,
    all: u64,
}

impl Share {
    fn count(&mut self, is_hit: bool) {
        self.hits += u64::from(is_hit);
        self.all += 1;
    }

    fn value(&self) -> f64 {
        if self.all == 0 { f64::NAN } else { self.hits as f64 / self.all as f64 }
    }
}

#[derive(Default)]
struct Tally {
    top: Share,
    candidates: [Share; QUANTILES.len()],
    latencies: Vec<Duration>,
}

impl Tally {
    fn outcome(mut self) -> Outcome {
        self.latencies.sort_unstable();
        Outcome {
            recall_at_10: self.top.value(),
            candidate_recall: self.candidates.map(|share| share.value()),
            latencies: self.latencies,
        }
    }
}

impl Outcome {
    /// What the columns of a row are.
    pub const HEADING: &str = "recall@10   candidate recall at .363 / .424 / .488 / .554     p50 ms   p99 ms";

    /// The milliseconds that a share of the searches did not exceed.
    fn latency_ms(&self, share: f64) -> f64 {
        let at = (share * (self.latencies.len().saturating_sub(1)) as f64).round() as usize;
        self.latencies.get(at).copied().unwrap_or_default().as_secs_f64() * 1e3
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d] = self.candidate_recall;
        write!(formatter, "{:>9.4}   {a:>12.4} {b:>8.4} {c:>8.4} {d:>8.4}", self.recall_at_10)?;
        write!(formatter, "      {:>9.2} {:>8.2}", self.latency_ms(0.5), self.latency_ms(0.99))
    }
}

/// Share of comparisons with strangers that reach each quantile's cosine.
pub fn false_match_rates(strangers: &[Scanned], faces: usize) -> [f64; QUANTILES.len()] {
    let pairs = (strangers.len() * faces) as f64;
    let reached = |at: usize| strangers.iter().map(|scanned| scanned.truth.reached[at]).sum::<u64>();
    std::array::from_fn(|at| reached(at) as f64 / pairs)
}

fn dot(left: &[f32], right: &[f32]) -> f32 {
    let ((left, left_rest), (right, right_rest)) = (left.as_chunks::<LANES>(), right.as_chunks::<LANES>());
    let mut sums = [0.0; LANES];
    for (some, others) in left.iter().zip(right) {
        for (sum, (value, other)) in sums.iter_mut().zip(some.iter().zip(others)) {
            *sum += value * other;
        }
    }
    let rest = left_rest.iter().zip(right_rest).map(|(value, other)| value * other);
    sums.iter().sum::<f32>() + rest.sum::<f32>()
}

fn live(face: FaceId, template: &Template) -> Point {
    let body = LivePoint {
        template: template.clone(),
        enrolled_at: UnixMillis::new(1),
        expires_at: UnixMillis::NEVER,
        shown: ShownFace {
            bounding_box: BoundingBox { left: 0.25, top: 0.25, width: 0.5, height: 0.5 },
            confidence: 0.99,
            external_image_id: "someone".parse().ok(),
            user: None,
        },
    };
    Point { face, version: Version::new(1), body: PointBody::Live(body) }
}
