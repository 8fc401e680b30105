//! As `websocket`, for upstream's protocol: frames of JSON that answer what was never asked.
#![no_main]

use arbitrary::Arbitrary;
use buildplane_fuzz::{UPSTREAM, accept, handshake, play, push_frame, request};
use buildplane_tunnel::json::Settings;
use http_body_util::BodyExt as _;
use libfuzzer_sys::fuzz_target;
use tokio_util::sync::CancellationToken;

#[derive(Arbitrary, Debug)]
enum Piece<'a> {
    /// An answer in its usual form.
    Answer { id: &'a str, status: i32, name: &'a str, value: &'a str, body: &'a str, error: bool },
    /// Any text in a message of its own.
    Text(&'a str),
    /// A well-formed masked frame.
    Frame { first: u8, payload: &'a [u8] },
    /// Nesting.
    Deep(u16),
    /// Bytes as they are.
    Raw(&'a [u8]),
}

fuzz_target!(|pieces: Vec<Piece<'_>>| {
    let mut bytes = handshake(UPSTREAM);
    for piece in &pieces {
        match piece {
            Piece::Answer { id, status, name, value, body, error } => {
                let error = if *error { r#","error":{"code":502,"message":"m"}"# } else { "" };
                let text = format!(
                    r#"{{"requestID":{id:?},"statusCode":{status},"headers":{{{name:?}:[{value:?}]}},"body":{body:?}{error}}}"#
                );
                push_frame(&mut bytes, 0x81, text.as_bytes());
            }
            Piece::Text(text) => push_frame(&mut bytes, 0x81, text.as_bytes()),
            Piece::Frame { first, payload } => push_frame(&mut bytes, *first, payload),
            Piece::Deep(depth) => {
                let text = format!(r#"{{"requestID":{}"#, "[".repeat(usize::from(*depth)));
                push_frame(&mut bytes, 0x81, text.as_bytes());
            }
            Piece::Raw(raw) => bytes.extend_from_slice(raw),
        }
    }
    play(bytes, |io| async move {
        let Some(accepted) = accept(io).await else { return };
        let Ok(end) = accepted.json(Settings::default()).await else { return };
        let handle = end.handle;
        let asked = async move {
            if let Ok(response) = handle.send(request()).await {
                let _body = response.into_body().collect().await;
            }
        };
        let _ended = tokio::join!(end.driver.run(CancellationToken::new()), asked);
    });
});
