//! Logs and traces of a process: what listens, and where traces are sent.

use std::time::Duration;

use anyhow::{Context, bail};
use hyper::Uri;
use opentelemetry::KeyValue;
use opentelemetry::trace::TracerProvider;
use opentelemetry_otlp::{SpanExporter, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider};
use serde::{Deserialize, Serialize};
use vidimus_runtime::telemetry::{self, Listener};

use crate::config::Config;

/// How long the receiver may take for a batch.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(3);
/// How long the end waits for what was not sent yet.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(5);

/// Where traces go.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Traces {
    /// Who takes them, by OTLP over gRPC: `http://HOST:4317`. There are none where none is named.
    pub endpoint: Option<String>,
    /// The share of traces that is sent. A trace's id decides, so that all processes of one share send the same, and so that
    /// no client decides.
    pub sample_ratio: f64,
}

impl Default for Traces {
    fn default() -> Self {
        Self { endpoint: None, sample_ratio: 1.0 }
    }
}

impl Traces {
    /// Checks what can be checked without sending anything.
    ///
    /// # Errors
    /// A sentence that names what is wrong.
    pub fn check(&self) -> anyhow::Result<()> {
        if !(0.0..=1.0).contains(&self.sample_ratio) {
            bail!("sample_ratio = {}: it must be between 0 and 1", self.sample_ratio);
        }
        let Some(endpoint) = &self.endpoint else { return Ok(()) };
        let uri = endpoint.parse::<Uri>().with_context(|| format!("endpoint = {endpoint:?}"))?;
        if uri.scheme_str() != Some("http") || uri.authority().is_none() {
            bail!("endpoint = {endpoint:?}: it must be http://HOST:PORT of a collector beside the service");
        }
        Ok(())
    }
}

/// What listens to this process.
pub struct Telemetry {
    exporter: Option<SdkTracerProvider>,
}

impl Telemetry {
    /// Begins logs, and traces where they are configured. Within the async runtime, which sends them.
    ///
    /// # Errors
    /// Where the log filter cannot be parsed, or the exporter cannot be made. A receiver that is away is no error: it is only
    /// heard of in the log, and what cannot be sent is dropped.
    pub fn begin(config: &Config) -> anyhow::Result<Self> {
        let endpoint = config.traces.endpoint.as_deref();
        let exporter = endpoint.map(|endpoint| exporter(config, endpoint)).transpose()?;
        telemetry::begin_with(&config.logs.filter, config.logs.format, exporter.as_ref().map(listener))?;
        Ok(Self { exporter })
    }

    /// Sends what was not sent yet.
    pub async fn end(self) {
        let Some(exporter) = self.exporter else { return };
        // It waits for a thread of its own, which needs the runtime's threads.
        let flushed =
            tokio::task::spawn_blocking(move || exporter.shutdown_with_timeout(FLUSH_TIMEOUT)).await;
        if let Ok(Err(error)) = flushed {
            tracing::warn!(%error, "the last traces could not be sent");
        }
    }
}

/// Spans wait in a queue of a fixed length, and are sent in batches; what finds it full is dropped and counted in the log.
fn exporter(config: &Config, endpoint: &str) -> anyhow::Result<SdkTracerProvider> {
    let exporter = SpanExporter::builder().with_tonic().with_endpoint(endpoint).with_timeout(EXPORT_TIMEOUT);
    let exporter = exporter.build().context("make the exporter of traces")?;
    let roles = config.roles().iter().map(ToString::to_string).collect::<Vec<_>>();
    let resource = Resource::builder_empty()
        .with_service_name("vidimus")
        .with_attributes([
            KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
            KeyValue::new("process.pid", i64::from(std::process::id())),
            KeyValue::new("vidimus.roles", roles.join(",")),
        ])
        .build();
    let provider = SdkTracerProvider::builder()
        .with_batch_exporter(exporter)
        .with_sampler(Sampler::TraceIdRatioBased(config.traces.sample_ratio))
        .with_resource(resource);
    Ok(provider.build())
}

/// Spans with nothing but their own attributes.
fn listener(provider: &SdkTracerProvider) -> Listener {
    let spans = tracing_opentelemetry::layer().with_tracer(provider.tracer("vidimus"));
    let spans = spans.with_location(false).with_threads(false).with_tracked_inactivity(false);
    Box::new(spans.with_target(false).with_level(false))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_named() {
        let check = |endpoint: &str, sample_ratio| {
            Traces { endpoint: Some(endpoint.to_owned()), sample_ratio }
                .check()
                .map_err(|error| format!("{error:#}"))
        };
        assert_eq!(Traces::default().check().map_err(|error| error.to_string()), Ok(()));
        assert_eq!(check("http://collector:4317", 0.25), Ok(()));
        for endpoint in ["collector:4317", "https://collector:4317", "http://", "/traces", ""] {
            assert!(check(endpoint, 1.0).unwrap_err().contains("endpoint"), "{endpoint:?}");
        }
        for ratio in [-0.1, 1.1, f64::NAN] {
            assert!(check("http://collector:4317", ratio).unwrap_err().contains("sample_ratio"), "{ratio}");
        }
    }
}
