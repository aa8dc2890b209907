//! What came of a run.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde_json::{Value, json};

/// Latencies up to ten minutes, in nanoseconds, to three digits.
const NANOS_MAX: u64 = 600_000_000_000;
/// Errors whose text is kept.
const TEXTS_MAX: usize = 5;

/// What came of a run, or of one connection's part of it.
pub struct Outcome {
    latencies: Histogram<u64>,
    candidates: u64,
    errors: u64,
    texts: Vec<String>,
    /// From the first request to the last answer.
    pub took: Duration,
}

/// What is told of a run.
pub struct Report {
    /// What came of it.
    pub outcome: Outcome,
    /// CPU time that the service took for it; none where it was not looked at.
    pub cpu: Option<Duration>,
    /// Resident memory of the service in bytes, from time to time.
    pub resident_bytes: Vec<u64>,
}

impl Outcome {
    /// Nothing yet.
    ///
    /// # Errors
    /// Never for these bounds.
    pub fn new() -> anyhow::Result<Self> {
        let latencies = Histogram::new_with_bounds(1_000, NANOS_MAX, 3)?;
        Ok(Self { latencies, candidates: 0, errors: 0, texts: Vec::new(), took: Duration::ZERO })
    }

    /// Notes an answer, or that there was none.
    pub fn note(&mut self, took: Duration, answer: anyhow::Result<usize>) {
        match answer {
            Ok(candidates) => {
                self.candidates += candidates as u64;
                self.latencies.saturating_record(u64::try_from(took.as_nanos()).unwrap_or(NANOS_MAX));
            }
            Err(error) => {
                self.errors += 1;
                if self.texts.len() < TEXTS_MAX {
                    self.texts.push(format!("{error:#}"));
                }
            }
        }
    }

    /// Takes in what came of another connection.
    ///
    /// # Errors
    /// Never: all have the same bounds.
    pub fn add(&mut self, other: &Self) -> anyhow::Result<()> {
        self.latencies.add(&other.latencies)?;
        self.candidates += other.candidates;
        self.errors += other.errors;
        let room = TEXTS_MAX.saturating_sub(self.texts.len());
        self.texts.extend(other.texts.iter().take(room).cloned());
        Ok(())
    }

    /// Requests that were answered.
    #[must_use]
    pub fn answered(&self) -> u64 {
        self.latencies.len()
    }
}

impl Report {
    /// As JSON; latencies and CPU time a request in milliseconds.
    #[must_use]
    pub fn json(&self) -> Value {
        let Outcome { latencies, candidates, errors, texts, took } = &self.outcome;
        let answered = self.outcome.answered().max(1) as f64;
        let millis = |nanos: u64| nanos as f64 / 1e6;
        let quantile = |share: f64| millis(latencies.value_at_quantile(share));
        json!({
            "answered": self.outcome.answered(),
            "errors": errors,
            "error_texts": texts,
            "seconds": took.as_secs_f64(),
            "a_second": self.outcome.answered() as f64 / took.as_secs_f64().max(1e-9),
            "candidates_each": *candidates as f64 / answered,
            "p50_ms": quantile(0.5),
            "p90_ms": quantile(0.9),
            "p99_ms": quantile(0.99),
            "p999_ms": quantile(0.999),
            "max_ms": millis(latencies.max()),
            "mean_ms": latencies.mean() / 1e6,
            "p99_over_p50": quantile(0.99) / quantile(0.5).max(1e-9),
            "service_cpu_ms_each": self.cpu.map(|cpu| cpu.as_secs_f64() * 1e3 / answered),
            "service_resident_bytes": self.resident(),
        })
    }

    /// Memory is flat where the last quarter of a run has no more than the one after the first.
    fn resident(&self) -> Value {
        let samples = &self.resident_bytes;
        let quarter = samples.len() / 4;
        let mean = |part: &[u64]| part.iter().sum::<u64>() as f64 / part.len().max(1) as f64;
        let Some(max) = samples.iter().max().filter(|_| quarter > 0) else {
            return json!({ "samples": samples });
        };
        let (early, late) = (mean(&samples[quarter..2 * quarter]), mean(&samples[samples.len() - quarter..]));
        json!({
            "first": samples.first(),
            "last": samples.last(),
            "max": max,
            "second_quarter": early,
            "last_quarter": late,
            "growth": late / early - 1.0,
            "samples": samples.len(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_and_errors_are_told_apart() {
        let mut all = Outcome::new().unwrap();
        for millis in 1..=100 {
            let mut one = Outcome::new().unwrap();
            one.note(Duration::from_millis(millis), Ok(3));
            one.note(Duration::from_secs(1), Err(anyhow::anyhow!("refused")));
            all.add(&one).unwrap();
        }
        all.took = Duration::from_secs(10);
        let resident_bytes = vec![10, 10, 20, 20, 20, 20, 30, 30];
        let report = Report { outcome: all, cpu: Some(Duration::from_millis(200)), resident_bytes };
        let told = report.json();
        let number = |name: &str| told[name].as_f64().unwrap();
        assert_eq!((number("answered"), number("errors"), number("candidates_each")), (100.0, 100.0, 3.0));
        assert!((number("p50_ms") - 50.0).abs() < 0.1 && (number("p99_ms") - 99.0).abs() < 0.1);
        assert_eq!((number("a_second"), number("service_cpu_ms_each")), (10.0, 2.0));
        assert_eq!(told["error_texts"].as_array().unwrap().len(), TEXTS_MAX);
        assert_eq!(told["service_resident_bytes"]["growth"], 0.5);
    }
}
