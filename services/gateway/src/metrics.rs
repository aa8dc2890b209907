//! What the gateway counts. No label names a tenant, a collection or a key.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

/// Upper bounds of the latency buckets, in seconds.
const LATENCY_BUCKETS_S: [f64; 13] =
    [0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0];

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    operation: &'static str,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OperationLabel {
    operation: &'static str,
}

/// The gateway's metrics.
#[derive(Clone, Debug)]
pub struct Metrics {
    requests: Family<RequestLabels, Counter>,
    latency: Family<OperationLabel, Histogram>,
    bytes_in: Counter,
    in_flight: Gauge,
}

impl Metrics {
    /// Registers them.
    #[must_use]
    pub fn new(registry: &mut Registry) -> Self {
        let metrics = Self {
            requests: Family::default(),
            latency: Family::new_with_constructor(|| Histogram::new(LATENCY_BUCKETS_S)),
            bytes_in: Counter::default(),
            in_flight: Gauge::default(),
        };
        registry.register(
            "vidimus_gateway_requests",
            "Requests by operation and outcome: ok, or the error's __type",
            metrics.requests.clone(),
        );
        registry.register(
            "vidimus_gateway_request_seconds",
            "Time from a request's head to its answer, by operation",
            metrics.latency.clone(),
        );
        registry.register("vidimus_gateway_body_bytes", "Bytes of bodies read", metrics.bytes_in.clone());
        registry.register(
            "vidimus_gateway_requests_in_flight",
            "Requests that are being answered",
            metrics.in_flight.clone(),
        );
        metrics
    }

    pub(crate) fn began(&self) -> InFlight {
        self.in_flight.inc();
        InFlight(self.in_flight.clone())
    }

    pub(crate) fn body_read(&self, bytes: usize) {
        self.bytes_in.inc_by(bytes as u64);
    }

    /// Counts a request; `outcome` is `ok` or the error's `__type`.
    pub(crate) fn answered(&self, operation: &'static str, outcome: &'static str, took: Duration) {
        self.requests.get_or_create(&RequestLabels { operation, outcome }).inc();
        self.latency.get_or_create(&OperationLabel { operation }).observe(took.as_secs_f64());
    }
}

/// Counts a request as in flight while it lives.
#[derive(Debug)]
pub(crate) struct InFlight(Gauge);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.dec();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_counted_by_operation_and_outcome() {
        let mut registry = Registry::default();
        let metrics = Metrics::new(&mut registry);
        let running = metrics.began();
        metrics.answered("IndexFaces", "ok", Duration::from_millis(30));
        metrics.answered("IndexFaces", "ok", Duration::from_millis(30));
        metrics.body_read(17);
        drop(running);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        for line in [
            r#"vidimus_gateway_requests_total{operation="IndexFaces",outcome="ok"} 2"#,
            r#"vidimus_gateway_request_seconds_bucket{le="0.05",operation="IndexFaces"} 2"#,
            "vidimus_gateway_body_bytes_total 17",
            "vidimus_gateway_requests_in_flight 0",
        ] {
            assert!(text.contains(line), "{line} in\n{text}");
        }
    }
}
