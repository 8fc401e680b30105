//! A build cluster in the wrong hands: its agent is admitted for its own custom resource, and answers as no agent does.
//! Its neighbours on the same plane are not touched by it.

use std::time::Duration;

use http::HeaderMap;
use http_body_util::BodyExt as _;
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use buildplane_tls::Authority;
use buildplane_tunnel::ByteStream;

use crate::backend::{PODS, TEAM};
use crate::frames::{
    DATA, END_HEADERS, END_STREAM, Frames, GOAWAY, HEADERS, PUSH_PROMISE, RST_STREAM, frame, headers, literal,
};
use crate::rig::{Caller, HOUR, Rig, TEAM_PROXY, chunk, text};
use crate::speakers::{CLAIM, agent_leaf};

const EVIL: &str = "evil/default";
const EVIL_PROXY: &str = "/api/proxy/buildplane/shared/evil/default/k8s";
const REFUSED_STREAM: u32 = 7;
const OK: (&str, &[u8]) = (":status", b"200");

/// What an agent says to a request, given its stream.
type React = fn(u32) -> Vec<u8>;

/// What a caller of the hostile agent got to see.
#[derive(Debug, Default)]
struct Got {
    /// Zero where the stream was reset before a head was seen.
    status: u16,
    headers: HeaderMap,
    /// None where the body broke off.
    body: Option<String>,
    trailers: Option<HeaderMap>,
    reset: Option<hyper::Error>,
}

impl Got {
    /// Why the gateway reset the caller's stream.
    fn reset_reason(&self) -> Option<h2::Reason> {
        let error = self.reset.as_ref()?;
        std::error::Error::source(error)?.downcast_ref::<h2::Error>()?.reason()
    }
}

struct Hostile {
    frames: Frames<ByteStream<TlsStream<TcpStream>>>,
}

impl Hostile {
    /// Connects, and says so little that the gateway takes it for an agent.
    async fn connect(rig: &Rig, ca: &Authority) -> Self {
        let stream = rig.dial(&agent_leaf(ca), CLAIM, &[]).await.unwrap();
        let mut hostile = Self { frames: Frames::server(stream).await };
        let told = hostile.asked().await;
        hostile.frames.write(&headers(END_STREAM, told, &[OK])).await.unwrap();
        hostile
    }

    /// The stream of the next request.
    async fn asked(&mut self) -> u32 {
        self.frames.until(HEADERS).await.expect("a request").stream
    }
}

/// Lets one request reach a hostile agent that reacts to it with these bytes, and goes away after the caller has been
/// answered; also returns whether the gateway closed the connection before.
async fn exposed(rig: &Rig, ca: &Authority, react: impl Fn(u32) -> Vec<u8>) -> (Got, bool) {
    let mut controller = rig.controller().await;
    let mut hostile = Hostile::connect(rig, ca).await;
    controller.until_agents(EVIL, 1).await;
    let mut caller = rig.caller("alice", &["users"]).await;
    let asks = async move {
        let response = match caller.try_get(&format!("{EVIL_PROXY}/version")).await {
            Ok(response) => response,
            Err(error) => return Got { status: 0, reset: Some(error), ..Got::default() },
        };
        let (head, body) = response.into_parts();
        let (whole, reset) = match body.collect().await {
            Ok(whole) => (Some(whole), None),
            Err(error) => (None, Some(error)),
        };
        let trailers = whole.as_ref().and_then(|whole| whole.trailers().cloned());
        let body = whole.map(|whole| String::from_utf8_lossy(&whole.to_bytes()).into_owned());
        Got { status: head.status.as_u16(), headers: head.headers, body, trailers, reset }
    };
    let asks = tokio::spawn(asks);
    let stream = hostile.asked().await;
    hostile.frames.write(&react(stream)).await.unwrap();
    let (closed, over) = tokio::sync::oneshot::channel::<()>();
    let listens = tokio::spawn(async move {
        // What the gateway says to it ends with GOAWAY where it closes.
        tokio::select! {
            ended = hostile.frames.until(GOAWAY) => { drop(ended); true }
            _answered = over => false,
        }
    });
    let got = tokio::time::timeout(Duration::from_secs(10), asks).await.expect("the caller is answered");
    if n_agents(&mut controller).await > 0 {
        drop(closed);
    }
    let closed = tokio::time::timeout(Duration::from_secs(10), listens).await.expect("one of both").unwrap();
    controller.until_agents(EVIL, 0).await;
    (got.unwrap(), closed)
}

async fn n_agents(controller: &mut Caller) -> u64 {
    controller.n_agents(EVIL).await
}

fn body(stream: u32, flags: u8, text: &str) -> Vec<u8> {
    frame(DATA, flags, stream, text.as_bytes())
}

fn whole(stream: u32, text: &str) -> Vec<u8> {
    [headers(0, stream, &[OK]), body(stream, END_STREAM, text)].concat()
}

#[tokio::test]
async fn answers_that_nobody_asked_for_reach_nobody() {
    let (rig, _backend, _agent, mut controller) = Rig::connected().await;
    let evil = Authority::generate("evil", HOUR).unwrap();
    controller.register(EVIL, evil.cert_pem()).await;
    let mut watch = controller.get(&format!("{TEAM_PROXY}{TEAM}/pods?watch=true")).await.into_body();
    assert!(chunk(&mut watch).await.is_some());

    // A second answer on a stream that is over changes nothing about the first.
    let (got, _) =
        Box::pin(exposed(&rig, &evil, |stream| [whole(stream, "first"), whole(stream, "second")].concat()))
            .await;
    // Whether the first was passed on before the second ended the connection is a race, and both are sound.
    assert!(!format!("{got:?}").contains("second"), "{got:?}");
    assert!(
        matches!((got.status, got.body.as_deref()), (200, Some("first") | None) | (0 | 502 | 503, _)),
        "{got:?}"
    );

    let cases: [(&str, React, bool); 6] = [
        ("a stream that was never opened", |stream| whole(stream + 100, "never asked"), true),
        ("a stream of its own", |_stream| whole(2, "never asked"), true),
        ("the connection itself", |_stream| whole(0, "never asked"), true),
        ("a body on a stream that was never opened", |stream| body(stream + 100, END_STREAM, "x"), true),
        (
            "a push",
            |stream| {
                let promised = [&2_u32.to_be_bytes()[..], &literal(":method", b"GET")].concat();
                frame(PUSH_PROMISE, END_HEADERS, stream, &promised)
            },
            true,
        ),
        (
            "a body before its head",
            |stream| [body(stream, 0, "early"), whole(stream, "late")].concat(),
            false,
        ),
    ];
    for (what, react, closes) in cases {
        let (got, closed) = Box::pin(exposed(&rig, &evil, react)).await;
        assert!(matches!(got.status, 502 | 503), "{what}: {got:?}");
        let shown = format!("{got:?}");
        assert!(
            !shown.contains("never asked") && !shown.contains("early") && !shown.contains("late"),
            "{what}: {shown}"
        );
        assert!(closed || !closes, "{what}: the connection goes on");
        // The neighbours notice nothing.
        assert!(chunk(&mut watch).await.is_some(), "{what}: the neighbour's watch ended");
        assert_eq!(text(controller.get(&format!("{TEAM_PROXY}{TEAM}/pods")).await).await, PODS, "{what}");
    }
}

#[tokio::test]
async fn what_a_hostile_cluster_says_of_its_answer_is_not_believed() {
    let (rig, _backend, _agent, mut controller) = Rig::connected().await;
    let evil = Authority::generate("evil", HOUR).unwrap();
    controller.register(EVIL, evil.cert_pem()).await;

    // Answers that are none, and answers that break off: no caller takes one for whole.
    let broken: [(&str, React); 9] = [
        ("a reset that says that nothing was done", |s| {
            [headers(0, s, &[OK]), body(s, 0, "x"), frame(RST_STREAM, 0, s, &REFUSED_STREAM.to_be_bytes())]
                .concat()
        }),
        ("two heads", |s| [headers(0, s, &[OK]), headers(0, s, &[OK]), body(s, END_STREAM, "x")].concat()),
        ("fewer bytes than declared", |s| {
            [headers(0, s, &[OK, ("content-length", b"5")]), body(s, END_STREAM, "abc")].concat()
        }),
        ("more bytes than declared", |s| {
            [headers(0, s, &[OK, ("content-length", b"1")]), body(s, END_STREAM, "abc")].concat()
        }),
        ("two lengths", |s| {
            let lengths: [(&str, &[u8]); 3] = [OK, ("content-length", b"1"), ("content-length", b"3")];
            [headers(0, s, &lengths), body(s, END_STREAM, "abc")].concat()
        }),
        ("line ends in a header", |s| headers(END_STREAM, s, &[OK, ("audit-id", b"a\r\nset-cookie: a=b")])),
        ("a NUL in a header", |s| headers(END_STREAM, s, &[OK, ("audit-id", b"a\0b")])),
        ("a header without a name", |s| headers(END_STREAM, s, &[OK, ("", b"a")])),
        ("no status", |s| headers(END_STREAM, s, &[("audit-id", b"a")])),
    ];
    for (what, react) in broken {
        let (got, _) = Box::pin(exposed(&rig, &evil, react)).await;
        assert!(got.status == 502 || got.status == 503 || got.reset.is_some(), "{what}: {got:?}");
        // The reason is the gateway's own. "Refused" would have a caller send again what was carried out.
        assert!(
            got.reset_reason().is_none_or(|reason| reason == h2::Reason::INTERNAL_ERROR),
            "{what}: {got:?}"
        );
        assert!(
            !got.headers.contains_key("set-cookie") && !got.headers.contains_key("audit-id"),
            "{what}: {got:?}"
        );
    }

    // Nobody is sent elsewhere, wherever that is.
    let internal = format!("https://{}/api/v1/planes/status", rig.internal);
    for (status, location) in [
        ("301", "file:///etc/passwd"),
        ("302", "http://169.254.169.254/"),
        ("303", "//evil.example"),
        ("307", internal.as_str()),
        ("308", "/api/v1/planes/status"),
    ] {
        let head: [(&str, &[u8]); 3] =
            [(":status", status.as_bytes()), ("location", location.as_bytes()), ("refresh", b"0")];
        let (got, _) = Box::pin(exposed(&rig, &evil, |stream| headers(END_STREAM, stream, &head))).await;
        assert_eq!(got.status, 502, "{status} {location}: {got:?}");
        assert!(got.body.as_ref().unwrap().contains("is not relayed"), "{got:?}");
        assert!(!format!("{got:?}").contains(location), "{status} {location}: {got:?}");
    }

    // An answer that stands passes without what only a gateway may say; and so do its trailers.
    let head: &[(&str, &[u8])] = &[
        OK,
        ("set-cookie", b"session=evil"),
        ("location", b"http://169.254.169.254/"),
        ("www-authenticate", b"Basic"),
        ("x-request-id", b"chosen-by-the-cluster"),
        ("alt-svc", b"h2=\"evil.example:443\""),
        ("strict-transport-security", b"max-age=0"),
        ("audit-id", b"kept"),
    ];
    let (got, _) = Box::pin(exposed(&rig, &evil, |stream| {
        let trailers = headers(END_STREAM, stream, &[("content-length", b"1"), ("set-cookie", b"a=b")]);
        [headers(0, stream, head), body(stream, 0, "answer"), trailers].concat()
    }))
    .await;
    assert_eq!((got.status, got.body.as_deref()), (200, Some("answer")));
    assert_eq!(got.headers["audit-id"], "kept");
    assert_ne!(got.headers["x-request-id"], "chosen-by-the-cluster");
    for name in ["set-cookie", "location", "www-authenticate", "alt-svc", "strict-transport-security"] {
        assert!(!got.headers.contains_key(name), "{name}: {got:?}");
    }
    assert!(got.trailers.is_none_or(|trailers| trailers.is_empty()), "a trailer posed as a header");
}
