//! The server: one store, one set of kinds, many doors.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use axum::{Extension, Router};
use buildplane_serve::Limits as ServeLimits;
use buildplane_store::{Store, WriteError};
use buildplane_tls::{Alpn, ClientAuth, ServerConfigError, ServerIdentity};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::auth::Authorizer;
use crate::config::Config;
use crate::control;
use crate::front;
use crate::identity::{Authenticator, Identity};
use crate::kinds::{CRD_GROUP, Kind, RBAC_GROUP, Registry, crd};
use crate::object;
use crate::openapi::OpenApi;
use crate::tokens::{TokenKeyError, Tokens};

/// Why a server cannot be made or go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The objects every cluster has could not be written.
    #[error("failed to write the initial objects")]
    Seed(#[source] WriteError),
    /// There is no key to sign tokens with.
    #[error("failed to prepare tokens")]
    Tokens(#[source] TokenKeyError),
    /// The TLS configuration was refused.
    #[error("failed to configure TLS")]
    Tls(#[source] ServerConfigError),
    /// The listener failed.
    #[error("failed to serve")]
    Serve(#[source] std::io::Error),
}

/// An API server; clones are handles to the same one.
#[derive(Clone)]
pub struct Server {
    api: Arc<Api>,
}

/// What all requests share.
pub(crate) struct Api {
    pub(crate) store: Store,
    pub(crate) config: Config,
    pub(crate) authenticator: Authenticator,
    pub(crate) authorizer: Authorizer,
    pub(crate) tokens: Tokens,
    pub(crate) openapi: OpenApi,
    pub(crate) requests: Semaphore,
    pub(crate) watches: Arc<Semaphore>,
    /// Open watches and logs end when this is cancelled.
    pub(crate) shutdown: CancellationToken,
    kinds: ArcSwap<Registry>,
    generation: AtomicU64,
}

impl Server {
    /// A server over a store; writes the namespaces and roles every cluster has if they are missing.
    pub async fn new(store: Store, config: Config) -> Result<Self, Error> {
        let api = Arc::new(Api {
            authenticator: Authenticator::default(),
            authorizer: Authorizer::default(),
            tokens: Tokens::new(&config).map_err(Error::Tokens)?,
            openapi: OpenApi::default(),
            requests: Semaphore::new(config.limits.requests),
            watches: Arc::new(Semaphore::new(config.limits.watches)),
            shutdown: CancellationToken::new(),
            kinds: ArcSwap::from_pointee(Registry::new(Vec::new(), 0)),
            generation: AtomicU64::new(0),
            store,
            config,
        });
        api.reload_kinds();
        control::seed(&api).await.map_err(Error::Seed)?;
        Ok(Self { api })
    }

    /// Answers requests whose extensions say who asks: what `buildplane_serve` puts there, or [`Server::client`].
    pub fn router(&self) -> Router {
        let api = Arc::clone(&self.api);
        Router::new().fallback(move |request| front::answer(Arc::clone(&api), request))
    }

    /// The server for one identity, without a socket: a service for `kube::Client::new`.
    pub fn client(&self, identity: Identity) -> Router {
        self.router().layer(Extension(identity))
    }

    /// Serves a listener, and does the background work, until `shutdown`.
    pub async fn run(
        &self,
        listener: TcpListener,
        tls: &ServerIdentity,
        shutdown: CancellationToken,
    ) -> Result<(), Error> {
        let tls =
            tls.server_config(ClientAuth::AnyCertificate, &[Alpn::H2, Alpn::Http1]).map_err(Error::Tls)?;
        let background = self.background(shutdown.child_token());
        let serving =
            buildplane_serve::serve(listener, tls, self.router(), ServeLimits::default(), shutdown.clone());
        let ended = async {
            shutdown.cancelled().await;
            self.api.shutdown.cancel();
        };
        let (served, (), ()) = tokio::join!(serving, background, ended);
        served.map_err(Error::Serve)
    }

    /// The background work alone, for servers without a listener: garbage collection, namespaces, definitions, events.
    pub async fn background(&self, shutdown: CancellationToken) {
        control::run(Arc::clone(&self.api), shutdown).await;
    }

    /// The store below.
    pub fn store(&self) -> &Store {
        &self.api.store
    }
}

impl Api {
    pub(crate) fn kinds(&self) -> Arc<Registry> {
        self.kinds.load_full()
    }

    /// Makes what is stored count, after a write to a kind that the server itself heeds.
    pub(crate) fn heed(&self, kind: &Kind) {
        if kind.group == RBAC_GROUP {
            self.authorizer.forget();
        } else if kind.group == CRD_GROUP {
            self.reload_kinds();
        }
    }

    fn reload_kinds(&self) {
        let generation = self.generation.fetch_add(1, Ordering::AcqRel) + 1;
        let mut custom = Vec::new();
        for (_, entry) in self.store.entries("/apiextensions.k8s.io/customresourcedefinitions/") {
            match object::decode(&entry) {
                Ok(definition) => custom.extend(crd::kinds(&definition)),
                Err(error) => tracing::error!(error = %error.message, "skipped a definition"),
            }
        }
        let registry = Arc::new(Registry::new(custom, generation));
        // Two writers may get here out of order; the later reading of the store wins.
        self.kinds.rcu(|current| {
            if current.generation > generation { Arc::clone(current) } else { Arc::clone(&registry) }
        });
    }
}
