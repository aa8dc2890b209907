use std::sync::{Arc, Mutex};
use std::time::Duration;

use opentelemetry::trace::{SpanId, SpanKind, Status, TracerProvider};
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider, SpanData, SpanExporter};
use tracing::subscriber::DefaultGuard;
use tracing_subscriber::layer::SubscriberExt;
use vidimus_ports::memory::MemoryEventLog;
use vidimus_ports::random::SeededRandom;
use vidimus_ports::{PortError, PortErrorKind, Random};

use super::*;
use crate::telemetry::{Listener, LogFormat, listeners};

const CLIENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";
const CLIENT_TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

/// Keeps what is exported.
#[derive(Clone, Debug, Default)]
struct Kept(Arc<Mutex<Vec<SpanData>>>);

impl SpanExporter for Kept {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        self.0.lock().unwrap().extend(batch);
        Ok(())
    }
}

impl Kept {
    fn names(&self) -> Vec<String> {
        self.0.lock().unwrap().iter().map(|span| span.name.to_string()).collect()
    }

    fn span(&self, name: &str) -> SpanData {
        let spans = self.0.lock().unwrap();
        spans
            .iter()
            .find(|span| span.name == name)
            .unwrap_or_else(|| panic!("no span {name}: {spans:?}"))
            .clone()
    }

    fn trace_of(&self, name: &str) -> String {
        self.span(name).span_context.trace_id().to_string()
    }
}

/// Exports this thread's spans, that share of them, as a service does.
fn exporting(sample_ratio: f64) -> (Kept, DefaultGuard) {
    let kept = Kept::default();
    let provider = SdkTracerProvider::builder()
        .with_simple_exporter(kept.clone())
        .with_sampler(Sampler::TraceIdRatioBased(sample_ratio))
        .build();
    let spans: Listener = Box::new(tracing_opentelemetry::layer().with_tracer(provider.tracer("test")));
    let listeners = listeners("off", LogFormat::Json, Some(spans)).unwrap();
    (kept, tracing::subscriber::set_default(tracing_subscriber::registry().with(listeners)))
}

fn headers(value: &'static str) -> HeaderMap {
    HeaderMap::from_iter([(http::HeaderName::from_static(TRACEPARENT), HeaderValue::from_static(value))])
}

fn log() -> MemoryEventLog {
    MemoryEventLog::new(SeededRandom::new(1).nonce())
}

/// The records that were appended, as a consumer gets them.
async fn records(log: &MemoryEventLog, topic: Topic) -> Vec<LogRecord> {
    let mut subscription = log.subscribe(topic, "group").await.unwrap();
    subscription.next(10, Duration::from_millis(10)).await.unwrap()
}

async fn append_one(log: &MemoryEventLog, topic: Topic) {
    append(log, topic, Append::new(b"key", "payload")).await.unwrap();
}

#[tokio::test]
async fn a_request_is_one_trace_across_calls_and_through_the_log() {
    let (kept, _guard) = exporting(1.0);
    let log = log();
    let gateway = request(&headers(CLIENT));
    let asked = noted(gateway.clone(), async {
        let mut metadata = MetadataMap::new();
        noted(call("ingestion"), async {
            carry(&mut metadata);
            Ok::<_, Infallible>(())
        })
        .await
        .unwrap();
        let role = served("Ingestion/IndexFaces", &metadata.into_headers());
        let appending = async {
            append_one(&log, Topic::Changes).await;
            Ok::<_, Infallible>(())
        };
        noted(role, step("enrol photo", appending)).await
    });
    asked.await.unwrap();
    answered(&gateway, "IndexFaces", "ok", false);
    drop(gateway);
    let read = records(&log, Topic::Changes).await;
    consuming(Topic::Changes, &read, step("project records", async { Ok::<_, Infallible>(()) }))
        .await
        .unwrap();

    let way = [
        ("IndexFaces", SpanKind::Server),
        ("call ingestion", SpanKind::Client),
        ("Ingestion/IndexFaces", SpanKind::Server),
        ("enrol photo", SpanKind::Internal),
        ("append vidimus.changes", SpanKind::Producer),
        ("consume vidimus.changes", SpanKind::Consumer),
        ("project records", SpanKind::Internal),
    ];
    let mut parent = SpanId::from_hex("b7ad6b7169203331").unwrap();
    for (name, kind) in &way {
        let span = kept.span(name);
        assert_eq!(span.span_context.trace_id().to_string(), CLIENT_TRACE, "{name}");
        assert_eq!((span.parent_span_id, &span.span_kind), (parent, kind), "{name}");
        assert_eq!(span.status, Status::Unset, "{name}");
        parent = span.span_context.span_id();
    }
    assert_eq!(kept.names().len(), way.len());
}

#[tokio::test]
async fn what_fails_says_so() {
    let (kept, _guard) = exporting(1.0);
    let gateway = request(&HeaderMap::new());
    let failing =
        step("put photo", async { Err::<(), _>(PortError::new(PortErrorKind::Unavailable, "put")) });
    failing.instrument(gateway.clone()).await.unwrap_err();
    answered(&gateway, "IndexFaces", "ThrottlingException", true);
    drop(gateway);
    for name in ["put photo", "IndexFaces"] {
        assert!(matches!(kept.span(name).status, Status::Error { .. }), "{name}");
    }
    assert_eq!(kept.span("IndexFaces").parent_span_id, SpanId::INVALID);
}

#[tokio::test]
async fn traces_that_are_taken_up_together_are_linked() {
    let (kept, _guard) = exporting(1.0);
    let log = log();
    for _ in 0..2 {
        append_one(&log, Topic::Photos).instrument(request(&HeaderMap::new())).await;
    }
    append_one(&log, Topic::Photos).await;
    let read = records(&log, Topic::Photos).await;
    assert_eq!(read.iter().filter(|record| record.header(TRACEPARENT).is_some()).count(), 2);
    consuming(Topic::Photos, &read, async {}).await;

    let spans = kept.0.lock().unwrap();
    let consumed = spans.iter().filter(|span| span.span_kind == SpanKind::Consumer).collect::<Vec<_>>();
    let [one, other] = consumed[..] else { panic!("{consumed:?}") };
    assert_ne!(one.span_context.trace_id(), other.span_context.trace_id());
    let links = |span: &SpanData| span.links.iter().map(|link| link.span_context.clone()).collect::<Vec<_>>();
    let linked = (links(one), links(other));
    assert!(
        linked == (vec![], vec![one.span_context.clone()])
            || linked == (vec![other.span_context.clone()], vec![]),
        "{linked:?}"
    );
}

#[tokio::test]
async fn the_parts_of_a_job_have_traces_of_their_own() {
    let (kept, _guard) = exporting(1.0);
    let gateway = request(&headers(CLIENT));
    let origin = gateway.in_scope(Origin::current);
    noted(origin.part("bulk photo"), async { Ok::<_, Infallible>(()) }).await.unwrap();
    let part = kept.span("bulk photo");
    assert_ne!(kept.trace_of("bulk photo"), CLIENT_TRACE);
    let linked = part.links.iter().map(|link| link.span_context.trace_id().to_string()).collect::<Vec<_>>();
    assert_eq!(linked, [CLIENT_TRACE]);
}

#[tokio::test]
async fn what_is_not_sampled_is_neither_exported_nor_carried_through_the_log() {
    let (kept, _guard) = exporting(0.0);
    let log = log();
    let sampled = headers("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
    append_one(&log, Topic::Changes).instrument(request(&sampled)).await;
    assert!(records(&log, Topic::Changes).await[0].headers.is_empty());
    assert_eq!(kept.names(), Vec::<String>::new());
}

#[tokio::test]
async fn where_nobody_listens_nothing_is_made() {
    let listeners = listeners("trace", LogFormat::Json, None).unwrap();
    let _guard = tracing::subscriber::set_default(tracing_subscriber::registry().with(listeners));
    let span = request(&headers(CLIENT));
    assert!(span.is_disabled() && Origin::current().part("bulk photo").is_disabled());
    let log = log();
    append_one(&log, Topic::Changes).instrument(span).await;
    let read = records(&log, Topic::Changes).await;
    assert!(read[0].headers.is_empty());
    let carried = LogRecord {
        headers: Append::new(b"", "").with_header(TRACEPARENT, CLIENT).headers,
        ..read[0].clone()
    };
    assert!(consumed(Topic::Changes, &carried).is_none());
}
