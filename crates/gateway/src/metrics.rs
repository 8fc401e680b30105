use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

/// What a gateway counts. No label takes its value from a caller.
#[derive(Debug, Clone)]
pub struct Metrics {
    connections: Gauge,
    /// One number while agents are connected, and none otherwise.
    soonest_expiry: Family<NoLabel, Gauge>,
    expiries: Arc<Mutex<Expiries>>,
    pub(crate) streams: Gauge,
    pub(crate) refused: Family<Reason, Counter>,
    pub(crate) requests: Family<Code, Counter>,
    pub(crate) sent_bytes: Family<Target, Counter>,
    pub(crate) received_bytes: Family<Target, Counter>,
    pub(crate) upgraded: Gauge,
    pub(crate) requests_refused: Family<Reason, Counter>,
    pub(crate) head_seconds: Family<Target, Histogram>,
}

/// How many open connections have a certificate that ends at a time, in seconds since 1970.
type Expiries = BTreeMap<i64, usize>;

/// An open agent connection; no longer counted when this is dropped.
#[derive(Debug)]
pub(crate) struct Connected {
    metrics: Metrics,
    not_after: i64,
}

/// One of the targets that are known, or `none` where a request named none of them.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct Target {
    pub(crate) target: &'static str,
}

/// For a number that is not always there, which only a family can hold.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct NoLabel {}

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
            soonest_expiry: Family::default(),
            expiries: Arc::default(),
            streams: Gauge::default(),
            refused: Family::default(),
            requests: Family::default(),
            sent_bytes: Family::default(),
            received_bytes: Family::default(),
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
        registry.register(
            "agent_certificate_not_after_seconds",
            "When the first of the connected agents' certificates expires, in seconds since 1970",
            self.soonest_expiry.clone(),
        );
        registry.register("streams", "Requests in flight", self.streams.clone());
        registry.register("agents_refused", "Agent connections refused", self.refused.clone());
        registry.register("requests", "Requests to planes by status code", self.requests.clone());
        registry.register(
            "sent_bytes",
            "Body bytes sent to planes, by the agent's target",
            self.sent_bytes.clone(),
        );
        registry.register(
            "received_bytes",
            "Body bytes received from planes, by the agent's target",
            self.received_bytes.clone(),
        );
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

    /// Counts a connection that its agent has opened with a certificate that ends then.
    pub(crate) fn connected(&self, not_after: SystemTime) -> Connected {
        let not_after = not_after.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let not_after = i64::try_from(not_after).unwrap_or(i64::MAX);
        self.connections.inc();
        self.count_expiries(|expiries| *expiries.entry(not_after).or_default() += 1);
        Connected { metrics: self.clone(), not_after }
    }

    fn count_expiries(&self, change: impl FnOnce(&mut Expiries)) {
        let mut expiries = self.expiries.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut expiries);
        // Set under the lock, so that the last change is the one that is seen.
        match expiries.keys().next() {
            Some(soonest) => {
                self.soonest_expiry.get_or_create(&NoLabel {}).set(*soonest);
            }
            None => {
                self.soonest_expiry.remove(&NoLabel {});
            }
        }
    }
}

impl Drop for Connected {
    fn drop(&mut self) {
        self.metrics.connections.dec();
        self.metrics.count_expiries(|expiries| match expiries.get_mut(&self.not_after) {
            Some(n_connections) if *n_connections > 1 => *n_connections -= 1,
            _ => {
                expiries.remove(&self.not_after);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn soonest(metrics: &Metrics) -> Option<String> {
        let mut registry = Registry::default();
        metrics.register(&mut registry);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        let name = "buildplane_gateway_agent_certificate_not_after_seconds{} ";
        text.lines().find_map(|line| line.strip_prefix(name)).map(ToOwned::to_owned)
    }

    #[test]
    fn the_certificate_that_ends_first_is_told_while_its_agent_is_connected() {
        let metrics = Metrics::default();
        let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
        assert_eq!(soonest(&metrics), None);
        let late = metrics.connected(at(3000));
        assert_eq!(soonest(&metrics).as_deref(), Some("3000"));
        let soon = [metrics.connected(at(2000)), metrics.connected(at(2000))];
        assert_eq!(soonest(&metrics).as_deref(), Some("2000"));
        assert_eq!(metrics.connections.get(), 3);
        let [one, other] = soon;
        drop(one);
        assert_eq!(soonest(&metrics).as_deref(), Some("2000"));
        drop(other);
        assert_eq!(soonest(&metrics).as_deref(), Some("3000"));
        drop(late);
        assert_eq!(soonest(&metrics), None);
        assert_eq!(metrics.connections.get(), 0);
    }
}
