//! Many light agents in one process: the real handshakes (TLS with a certificate of each plane's own, WebSocket, HTTP/2)
//! and the real agent's end of the tunnel, without anything behind it.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use buildplane_tls::{ClientConfig, connect};
use buildplane_tunnel::{Settings, dial, serve};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Empty;
use hyper::body::Incoming;
use rand::Rng as _;
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::pki::{Pki, SERVER};

const CONNECT: Duration = Duration::from_secs(10);
/// Handshakes under way at once, so that this process's own share of the work stays in proportion.
const DIALS: usize = 128;
/// The delays of the real agent: from the first to the longest, doubling, with jitter.
const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(5);

/// The plane of the agent with a number.
pub(crate) fn plane_id(index: usize) -> String {
    format!("plane-{index}")
}

/// Says `connected N` whenever all `n` agents are connected.
pub(crate) async fn run(pki: &Pki, gateway: SocketAddr, n_agents: usize) -> anyhow::Result<()> {
    let n_connected = Arc::new(AtomicUsize::new(0));
    let dials = Arc::new(Semaphore::new(DIALS));
    let (all, mut everybody) = mpsc::channel(1);
    let mut agents = JoinSet::new();
    for index in 0..n_agents {
        let plane_id = plane_id(index);
        let agent = Agent {
            tls: pki.agent_config(&plane_id)?,
            plane_id,
            gateway,
            dials: Arc::clone(&dials),
            n_connected: Arc::clone(&n_connected),
            n_agents,
            all: all.clone(),
        };
        agents.spawn(agent.run());
    }
    while everybody.recv().await.is_some() {
        crate::say(&format!("connected {n_agents}"));
    }
    Ok(())
}

struct Agent {
    tls: Arc<ClientConfig>,
    plane_id: String,
    gateway: SocketAddr,
    dials: Arc<Semaphore>,
    n_connected: Arc<AtomicUsize>,
    n_agents: usize,
    all: mpsc::Sender<()>,
}

impl Agent {
    async fn run(self) {
        let mut delay = FIRST;
        loop {
            match self.connection().await {
                Ok(()) => delay = FIRST,
                Err(error) => eprintln(&error),
            }
            let pause = rand::rng().random_range(delay / 2..=delay);
            delay = (delay * 2).min(LONGEST);
            tokio::time::sleep(pause).await;
        }
    }

    async fn connection(&self) -> anyhow::Result<()> {
        let settings = Settings::default();
        let dialing = self.dials.acquire().await?;
        let tcp = TcpStream::connect(self.gateway).await.context("TCP")?;
        tcp.set_nodelay(true)?;
        let tls = connect(Arc::clone(&self.tls), SERVER, tcp, CONNECT).await.context("TLS")?;
        let request =
            Request::get(format!("wss://{SERVER}/ws?planeType=buildplane&planeID={}", self.plane_id))
                .body(())?;
        let stream = dial(tls, request, &settings).await.context("WebSocket")?;
        drop(dialing);
        if self.n_connected.fetch_add(1, Ordering::SeqCst) + 1 == self.n_agents {
            self.all.send(()).await?;
        }
        let service = tower::service_fn(|_request: Request<Incoming>| async {
            Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
        });
        let ended = serve(stream, service, &settings, CancellationToken::new()).await;
        self.n_connected.fetch_sub(1, Ordering::SeqCst);
        // However it ended, the next one begins after a short delay.
        drop(ended);
        Ok(())
    }
}

#[expect(clippy::print_stderr, reason = "the log of this process, which the run shows when it fails")]
fn eprintln(error: &anyhow::Error) {
    eprintln!("{error:#}");
}
