//! What a hostile agent may do to the WebSocket: end its own connection, and nothing else.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Empty;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio_util::sync::CancellationToken;

use buildplane_tunnel::{Error, GatewayEnd, Settings, Upgrade};

const HANDSHAKE: &str = "GET /ws HTTP/1.1\r\nhost: gateway\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
                         sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
                         sec-websocket-protocol: h2.tunnel.openchoreo.dev\r\n\r\n";

/// A gateway's end whose agent is this test, after the handshake.
async fn gateway() -> (DuplexStream, tokio::task::JoinHandle<Result<(), Error>>) {
    let (mut near, far) = tokio::io::duplex(1024 * 1024);
    let driver = tokio::spawn(async move {
        let settings = Settings { heartbeat: Duration::from_mins(1), ..Settings::default() };
        let (found, mut accepted) = tokio::sync::mpsc::channel(1);
        let service = hyper::service::service_fn(move |mut request| {
            let (response, accepted) = Upgrade::check(&mut request).unwrap().accept::<Empty<Bytes>>();
            found.try_send(accepted).unwrap();
            async { Ok::<_, Infallible>(response) }
        });
        let http = hyper::server::conn::http1::Builder::new();
        http.serve_connection(TokioIo::new(far), service).with_upgrades().await.unwrap();
        let stream = accepted.recv().await.unwrap().byte_stream(&settings).await?;
        let end = GatewayEnd::connect(stream, &settings).await?;
        let _handle = end.handle;
        end.driver.run(CancellationToken::new()).await
    });
    near.write_all(HANDSHAKE.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(near.read_u8().await.unwrap());
    }
    assert!(head.starts_with(b"HTTP/1.1 101"));
    (near, driver)
}

/// A frame with a mask of zeros, as a client sends it.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match u16::try_from(payload.len()) {
        Ok(length) if length < 126 => frame.push(0x80 | u8::try_from(length).unwrap()),
        Ok(length) => {
            frame.push(0x80 | 0x7e);
            frame.extend_from_slice(&length.to_be_bytes());
        }
        Err(_) => {
            frame.push(0x80 | 0x7f);
            frame.extend_from_slice(&(payload.len() as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(&[0; 4]);
    frame.extend_from_slice(payload);
    frame
}

#[tokio::test]
async fn frames_that_break_the_protocol_end_the_connection() {
    let settings = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    let mut endless = vec![0x82, 0xff];
    endless.extend_from_slice(&(1u64 << 63).to_be_bytes());
    endless.extend_from_slice(&[0; 64]);
    let mut unmasked = vec![0x82, 9];
    unmasked.extend_from_slice(&settings);
    let mut fragments = frame(0x02, &vec![0; 200_000]);
    fragments.extend(frame(0x00, &vec![0; 200_000]));
    for (name, bytes) in [
        ("unmasked", unmasked),
        ("reserved opcode", frame(0x83, b"x")),
        ("reserved control opcode", frame(0x8b, b"x")),
        ("reserved bit (compression)", frame(0xc2, &settings)),
        ("fragmented control frame", frame(0x09, b"x")),
        ("control frame above 125 bytes", frame(0x89, &[0; 126])),
        ("length of 2^63", endless),
        ("continuation of nothing", frame(0x80, b"x")),
        ("text", frame(0x81, b"{}")),
        ("text that is not UTF-8", frame(0x81, &[0xff])),
        ("message above the limit", frame(0x82, &vec![0; 300_000])),
        ("fragments above the limit", fragments),
        ("close code 1005", frame(0x88, &[0x03, 0xed])),
        ("close code 9999", frame(0x88, &[0x27, 0x0f])),
        ("close", frame(0x88, &[0x03, 0xe8])),
        ("not HTTP/2", frame(0x82, b"GET / HTTP/1.1\r\n\r\n")),
        ("an HTTP/2 frame above its limit", frame(0x82, &[0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 1])),
        ("a push to the client", frame(0x82, &[0, 0, 4, 5, 4, 0, 0, 0, 1, 0, 0, 0, 2])),
    ] {
        let (mut near, driver) = gateway().await;
        // The gateway may hang up before it has read everything.
        let _cut = near.write_all(&bytes).await;
        let ended = tokio::time::timeout(Duration::from_secs(5), driver).await;
        let ended = ended.unwrap_or_else(|_elapsed| unreachable!("{name}: the connection goes on"));
        assert!(ended.is_ok(), "{name}: the gateway's end panicked");
    }
}

#[tokio::test]
async fn empty_messages_and_pings_are_answered_and_do_no_harm() {
    let (mut near, driver) = gateway().await;
    near.write_all(&frame(0x82, &[0, 0, 0, 4, 0, 0, 0, 0, 0])).await.unwrap();
    for _ in 0..1000 {
        near.write_all(&frame(0x82, b"")).await.unwrap();
        near.write_all(&frame(0x89, b"ping")).await.unwrap();
    }
    // One byte a message is slow, and still the same stream: an HTTP/2 PING, whose answer comes back.
    for byte in [0, 0, 8, 6, 0, 0, 0, 0, 0, b'a', b'b', b'c', b'd', b'e', b'f', b'g', b'h'] {
        near.write_all(&frame(0x82, &[byte])).await.unwrap();
    }
    let mut answers = Vec::new();
    let deadline = tokio::time::Instant::now() + Duration::from_secs(5);
    while !answers.windows(17).any(|found| found == b"\0\0\x08\x06\x01\0\0\0\0abcdefgh") {
        let mut some = [0; 4096];
        let n_bytes = tokio::time::timeout_at(deadline, near.read(&mut some)).await.unwrap().unwrap();
        assert_ne!(n_bytes, 0, "the gateway hung up");
        answers.extend_from_slice(&some[..n_bytes]);
    }
    assert!(!driver.is_finished());
}
