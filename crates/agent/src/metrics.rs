use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// What an agent counts. No label takes its value from a request.
#[derive(Debug, Clone, Default)]
pub struct Metrics {
    pub(crate) connections: Family<ConnectionState, Gauge>,
    pub(crate) replicas: Gauge,
    pub(crate) dials: Family<Outcome, Counter>,
    pub(crate) requests: Family<Code, Counter>,
    pub(crate) refused: Counter,
    pub(crate) streams: Gauge,
    pub(crate) certificate_not_after: Gauge,
    pub(crate) reload_failures: Family<ReloadedFile, Counter>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct ConnectionState {
    pub(crate) state: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct Outcome {
    pub(crate) outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct Code {
    pub(crate) code: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct ReloadedFile {
    pub(crate) file: &'static str,
}

impl Metrics {
    /// Makes the metrics visible in a registry.
    pub fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("buildplane_agent");
        registry.register("connections", "Open connections to gateways by state", self.connections.clone());
        registry.register(
            "gateway_replicas",
            "Gateway replicas that the agent was told of",
            self.replicas.clone(),
        );
        registry.register("dials", "Attempts to connect by outcome", self.dials.clone());
        registry.register("requests", "Requests answered by status code", self.requests.clone());
        registry.register("requests_refused", "Requests that the policy refused", self.refused.clone());
        registry.register("upgraded_streams", "Open streams into pods", self.streams.clone());
        registry.register(
            "certificate_not_after_seconds",
            "When the client certificate expires, in seconds since 1970",
            self.certificate_not_after.clone(),
        );
        registry.register(
            "reload_failures",
            "Changed files that could not be used, so that what they held before stays in force",
            self.reload_failures.clone(),
        );
    }

    pub(crate) fn connections(&self, state: &'static str, n_connections: usize) {
        let n_connections = i64::try_from(n_connections).unwrap_or(i64::MAX);
        self.connections.get_or_create(&ConnectionState { state }).set(n_connections);
    }

    pub(crate) fn dialled(&self, outcome: &'static str) {
        self.dials.get_or_create(&Outcome { outcome }).inc();
    }
}
