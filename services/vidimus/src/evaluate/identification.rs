//! Open-set 1:N: some of the people searched for are enrolled, the others are not.

use anyhow::ensure;
use serde::Serialize;
use vidimus_domain::Template;
use vidimus_domain::score::{Calibration, FMR_MIN, false_match_rate_of_fpir};

use super::intervals::{Rate, Tally};
use super::verification::threshold;

/// The false positive identification rates at which figures are given.
const FALSE_POSITIVE_RATES: [f64; 2] = [0.1, 0.01];

/// Figures of searches. Whoever has several photos is enrolled with the first (in the order of their names) and searched for
/// with each of the others: mated probes. Whoever has one photo is not enrolled and is searched for: a non-mated probe.
#[derive(Debug, Serialize)]
pub struct Identification {
    /// Enrolled people, one face each.
    pub gallery: u64,
    /// Searches for someone who is enrolled.
    pub mated_probes: u64,
    /// Searches for someone who is not.
    pub non_mated_probes: u64,
    /// Share of mated probes whose mate has the highest score.
    pub rank_one: Rate,
    /// Thresholds that a share of these very non-mated probes reach.
    pub at_false_positive_rate: Vec<AtFalsePositiveRate>,
    /// Thresholds that the calibration gives for a share that is asked for.
    pub asked_for: Vec<AskedFor>,
}

/// A threshold by the share of non-mated probes that find someone here.
#[derive(Debug, Serialize)]
pub struct AtFalsePositiveRate {
    /// That share (FPIR).
    pub false_positive_rate: f64,
    /// The threshold.
    pub cosine: f32,
    /// Share of mated probes whose mate stays below it, whatever its rank (FNIR).
    pub false_negative_rate: Rate,
}

/// A threshold by the calibration: FPIR = 1 − (1 − FMR)^N.
#[derive(Debug, Serialize)]
pub struct AskedFor {
    /// The FPIR that is asked for.
    pub asked_for: f64,
    /// The threshold that the calibration gives for this gallery.
    pub cosine: f32,
    /// Share of non-mated probes that find someone (FPIR).
    pub observed: Rate,
    /// Share of mated probes whose mate stays below it (FNIR).
    pub false_negative_rate: Rate,
}

/// The scores of all searches.
struct Searches {
    /// For each enrolled person, for each probe: the mate's score, and the highest of the others.
    mated: Vec<Vec<(f32, f32)>>,
    /// The highest score of each non-mated probe, falling.
    non_mated: Vec<f32>,
}

/// Enrols and searches.
///
/// # Errors
/// Where nobody is enrolled or nobody is a stranger.
pub fn measure(people: &[Vec<Template>], calibration: &Calibration) -> anyhow::Result<Identification> {
    let searches = Searches::of(people);
    let gallery = searches.mated.len() as u64;
    ensure!(gallery > 0 && !searches.non_mated.is_empty(), "nobody is enrolled, or nobody is a stranger");
    let at_false_positive_rate =
        FALSE_POSITIVE_RATES.map(|rate| searches.at_false_positive_rate(rate)).into();
    let asked_for = FALSE_POSITIVE_RATES
        .into_iter()
        .filter_map(|rate| searches.asked_for(rate, gallery, calibration))
        .collect();
    Ok(Identification {
        gallery,
        mated_probes: searches.mated.iter().map(|probes| probes.len() as u64).sum(),
        non_mated_probes: searches.non_mated.len() as u64,
        rank_one: searches.mated_where(|mate, others| mate > others),
        at_false_positive_rate,
        asked_for,
    })
}

impl Searches {
    fn of(people: &[Vec<Template>]) -> Self {
        let enrolled: Vec<&Vec<Template>> = people.iter().filter(|templates| templates.len() > 1).collect();
        let gallery: Vec<&Template> = enrolled.iter().filter_map(|templates| templates.first()).collect();
        let search = |(person, templates): (usize, &&Vec<Template>)| {
            templates[1..].iter().map(|probe| split(&gallery, probe, person)).collect()
        };
        let strangers = people.iter().filter(|templates| templates.len() == 1).flatten();
        let best = |probe: &Template| gallery.iter().map(|face| face.cosine(probe)).fold(-1.0, f32::max);
        let mut non_mated: Vec<f32> = strangers.map(best).collect();
        non_mated.sort_unstable_by(|left, right| right.total_cmp(left));
        Self { mated: enrolled.iter().enumerate().map(search).collect(), non_mated }
    }

    fn at_false_positive_rate(&self, false_positive_rate: f64) -> AtFalsePositiveRate {
        let cosine = threshold(&self.non_mated, false_positive_rate);
        let false_negative_rate = self.mated_where(|mate, _| mate < cosine);
        AtFalsePositiveRate { false_positive_rate, cosine, false_negative_rate }
    }

    /// None where the false match rate that it takes is less than the calibration can tell.
    fn asked_for(&self, asked_for: f64, gallery: u64, calibration: &Calibration) -> Option<AskedFor> {
        let false_match_rate = false_match_rate_of_fpir(asked_for, gallery);
        if false_match_rate < FMR_MIN {
            return None;
        }
        let cosine = calibration.cosine_of_false_match_rate(false_match_rate);
        let found = self.non_mated.iter().filter(|score| **score >= cosine).count() as u64;
        Some(AskedFor {
            asked_for,
            cosine,
            observed: Rate::wilson(Tally { count: found, of: self.non_mated.len() as u64 }),
            false_negative_rate: self.mated_where(|mate, _| mate < cosine),
        })
    }

    /// The share of mated probes for which it holds of the mate's score and the highest of the others.
    fn mated_where(&self, holds: impl Fn(f32, f32) -> bool) -> Rate {
        let tally = |probes: &Vec<(f32, f32)>| Tally {
            count: probes.iter().filter(|(mate, others)| holds(*mate, *others)).count() as u64,
            of: probes.len() as u64,
        };
        Rate::of_people(&self.mated.iter().map(tally).collect::<Vec<_>>())
    }
}

/// The score of the gallery's face `mate`, and the highest of the others.
fn split(gallery: &[&Template], probe: &Template, mate: usize) -> (f32, f32) {
    let mut others = -1.0f32;
    let mut mated = -1.0f32;
    for (index, face) in gallery.iter().enumerate() {
        let score = face.cosine(probe);
        if index == mate {
            mated = score;
        } else {
            others = others.max(score);
        }
    }
    (mated, others)
}
