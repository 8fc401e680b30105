//! Health, readiness and metrics, without TLS and without anything worth stealing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use http::StatusCode;
use prometheus_client::registry::Registry;

use crate::metrics::Metrics;

/// Whether the gateway takes work.
#[derive(Debug, Clone, Default)]
pub(crate) struct Readiness(Arc<AtomicBool>);

impl Readiness {
    pub(crate) fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    pub(crate) fn clear(&self) {
        self.0.store(false, Ordering::Relaxed);
    }

    pub(crate) fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    fn answer(&self) -> (StatusCode, &'static str) {
        if self.is_set() { (StatusCode::OK, "ok") } else { (StatusCode::SERVICE_UNAVAILABLE, "not ready") }
    }
}

pub(crate) fn router(readiness: Readiness, metrics: &Metrics, names: Arc<[String]>) -> Router {
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
    Router::new()
        .route("/healthz", get(|| async { "ok" }))
        .route("/readyz", get(move || async move { readiness.answer() }))
        .route("/metrics", get(scrape))
        .layer(middleware::from_fn_with_state(names, addressed_here))
}

/// Nobody needs a credential here, so at least a page in a browser must not get in by a name of its own.
async fn addressed_here(State(names): State<Arc<[String]>>, request: Request, next: Next) -> Response {
    if buildplane_serve::is_addressed_here(&request, &names) {
        return next.run(request).await;
    }
    let message = "this listener is not known by that name; ask it by its address";
    (StatusCode::MISDIRECTED_REQUEST, message).into_response()
}
