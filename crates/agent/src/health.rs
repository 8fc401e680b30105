//! Health, readiness and metrics, without TLS and without anything worth stealing.

use std::sync::Arc;

use axum::Router;
use axum::routing::get;
use http::StatusCode;
use prometheus_client::registry::Registry;

use crate::metrics::Metrics;

pub(crate) fn router(metrics: &Metrics) -> Router {
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
    let connected = metrics.connected.clone();
    let ready = move || async move {
        if connected.get() > 0 {
            (StatusCode::OK, "connected")
        } else {
            (StatusCode::SERVICE_UNAVAILABLE, "not connected to a gateway")
        }
    };
    Router::new()
        .route("/healthz", get(|| async { "ok" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(scrape))
}
