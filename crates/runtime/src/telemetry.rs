//! Structured logs, and who listens to the spans of traces beside them. They hold no templates, photos or secrets.

use tracing_subscriber::filter::{FilterExt, LevelFilter, Targets};
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Registry};

use crate::traces;

/// Hears of spans.
pub type Listener = Box<dyn Layer<Registry> + Send + Sync>;

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// One JSON object a line, for machines.
    #[default]
    Json,
    /// For people.
    Text,
}

/// Why logging could not begin.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The filter is not one (`info,vidimus=debug`).
    #[error("log filter: {0}")]
    Filter(#[from] tracing_subscriber::filter::ParseError),
    /// Logging was begun before.
    #[error("logging: {0}")]
    Begun(#[from] tracing_subscriber::util::TryInitError),
}

/// Begins logging to standard error.
///
/// # Errors
/// Where `filter` cannot be parsed or logging was begun before.
pub fn begin(filter: &str, format: LogFormat) -> Result<(), TelemetryError> {
    begin_with(filter, format, None)
}

/// Begins logging to standard error, and has `exporter` hear of the spans of traces and of nothing else. Without one nobody hears of
/// them: log lines do not show them.
///
/// # Errors
/// As [`begin`].
pub fn begin_with(filter: &str, format: LogFormat, exporter: Option<Listener>) -> Result<(), TelemetryError> {
    tracing_subscriber::registry().with(listeners(filter, format, exporter)?).try_init()?;
    Ok(())
}

/// All that listen, each to its own.
pub(crate) fn listeners(
    filter: &str,
    format: LogFormat,
    exporter: Option<Listener>,
) -> Result<Vec<Listener>, TelemetryError> {
    let shown = EnvFilter::try_new(filter)?.and(without_traces());
    let lines = lines(format).with_filter(shown);
    let only_traces = Targets::new().with_target(traces::TARGET, LevelFilter::INFO);
    let exporter = exporter.map(|exporter| exporter.with_filter(only_traces).boxed());
    Ok([Some(lines.boxed()), exporter].into_iter().flatten().collect())
}

fn lines(format: LogFormat) -> Listener {
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    match format {
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
        LogFormat::Text => lines.boxed(),
    }
}

fn without_traces() -> Targets {
    Targets::new().with_default(LevelFilter::TRACE).with_target(traces::TARGET, LevelFilter::OFF)
}
