//! Callers of the gateway: each asks for its own tenant and holds every answer against what it asked.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rand::Rng as _;
use rand::rngs::SmallRng;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use buildplane_tls::{Alpn, ClientIdentity, connect};

use crate::cluster::{Cluster, mark};
use crate::net::Net;
use crate::seed::Seed;
use crate::world::{GATEWAY_NAME, INTERNAL, Trust};

/// What is still relayed after a revocation was acknowledged ends within this.
const REVOKED_WITHIN: Duration = Duration::from_secs(5);

/// A tenant: one custom resource, and whether its CA vouches for its agents at the moment.
#[derive(Debug)]
pub(crate) struct Tenant {
    pub(crate) plane: &'static str,
    pub(crate) namespace: String,
    pub(crate) cluster: Arc<Cluster>,
    /// Since when the gateway has known that the agents are not to be believed.
    revoked: Mutex<(u64, Option<Instant>)>,
    pub(crate) n_answered: AtomicU64,
}

impl Tenant {
    pub(crate) fn new(plane: &'static str, namespace: String, cluster: Arc<Cluster>) -> Self {
        Self { plane, namespace, cluster, revoked: Mutex::default(), n_answered: AtomicU64::new(0) }
    }

    pub(crate) fn set_revoked(&self, revoked: bool) {
        let mut state = self.revoked.lock().unwrap();
        *state = (state.0 + 1, revoked.then(Instant::now));
    }

    fn revoked(&self) -> (u64, Option<Instant>) {
        *self.revoked.lock().unwrap()
    }

    fn path(&self, rest: &str) -> String {
        format!("/api/proxy/buildplane/{}/{}/default/k8s{rest}", self.plane, self.namespace)
    }

    fn build_namespace(&self) -> String {
        format!("openchoreo-ci-{}", self.namespace)
    }
}

/// One caller, with a connection of its own.
pub(crate) struct Caller {
    net: Net,
    host: &'static str,
    trust: Arc<Trust>,
    identity: ClientIdentity,
    send: Option<SendRequest<Full<Bytes>>>,
}

/// Why a request had no answer.
#[derive(Debug)]
pub(crate) struct Unanswered;

impl Caller {
    pub(crate) fn new(net: Net, host: &'static str, trust: Arc<Trust>, identity: ClientIdentity) -> Self {
        Self { net, host, trust, identity, send: None }
    }

    async fn connected(&mut self) -> Result<&mut SendRequest<Full<Bytes>>, Unanswered> {
        if self.send.as_ref().is_none_or(SendRequest::is_closed) {
            let io = self.net.connect(self.host, INTERNAL).await.map_err(|_refused| Unanswered)?;
            let tls = self.identity.client_config(&self.trust.gateway, &[Alpn::H2]).unwrap();
            let stream =
                connect(tls, GATEWAY_NAME, io, Duration::from_secs(5)).await.map_err(|_broken| Unanswered)?;
            let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
            let (send, connection) = handshake.await.map_err(|_broken| Unanswered)?;
            tokio::spawn(connection);
            self.send = Some(send);
        }
        self.send.as_mut().ok_or(Unanswered)
    }

    pub(crate) async fn send(
        &mut self,
        method: Method,
        path: &str,
        body: Vec<u8>,
    ) -> Result<http::Response<Incoming>, Unanswered> {
        let url = format!("https://{GATEWAY_NAME}{path}");
        let request = Request::builder().method(method).uri(url).body(Full::new(body.into())).unwrap();
        let asked =
            async { self.connected().await?.send_request(request).await.map_err(|_broken| Unanswered) };
        if let Ok(Ok(response)) = timeout(Duration::from_secs(90), asked).await {
            return Ok(response);
        }
        self.send = None;
        Err(Unanswered)
    }

    /// Asks for one tenant until `stop`. Panics when an answer is not the one to its question.
    pub(crate) async fn run(mut self, tenant: Arc<Tenant>, seed: Seed, stop: CancellationToken) {
        let mut rng = seed.rng();
        for n in 0.. {
            if stop.is_cancelled() {
                return;
            }
            let nonce = format!("{}-{:x}-{n}", tenant.namespace, seed.0);
            let before = tenant.revoked();
            let answered = match rng.random_range(0..4) {
                0 => self.create(&tenant, &nonce, &mut rng).await,
                1 => self.follow(&tenant, &nonce, &mut rng).await,
                _ => self.get(&tenant, &nonce).await,
            };
            if answered {
                let after = tenant.revoked();
                assert!(
                    before.1.is_none() || after.0 != before.0,
                    "{nonce} was answered although its tenant's CA had been taken away"
                );
                tenant.n_answered.fetch_add(1, Ordering::Relaxed);
            }
            tokio::time::sleep(Duration::from_millis(rng.random_range(1..400))).await;
        }
    }

    /// Whether an object was read, and was the right one.
    pub(crate) async fn get(&mut self, tenant: &Tenant, nonce: &str) -> bool {
        let namespace = tenant.build_namespace();
        let path = tenant.path(&format!("/api/v1/namespaces/{namespace}/pods/{nonce}"));
        let Ok(response) = self.send(Method::GET, &path, Vec::new()).await else { return false };
        if response.status() != 200 {
            return false;
        }
        let Ok(body) = response.into_body().collect().await else { return false };
        assert_eq!(
            body.to_bytes(),
            mark(tenant.cluster.host, &namespace, nonce),
            "an answer to somebody else"
        );
        true
    }

    async fn create(&mut self, tenant: &Tenant, nonce: &str, rng: &mut SmallRng) -> bool {
        let namespace = tenant.build_namespace();
        let path = tenant.path(&format!("/apis/argoproj.io/v1alpha1/namespaces/{namespace}/workflows"));
        let mut body = format!("{nonce} ").into_bytes();
        body.resize(body.len() + rng.random_range(0..200_000), b'x');
        let answer = match self.send(Method::POST, &path, body).await {
            Ok(response) if response.status() == 201 => {
                response.into_body().collect().await.ok().map(http_body_util::Collected::to_bytes)
            }
            _ => None,
        };
        let n_created = tenant.cluster.n_created(nonce);
        assert!(n_created <= 1, "{nonce} was carried out {n_created} times");
        let Some(answer) = answer else { return false };
        assert_eq!(n_created, 1, "{nonce} was answered and not carried out");
        assert_eq!(answer, mark(tenant.cluster.host, &namespace, nonce), "an answer to somebody else");
        true
    }

    /// Reads a log that goes on for a while; sometimes hangs up in the middle of it.
    async fn follow(&mut self, tenant: &Tenant, nonce: &str, rng: &mut SmallRng) -> bool {
        let namespace = tenant.build_namespace();
        let path = tenant.path(&format!("/api/v1/namespaces/{namespace}/pods/{nonce}/log?follow=true"));
        let patience = Duration::from_millis(rng.random_range(100..12_000));
        let Ok(response) = self.send(Method::GET, &path, Vec::new()).await else { return false };
        if response.status() != 200 {
            return false;
        }
        let mark = mark(tenant.cluster.host, &namespace, nonce);
        let expected: Vec<String> = (0..crate::cluster::LINES).map(|n| format!("{mark} {n}\n")).collect();
        let expected = expected.concat();
        let mut body = response.into_body();
        let mut read = Vec::new();
        let hang_up = Instant::now() + patience;
        while let Ok(Some(Ok(frame))) = tokio::time::timeout_at(hang_up, body.frame()).await {
            if let (_, Some(since)) = tenant.revoked() {
                assert!(
                    since.elapsed() <= REVOKED_WITHIN,
                    "{nonce} goes on {:?} after its revocation",
                    since.elapsed()
                );
            }
            read.extend_from_slice(frame.data_ref().map_or(&[][..], |data| data));
            assert!(
                expected.as_bytes().starts_with(&read),
                "{nonce} reads {:?}",
                String::from_utf8_lossy(&read)
            );
        }
        // Whether it counts as answered depends on when it ended; that it was right is what matters.
        false
    }
}
