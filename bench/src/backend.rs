//! What stands behind every contestant: an HTTPS server that answers a few paths of a Kubernetes API from memory.

use std::collections::HashMap;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use base64::Engine as _;
use buildplane_serve::{Limits, serve};
use buildplane_tls::Alpn;
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::clock::now_micros;
use crate::pki::Pki;

/// Where small answers come from; an agent's shipped policy allows it.
pub(crate) const SMALL: &str = "/apis/argoproj.io/v1alpha1/namespaces/openchoreo-ci-team/workflows/small";
/// Where bodies come from: `limitBytes` says how long, `follow` and `sinceSeconds` (an id) that one never ends.
pub(crate) const LOG: &str = "/api/v1/namespaces/openchoreo-ci-team/pods/builder/log";
/// When the stream with an id was dropped.
pub(crate) const DROPPED: &str = "/bench/dropped/";

const SECRET: &str = "/api/v1/namespaces/openchoreo-build-plane/secrets/cluster-agent-tls";
const KUBE_SYSTEM: &str = "/api/v1/namespaces/kube-system";
const CHUNK: usize = 256 * 1024;

struct Backend {
    small: Bytes,
    chunk: Bytes,
    secret: Bytes,
    dropped: watch::Sender<HashMap<String, u64>>,
}

/// Serves until told to end.
pub(crate) async fn run(listener: TcpListener, pki: &Pki, stop: CancellationToken) -> anyhow::Result<()> {
    let backend = Arc::new(Backend {
        small: Bytes::from(format!("{:<200}", r#"{"kind":"Workflow","apiVersion":"argoproj.io/v1alpha1"}"#)),
        chunk: Bytes::from(
            "a line of a build's log, as long as such lines usually are, or so\n".repeat(CHUNK / 64),
        ),
        secret: secret(pki)?,
        dropped: watch::Sender::default(),
    });
    let service = tower::service_fn(move |request: Request<Incoming>| {
        let backend = Arc::clone(&backend);
        async move { Ok::<_, Infallible>(backend.answer(&request).await) }
    });
    // As the API servers of Kubernetes have it; the rest as wide as every contestant's own hops.
    let limits =
        Limits { streams: 250, stream_window: 1024 * 1024, drain: Duration::ZERO, ..Limits::default() };
    let tls = pki.server_config(&[Alpn::H2, Alpn::Http1])?;
    Ok(serve(listener, tls, service, limits, stop).await?)
}

/// The agent's certificate, as if somebody else had issued it.
fn secret(pki: &Pki) -> anyhow::Result<Bytes> {
    let value = |file| anyhow::Ok(base64::engine::general_purpose::STANDARD.encode(std::fs::read(file)?));
    let secret = json!({
        "kind": "Secret",
        "apiVersion": "v1",
        "metadata": { "name": "cluster-agent-tls", "resourceVersion": "1" },
        "type": "kubernetes.io/tls",
        "data": {
            "ca.crt": value(pki.certificate("ca"))?,
            "tls.crt": value(pki.certificate("agent"))?,
            "tls.key": value(pki.key("agent"))?,
        },
    });
    Ok(secret.to_string().into())
}

impl Backend {
    async fn answer(self: &Arc<Self>, request: &Request<Incoming>) -> Response<Payload> {
        let path = request.uri().path();
        if request.method() != Method::GET {
            return status(StatusCode::METHOD_NOT_ALLOWED);
        }
        match path {
            SMALL => answer(Payload::Repeated { chunk: self.small.clone(), left: self.small.len() as u64 }),
            LOG => answer(self.log(request.uri().query().unwrap_or_default())),
            SECRET => whole(self.secret.clone()),
            KUBE_SYSTEM => whole(Bytes::from_static(
                br#"{"kind":"Namespace","apiVersion":"v1","metadata":{"name":"kube-system","uid":"5d3a9c1e-5f0e-4f4c-9f3a-0d8f2b1c7e11"}}"#,
            )),
            _ => match path.strip_prefix(DROPPED) {
                Some(id) => self.when_dropped(id).await,
                None => status(StatusCode::NOT_FOUND),
            },
        }
    }

    fn log(self: &Arc<Self>, query: &str) -> Payload {
        let value = |key: &str| {
            query.split('&').filter_map(|pair| pair.split_once('=')).find(|(k, _)| *k == key).map(|(_, v)| v)
        };
        if value("follow") == Some("true") {
            let id = value("sinceSeconds").unwrap_or_default().to_owned();
            return Payload::Endless(Endless { first: true, id, backend: Arc::clone(self) });
        }
        let left = value("limitBytes").and_then(|bytes| bytes.parse().ok()).unwrap_or(1024 * 1024);
        Payload::Repeated { chunk: self.chunk.clone(), left }
    }

    async fn when_dropped(&self, id: &str) -> Response<Payload> {
        let mut dropped = self.dropped.subscribe();
        let found = dropped.wait_for(|dropped| dropped.contains_key(id));
        match tokio::time::timeout(Duration::from_secs(5), found).await {
            Ok(Ok(dropped)) => {
                let at = dropped.get(id).copied().unwrap_or_default();
                whole(at.to_string().into())
            }
            _ => status(StatusCode::GATEWAY_TIMEOUT),
        }
    }
}

fn answer(body: Payload) -> Response<Payload> {
    let mut response = Response::new(body);
    response.headers_mut().insert(header::CONTENT_TYPE, http::HeaderValue::from_static("application/json"));
    response
}

fn whole(bytes: Bytes) -> Response<Payload> {
    let left = bytes.len() as u64;
    answer(Payload::Repeated { chunk: bytes, left })
}

fn status(code: StatusCode) -> Response<Payload> {
    let mut response = whole(Bytes::new());
    *response.status_mut() = code;
    response
}

/// A body out of memory.
enum Payload {
    Repeated { chunk: Bytes, left: u64 },
    Endless(Endless),
}

/// One line, and then nothing; tells when nobody listens any more.
struct Endless {
    first: bool,
    id: String,
    backend: Arc<Backend>,
}

impl Drop for Endless {
    fn drop(&mut self) {
        let id = std::mem::take(&mut self.id);
        self.backend.dropped.send_modify(|dropped| {
            dropped.insert(id, now_micros());
        });
    }
}

impl Body for Payload {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match &mut *self {
            Self::Repeated { left: 0, .. } => Poll::Ready(None),
            Self::Repeated { chunk, left } => {
                let n_bytes = usize::try_from(*left).unwrap_or(usize::MAX).min(chunk.len());
                *left -= n_bytes as u64;
                Poll::Ready(Some(Ok(Frame::data(chunk.slice(..n_bytes)))))
            }
            Self::Endless(endless) => {
                if std::mem::take(&mut endless.first) {
                    Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"the build begins\n")))))
                } else {
                    // Never woken: the body ends by being dropped.
                    Poll::Pending
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Repeated { left: 0, .. })
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Repeated { left, .. } => SizeHint::with_exact(*left),
            Self::Endless(_) => SizeHint::default(),
        }
    }
}
