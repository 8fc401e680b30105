//! Health, readiness and metrics, without TLS and without anything worth stealing.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::Request;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use http::StatusCode;
use prometheus_client::registry::Registry;

use crate::metrics::Metrics;

/// The loop that keeps the connections turns at least once a second. One that stands still this long never goes on.
const STALLED: Duration = Duration::from_secs(30);

/// What can be wrong, one at a time for each part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Part {
    Certificate,
    Gateway,
    GatewayCa,
    Policy,
    Cluster,
}

impl Part {
    const fn name(self) -> &'static str {
        match self {
            Self::Certificate => "certificate",
            Self::Gateway => "gateway",
            Self::GatewayCa => "gateway CA",
            Self::Policy => "policy",
            Self::Cluster => "cluster",
        }
    }
}

/// How the agent is. Parts tell, probes read.
#[derive(Debug, Clone, Default)]
pub(crate) struct Health(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    problems: BTreeMap<Part, String>,
    has_certificate: bool,
    n_connected: usize,
    turned: Option<Instant>,
}

impl Health {
    /// Something is wrong with a part, until [`right`](Self::right).
    pub(crate) fn wrong(&self, part: Part, message: impl Into<String>) {
        self.change(|state| {
            state.problems.insert(part, message.into());
        });
    }

    pub(crate) fn right(&self, part: Part) {
        self.change(|state| {
            state.problems.remove(&part);
        });
    }

    pub(crate) fn certificate(&self) {
        self.right(Part::Certificate);
        self.change(|state| state.has_certificate = true);
    }

    /// The loop that keeps the connections has turned.
    pub(crate) fn turned(&self, n_connected: usize) {
        self.change(|state| {
            state.n_connected = n_connected;
            state.turned = Some(Instant::now());
        });
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn live(&self) -> (StatusCode, String) {
        let state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match state.turned.map(|turned| turned.elapsed()) {
            Some(since) if since > STALLED => {
                let message = format!("the agent has stood still for {} s", since.as_secs());
                (StatusCode::INTERNAL_SERVER_ERROR, message)
            }
            Some(_) | None => (StatusCode::OK, "ok".to_owned()),
        }
    }

    fn ready(&self) -> (StatusCode, String) {
        let state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let ready = state.n_connected > 0 && state.has_certificate;
        let mut text = if ready {
            format!("ready: {} connected", state.n_connected)
        } else if state.has_certificate {
            "not ready: not connected to a gateway".to_owned()
        } else {
            "not ready: no certificate yet".to_owned()
        };
        for (part, problem) in &state.problems {
            let _infallible = write!(text, "\n{}: {problem}", part.name());
        }
        (if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, text)
    }
}

/// An error with its causes on one line.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(source) = cause {
        let _infallible = write!(text, ": {source}");
        cause = source.source();
    }
    text
}

pub(crate) fn router(metrics: &Metrics, health: &Health) -> Router {
    let mut registry = Registry::default();
    metrics.register(&mut registry);
    let registry = Arc::new(registry);
    let scrape = move || async move {
        let mut text = String::new();
        match prometheus_client::encoding::text::encode(&mut text, &registry) {
            Ok(()) => (StatusCode::OK, text),
            Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
        }
    };
    let (live, ready) = (health.clone(), health.clone());
    Router::new()
        .route("/healthz", get(move || async move { live.live() }))
        .route("/readyz", get(move || async move { ready.ready() }))
        .route("/metrics", get(scrape))
        .layer(middleware::from_fn(addressed_here))
}

/// Nobody needs a credential here, so at least a page in a browser must not get in by a name of its own.
async fn addressed_here(request: Request, next: Next) -> Response {
    if buildplane_serve::is_addressed_here(&request, &[]) {
        return next.run(request).await;
    }
    let message = "this listener is not known by that name; ask it by its address";
    (StatusCode::MISDIRECTED_REQUEST, message).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readiness_says_what_is_wrong() {
        let health = Health::default();
        let ready = || health.ready();
        assert_eq!(ready(), (StatusCode::SERVICE_UNAVAILABLE, "not ready: no certificate yet".to_owned()));
        health.certificate();
        health.wrong(Part::Gateway, "connection refused");
        assert_eq!(
            ready(),
            (
                StatusCode::SERVICE_UNAVAILABLE,
                "not ready: not connected to a gateway\ngateway: connection refused".to_owned()
            )
        );
        health.right(Part::Gateway);
        health.turned(2);
        health.wrong(Part::Policy, "the file is broken");
        assert_eq!(ready(), (StatusCode::OK, "ready: 2 connected\npolicy: the file is broken".to_owned()));
        assert_eq!(health.live().0, StatusCode::OK);
    }
}
