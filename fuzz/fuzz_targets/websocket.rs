//! Whatever an agent writes after its handshake, the gateway's end neither panics nor waits for ever.
#![no_main]

use arbitrary::Arbitrary;
use buildplane_fuzz::{OURS, accept, handshake, play, push_frame, request};
use buildplane_tunnel::{GatewayEnd, Settings};
use http_body_util::BodyExt as _;
use libfuzzer_sys::fuzz_target;
use tokio_util::sync::CancellationToken;

#[derive(Arbitrary, Debug)]
enum Piece<'a> {
    /// A well-formed masked frame with any payload and first byte.
    Frame { first: u8, payload: &'a [u8] },
    /// A binary message that holds one HTTP/2 frame.
    Http2 { kind: u8, flags: u8, stream: u32, payload: &'a [u8] },
    /// Bytes as they are.
    Raw(&'a [u8]),
}

fuzz_target!(|pieces: Vec<Piece<'_>>| {
    let mut bytes = handshake(OURS);
    // The settings that HTTP/2 begins with, so that most inputs get past the beginning.
    push_frame(&mut bytes, 0x82, &[0, 0, 0, 4, 0, 0, 0, 0, 0]);
    for piece in &pieces {
        match piece {
            Piece::Frame { first, payload } => push_frame(&mut bytes, *first, payload),
            Piece::Http2 { kind, flags, stream, payload } => {
                let length = u32::try_from(payload.len()).unwrap_or(u32::MAX).to_be_bytes();
                let mut frame = length[1..].to_vec();
                frame.extend_from_slice(&[*kind % 16, *flags]);
                frame.extend_from_slice(&(stream % 16).to_be_bytes());
                frame.extend_from_slice(payload);
                push_frame(&mut bytes, 0x82, &frame);
            }
            Piece::Raw(raw) => bytes.extend_from_slice(raw),
        }
    }
    play(bytes, |io| async move {
        let settings = Settings::default();
        let Some(accepted) = accept(io).await else { return };
        let Ok(stream) = accepted.byte_stream(&settings).await else { return };
        let Ok(end) = GatewayEnd::connect(stream, &settings).await else { return };
        let handle = end.handle;
        let asked = async move {
            if let Ok(response) = handle.send(request()).await {
                let _body = response.into_body().collect().await;
            }
        };
        let _ended = tokio::join!(end.driver.run(CancellationToken::new()), asked);
    });
});
