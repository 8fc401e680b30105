//! Upstream's protocol over the same hops as the bare chain: our codec of it, and nothing else.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use buildplane_serve::{Limits, serve};
use buildplane_tls::Alpn;
use buildplane_tunnel::{BoxError, Handle, StreamBody, Upgrade, json};
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Either, Empty, Full};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::client::tls;
use crate::pki::{Pki, SERVER};

/// The gateway: agents and callers arrive at two listeners.
pub(crate) async fn gateway(
    agents: TcpListener,
    callers: TcpListener,
    pki: &Pki,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let agent: Arc<OnceLock<Handle>> = Arc::default();
    let found = Arc::clone(&agent);
    let accept = tower::service_fn(move |mut request: Request<Incoming>| {
        let found = Arc::clone(&found);
        async move {
            let upgrade = Upgrade::check_any(&mut request)?;
            let (response, accepted) = upgrade.accept::<Empty<Bytes>>();
            tokio::spawn(async move {
                let end = accepted.json(json::Settings::default()).await?;
                let _first_wins = found.set(end.handle);
                end.driver.run(CancellationToken::new()).await
            });
            Ok::<_, BoxError>(response)
        }
    });
    let forward = tower::service_fn(move |request: Request<Incoming>| {
        let agent = Arc::clone(&agent);
        async move { Ok::<_, Infallible>(relay(agent.get(), request).await) }
    });
    let limits = Limits::default();
    let agents = serve(agents, pki.server_config(&[Alpn::Http1])?, accept, limits.clone(), stop.clone());
    let callers = serve(callers, pki.server_config(&[Alpn::H2])?, forward, limits, stop);
    tokio::try_join!(agents, callers)?;
    Ok(())
}

async fn relay(
    agent: Option<&Handle>,
    request: Request<Incoming>,
) -> Response<Either<StreamBody, Empty<Bytes>>> {
    let answered = match agent {
        Some(agent) => {
            let request = request.map(|body| body.map_err(BoxError::from).boxed_unsync());
            agent.send(request).await.ok()
        }
        None => None,
    };
    answered.map_or_else(
        || {
            let mut response = Response::new(Either::Right(Empty::new()));
            *response.status_mut() = StatusCode::BAD_GATEWAY;
            response
        },
        |response| response.map(Either::Left),
    )
}

/// The agent: dials the gateway, and replays what comes over one connection to the backend.
pub(crate) async fn agent(gateway: SocketAddr, backend: SocketAddr, pki: &Pki) -> anyhow::Result<()> {
    let stream = tls(pki, backend, Alpn::H2).await?;
    let (send, connection) = hyper::client::conn::http2::Builder::new(TokioExecutor::new())
        .initial_stream_window_size(1024 * 1024)
        .initial_connection_window_size(512 * 1024 * 1024)
        .max_frame_size(64 * 1024)
        .handshake::<_, Full<Bytes>>(TokioIo::new(stream))
        .await?;
    tokio::spawn(connection);
    let settings = json::Settings::default();
    let io = tls(pki, gateway, Alpn::Http1).await?;
    let request = Request::get(format!("wss://{SERVER}/ws")).body(())?;
    let connection = json::dial(io, request, &settings).await?;
    crate::say("connected");
    let service = tower::service_fn(move |mut request: Request<Full<Bytes>>| {
        let mut send = send.clone();
        async move {
            // HTTP/2 wants to know the host.
            let uri = format!("https://{SERVER}{}", request.uri());
            *request.uri_mut() = uri.parse()?;
            Ok::<_, BoxError>(send.send_request(request).await?)
        }
    });
    json::serve(connection, service, &settings).await?;
    Ok(())
}
