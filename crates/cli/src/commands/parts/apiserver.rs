//! `buildplane apiserver`.

use std::net::SocketAddr;
use std::path::PathBuf;

use buildplane_apiserver::{Config, Server};
use buildplane_store::Store;
use tokio_util::sync::CancellationToken;

use super::files::{KeyPair, Watching, anchors, identity};
use super::{bind, until_told};
use crate::exit::ExitStatus;
use crate::failure::{Explain as _, Result};

/// Run an embedded Kubernetes API server on SQLite
#[derive(Debug, clap::Args)]
pub(crate) struct ApiserverArgs {
    /// Directory of the store
    #[arg(long, value_name = "DIR")]
    store: PathBuf,
    /// Where clients connect
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:6443")]
    listen: SocketAddr,
    /// Certificate, PEM
    #[arg(long, value_name = "FILE")]
    tls_cert: PathBuf,
    /// Its key, PEM
    #[arg(long, value_name = "FILE")]
    tls_key: PathBuf,
    /// CA of the clients' certificates, PEM: their CN is the user, their O are the groups
    #[arg(long, value_name = "FILE")]
    client_ca: PathBuf,
    /// Host name under which the server answers, beside loopback names and IP addresses
    #[arg(long = "host", value_name = "NAME")]
    hosts: Vec<String>,
}

pub(super) async fn run(args: ApiserverArgs) -> Result<ExitStatus> {
    let stop = CancellationToken::new();
    let mut watching = Watching::default();
    let listener = bind(args.listen, "API").await?;
    let files = KeyPair { certificate: args.tls_cert, key: args.tls_key };
    let identity = identity(&files, &stop, &mut watching)?;
    let store = Store::open(&args.store, buildplane_store::Config::default())
        .context(format!("cannot open the store in {}", args.store.display()))?;
    let config = Config {
        hosts: args.hosts,
        client_anchors: Some(anchors(&args.client_ca, &stop, &mut watching)?),
        ..Config::default()
    };
    let server = Server::new(store, config).await.context("cannot prepare the API server")?;
    until_told(stop.clone(), server.run(listener, &identity, stop)).await
}
