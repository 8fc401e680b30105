//! What the targets of both protocols share: an agent's handshake, its frames, and a runtime whose clock jumps.

use std::convert::Infallible;
use std::time::Duration;

use buildplane_tunnel::{Accepted, RequestBody, Upgrade};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};

/// The handshake of an agent of ours.
pub const OURS: &str = "sec-websocket-protocol: h2.tunnel.openchoreo.dev\r\n";
/// What the handshake of an upstream agent has instead.
pub const UPSTREAM: &str = "";

/// The bytes of a handshake.
pub fn handshake(protocol: &str) -> Vec<u8> {
    format!(
        "GET /ws HTTP/1.1\r\nhost: gateway\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n{protocol}\r\n"
    )
    .into_bytes()
}

/// Appends a WebSocket frame with a mask of zeros.
pub fn push_frame(bytes: &mut Vec<u8>, first: u8, payload: &[u8]) {
    bytes.push(first);
    match u16::try_from(payload.len()) {
        Ok(length @ 0..126) => bytes.push(0x80 | length as u8),
        Ok(length) => {
            bytes.push(0x80 | 126);
            bytes.extend_from_slice(&length.to_be_bytes());
        }
        Err(_) => {
            bytes.push(0x80 | 127);
            bytes.extend_from_slice(&(payload.len() as u64).to_be_bytes());
        }
    }
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(payload);
}

/// A request that a gateway might send.
pub fn request() -> http::Request<RequestBody> {
    let body = Empty::<Bytes>::new().map_err(|never: Infallible| match never {}).boxed_unsync();
    let mut request = http::Request::new(body);
    *request.uri_mut() = http::Uri::from_static("http://agent/version");
    request
}

/// Answers the handshake at the head of what `io` brings.
pub async fn accept(io: DuplexStream) -> Option<Accepted> {
    let (found, mut accepted) = tokio::sync::mpsc::channel(1);
    let service = hyper::service::service_fn(move |mut request| {
        let upgrade = Upgrade::check_any(&mut request).expect("the handshake is sound");
        let (response, accepted) = upgrade.accept::<Empty<Bytes>>();
        let _once = found.try_send(accepted);
        async { Ok::<_, Infallible>(response) }
    });
    let http = hyper::server::conn::http1::Builder::new();
    http.serve_connection(TokioIo::new(io), service).with_upgrades().await.ok()?;
    accepted.recv().await
}

/// Writes `bytes` to a gateway's end and reads whatever it answers. Panics when the end waits for ever.
pub fn play<F: Future<Output = ()>>(bytes: Vec<u8>, gateway: impl FnOnce(DuplexStream) -> F) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    runtime.block_on(async move {
        let (near, far) = tokio::io::duplex(64 * 1024);
        let (mut answers, mut near) = tokio::io::split(near);
        // Who writes rubbish still reads what comes.
        let drain = tokio::spawn(async move {
            let mut some = vec![0; 16 * 1024];
            while answers.read(&mut some).await.is_ok_and(|n_bytes| n_bytes > 0) {}
        });
        let write = tokio::spawn(async move {
            let _hung_up = near.write_all(&bytes).await;
            let _hung_up = near.shutdown().await;
        });
        // The clock stands still and jumps when everybody waits: waiting for ever is a day, at once.
        let ended = tokio::time::timeout(Duration::from_secs(24 * 3600), gateway(far)).await;
        assert!(ended.is_ok(), "the gateway's end waits for ever");
        write.abort();
        drain.abort();
    });
}
