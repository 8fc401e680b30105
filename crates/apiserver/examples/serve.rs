//! An API server alone, for trying things by hand: `cargo run --example serve -- DIRECTORY [PORT]`.
//!
//! Writes `DIRECTORY/kubeconfig` for a user who may do everything, and serves until it is interrupted.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use buildplane_apiserver::{Config, Server};
use buildplane_store::Store;
use buildplane_tls::{AnchorStore, Authority, LeafRequest, ServerIdentity, install_crypto};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

const DAY: Duration = Duration::from_hours(24);

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    install_crypto();
    let mut arguments = std::env::args().skip(1);
    let directory = PathBuf::from(arguments.next().ok_or("usage: serve DIRECTORY [PORT]")?);
    let port: u16 = arguments.next().map(|port| port.parse()).transpose()?.unwrap_or(0);
    let started = std::time::Instant::now();
    let store = Store::open(&directory, buildplane_store::Config::default())?;
    let authority = Authority::generate("example", DAY)?;
    let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let identity =
        ServerIdentity::new(&authority.issue(LeafRequest::server(&["localhost"], &[loopback], DAY))?);
    let mut request = LeafRequest::client("admin", DAY);
    request.organizations = vec!["system:masters".to_owned()];
    let (certificate, key) = authority.issue(request)?.to_pem();
    let anchors = AnchorStore::new(authority.anchors()?);
    let server = Server::new(store, Config { client_anchors: Some(anchors), ..Config::default() }).await?;
    let listener = TcpListener::bind((loopback, port)).await?;
    let encode = |text: &str| STANDARD.encode(text);
    let kubeconfig = format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: c\n\
         clusters: [{{name: c, cluster: {{server: 'https://{}', certificate-authority-data: {}}}}}]\n\
         users: [{{name: u, user: {{client-certificate-data: {}, client-key-data: {}}}}}]\n\
         contexts: [{{name: c, context: {{cluster: c, user: u}}}}]\n",
        listener.local_addr()?,
        encode(authority.cert_pem()),
        encode(&certificate),
        encode(&key)
    );
    std::fs::write(directory.join("kubeconfig"), kubeconfig)?;
    #[expect(clippy::print_stderr, reason = "it is a program for a terminal")]
    {
        eprintln!("serving on {} after {:?}", listener.local_addr()?, started.elapsed());
    }
    let shutdown = CancellationToken::new();
    let stop = shutdown.clone();
    tokio::spawn(async move {
        drop(tokio::signal::ctrl_c().await);
        stop.cancel();
    });
    server.run(listener, &identity, shutdown).await?;
    server.store().close().await;
    Ok(())
}
