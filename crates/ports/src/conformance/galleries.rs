//! Galleries whose scores are distributed as a face model's: for measuring an index without a single face.
//!
//! Vectors that are random in all their components are no faces: there every neighbour is as far as the next, and a graph
//! that finds faces well finds nothing. What SFace makes of LFW (87 million impostor pairs) has the quantiles of
//! [`QUANTILES`]. Templates here have them too:
//!
//! * **non-mated** scores are those of random directions in [`SUBSPACE`] dimensions, rotated into as many as the model
//!   has. Their false match rates at the quantiles' cosines are 1.3e-3, 1.8e-4, 1.4e-5 and 5.8e-7: all within a factor of
//!   1.8 of the model's, whose tail is a little heavier than that of any sphere (75 dimensions have the model's σ of
//!   0.115, and a tenth of its false matches at the last one);
//! * a **mate** is its identity plus noise of a random direction across it, so much that their cosine is drawn from the
//!   distribution of mated scores: the true match rates joined by straight lines over the normal quantile, and
//!   continued at the slope of the last piece.

use rand::{Rng, RngExt as _, SeedableRng as _};
use rand_xoshiro::Xoshiro256PlusPlus;
use vidimus_domain::Template;

/// Components of SFace's templates.
pub const DIMENSION: usize = 128;
/// Dimensions in which they are random.
pub const SUBSPACE: usize = 66;
/// No two photos are more alike.
const MATED_MAX: f64 = 0.97;

/// One point of a model's calibration.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Quantile {
    /// The score.
    pub cosine: f64,
    /// Share of comparisons of different people that reach it.
    pub false_match_rate: f64,
    /// Share of comparisons of one person that reach it.
    pub true_match_rate: f64,
}

/// SFace 2021dec on LFW: 10-fold verification over all 13,233 photos.
pub const QUANTILES: [Quantile; 4] = [
    Quantile { cosine: 0.363, false_match_rate: 1e-3, true_match_rate: 0.9972 },
    Quantile { cosine: 0.424, false_match_rate: 1e-4, true_match_rate: 0.9938 },
    Quantile { cosine: 0.488, false_match_rate: 1e-5, true_match_rate: 0.9815 },
    Quantile { cosine: 0.554, false_match_rate: 1e-6, true_match_rate: 0.9396 },
];

/// Draws identities and their mates; the same seed draws the same.
pub struct Faces {
    generator: Xoshiro256PlusPlus,
    /// [`SUBSPACE`] orthonormal rows of [`DIMENSION`] components.
    basis: Vec<[f32; DIMENSION]>,
}

impl Faces {
    /// Begins at `seed`. Those of one `seed` lie in one subspace, whatever is drawn.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let mut generator = Xoshiro256PlusPlus::seed_from_u64(seed);
        let basis = orthonormal(&mut generator);
        Self { generator, basis }
    }

    /// Someone who is not there yet.
    pub fn identity(&mut self) -> Template {
        let direction = self.direction();
        self.rotated(&direction)
    }

    /// Another photo of `identity`, and nobody else's.
    pub fn mate(&mut self, identity: &Template) -> Template {
        let own = self.coordinates(identity);
        let mut noise = self.direction();
        let along = dot(&own, &noise);
        for (value, own) in noise.iter_mut().zip(own) {
            *value -= along * own;
        }
        let length = dot(&noise, &noise).sqrt();
        let cosine = self.mated_cosine() as f32;
        let across = (1.0 - cosine * cosine).sqrt() / length;
        let mut mate = own;
        for (value, noise) in mate.iter_mut().zip(noise) {
            *value = cosine * *value + across * noise;
        }
        self.rotated(&mate)
    }

    fn direction(&mut self) -> [f32; SUBSPACE] {
        let mut values = [0.0; SUBSPACE];
        for value in &mut values {
            *value = normal(&mut self.generator) as f32;
        }
        let length = dot(&values, &values).sqrt();
        values.map(|value| value / length)
    }

    fn mated_cosine(&mut self) -> f64 {
        mated_cosine(normal(&mut self.generator)).min(MATED_MAX)
    }

    fn rotated(&self, coordinates: &[f32; SUBSPACE]) -> Template {
        let mut values = vec![0.0_f32; DIMENSION];
        for (coordinate, row) in coordinates.iter().zip(&self.basis) {
            for (value, component) in values.iter_mut().zip(row) {
                *value += coordinate * component;
            }
        }
        Template::normalised(values).unwrap_or_else(|error| unreachable!("a direction: {error}"))
    }

    fn coordinates(&self, template: &Template) -> [f32; SUBSPACE] {
        let mut coordinates = [0.0; SUBSPACE];
        for (coordinate, row) in coordinates.iter_mut().zip(&self.basis) {
            *coordinate = row.iter().zip(template.values()).map(|(left, right)| left * right).sum();
        }
        coordinates
    }
}

fn dot(left: &[f32; SUBSPACE], right: &[f32; SUBSPACE]) -> f32 {
    left.iter().zip(right).map(|(left, right)| left * right).sum()
}

/// The mated score at a standard normal deviate: what [`QUANTILES`] say, joined by straight lines.
fn mated_cosine(deviate: f64) -> f64 {
    let points = QUANTILES.map(|point| (normal_quantile(1.0 - point.true_match_rate), point.cosine));
    let last = points.len() - 2;
    let piece = (0..last).find(|piece| deviate < points[piece + 1].0).unwrap_or(last);
    let ((from, low), (to, high)) = (points[piece], points[piece + 1]);
    low + (high - low) * (deviate - from) / (to - from)
}

/// Box and Muller, "A Note on the Generation of Random Normal Deviates" (1958).
fn normal(generator: &mut impl Rng) -> f64 {
    let uniform = 1.0 - generator.random::<f64>();
    let angle = std::f64::consts::TAU * generator.random::<f64>();
    (-2.0 * uniform.ln()).sqrt() * angle.cos()
}

/// The deviate that a share `probability` of normal deviates is below, within 4.5e-4: Abramowitz and Stegun, "Handbook
/// of Mathematical Functions", 26.2.23.
fn normal_quantile(probability: f64) -> f64 {
    let tail = probability.min(1.0 - probability);
    let t = (-2.0 * tail.ln()).sqrt();
    let numerator = 2.515_517 + t * (0.802_853 + t * 0.010_328);
    let denominator = 1.0 + t * (1.432_788 + t * (0.189_269 + t * 0.001_308));
    let deviate = t - numerator / denominator;
    if probability < 0.5 { -deviate } else { deviate }
}

/// Random rows made orthonormal (Gram and Schmidt, twice for the rounding).
fn orthonormal(generator: &mut impl Rng) -> Vec<[f32; DIMENSION]> {
    let mut rows: Vec<[f64; DIMENSION]> = Vec::with_capacity(SUBSPACE);
    for _ in 0..SUBSPACE {
        let mut row = [0.0; DIMENSION];
        row.fill_with(|| normal(generator));
        for _ in 0..2 {
            for other in &rows {
                let along: f64 = row.iter().zip(other).map(|(left, right)| left * right).sum();
                row.iter_mut().zip(other).for_each(|(value, other)| *value -= along * other);
            }
        }
        let length = row.iter().map(|value| value * value).sum::<f64>().sqrt();
        rows.push(row.map(|value| value / length));
    }
    rows.into_iter().map(|row| row.map(|value| value as f32)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mated_scores_pass_through_the_quantiles() {
        for point in QUANTILES {
            let deviate = normal_quantile(1.0 - point.true_match_rate);
            assert!((mated_cosine(deviate) - point.cosine).abs() < 1e-9, "{point:?}");
        }
        assert!((normal_quantile(0.975) - 1.959_964).abs() < 1e-3);
        assert!(mated_cosine(-6.0) < 0.363 && mated_cosine(0.0) > 0.7);
    }

    #[test]
    fn templates_lie_in_the_subspace_and_mates_by_their_identity() {
        let mut faces = Faces::new(7);
        let identity = faces.identity();
        let back = faces.rotated(&faces.coordinates(&identity));
        assert!((identity.cosine(&back) - 1.0).abs() < 1e-5, "outside of the subspace");
        let mean = (0..200).map(|_| identity.cosine(&faces.mate(&identity))).sum::<f32>() / 200.0;
        assert!((0.65..0.85).contains(&mean), "{mean}");
        assert_eq!(Faces::new(7).identity(), identity, "the same seed");
        assert_ne!(Faces::new(8).identity(), identity);
    }
}
