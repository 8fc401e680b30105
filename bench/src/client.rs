//! The one client that loads every contestant: HTTP/2 over TLS.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, bail};
use buildplane_tls::{Alpn, connect};
use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

use crate::pki::{Pki, SERVER};

const MIB: u32 = 1024 * 1024;
const CONNECT: Duration = Duration::from_secs(10);

/// A connection; clones share it.
#[derive(Clone)]
pub(crate) struct Client {
    send: SendRequest<Full<Bytes>>,
}

impl Client {
    /// A connection whose windows never slow a reader.
    pub(crate) async fn connect(pki: &Pki, address: SocketAddr) -> anyhow::Result<Self> {
        Self::with_window(pki, address, 2 * MIB).await
    }

    pub(crate) async fn with_window(pki: &Pki, address: SocketAddr, window: u32) -> anyhow::Result<Self> {
        let stream = tls(pki, address, Alpn::H2).await?;
        let (send, connection) = Builder::new(TokioExecutor::new())
            .initial_stream_window_size(window)
            .initial_connection_window_size(window.saturating_mul(256))
            .max_frame_size(64 * 1024)
            .handshake(TokioIo::new(stream))
            .await
            .context("HTTP/2 does not begin")?;
        // Ends with the last clone of the sender.
        tokio::spawn(connection);
        Ok(Self { send })
    }

    pub(crate) async fn get(&self, path: &str) -> anyhow::Result<Response<Incoming>> {
        self.send(Method::GET, path, Bytes::new()).await
    }

    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> anyhow::Result<Response<Incoming>> {
        let request = Request::builder().method(method).uri(format!("https://{SERVER}{path}"));
        let response = self.send.clone().send_request(request.body(Full::new(body))?).await?;
        if !response.status().is_success() {
            let status = response.status();
            let text = response.into_body().collect().await?.to_bytes();
            bail!("{path}: {status} {}", String::from_utf8_lossy(&text));
        }
        Ok(response)
    }

    /// Reads an answer to its end and drops it; its length.
    pub(crate) async fn drain(&self, path: &str) -> anyhow::Result<u64> {
        let mut body = self.get(path).await?.into_body();
        let mut n_bytes = 0;
        while let Some(frame) = body.frame().await {
            n_bytes += frame?.data_ref().map_or(0, Bytes::len) as u64;
        }
        Ok(n_bytes)
    }

    pub(crate) async fn text(&self, path: &str) -> anyhow::Result<Bytes> {
        Ok(self.get(path).await?.into_body().collect().await?.to_bytes())
    }
}

/// TLS with the controller's certificate.
pub(crate) async fn tls(
    pki: &Pki,
    address: SocketAddr,
    alpn: Alpn,
) -> anyhow::Result<impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static> {
    let tcp = TcpStream::connect(address).await.with_context(|| format!("cannot connect to {address}"))?;
    tcp.set_nodelay(true)?;
    Ok(connect(pki.client_config("controller", &[alpn])?, SERVER, tcp, CONNECT).await?)
}
