//! What a score means: cosine, similarity, false match rate, and what to expect of a search.

/// A face model's calibration: how often two different people reach a cosine, and how the cosine is shown.
///
/// Measured on LFW deep-funneled for `sface-2021dec` (87 million impostor pairs); another model brings its own.
#[derive(Clone, Debug, PartialEq)]
pub struct Calibration {
    /// (cosine, false match rate of one comparison), cosine growing, rate falling.
    fmr: Vec<(f64, f64)>,
    /// (cosine, similarity 0 to 100), both growing, from (0, 0) to (1, 100).
    similarity: Vec<(f64, f64)>,
}

/// Why points are no calibration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CalibrationError {
    /// At least two points of each kind are needed.
    #[error("a calibration needs at least two points of false match rate and of similarity")]
    TooFewPoints,
    /// Cosines must grow, rates fall, similarities grow, all within their ranges.
    #[error("calibration points are out of order or out of range")]
    OutOfOrder,
}

/// A false match rate, and whether it was measured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FalseMatchRate {
    /// Share of comparisons of different people that reach the score, 0 to 1.
    pub rate: f64,
    /// Whether the score lies outside the measured points.
    pub extrapolated: bool,
}

/// The least false match rate that a target FPIR may ask for: two decades beyond the last measurement would be guessing,
/// one is the limit.
pub const FMR_MIN: f64 = 1e-7;

impl Calibration {
    /// Takes measured points.
    ///
    /// # Errors
    /// Where they are too few, out of order or out of range.
    pub fn new(fmr: Vec<(f64, f64)>, similarity: Vec<(f64, f64)>) -> Result<Self, CalibrationError> {
        if fmr.len() < 2 || similarity.len() < 2 {
            return Err(CalibrationError::TooFewPoints);
        }
        let cosines_grow = |points: &[(f64, f64)]| {
            points.windows(2).all(|pair| pair[0].0 < pair[1].0)
                && points.iter().all(|point| (-1.0..=1.0).contains(&point.0))
        };
        let rates_fall = fmr.windows(2).all(|pair| pair[0].1 > pair[1].1);
        let rates_in_range = fmr.iter().all(|point| point.1 > 0.0 && point.1 < 1.0);
        let shown_grows = similarity.windows(2).all(|pair| pair[0].1 < pair[1].1);
        let shown_whole = similarity.first().map(|point| point.1) == Some(0.0)
            && similarity.last().map(|point| point.1) == Some(100.0);
        let fine = cosines_grow(&fmr) && cosines_grow(&similarity) && rates_fall && rates_in_range;
        if !(fine && shown_grows && shown_whole) {
            return Err(CalibrationError::OutOfOrder);
        }
        Ok(Self { fmr, similarity })
    }

    /// The similarity, 0 to 100, that a cosine is shown as.
    #[must_use]
    pub fn similarity(&self, cosine: f32) -> f32 {
        interpolate(&self.similarity, f64::from(cosine)).clamp(0.0, 100.0) as f32
    }

    /// The least cosine that is shown as `similarity` or more.
    #[must_use]
    pub fn cosine_of_similarity(&self, similarity: f32) -> f32 {
        if similarity <= 0.0 {
            return -1.0;
        }
        let turned = self.similarity.iter().map(|(cosine, shown)| (*shown, *cosine)).collect::<Vec<_>>();
        interpolate(&turned, f64::from(similarity)).clamp(-1.0, 1.0) as f32
    }

    /// The false match rate at a cosine, log-linear between the measured points and beyond them.
    #[must_use]
    pub fn false_match_rate(&self, cosine: f32) -> FalseMatchRate {
        let logs = self.fmr.iter().map(|(cosine, rate)| (*cosine, rate.log10())).collect::<Vec<_>>();
        let cosine = f64::from(cosine);
        let rate = 10f64.powf(interpolate(&logs, cosine)).min(1.0);
        let measured = self.fmr.first().is_some_and(|first| cosine >= first.0)
            && self.fmr.last().is_some_and(|last| cosine <= last.0);
        FalseMatchRate { rate, extrapolated: !measured }
    }

    /// The least cosine with at most this false match rate.
    #[must_use]
    pub fn cosine_of_false_match_rate(&self, rate: f64) -> f32 {
        let turned = self.fmr.iter().rev().map(|(cosine, rate)| (rate.log10(), *cosine)).collect::<Vec<_>>();
        interpolate(&turned, rate.max(f64::MIN_POSITIVE).log10()).clamp(-1.0, 1.0) as f32
    }
}

/// The chance that a search of `faces` strangers finds any: FPIR ≈ 1 − (1 − FMR)^N (ISO/IEC 19795-1; Grother et al.,
/// NIST IR 8271).
#[must_use]
pub fn fpir(false_match_rate: f64, faces: u64) -> f64 {
    -((faces as f64) * (-false_match_rate.min(1.0)).ln_1p()).exp_m1()
}

/// The false match rate that keeps a search of `faces` at this FPIR: the inverse of [`fpir`].
#[must_use]
pub fn false_match_rate_of_fpir(fpir: f64, faces: u64) -> f64 {
    -((-fpir).ln_1p() / (faces.max(1) as f64)).exp_m1()
}

/// How many strangers reach the threshold on average: FMR × N.
#[must_use]
pub fn expected_strangers(false_match_rate: f64, faces: u64) -> f64 {
    false_match_rate * faces as f64
}

/// Piecewise linear through `points` (first coordinate growing), the outer pieces continued.
fn interpolate(points: &[(f64, f64)], at: f64) -> f64 {
    let last = points.len().saturating_sub(2);
    let piece = points.iter().skip(1).position(|point| at <= point.0).unwrap_or(last).min(last);
    let (from, to) = (points[piece], points[piece + 1]);
    from.1 + (at - from.0) * (to.1 - from.1) / (to.0 - from.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sface() -> Calibration {
        Calibration::new(
            vec![(0.363, 1e-3), (0.424, 1e-4), (0.488, 1e-5), (0.554, 1e-6)],
            vec![(0.0, 0.0), (0.424, 80.0), (0.488, 95.0), (0.554, 99.0), (1.0, 100.0)],
        )
        .unwrap()
    }

    #[test]
    fn similarity_goes_through_its_points_and_back() {
        let sface = sface();
        for (cosine, similarity) in
            [(-0.3, 0.0), (0.0, 0.0), (0.424, 80.0), (0.488, 95.0), (0.554, 99.0), (1.0, 100.0)]
        {
            assert!((sface.similarity(cosine) - similarity).abs() < 1e-4, "{cosine}");
        }
        for similarity in [1.0, 50.0, 80.0, 90.0, 97.0, 99.5, 100.0] {
            let cosine = sface.cosine_of_similarity(similarity);
            assert!((sface.similarity(cosine) - similarity).abs() < 1e-3, "{similarity}");
        }
        assert!(sface.cosine_of_similarity(0.0) <= -1.0, "a threshold of 0 lets everything through");
    }

    #[test]
    fn false_match_rates_are_log_linear_and_say_when_they_are_guessed() {
        let sface = sface();
        for (cosine, rate) in [(0.363, 1e-3), (0.424, 1e-4), (0.488, 1e-5), (0.554, 1e-6)] {
            let found = sface.false_match_rate(cosine);
            assert!((found.rate / rate - 1.0).abs() < 1e-3, "{cosine}: {found:?}");
            assert!((f64::from(sface.cosine_of_false_match_rate(rate)) - f64::from(cosine)).abs() < 1e-5);
        }
        assert!(!sface.false_match_rate(0.45).extrapolated);
        assert!(sface.false_match_rate(0.60).extrapolated);
        assert!(sface.false_match_rate(0.30).extrapolated);
        assert!(sface.false_match_rate(-1.0).rate <= 1.0);
    }

    #[test]
    fn fpir_and_back() {
        assert!((fpir(1e-4, 1) - 1e-4).abs() < 1e-12);
        assert!((fpir(1e-6, 1_000_000) - 0.632).abs() < 1e-3);
        assert!((expected_strangers(1e-4, 300_000) - 30.0).abs() < 1e-9);
        for faces in [1, 1_000, 20_000_000] {
            let rate = false_match_rate_of_fpir(0.01, faces);
            assert!((fpir(rate, faces) - 0.01).abs() < 1e-9, "{faces}");
        }
    }

    #[test]
    fn bad_points_are_refused() {
        let shown = vec![(0.0, 0.0), (1.0, 100.0)];
        assert_eq!(Calibration::new(vec![(0.3, 0.1)], shown.clone()), Err(CalibrationError::TooFewPoints));
        for fmr in
            [vec![(0.3, 0.1), (0.2, 0.01)], vec![(0.3, 0.1), (0.4, 0.2)], vec![(0.3, 0.1), (1.4, 0.01)]]
        {
            assert_eq!(Calibration::new(fmr, shown.clone()), Err(CalibrationError::OutOfOrder));
        }
        let short = vec![(0.0, 0.0), (1.0, 90.0)];
        assert_eq!(Calibration::new(vec![(0.3, 0.1), (0.4, 0.01)], short), Err(CalibrationError::OutOfOrder));
    }
}
