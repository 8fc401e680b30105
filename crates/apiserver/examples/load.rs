//! How fast the API is, in process or over TLS: `cargo run --release --example load -- [tls] [DIRECTORY]`.
//!
//! 64 callers create, get and list 1 KiB Secrets; every create is on disk before it is answered.

use std::future::Future;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use axum::body::Body;
use buildplane_apiserver::{Config, Identity, Server};
use buildplane_store::Store;
use buildplane_tls::{
    Alpn, AnchorStore, Authority, ClientIdentity, LeafRequest, ServerIdentity, install_crypto,
};
use http::Request;
use http_body_util::BodyExt as _;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

const CALLERS: usize = 64;
const CREATES: usize = 20_000;
const GETS: usize = 100_000;
const LISTS: usize = 2_000;
const DAY: Duration = Duration::from_hours(24);
const SECRETS: &str = "/api/v1/namespaces/default/secrets";

type Sender = hyper::client::conn::http2::SendRequest<Body>;

#[derive(Clone)]
enum Client {
    InProcess(axum::Router),
    Tls(Vec<Sender>),
}

impl Client {
    async fn call(&self, caller: usize, request: Request<Body>) -> u64 {
        let response = match self {
            Self::InProcess(router) => {
                let response = router.clone().oneshot(request).await;
                let response = response.unwrap_or_else(|never| match never {});
                assert!(response.status().is_success(), "{}", response.status());
                return response.into_body().collect().await.map_or(0, |body| body.to_bytes().len() as u64);
            }
            Self::Tls(connections) => {
                connections[caller % connections.len()].clone().send_request(request).await
            }
        };
        let Ok(response) = response else { return 0 };
        assert!(response.status().is_success(), "{}", response.status());
        response.into_body().collect().await.map_or(0, |body| body.to_bytes().len() as u64)
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    install_crypto();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let tls = arguments.iter().any(|argument| argument == "tls");
    let directory = arguments.iter().find(|argument| *argument != "tls").map_or_else(
        || std::env::temp_dir().join(format!("buildplane-load-{}", std::process::id())),
        PathBuf::from,
    );
    let started = Instant::now();
    let store = Store::open(&directory, buildplane_store::Config::default())?;
    let authority = Authority::generate("load", DAY)?;
    let anchors = AnchorStore::new(authority.anchors()?);
    let at = Instant::now();
    let server =
        Server::new(store.clone(), Config { client_anchors: Some(anchors), ..Config::default() }).await?;
    print(&format!("start: {:?} (server alone {:?})", started.elapsed(), at.elapsed()));
    let stop = CancellationToken::new();
    let client = if tls {
        connect(&server, &authority, &stop).await?
    } else {
        let background = server.clone();
        let token = stop.clone();
        tokio::spawn(async move { background.background(token).await });
        Client::InProcess(server.client(Identity::master("load")))
    };
    let payload = "x".repeat(1_024);
    let body = |n: usize| {
        format!(
            r#"{{"apiVersion":"v1","kind":"Secret","metadata":{{"name":"s{n:06}"}},"stringData":{{"k":"{payload}"}}}}"#
        )
    };
    let body = Arc::new(body);
    let before = store.counters();
    run("create", CREATES, &client, |n| {
        let request = Request::post(SECRETS).header("content-type", "application/json");
        request.header("host", "localhost").body(Body::from(body(n))).ok()
    })
    .await;
    let after = store.counters();
    print(&format!(
        "  {} writes in {} commits",
        after.acknowledged - before.acknowledged,
        after.commits - before.commits
    ));
    run("get", GETS, &client, |n| {
        let uri = format!("{SECRETS}/s{:06}", n % CREATES);
        Request::get(uri).header("host", "localhost").body(Body::empty()).ok()
    })
    .await;
    run("list of 500", LISTS, &client, |_| {
        Request::get(format!("{SECRETS}?limit=500")).header("host", "localhost").body(Body::empty()).ok()
    })
    .await;
    if let Ok(status) = std::fs::read_to_string("/proc/self/status") {
        for line in status.lines().filter(|line| line.starts_with("VmRSS") || line.starts_with("VmHWM")) {
            print(line);
        }
    }
    stop.cancel();
    store.close().await;
    std::fs::remove_dir_all(directory)?;
    Ok(())
}

async fn connect(
    server: &Server,
    authority: &Authority,
    stop: &CancellationToken,
) -> Result<Client, Box<dyn std::error::Error>> {
    let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let identity =
        ServerIdentity::new(&authority.issue(LeafRequest::server(&["localhost"], &[loopback], DAY))?);
    let mut request = LeafRequest::client("load", DAY);
    request.organizations = vec!["system:masters".to_owned()];
    let client = ClientIdentity::new(&authority.issue(request)?);
    let listener = TcpListener::bind((loopback, 0)).await?;
    let address = listener.local_addr()?;
    let (server, token) = (server.clone(), stop.clone());
    tokio::spawn(async move { server.run(listener, &identity, token).await });
    let connector =
        tokio_rustls::TlsConnector::from(client.client_config(&authority.anchors()?, &[Alpn::H2])?);
    let mut connections = Vec::new();
    for _ in 0..4 {
        let stream = connector.connect("localhost".try_into()?, TcpStream::connect(address).await?).await?;
        let (sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        connections.push(sender);
    }
    Ok(Client::Tls(connections))
}

async fn run<F>(what: &str, total: usize, client: &Client, request: F)
where
    F: Fn(usize) -> Option<Request<Body>> + Send + Sync,
{
    let next = AtomicUsize::new(0);
    let started = Instant::now();
    let callers = (0..CALLERS).map(|caller| {
        let (client, next, request) = (client.clone(), &next, &request);
        async move {
            let mut bytes = 0;
            loop {
                let n = next.fetch_add(1, Ordering::Relaxed);
                if n >= total {
                    return bytes;
                }
                let Some(request) = request(n) else { return bytes };
                bytes += client.call(caller, request).await;
            }
        }
    });
    let bytes: u64 = together(callers).await.iter().sum();
    let seconds = started.elapsed().as_secs_f64();
    let rate = f64::from(u32::try_from(total).unwrap_or(u32::MAX)) / seconds;
    print(&format!("{what}: {rate:.0}/s ({} MiB in {seconds:.2} s)", bytes >> 20));
}

async fn together<F: Future>(futures: impl IntoIterator<Item = F>) -> Vec<F::Output> {
    futures::future::join_all(futures).await
}

#[expect(clippy::print_stdout, reason = "it is a program for a terminal")]
fn print(line: &str) {
    println!("{line}");
}
