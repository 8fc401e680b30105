//! Where a request ends and what its headers are: bytes on which two readers could disagree reach no cluster.

use http::{Method, StatusCode};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::backend::TEAM;
use crate::frames::{DATA, END_STREAM, RST_STREAM, frame, headers};
use crate::resets::mallory;
use crate::rig::{Rig, TEAM_PROXY, text};
use crate::upgrades::http1;

/// Everything that is answered on a connection on which these bytes are said.
async fn say(rig: &Rig, bytes: &[u8]) -> String {
    let mut stream = http1(rig).await;
    // The gateway may close before it has read all.
    let _closed = stream.write_all(bytes).await;
    let mut answer = Vec::new();
    let read = tokio::time::timeout(std::time::Duration::from_secs(10), stream.read_to_end(&mut answer));
    // A reset after the answer loses nothing of what was read before.
    let _reset = read.await.expect("the connection is closed");
    String::from_utf8_lossy(&answer).into_owned()
}

fn status(answer: &str) -> Option<u16> {
    answer.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()
}

fn n_answers(answer: &str) -> usize {
    answer.matches("HTTP/1.1 ").count()
}

#[tokio::test]
async fn headers_that_are_none_are_refused_before_anything_is_done() {
    let (rig, backend, _agent, _controller) = Rig::connected().await;
    let long = [&b"user-agent: "[..], &vec![b'x'; 1 << 20]].concat();
    let many: Vec<u8> = (0..10_000).flat_map(|n| format!("x-{n}: y\r\n").into_bytes()).collect();
    let head = format!("GET {TEAM_PROXY}{TEAM}/pods HTTP/1.1\r\nhost: gateway.test\r\n");
    let whole = [head.as_bytes(), b"connection: close\r\n\r\n"].concat();
    assert_eq!(status(&say(&rig, &whole).await), Some(200), "or the rest of this test shows nothing");
    let before = backend.seen.requests().len();
    for (what, line, expected) in [
        ("a CR", &b"user-agent: a\rb"[..], &[400][..]),
        ("a CR at the end", b"user-agent: a\r", &[400]),
        ("a LF", b"user-agent: a\nb", &[400]),
        ("a header behind a LF", b"user-agent: a\nimpersonate-user: system:admin", &[400, 403]),
        ("a NUL", b"user-agent: a\0b", &[400]),
        ("a NUL in a name", b"user\0agent: a", &[400]),
        ("a folded line", b"user-agent: a\r\n b", &[400]),
        ("a folded line with a tab", b"user-agent: a\r\n\tb", &[400]),
        ("a first line that is folded", b" user-agent: a", &[400]),
        ("no name", b": a", &[400]),
        ("no colon", b"user-agent", &[400]),
        ("a blank before the colon", b"user-agent : a", &[400]),
        ("a blank in a name", b"user agent: a", &[400]),
        ("letters of no ASCII in a name", b"user-\xc3\xa4gent: a", &[400]),
        ("a megabyte", &long, &[431]),
        ("ten thousand", many.strip_suffix(b"\r\n").unwrap(), &[431]),
    ] {
        // Were a refused line taken, this would be a whole request.
        let request = [head.as_bytes(), line, b"\r\nconnection: close\r\n\r\n"].concat();
        let answer = say(&rig, &request).await;
        assert!(status(&answer).is_some_and(|status| expected.contains(&status)), "{what}: {answer:?}");
        assert_eq!(n_answers(&answer), 1, "{what}: {answer:?}");
        assert_eq!(backend.seen.requests().len(), before, "{what}: it reached the cluster");
    }
}

#[tokio::test]
async fn a_body_has_one_length_or_there_is_no_request() {
    let (rig, backend, _agent, _controller) = Rig::connected().await;
    let before = backend.seen.requests().len();
    for framing in [
        "content-length: 1\r\ncontent-length: 2",
        "content-length: 1, 2",
        "content-length: +1",
        "content-length: -1",
        "content-length: 0x1",
        "content-length: 1 1",
        "content-length:",
        "content-length: 99999999999999999999",
        "transfer-encoding: xchunked",
        "transfer-encoding: chunked, identity",
        "transfer-encoding: identity",
        "transfer-encoding: chunked\r\ntransfer-encoding: xchunked",
        "transfer-encoding: xchunked\r\ncontent-length: 1",
        "transfer-encoding : chunked",
        "transfer-encoding: \x0bchunked",
    ] {
        let request = format!(
            "POST {TEAM_PROXY}{TEAM}/configmaps HTTP/1.1\r\nhost: gateway.test\r\n{framing}\r\n\r\n1\r\nx\r\n0\r\n\r\n"
        );
        let answer = say(&rig, request.as_bytes()).await;
        assert_eq!((status(&answer), n_answers(&answer)), (Some(400), 1), "{framing:?}: {answer:?}");
        assert_eq!(backend.seen.requests().len(), before, "{framing:?}: it reached the cluster");
    }
}

/// Who reads the length finds a second request in what a reader of chunks takes for the end, or the other way round. One
/// of both readings is taken, and nothing behind it is read.
#[tokio::test]
async fn nothing_is_smuggled_behind_a_body_with_two_lengths() {
    let (rig, backend, _agent, _controller) = Rig::connected().await;
    let smuggled = format!("GET {TEAM_PROXY}{TEAM}/pods/smuggled HTTP/1.1\r\nhost: gateway.test\r\n\r\n");
    for framing in [
        "content-length: 5\r\ntransfer-encoding: chunked",
        "transfer-encoding: chunked\r\ncontent-length: 5",
        "Content-Length: 300\r\nTransfer-Encoding: Chunked",
    ] {
        let request = format!(
            "POST {TEAM_PROXY}{TEAM}/configmaps HTTP/1.1\r\nhost: gateway.test\r\n{framing}\r\n\r\n0\r\n\r\n{smuggled}"
        );
        let answer = say(&rig, request.as_bytes()).await;
        assert_eq!(n_answers(&answer), 1, "{framing:?}: {answer:?}");
        let requests = backend.seen.requests();
        assert!(requests.iter().all(|(path, _)| !path.contains("smuggled")), "{framing:?}: {requests:?}");
        assert!(
            requests.iter().all(|(_, headers)| !headers.contains_key("transfer-encoding")
                || !headers.contains_key("content-length")),
            "{framing:?}: both lengths reached the cluster: {requests:?}"
        );
    }
}

#[tokio::test]
async fn trailers_of_a_request_end_at_the_gateway() {
    let (rig, backend, _agent, _controller) = Rig::connected().await;
    let request = format!(
        "POST {TEAM_PROXY}{TEAM}/configmaps HTTP/1.1\r\nhost: gateway.test\r\ntransfer-encoding: chunked\r\n\
         trailer: content-length\r\nconnection: close\r\n\r\n\
         3\r\nabc\r\n0\r\ncontent-length: 1\r\nimpersonate-user: system:admin\r\nx-openchoreo-cr: x\r\n\r\n"
    );
    let answer = say(&rig, request.as_bytes()).await;
    assert_eq!(status(&answer), Some(200), "{answer:?}");
    assert!(answer.ends_with("\r\n\r\n3") || answer.contains("\r\n1\r\n3\r\n"), "{answer:?}");
    let (_, arrived) = backend.seen.requests().pop().unwrap();
    for name in ["trailer", "impersonate-user", "x-openchoreo-cr"] {
        assert!(!arrived.contains_key(name), "{arrived:?}");
    }
    assert!(arrived.get("content-length").is_none_or(|length| length == "3"), "{arrived:?}");
}

#[tokio::test]
async fn a_body_is_as_long_as_it_was_declared() {
    let (rig, _backend, _agent, _controller) = Rig::connected().await;
    // HTTP/1.1: what is beyond the length would be the next request, and is none.
    let request = format!(
        "POST {TEAM_PROXY}{TEAM}/configmaps HTTP/1.1\r\nhost: gateway.test\r\ncontent-length: 1\r\n\r\n\0\0\r\n\r\n"
    );
    let answer = say(&rig, request.as_bytes()).await;
    assert_eq!((status(&answer), n_answers(&answer)), (Some(200), 2), "{answer:?}");
    assert!(
        answer.contains("\r\n\r\n1HTTP/1.1 400 "),
        "one byte arrived, and the next request is none: {answer:?}"
    );
    // HTTP/2 has an end of its own, and both have to agree.
    let mut frames = mallory(&rig).await;
    let path = format!("{TEAM_PROXY}{TEAM}/configmaps");
    let field = |length: &'static [u8]| {
        [
            (":method", &b"POST"[..]),
            (":scheme", b"https"),
            (":authority", b"gateway.test"),
            (":path", path.as_bytes()),
            ("content-length", length),
        ]
        .map(|(name, value)| (name, value.to_vec()))
    };
    for (stream, declared, sent) in [(1, &b"1"[..], &b"xy"[..]), (3, b"2", b"x")] {
        let fields = field(declared);
        let fields: Vec<(&str, &[u8])> = fields.iter().map(|(name, value)| (*name, &value[..])).collect();
        let mut bytes = headers(0, stream, &fields);
        bytes.extend(frame(DATA, END_STREAM, stream, sent));
        frames.write(&bytes).await.unwrap();
        let reset = frames.until(RST_STREAM).await.expect("the stream is reset, and not the connection");
        assert_eq!(reset.stream, stream);
        assert_eq!(reset.payload, 1_u32.to_be_bytes(), "a protocol error");
    }
}

/// Compressed bodies are nobody's to open on the way, and what has to be judged is not taken in that form.
#[tokio::test]
async fn a_compressed_body_passes_unopened_or_not_at_all() {
    let (_rig, backend, _agent, mut controller) = Rig::connected().await;
    let path = format!("{TEAM_PROXY}{TEAM}/configmaps");
    let gzip = [("content-encoding", "gzip"), ("content-type", "application/json")];
    let bomb = bomb();
    let answer = controller.send(Method::POST, &path, &gzip, bomb.clone()).await;
    assert_eq!(answer.status(), 200);
    assert_eq!(text(answer).await, bomb.len().to_string());
    assert_eq!(backend.seen.requests().pop().unwrap().1["content-encoding"], "gzip");
    let before = backend.seen.requests().len();
    let namespaces = format!("{TEAM_PROXY}/api/v1/namespaces");
    let answer = controller.send(Method::POST, &namespaces, &gzip, bomb).await;
    assert_eq!(answer.status(), StatusCode::UNSUPPORTED_MEDIA_TYPE);
    assert_eq!(backend.seen.requests().len(), before);
}

/// 32 MiB of zeros in 32 KiB: one zero, and again and again the 258 bytes before (RFC 1951, fixed codes).
fn bomb() -> Vec<u8> {
    let mut bytes = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
    // Last block, fixed codes; the literal 0; then length 258 (code 285: 11000101) and distance 1 (code 0: 00000).
    let bits = [1, 1, 0].into_iter().chain([0, 0, 1, 1, 0, 0, 0, 0]);
    let again = [1, 1, 0, 0, 0, 1, 0, 1, 0, 0, 0, 0, 0];
    let bits = bits.chain((0..20_000).flat_map(|_| again)).chain([0; 7]);
    let bits: Vec<u8> = bits.collect();
    bytes.extend(bits.chunks(8).map(|byte| byte.iter().rev().fold(0, |value, bit| value << 1 | bit)));
    bytes
}
