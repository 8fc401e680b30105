use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

/// What a gateway counts. No label takes its value from a caller.
#[derive(Debug, Clone)]
pub struct Metrics {
    pub(crate) connections: Gauge,
    pub(crate) streams: Gauge,
    pub(crate) refused: Family<Reason, Counter>,
    pub(crate) requests: Family<Code, Counter>,
    pub(crate) sent_bytes: Counter,
    pub(crate) received_bytes: Counter,
    pub(crate) upgraded: Gauge,
    pub(crate) requests_refused: Family<Reason, Counter>,
    pub(crate) head_seconds: Family<Target, Histogram>,
}

/// One of the targets that are known, or `none` where a request named none of them.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct Target {
    pub(crate) target: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct Reason {
    pub(crate) reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct Code {
    pub(crate) code: u16,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            connections: Gauge::default(),
            streams: Gauge::default(),
            refused: Family::default(),
            requests: Family::default(),
            sent_bytes: Counter::default(),
            received_bytes: Counter::default(),
            upgraded: Gauge::default(),
            requests_refused: Family::default(),
            head_seconds: Family::new_with_constructor(|| {
                Histogram::new(exponential_buckets(0.000_5, 2.0, 16))
            }),
        }
    }
}

impl Metrics {
    /// Makes the metrics visible in a registry.
    pub fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("buildplane_gateway");
        registry.register("agent_connections", "Open agent connections", self.connections.clone());
        registry.register("streams", "Requests in flight", self.streams.clone());
        registry.register("agents_refused", "Agent connections refused", self.refused.clone());
        registry.register("requests", "Requests to planes by status code", self.requests.clone());
        registry.register("sent_bytes", "Body bytes sent to planes", self.sent_bytes.clone());
        registry.register("received_bytes", "Body bytes received from planes", self.received_bytes.clone());
        registry.register("upgraded_streams", "Open streams into pods", self.upgraded.clone());
        registry.register(
            "requests_refused",
            "Requests that the gateway answered with an error of its own, by Kubernetes' reason",
            self.requests_refused.clone(),
        );
        registry.register(
            "head_seconds",
            "Time until a response begins, by the agent's target",
            self.head_seconds.clone(),
        );
    }
}
