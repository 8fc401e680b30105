use std::time::Instant;

use http::{HeaderMap, Method, StatusCode};

use buildplane_traces::Span;
use buildplane_wire::{self as wire, Attributes};

use crate::limits::Share;
use crate::metrics::{Code, Metrics, Target};

/// A longer label of a caller is not kept.
const MAX_LABEL: usize = 128;

/// The line that each request to a plane leaves when it is over, however it ends. Never a header, a query or a body.
#[derive(Debug)]
pub(crate) struct Audit {
    metrics: Metrics,
    begun: Instant,
    /// What the request holds of its tenant's and its caller's share, for as long as it is in flight.
    pub(crate) share: Option<Share>,
    pub(crate) request_id: String,
    /// Our part in the request, until its answer begins.
    pub(crate) trace: Span,
    pub(crate) user: String,
    pub(crate) method: Method,
    pub(crate) cr: String,
    /// One of the known targets.
    pub(crate) target: &'static str,
    pub(crate) path: String,
    pub(crate) verb: &'static str,
    /// What is asked for, as rules name it, and where.
    pub(crate) resource: String,
    pub(crate) namespace: String,
    /// The id under which the caller knows the request. A label: nothing is found by it.
    pub(crate) label: String,
    pub(crate) agent: String,
    pub(crate) status: StatusCode,
    pub(crate) sent: u64,
    pub(crate) received: u64,
    pub(crate) outcome: &'static str,
}

impl Audit {
    pub(crate) fn begin(
        metrics: Metrics,
        request_id: String,
        trace: Span,
        user: &str,
        method: Method,
    ) -> Self {
        metrics.streams.inc();
        Self {
            metrics,
            begun: Instant::now(),
            share: None,
            request_id,
            trace,
            user: user.to_owned(),
            method,
            cr: String::new(),
            target: "none",
            path: String::new(),
            verb: "",
            resource: String::new(),
            namespace: String::new(),
            label: String::new(),
            agent: String::new(),
            // What stands here when the caller goes away before there is an answer (as nginx has it).
            status: StatusCode::from_u16(499).unwrap_or(StatusCode::REQUEST_TIMEOUT),
            sent: 0,
            received: 0,
            outcome: "abandoned",
        }
    }

    /// What the request asks for.
    pub(crate) fn asks(&mut self, attributes: &Attributes) {
        match attributes {
            Attributes::Path { verb, .. } => self.verb = verb.as_str(),
            Attributes::Resource(resource) => {
                self.verb = resource.verb.as_str();
                self.resource = resource.qualified();
                self.namespace = resource.namespace.clone().unwrap_or_default();
            }
        }
        self.trace.set("buildplane.verb", || self.verb);
        if !self.resource.is_empty() {
            self.trace.set("buildplane.resource", || self.resource.clone());
        }
    }

    /// What the caller calls the request, where that is short and can be shown.
    pub(crate) fn called(&mut self, headers: &HeaderMap) {
        let label = headers.get(wire::REQUEST_ID).and_then(|label| label.to_str().ok());
        if let Some(label) = label.filter(|label| label.len() <= MAX_LABEL) {
            label.clone_into(&mut self.label);
        }
    }

    /// The response's head is there.
    pub(crate) fn answered(&mut self, status: StatusCode) {
        self.status = status;
        if !self.agent.is_empty() {
            self.trace.set("buildplane.agent", || self.agent.clone());
        }
        self.trace.end(status);
        let target = Target { target: self.target };
        self.metrics.head_seconds.get_or_create(&target).observe(self.begun.elapsed().as_secs_f64());
    }
}

impl Drop for Audit {
    fn drop(&mut self) {
        self.metrics.streams.dec();
        self.metrics.requests.get_or_create(&Code { code: self.status.as_u16() }).inc();
        let target = Target { target: self.target };
        self.metrics.sent_bytes.get_or_create(&target).inc_by(self.sent);
        self.metrics.received_bytes.get_or_create(&target).inc_by(self.received);
        tracing::info!(
            target: "audit",
            request_id = self.request_id,
            user = self.user,
            method = %self.method,
            cr = self.cr,
            verb = self.verb,
            resource = self.resource,
            namespace = self.namespace,
            path = self.path,
            label = self.label,
            agent = self.agent,
            status = self.status.as_u16(),
            outcome = self.outcome,
            sent_bytes = self.sent,
            received_bytes = self.received,
            duration_ms = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX),
            "request to a plane",
        );
    }
}
