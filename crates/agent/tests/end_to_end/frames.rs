//! HTTP/2 frame by frame, for ends that keep to no rule of it.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
pub(crate) const PUSH_PROMISE: u8 = 5;
pub(crate) const GOAWAY: u8 = 7;

pub(crate) const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut bytes = length[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// A header as a literal that no table remembers. What may stand in a header is not looked at.
pub(crate) fn literal(name: &str, value: &[u8]) -> Vec<u8> {
    assert!(name.len() < 127 && value.len() < 127, "longer ones would need a length of several bytes");
    let length = |n_bytes: usize| u8::try_from(n_bytes).unwrap();
    let mut bytes = vec![0, length(name.len())];
    bytes.extend(name.as_bytes());
    bytes.push(length(value.len()));
    bytes.extend(value);
    bytes
}

/// A whole block of headers.
pub(crate) fn headers(flags: u8, stream: u32, fields: &[(&str, &[u8])]) -> Vec<u8> {
    let block: Vec<u8> = fields.iter().flat_map(|(name, value)| literal(name, value)).collect();
    frame(HEADERS, END_HEADERS | flags, stream, &block)
}

/// One end of an HTTP/2 connection.
pub(crate) struct Frames<T>(T);

impl<T: AsyncRead + AsyncWrite + Unpin> Frames<T> {
    pub(crate) async fn client(mut io: T) -> Self {
        io.write_all(PREFACE).await.unwrap();
        let mut frames = Self(io);
        frames.write(&frame(SETTINGS, 0, 0, &[])).await.unwrap();
        frames
    }

    pub(crate) async fn server(mut io: T) -> Self {
        let mut preface = [0; PREFACE.len()];
        io.read_exact(&mut preface).await.unwrap();
        assert_eq!(preface, PREFACE);
        let mut frames = Self(io);
        frames.write(&frame(SETTINGS, 0, 0, &[])).await.unwrap();
        frames
    }

    pub(crate) async fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.0.write_all(bytes).await?;
        self.0.flush().await
    }

    /// The next frame; none when the other end has closed.
    pub(crate) async fn next(&mut self) -> Option<Frame> {
        let read = async {
            let mut head = [0; 9];
            self.0.read_exact(&mut head).await.ok()?;
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
            let mut payload = vec![0; usize::try_from(length).unwrap()];
            self.0.read_exact(&mut payload).await.ok()?;
            let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
            Some(Frame { kind: head[3], stream, payload })
        };
        tokio::time::timeout(Duration::from_secs(10), read).await.expect("a frame, or the end")
    }

    /// The next frame of a kind; none when the connection ended before.
    pub(crate) async fn until(&mut self, kind: u8) -> Option<Frame> {
        while let Some(frame) = self.next().await {
            if frame.kind == kind {
                return Some(frame);
            }
        }
        None
    }
}

/// Why the other end goes away.
pub(crate) fn goaway_code(frame: &Frame) -> u32 {
    u32::from_be_bytes(frame.payload[4..8].try_into().unwrap())
}
