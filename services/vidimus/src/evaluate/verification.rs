//! 1:1: every pair of photos, of one person and of two.

use anyhow::ensure;
use serde::Serialize;
use vidimus_domain::Template;

use super::intervals::{Rate, Tally};

/// The false match rates at which the false non-match rate is given.
const FALSE_MATCH_RATES: [f64; 2] = [1e-3, 1e-4];

/// Figures of single comparisons.
#[derive(Debug, Serialize)]
pub struct Verification {
    /// Pairs of one person's photos.
    pub mated_pairs: u64,
    /// Pairs of different people's photos.
    pub non_mated_pairs: u64,
    /// What is missed at a threshold that lets through a share of these very non-mated pairs.
    pub at_false_match_rate: Vec<AtFalseMatchRate>,
    /// What happens at the thresholds that the model's calibration gives.
    pub at_calibration: Vec<AtCalibration>,
}

/// A threshold by the share of non-mated pairs that reach it here.
#[derive(Debug, Serialize)]
pub struct AtFalseMatchRate {
    /// That share.
    pub false_match_rate: f64,
    /// The least cosine that at most this share reaches.
    pub cosine: f32,
    /// Share of mated pairs below it.
    pub false_non_match_rate: Rate,
}

/// A threshold of the model's calibration.
#[derive(Debug, Serialize)]
pub struct AtCalibration {
    /// The threshold.
    pub cosine: f64,
    /// The false match rate that the calibration gives it.
    pub calibrated: f64,
    /// The share of non-mated pairs that reach it here.
    pub observed: Rate,
    /// Share of mated pairs that reach it.
    pub true_match_rate: Rate,
}

/// The scores of all pairs.
struct Scores {
    /// Each person's mated scores.
    mated: Vec<Vec<f32>>,
    /// All non-mated scores, falling.
    non_mated: Vec<f32>,
    /// Non-mated pairs that reach the lowest threshold: two people and their score.
    near: Vec<(usize, usize, f32)>,
    /// That threshold.
    lowest: f32,
}

/// Compares all photos with all.
///
/// # Errors
/// Where there are no pairs of either kind.
pub fn measure(people: &[Vec<Template>], calibration: &[(f64, f64)]) -> anyhow::Result<Verification> {
    let lowest = calibration.iter().map(|(cosine, _)| *cosine as f32).fold(1.0, f32::min);
    let scores = Scores::of(people, lowest);
    let mated_pairs = scores.mated.iter().map(|scores| scores.len() as u64).sum();
    ensure!(mated_pairs > 0 && !scores.non_mated.is_empty(), "there are no pairs to compare");
    let photos: Vec<u64> = people.iter().map(|templates| templates.len() as u64).collect();
    let at_false_match_rate = FALSE_MATCH_RATES.map(|rate| scores.at_false_match_rate(rate)).into();
    let at_calibration = calibration
        .iter()
        .map(|(cosine, calibrated)| AtCalibration {
            cosine: *cosine,
            calibrated: *calibrated,
            observed: scores.false_matches(*cosine as f32, &photos),
            true_match_rate: scores.mated_where(|score| score >= *cosine as f32),
        })
        .collect();
    let non_mated_pairs = scores.non_mated.len() as u64;
    Ok(Verification { mated_pairs, non_mated_pairs, at_false_match_rate, at_calibration })
}

impl Verification {
    /// The threshold of the lowest false match rate that was measured here.
    #[must_use]
    pub fn strictest_cosine(&self) -> f32 {
        self.at_false_match_rate.iter().map(|row| row.cosine).fold(-1.0, f32::max)
    }
}

impl Scores {
    fn of(people: &[Vec<Template>], lowest: f32) -> Self {
        let mated = vec![Vec::new(); people.len()];
        let mut scores = Self { mated, non_mated: Vec::new(), near: Vec::new(), lowest };
        for (person, templates) in people.iter().enumerate() {
            for (index, template) in templates.iter().enumerate() {
                scores.mated[person]
                    .extend(templates[index + 1..].iter().map(|other| template.cosine(other)));
                for (other_person, others) in people.iter().enumerate().skip(person + 1) {
                    scores.compare((person, other_person), template, others);
                }
            }
        }
        scores.mated.retain(|scores| !scores.is_empty());
        scores.non_mated.sort_unstable_by(|left, right| right.total_cmp(left));
        scores
    }

    fn compare(&mut self, pair: (usize, usize), template: &Template, others: &[Template]) {
        for other in others {
            let score = template.cosine(other);
            self.non_mated.push(score);
            if score >= self.lowest {
                self.near.push((pair.0, pair.1, score));
            }
        }
    }

    fn at_false_match_rate(&self, false_match_rate: f64) -> AtFalseMatchRate {
        let cosine = threshold(&self.non_mated, false_match_rate);
        let false_non_match_rate = self.mated_where(|score| score < cosine);
        AtFalseMatchRate { false_match_rate, cosine, false_non_match_rate }
    }

    fn mated_where(&self, holds: impl Fn(f32) -> bool) -> Rate {
        let tally = |scores: &Vec<f32>| Tally {
            count: scores.iter().filter(|score| holds(**score)).count() as u64,
            of: scores.len() as u64,
        };
        Rate::of_people(&self.mated.iter().map(tally).collect::<Vec<_>>())
    }

    fn false_matches(&self, cosine: f32, photos: &[u64]) -> Rate {
        let reached = self.near.iter().filter(|(_, _, score)| *score >= cosine);
        let hits: Vec<(usize, usize)> = reached.map(|(one, other, _)| (*one, *other)).collect();
        Rate::of_pairs(&hits, photos)
    }
}

/// The least cosine that at most `share` of the scores (falling) reach.
pub fn threshold(falling: &[f32], share: f64) -> f32 {
    let allowed = (falling.len() as f64 * share).floor() as usize;
    falling.get(allowed).map_or(-1.0, |first_refused| first_refused.next_up())
}
