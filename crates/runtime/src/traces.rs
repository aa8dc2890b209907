//! Traces: which work belongs to which request, across processes and through the log.
//!
//! A trace begins at the gateway, or goes on there where the client sent a W3C `traceparent`. Calls between roles carry it in their
//! metadata and records of the log in a header, so that whoever projects a change or embeds an accepted photo goes on with it.
//! `tracestate` is not carried: it is free text of clients.
//!
//! All spans have one target, which nobody listens to but an exporter: without one a span costs a look at a flag. Their attributes
//! name operations, roles, topics and outcomes; never a tenant, a collection, a person or a secret.
//!
//! The context goes with the task, not among the arguments, as the deadline does ([`crate::deadline`]) and for the same reason.

mod context;

use std::convert::Infallible;
use std::future::Future;

use http::{HeaderMap, HeaderValue};
use opentelemetry::Context;
use opentelemetry::trace::{SpanContext, TraceContextExt};
use tonic::metadata::{Ascii, MetadataMap, MetadataValue};
use tracing::field::Empty;
use tracing::{Instrument, Span};
use tracing_opentelemetry::OpenTelemetrySpanExt;
use vidimus_ports::{Append, EventLog, LogRecord, PortResult, Position, Topic};

/// The target of the spans that are exported.
pub const TARGET: &str = "vidimus::traces";
/// What a trace's place is carried in: a header of HTTP, gRPC metadata, a header of a log record.
pub const TRACEPARENT: &str = "traceparent";

/// A tenant's request, on its way through the gateway: in the trace that its client named, else in one of its own. What it asks
/// for is said when it has ended: [`answered`].
#[must_use]
pub fn request(headers: &HeaderMap) -> Span {
    let span = tracing::info_span!(
        target: TARGET,
        parent: None,
        "request",
        otel.kind = "server",
        otel.status_code = Empty,
        outcome = Empty,
    );
    continued(span, header(headers))
}

/// Says what a request asked for, and what came of it.
pub fn answered(span: &Span, operation: &'static str, outcome: &'static str, is_failure: bool) {
    // A span whose context has been asked for has begun, and then takes no other name from its fields.
    span.context().span().update_name(operation);
    span.record("outcome", outcome);
    if is_failure {
        fail(span);
    }
}

/// A call to a role in another process, with all its attempts.
#[must_use]
pub fn call(role: &'static str) -> Span {
    if !is_traced() {
        return Span::none();
    }
    tracing::info_span!(
        target: TARGET,
        "call",
        otel.name = format_args!("call {role}"),
        otel.kind = "client",
        otel.status_code = Empty,
        role,
    )
}

/// Has the other side of a call go on with this task's trace.
pub fn carry(metadata: &mut MetadataMap) {
    let value = current().and_then(|value| MetadataValue::<Ascii>::try_from(value).ok());
    if let Some(value) = value {
        metadata.insert(TRACEPARENT, value);
    }
}

/// A call of another process to the role's method of that name; none where the caller was not in a trace: health, for one.
#[must_use]
pub fn served(method: &str, headers: &HeaderMap) -> Span {
    let Some(parent) = header(headers) else { return Span::none() };
    let span = tracing::info_span!(
        target: TARGET,
        parent: None,
        "served",
        otel.name = method,
        otel.kind = "server",
        otel.status_code = Empty,
    );
    continued(span, Some(parent))
}

/// Answers a call of another process in `span`, which fails where the answer says so.
pub(crate) async fn answering<B>(
    span: Span,
    answer: impl Future<Output = Result<http::Response<B>, Infallible>>,
) -> Result<http::Response<B>, Infallible> {
    let answer = answer.instrument(span.clone()).await;
    let status = answer.as_ref().ok().and_then(|answer| answer.headers().get("grpc-status"));
    if status.is_some_and(|status| status != "0") {
        fail(&span);
    }
    answer
}

/// Work on a record of the log, in the trace that it was appended in; none where it was in none.
#[must_use]
pub fn consumed(topic: Topic, record: &LogRecord) -> Option<Span> {
    let parent = std::str::from_utf8(record.header(TRACEPARENT)?).ok().and_then(context::parse)?;
    let span = tracing::info_span!(
        target: TARGET,
        parent: None,
        "consume",
        otel.name = format_args!("consume {}", topic.name()),
        otel.kind = "consumer",
        otel.status_code = Empty,
        topic = topic.name(),
    );
    let span = within(span, parent);
    (!span.is_disabled()).then_some(span)
}

/// Does work on several records of the log at once, in the first one's trace. The others' traces have a span for as long that is linked
/// to it.
pub async fn consuming<T>(topic: Topic, records: &[LogRecord], work: impl Future<Output = T>) -> T {
    let spans = records.iter().filter_map(|record| consumed(topic, record)).collect::<Vec<_>>();
    let Some((first, others)) = spans.split_first() else { return work.await };
    for other in others {
        other.follows_from(first);
    }
    work.instrument(first.clone()).await
}

/// Does one step of this task's work; a step outside of any trace is none.
///
/// # Errors
/// The work's own.
pub async fn step<T, E>(name: &'static str, work: impl Future<Output = Result<T, E>>) -> Result<T, E> {
    if !is_traced() {
        return work.await;
    }
    let span = tracing::info_span!(target: TARGET, "step", otel.name = name, otel.status_code = Empty);
    noted(span, work).await
}

/// Does work in `span`, which fails where it does.
///
/// # Errors
/// The work's own.
pub async fn noted<T, E>(span: Span, work: impl Future<Output = Result<T, E>>) -> Result<T, E> {
    let result = work.instrument(span.clone()).await;
    if result.is_err() {
        fail(&span);
    }
    result
}

/// Appends a record to the log, as a step. A change, or a photo that waits, carries the trace on.
///
/// # Errors
/// The log's own.
pub async fn append(log: &dyn EventLog, topic: Topic, record: Append) -> PortResult<Position> {
    if !is_traced() {
        return log.append(topic, record).await;
    }
    let span = tracing::info_span!(
        target: TARGET,
        "append",
        otel.name = format_args!("append {}", topic.name()),
        otel.kind = "producer",
        otel.status_code = Empty,
        topic = topic.name(),
    );
    let append = async { log.append(topic, carried(topic, record)).await };
    noted(span, append).await
}

fn carried(topic: Topic, record: Append) -> Append {
    match current() {
        Some(value) if matches!(topic, Topic::Photos | Topic::Changes) => {
            record.with_header(TRACEPARENT, value)
        }
        _ => record,
    }
}

/// Where much work was asked for at once: each part has a trace of its own, linked to the one that asked.
#[derive(Clone, Debug)]
pub struct Origin(SpanContext);

impl Origin {
    /// What this task works for.
    #[must_use]
    pub fn current() -> Self {
        Self(Context::map_current(|context| context.span().span_context().clone()))
    }

    /// A part of the work, in a trace of its own.
    #[must_use]
    pub fn part(&self, name: &'static str) -> Span {
        let span = tracing::info_span!(target: TARGET, parent: None, "part", otel.name = name, otel.status_code = Empty);
        if !span.is_disabled() {
            span.add_link(self.0.clone());
        }
        span
    }
}

/// The trace that this task works in, as log lines name it; none where it is not exported.
#[must_use]
pub fn current_id() -> Option<String> {
    of_current(|span| span.is_sampled().then(|| span.trace_id().to_string()))
}

/// This task's place in its trace, as it is carried.
fn current() -> Option<String> {
    of_current(|span| span.is_valid().then(|| context::format(span)))
}

fn is_traced() -> bool {
    of_current(|span| span.is_sampled().then_some(())).is_some()
}

fn of_current<T>(read: impl FnOnce(&SpanContext) -> Option<T>) -> Option<T> {
    Context::map_current(|context| match context.has_active_span() {
        true => read(context.span().span_context()),
        false => None,
    })
}

fn header(headers: &HeaderMap) -> Option<SpanContext> {
    context::parse(headers.get(TRACEPARENT).map(HeaderValue::to_str)?.ok()?)
}

fn continued(span: Span, parent: Option<SpanContext>) -> Span {
    match parent {
        Some(parent) => within(span, parent),
        None => span,
    }
}

fn within(span: Span, parent: SpanContext) -> Span {
    if !span.is_disabled() {
        // It fails where nobody listens, or where the span has begun; neither is so.
        let _ = span.set_parent(Context::new().with_remote_span_context(parent));
    }
    span
}

fn fail(span: &Span) {
    span.record("otel.status_code", "ERROR");
}

#[cfg(test)]
mod tests;
