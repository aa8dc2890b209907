//! Proportions with 95 % intervals.

use rand::{RngExt as _, SeedableRng as _};
use rand_xoshiro::Xoshiro256PlusPlus;
use serde::Serialize;

/// The 97.5 % quantile of the standard normal distribution.
const Z: f64 = 1.959_963_984_540_054;
/// Resamples of a bootstrap.
const RESAMPLES: usize = 1_000;
/// Seed of every bootstrap: the same photos always give the same interval.
const SEED: u64 = 0x0005_eed0_f1d1;

/// How an interval was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// Wilson's score interval (JASA 22, 1927): the trials are independent.
    Wilson,
    /// Percentile bootstrap over people (Bolle, Ratha and Pankanti, "Error analysis of pattern recognition systems: the
    /// subsets bootstrap", CVIU 93, 2004): comparisons of one person depend on each other.
    BootstrapOfPeople,
    /// Wilson's with as many trials as people: all trials came out alike, which a bootstrap cannot judge.
    WilsonOfPeople,
}

impl Method {
    /// How a table marks it.
    #[must_use]
    pub const fn letter(self) -> char {
        match self {
            Self::Wilson => 'w',
            Self::BootstrapOfPeople => 'p',
            Self::WilsonOfPeople => 'n',
        }
    }
}

/// A proportion.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Rate {
    /// The share, 0 to 1.
    pub rate: f64,
    /// Lower end of the 95 % interval.
    pub low: f64,
    /// Upper end of the 95 % interval.
    pub high: f64,
    /// How often it was so.
    pub count: u64,
    /// Of how many.
    pub of: u64,
    /// How the interval was found.
    pub method: Method,
}

/// A person's share in a proportion.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// How often it was so.
    pub count: u64,
    /// Of how many.
    pub of: u64,
}

impl Rate {
    /// Of independent trials.
    #[must_use]
    pub fn wilson(tally: Tally) -> Self {
        let (low, high) = wilson(share(tally), tally.of as f64);
        Self { rate: share(tally), low, high, count: tally.count, of: tally.of, method: Method::Wilson }
    }

    /// Of trials that depend on each other within each person.
    #[must_use]
    pub fn of_people(people: &[Tally]) -> Self {
        let total = sum(people.iter());
        if total.count == 0 || total.count == total.of {
            return Self::uniform(total, people.len());
        }
        let shares = resample(people.len(), |drawn| share(sum(drawn.iter().map(|index| &people[*index]))));
        Self::bootstrapped(total, shares)
    }

    /// Of comparisons of different people: `hits` are the pairs of people for whom it was so (a pair may come more than once),
    /// and `photos` how many photos each person has.
    #[must_use]
    pub fn of_pairs(hits: &[(usize, usize)], photos: &[u64]) -> Self {
        let total = Tally { count: hits.len() as u64, of: pairs_between(photos.iter().copied()) };
        if total.count == 0 || total.count == total.of {
            return Self::uniform(total, photos.len());
        }
        let mut times = vec![0u64; photos.len()];
        let shares = resample(photos.len(), |drawn| {
            times.fill(0);
            drawn.iter().for_each(|person| times[*person] += 1);
            let count = hits.iter().map(|(one, other)| times[*one] * times[*other]).sum();
            // A person drawn twice is not compared with itself: its photos count once more, but in one block.
            let of = pairs_between(photos.iter().zip(&times).map(|(photos, times)| photos * times));
            share(Tally { count, of })
        });
        Self::bootstrapped(total, shares)
    }

    fn uniform(total: Tally, people: usize) -> Self {
        let (low, high) = wilson(share(total), people as f64);
        let method = Method::WilsonOfPeople;
        Self { rate: share(total), low, high, count: total.count, of: total.of, method }
    }

    fn bootstrapped(total: Tally, mut shares: Vec<f64>) -> Self {
        shares.sort_by(f64::total_cmp);
        let at = |quantile: f64| shares[((shares.len() - 1) as f64 * quantile).round() as usize];
        let method = Method::BootstrapOfPeople;
        Self { rate: share(total), low: at(0.025), high: at(0.975), count: total.count, of: total.of, method }
    }
}

/// `statistic` of people drawn with replacement, again and again.
fn resample(people: usize, mut statistic: impl FnMut(&[usize]) -> f64) -> Vec<f64> {
    let mut random = Xoshiro256PlusPlus::seed_from_u64(SEED);
    let mut drawn = vec![0; people];
    (0..RESAMPLES)
        .map(|_| {
            drawn.iter_mut().for_each(|person| *person = random.random_range(0..people));
            statistic(&drawn)
        })
        .collect()
}

fn share(tally: Tally) -> f64 {
    if tally.of == 0 { 0.0 } else { tally.count as f64 / tally.of as f64 }
}

fn sum<'a>(tallies: impl Iterator<Item = &'a Tally>) -> Tally {
    tallies
        .fold(Tally::default(), |sum, tally| Tally { count: sum.count + tally.count, of: sum.of + tally.of })
}

/// Pairs of photos of different people.
fn pairs_between(photos: impl Iterator<Item = u64>) -> u64 {
    let (total, squares) =
        photos.fold((0, 0), |(total, squares), photos| (total + photos, squares + photos * photos));
    (total * total - squares) / 2
}

fn wilson(share: f64, trials: f64) -> (f64, f64) {
    if trials == 0.0 {
        return (0.0, 1.0);
    }
    let spread = Z * Z / trials;
    let centre = (share + spread / 2.0) / (1.0 + spread);
    let half = Z / (1.0 + spread) * (share * (1.0 - share) / trials + spread / (4.0 * trials)).sqrt();
    // Where all trials are alike one end is exact, whatever rounding says.
    let low = if share == 0.0 { 0.0 } else { centre - half };
    let high = if share == 1.0 { 1.0 } else { centre + half };
    (low, high)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Newcombe, "Two-sided confidence intervals for the single proportion" (Statistics in Medicine 17, 1998), table I,
    /// method 3.
    #[test]
    fn wilson_is_newcombes_table() {
        for (count, of, low, high) in [
            (81, 263, 0.2553, 0.3662),
            (15, 148, 0.0624, 0.1605),
            (0, 20, 0.0, 0.1611),
            (1, 29, 0.0061, 0.1718),
        ] {
            let rate = Rate::wilson(Tally { count, of });
            assert!((rate.low - low).abs() < 6e-5 && (rate.high - high).abs() < 6e-5, "{rate:?}");
        }
    }

    /// One trial a person is a binomial sample, so the bootstrap must agree with Wilson.
    #[test]
    fn bootstrap_of_independent_people_is_about_wilson() {
        let people: Vec<Tally> =
            (0..1000).map(|index| Tally { count: u64::from(index < 100), of: 1 }).collect();
        let (bootstrap, wilson) = (Rate::of_people(&people), Rate::wilson(Tally { count: 100, of: 1000 }));
        assert_eq!((bootstrap.rate, bootstrap.method), (0.1, Method::BootstrapOfPeople));
        assert!((bootstrap.low - wilson.low).abs() < 0.004, "{bootstrap:?} {wilson:?}");
        assert!((bootstrap.high - wilson.high).abs() < 0.004, "{bootstrap:?} {wilson:?}");
    }

    /// Trials that all follow their person are worth no more than the people.
    #[test]
    fn dependent_trials_widen_the_interval() {
        let tally = |index: u64| Tally { count: if index < 10 { 50 } else { 0 }, of: 50 };
        let people: Vec<Tally> = (0..100).map(tally).collect();
        let rate = Rate::of_people(&people);
        let people_only = Rate::wilson(Tally { count: 10, of: 100 });
        assert!(rate.high - rate.low > 0.8 * (people_only.high - people_only.low), "{rate:?}");
    }

    #[test]
    fn nothing_at_all_is_not_certainty() {
        let rate = Rate::of_people(&[Tally { count: 0, of: 40 }; 20]);
        assert_eq!((rate.rate, rate.method), (0.0, Method::WilsonOfPeople));
        assert!((rate.high - 0.1611).abs() < 6e-5);
    }

    #[test]
    fn pairs_are_those_between_people() {
        let rate = Rate::of_pairs(&[(0, 1), (0, 1), (1, 2)], &[2, 3, 1]);
        assert_eq!((rate.count, rate.of), (3, 2 * 3 + 2 + 3));
        assert!(rate.low <= rate.rate && rate.rate <= rate.high && rate.low < rate.high, "{rate:?}");
        assert_eq!(rate, Rate::of_pairs(&[(0, 1), (0, 1), (1, 2)], &[2, 3, 1]), "seeded");
    }
}
