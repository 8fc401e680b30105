//! The two embedded Kubernetes APIs.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use buildplane_apiserver::{Config, LogOptions, PodLogError, PodLogRef, PodLogs, Server};
use buildplane_store::{OpenError, Store};
use buildplane_tls::{AnchorStore, ServerIdentity};
use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use kube::Client;

use crate::Error;
use crate::pki::Trust;
use crate::tasks::Tasks;

/// Names a client inside a cluster would use.
const HOSTS: [&str; 3] = ["kubernetes", "kubernetes.default", "kubernetes.default.svc"];

/// How long somebody who ends may still hold the store.
const LEAVING: Duration = Duration::from_secs(5);

/// One embedded API, as its clients see it.
pub(crate) struct Api<'a> {
    name: &'static str,
    trust: &'a Trust,
    address: SocketAddr,
}

impl<'a> Api<'a> {
    /// The API that will listen at `address`; clients may be made before it serves.
    pub(crate) fn new(name: &'static str, trust: &'a Trust, address: SocketAddr) -> Self {
        Self { name, trust, address }
    }

    /// Opens the store and serves it.
    pub(crate) async fn serve(
        &self,
        data: &Path,
        listener: TcpListener,
        pod_logs: Option<Arc<dyn PodLogs>>,
        tasks: &mut Tasks,
    ) -> Result<(), Error> {
        let failed =
            |source: Box<dyn std::error::Error + Send + Sync>| Error::Store { api: self.name, source };
        let store = open(data).await.map_err(|e| failed(Box::new(e)))?;
        let config = Config {
            hosts: HOSTS.map(str::to_owned).to_vec(),
            client_anchors: Some(AnchorStore::new(self.trust.anchors()?)),
            token_key: Some(self.trust.token_key()?),
            pod_logs,
            ..Config::default()
        };
        let server = Server::new(store, config).await.map_err(|e| failed(Box::new(e)))?;
        let identity = ServerIdentity::new(&self.trust.server(&HOSTS)?);
        let listener = tokio::net::TcpListener::from_std(listener).map_err(|e| failed(Box::new(e)))?;
        let shutdown = tasks.token();
        tasks.run(self.name, async move { server.run(listener, &identity, shutdown).await });
        Ok(())
    }

    /// How `user` reaches this API.
    pub(crate) fn config(&self, user: &str, groups: &[&str]) -> Result<kube::Config, Error> {
        let uri = format!("https://{}", self.address).parse().map_err(|source| self.unreachable(source))?;
        self.trust.client_config(uri, user, groups)
    }

    /// A client of this API for one of the platform's parts.
    pub(crate) fn client(&self, user: &str, groups: &[&str]) -> Result<Client, Error> {
        Client::try_from(self.config(user, groups)?).map_err(|source| self.unreachable(source))
    }

    fn unreachable(&self, source: impl std::error::Error + Send + Sync + 'static) -> Error {
        Error::Client { api: self.name, source: Box::new(source) }
    }
}

/// The node's logs, as the build plane's API serves them.
pub(crate) struct NodeLogs(pub(crate) buildplane_node::Logs);

impl PodLogs for NodeLogs {
    fn open(
        &self,
        pod: PodLogRef,
        options: LogOptions,
    ) -> BoxFuture<'_, Result<BoxStream<'static, io::Result<Bytes>>, PodLogError>> {
        let options = buildplane_node::LogOptions {
            follow: options.follow,
            timestamps: options.timestamps,
            tail_lines: options.tail_lines,
            since: options.since.map(Into::into),
            limit_bytes: options.limit_bytes,
        };
        async move {
            self.0.open(&pod.uid, options).await.map_err(|error| match error {
                buildplane_node::LogsError::Absent { .. } => PodLogError::NotKept,
                buildplane_node::LogsError::Read { source, .. } => PodLogError::Read(source),
            })
        }
        .boxed()
    }
}

/// Opens a store. The platform's own lock is held, so that whoever still holds the store's is on its way out.
async fn open(data: &Path) -> Result<Store, OpenError> {
    let begun = Instant::now();
    loop {
        match Store::open(data, buildplane_store::Config::default()) {
            Err(OpenError::InUse { .. }) if begun.elapsed() < LEAVING => {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            opened => return opened,
        }
    }
}
