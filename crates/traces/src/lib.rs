//! Spans of requests, continued from hop to hop (W3C Trace Context) and exported where somebody collects them.
//!
//! Until [`start`] is called there are no spans: [`Span::begin`] reads one static and returns, and the trace headers of
//! a request pass as they came. What a span says of a request is named one by one by whoever handles it; nothing is
//! copied from headers, queries, bodies or log lines.

mod export;

use std::sync::OnceLock;

use http::{HeaderMap, HeaderName};
use opentelemetry::propagation::TextMapPropagator as _;
use opentelemetry::trace::{
    Span as _, SpanKind, Status, TraceContextExt as _, Tracer as _, TracerProvider as _,
};
use opentelemetry::{Context, KeyValue};
use opentelemetry_http::{HeaderExtractor, HeaderInjector};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};

pub use export::StartError;
pub use opentelemetry::Value;

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// Where the process's spans go. One for a process, as its log is.
static EXPORTING: OnceLock<Exporting> = OnceLock::new();

struct Exporting {
    provider: SdkTracerProvider,
    tracer: SdkTracer,
    propagator: TraceContextPropagator,
}

/// Exports the spans of this process as `service` to a collector's base URL, by OTLP over HTTP. A second call changes
/// nothing. Belongs in a Tokio runtime: requests to the collector are its tasks.
///
/// # Errors
///
/// When the URL is none that can be exported to.
pub fn start(endpoint: &str, service: &str) -> Result<(), StartError> {
    let provider = export::provider(endpoint, service)?;
    let tracer = provider.tracer("buildplane");
    let propagator = TraceContextPropagator::new();
    // The first stays; the second has nothing to export.
    let _second = EXPORTING.set(Exporting { provider, tracer, propagator });
    Ok(())
}

/// Exports what has ended until now, and waits for it: for the end of a process, outside of its runtime's tasks. The
/// exporter gives up by itself after the time that its configuration says.
pub fn flush() {
    if let Some(exporting) = EXPORTING.get() {
        // The SDK has logged why.
        let _failed = exporting.provider.force_flush();
    }
}

/// One hop's part in a request. It ends with [`end`](Self::end), or when it is dropped.
#[derive(Debug, Default)]
pub struct Span(Option<Box<opentelemetry_sdk::trace::Span>>);

impl Span {
    /// Begins a span below the one that the request's headers name, or a trace of its own where they name none.
    pub fn begin(name: &'static str, headers: &HeaderMap) -> Self {
        let Some(exporting) = EXPORTING.get() else { return Self(None) };
        // Who names two callers is believed neither.
        let named_once = headers.get_all(TRACEPARENT).iter().count() == 1;
        let none = HeaderMap::new();
        let extractor = HeaderExtractor(if named_once { headers } else { &none });
        let parent = exporting.propagator.extract_with_context(&Context::new(), &extractor);
        let builder = exporting.tracer.span_builder(name).with_kind(SpanKind::Server);
        Self(Some(Box::new(exporting.tracer.build_with_context(builder, &parent))))
    }

    /// Says something of the request. The value is made only where it is recorded.
    pub fn set<V: Into<Value>>(&mut self, key: &'static str, value: impl FnOnce() -> V) {
        if let Some(span) = self.0.as_mut().filter(|span| span.is_recording()) {
            span.set_attribute(KeyValue::new(key, value()));
        }
    }

    /// Names this span as the caller of whatever is sent with these headers.
    pub fn continue_in(&self, headers: &mut HeaderMap) {
        let (Some(span), Some(exporting)) = (&self.0, EXPORTING.get()) else { return };
        headers.remove(TRACEPARENT);
        headers.remove(TRACESTATE);
        let context = Context::new().with_remote_span_context(span.span_context().clone());
        exporting.propagator.inject_context(&context, &mut HeaderInjector(headers));
        if headers.get(TRACESTATE).is_some_and(http::HeaderValue::is_empty) {
            headers.remove(TRACESTATE);
        }
    }

    /// Ends the span when a response begins. What is said afterwards is not kept.
    pub fn end(&mut self, status: http::StatusCode) {
        let Some(mut span) = self.0.take() else { return };
        span.set_attribute(KeyValue::new("http.response.status_code", i64::from(status.as_u16())));
        if status.is_server_error() {
            span.set_status(Status::error(""));
        }
        span.end();
    }
}
