//! The figures as JSON and as a table.

use std::fmt::Write as _;
use std::io::Write;
use std::num::NonZeroUsize;

use serde::Serialize;

use super::encode::Encoded;
use super::identification::Identification;
use super::intervals::Rate;
use super::quality::Quality;
use super::verification::Verification;

/// Names of photos that came to nothing, at most.
const NAMES_MAX: usize = 100;

/// All figures.
#[derive(Debug, Serialize)]
pub struct Report {
    /// The face model.
    pub model: String,
    /// What was measured on.
    pub photos: Photos,
    /// 1:1.
    pub verification: Verification,
    /// 1:1 of what the quality filters leave.
    pub quality: Quality,
    /// 1:N.
    pub identification: Identification,
}

/// What was measured on, and how fast.
#[derive(Debug, Serialize)]
pub struct Photos {
    /// People with a face.
    pub people: usize,
    /// Photos with a face.
    pub with_face: usize,
    /// Photos without one.
    pub without_face: usize,
    /// Files that cannot be read as photos.
    pub unreadable: usize,
    /// The first of both, by name.
    pub left_out: Vec<String>,
    /// Time for encoding all.
    pub seconds: f64,
    /// All files by that time.
    pub photos_per_second: f64,
    /// Threads that encoded.
    pub threads: usize,
}

impl Photos {
    /// Counts what was encoded.
    #[must_use]
    pub fn of(encoded: &Encoded, seconds: f64, threads: NonZeroUsize) -> Self {
        let with_face = encoded.people.iter().map(Vec::len).sum();
        let left_out = encoded.without_face.iter().chain(&encoded.unreadable);
        let total = with_face + left_out.clone().count();
        Self {
            people: encoded.people.len(),
            with_face,
            without_face: encoded.without_face.len(),
            unreadable: encoded.unreadable.len(),
            left_out: left_out.take(NAMES_MAX).map(|path| path.display().to_string()).collect(),
            seconds,
            photos_per_second: total as f64 / seconds,
            threads: threads.get(),
        }
    }
}

impl Report {
    /// Writes JSON, or a table for people.
    ///
    /// # Errors
    /// Where `output` takes no more.
    pub fn write(&self, json: bool, output: &mut dyn Write) -> anyhow::Result<()> {
        if json {
            serde_json::to_writer_pretty(&mut *output, self)?;
            writeln!(output)?;
        } else {
            output.write_all(self.table()?.as_bytes())?;
        }
        Ok(())
    }

    fn table(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        self.write_photos(&mut text)?;
        self.write_verification(&mut text)?;
        self.write_quality(&mut text)?;
        self.write_identification(&mut text)?;
        writeln!(
            text,
            "\nIntervals are 95 %: w, Wilson's; p, bootstrap over people; n, Wilson's of as many trials as people."
        )?;
        Ok(text)
    }

    fn write_photos(&self, text: &mut String) -> std::fmt::Result {
        let photos = &self.photos;
        writeln!(text, "{}: {} people, {} photos with a face", self.model, photos.people, photos.with_face)?;
        writeln!(text, "left out: {} without a face, {} unreadable", photos.without_face, photos.unreadable)?;
        let (seconds, rate) = (photos.seconds, photos.photos_per_second);
        writeln!(text, "encoded in {seconds:.1} s on {} threads: {rate:.1} photos/s", photos.threads)
    }

    fn write_verification(&self, text: &mut String) -> std::fmt::Result {
        let figures = &self.verification;
        writeln!(
            text,
            "\n1:1, {} mated and {} non-mated pairs",
            figures.mated_pairs, figures.non_mated_pairs
        )?;
        writeln!(text, "{:>12} {:>8}   {:<32}", "FMR here", "cosine", "FNMR")?;
        for row in &figures.at_false_match_rate {
            let missed = percent(&row.false_non_match_rate);
            writeln!(text, "{:>12.0e} {:>8.3}   {missed:<32}", row.false_match_rate, row.cosine)?;
        }
        writeln!(text, "{:>12} {:>8}   {:<32} {:<32}", "calibrated", "cosine", "FMR observed", "TMR")?;
        for row in &figures.at_calibration {
            let (observed, matched) = (scientific(&row.observed), percent(&row.true_match_rate));
            writeln!(text, "{:>12.0e} {:>8.3}   {observed:<32} {matched:<32}", row.calibrated, row.cosine)?;
        }
        Ok(())
    }

    fn write_quality(&self, text: &mut String) -> std::fmt::Result {
        writeln!(text, "\nQuality filters, 1:1 at cosine {:.3}", self.quality.cosine)?;
        writeln!(text, "{:>12} {:<32} {:>8}   {:<32} reasons", "filter", "refused", "pairs", "FNMR")?;
        for row in &self.quality.filters {
            let (refused, missed) = (percent(&row.refused), percent(&row.false_non_match_rate));
            let reasons = row.reasons.iter().map(|(reason, count)| format!("{count} {reason}"));
            let reasons = reasons.collect::<Vec<_>>().join(", ");
            writeln!(
                text,
                "{:>12} {refused:<32} {:>8}   {missed:<32} {reasons}",
                row.filter, row.mated_pairs
            )?;
        }
        Ok(())
    }

    fn write_identification(&self, text: &mut String) -> std::fmt::Result {
        let figures = &self.identification;
        let (mated, non_mated) = (figures.mated_probes, figures.non_mated_probes);
        writeln!(
            text,
            "\n1:N, gallery of {}, {mated} mated and {non_mated} non-mated probes",
            figures.gallery
        )?;
        writeln!(text, "{:>12} {:>8}   {:<32}", "rank-1", "", percent(&figures.rank_one))?;
        writeln!(text, "{:>12} {:>8}   {:<32}", "FPIR here", "cosine", "FNIR")?;
        for row in &figures.at_false_positive_rate {
            let missed = percent(&row.false_negative_rate);
            writeln!(text, "{:>11}% {:>8.3}   {missed:<32}", row.false_positive_rate * 100.0, row.cosine)?;
        }
        writeln!(text, "{:>12} {:>8}   {:<32} {:<32}", "FPIR asked", "cosine", "FPIR observed", "FNIR")?;
        for row in &figures.asked_for {
            let (observed, missed) = (percent(&row.observed), percent(&row.false_negative_rate));
            writeln!(
                text,
                "{:>11}% {:>8.3}   {observed:<32} {missed:<32}",
                row.asked_for * 100.0,
                row.cosine
            )?;
        }
        Ok(())
    }
}

fn percent(rate: &Rate) -> String {
    let [value, low, high] = [rate.rate, rate.low, rate.high].map(|share| share * 100.0);
    format!("{value:.2} % [{low:.2}, {high:.2}] {}", rate.method.letter())
}

fn scientific(rate: &Rate) -> String {
    format!("{:.1e} [{:.1e}, {:.1e}] {}", rate.rate, rate.low, rate.high, rate.method.letter())
}
