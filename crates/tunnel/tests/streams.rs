//! Both ends over an in-memory byte stream: streaming, flow control, cancellation, the end of a connection.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::routing::{get, post};
use bytes::Bytes;
use futures::StreamExt as _;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Empty, Full};
use hyper_util::rt::TokioIo;
use tokio::io::DuplexStream;
use tokio_util::sync::CancellationToken;

use buildplane_tunnel::{Error, GatewayEnd, Handle, RequestBody, Settings, Upgrade, dial, serve};

const MIB: usize = 1024 * 1024;

struct Tunnel {
    handle: Handle,
    gateway_shutdown: CancellationToken,
    agent_shutdown: CancellationToken,
    driver: tokio::task::JoinHandle<Result<(), Error>>,
    agent: tokio::task::JoinHandle<Result<(), Error>>,
}

/// Answers the one WebSocket handshake of an agent and hands out the gateway's end.
async fn accept(io: DuplexStream, settings: Settings) -> GatewayEnd<TokioIo<hyper::upgrade::Upgraded>> {
    let (found, mut accepted) = tokio::sync::mpsc::channel(1);
    let service = hyper::service::service_fn(move |mut request| {
        let (response, accepted) = Upgrade::check(&mut request).unwrap().accept::<Empty<Bytes>>();
        found.try_send(accepted).unwrap();
        async { Ok::<_, Infallible>(response) }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .serve_connection(TokioIo::new(io), service)
        .with_upgrades();
    let connection = tokio::spawn(connection);
    let stream = accepted.recv().await.unwrap().byte_stream(&settings).await.unwrap();
    connection.await.unwrap().unwrap();
    GatewayEnd::connect(stream, &settings).await.unwrap()
}

async fn open(settings: Settings, router: Router) -> Tunnel {
    let (near, far) = tokio::io::duplex(256 * 1024);
    open_over(near, far, settings, router).await
}

async fn open_over(near: DuplexStream, far: DuplexStream, settings: Settings, router: Router) -> Tunnel {
    let agent_shutdown = CancellationToken::new();
    let agent = tokio::spawn({
        let (settings, shutdown) = (settings.clone(), agent_shutdown.clone());
        async move {
            let request = Request::get("ws://gateway/ws?planeType=buildplane").body(()).unwrap();
            let stream = dial(far, request, &settings).await?;
            serve(stream, router, &settings, shutdown).await
        }
    });
    let end = accept(near, settings).await;
    let gateway_shutdown = CancellationToken::new();
    let driver = tokio::spawn(end.driver.run(gateway_shutdown.clone()));
    Tunnel { handle: end.handle, gateway_shutdown, agent_shutdown, driver, agent }
}

fn request(path: &str) -> Request<RequestBody> {
    let body = Empty::new().map_err(|never: Infallible| match never {}).boxed_unsync();
    Request::get(format!("http://agent{path}")).body(body).unwrap()
}

fn upload(path: &str, bytes: Bytes) -> Request<RequestBody> {
    let body = Full::new(bytes).map_err(|never: Infallible| match never {}).boxed_unsync();
    Request::post(format!("http://agent{path}")).body(body).unwrap()
}

async fn text(handle: &Handle, path: &str) -> String {
    let body = handle.send(request(path)).await.unwrap().into_body().collect().await.unwrap();
    String::from_utf8(body.to_bytes().to_vec()).unwrap()
}

async fn large() -> Body {
    let chunks = futures::stream::repeat_with(|| Ok::<_, Infallible>(Bytes::from(vec![7; 64 * 1024])));
    Body::from_stream(chunks.take(64 * MIB / (64 * 1024)))
}

fn router() -> Router {
    Router::new().route("/hello", get(|| async { "hello" })).route("/large", get(large)).route(
        "/length",
        post(|body: Body| async move {
            let mut n_bytes = 0;
            let mut chunks = body.into_data_stream();
            while let Some(chunk) = chunks.next().await {
                n_bytes += chunk.unwrap().len();
            }
            n_bytes.to_string()
        }),
    )
}

async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(5);
    while !holds() {
        assert!(Instant::now() < deadline, "{what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test]
async fn requests_and_large_bodies_pass_both_ways() {
    let tunnel = open(Settings::default(), router()).await;
    assert_eq!(text(&tunnel.handle, "/hello").await, "hello");
    let sent = upload("/length", Bytes::from(vec![1; 10 * MIB]));
    let length = tunnel.handle.send(sent).await.unwrap().into_body().collect().await.unwrap().to_bytes();
    assert_eq!(length, (10 * MIB).to_string());
    let body = tunnel.handle.send(request("/large")).await.unwrap().into_body();
    assert_eq!(body.collect().await.unwrap().to_bytes().len(), 64 * MIB);
    assert!(tunnel.handle.activity().received() > 64 * MIB as u64);
}

#[tokio::test]
async fn bodies_that_nobody_reads_stall_no_other_stream() {
    let settings = Settings { streams: 24, ..Settings::default() };
    let tunnel = open(settings, router()).await;
    let mut unread = Vec::new();
    for _ in 0..20 {
        unread.push(tunnel.handle.send(request("/large")).await.unwrap());
    }
    // Every unread stream has filled its own window once this much has arrived.
    eventually("the windows fill", || tunnel.handle.activity().received() >= 20 * MIB as u64).await;
    for _ in 0..50 {
        let answer = tokio::time::timeout(Duration::from_secs(2), text(&tunnel.handle, "/hello")).await;
        assert_eq!(answer.unwrap(), "hello");
    }
    let arrived = tunnel.handle.activity().received();
    assert!(arrived < 21 * MIB as u64, "{arrived} bytes were buffered for readers that read nothing");
}

#[tokio::test]
async fn a_caller_that_hangs_up_cancels_the_far_end() {
    struct Held(Arc<AtomicUsize>);
    impl Drop for Held {
        fn drop(&mut self) {
            self.0.fetch_sub(1, Ordering::SeqCst);
        }
    }
    let held = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&held);
    let handler = move || {
        count.fetch_add(1, Ordering::SeqCst);
        Held(Arc::clone(&count))
    };
    let silent = handler.clone();
    let router = router()
        .route(
            "/silent",
            get(move || async move {
                let _held = silent();
                std::future::pending::<()>().await;
            }),
        )
        .route(
            "/watch",
            get(move || async move {
                let held = handler();
                let lines =
                    futures::stream::once(async { Ok::<_, Infallible>(Bytes::from_static(b"first")) });
                let rest = futures::stream::pending().map(move |line| {
                    let _held = &held;
                    line
                });
                Body::from_stream(lines.chain(rest))
            }),
        );
    let tunnel = open(Settings::default(), router).await;

    // While the response is awaited.
    let waiting = tokio::spawn({
        let handle = tunnel.handle.clone();
        async move { handle.send(request("/silent")).await.is_ok() }
    });
    eventually("the handler runs", || held.load(Ordering::SeqCst) == 1).await;
    waiting.abort();
    eventually("the handler is cancelled", || held.load(Ordering::SeqCst) == 0).await;

    // In the middle of a body.
    let mut body = tunnel.handle.send(request("/watch")).await.unwrap().into_body();
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "first");
    assert_eq!(held.load(Ordering::SeqCst), 1);
    let begun = Instant::now();
    drop(body);
    eventually("the body is dropped", || held.load(Ordering::SeqCst) == 0).await;
    assert!(begun.elapsed() < Duration::from_secs(2), "cancelled after {:?}", begun.elapsed());
    assert_eq!(tunnel.handle.n_open(), 0);
    assert_eq!(text(&tunnel.handle, "/hello").await, "hello");
}

#[tokio::test]
async fn hanging_up_in_bulk_ends_no_connection() {
    let tunnel = open(Settings::default(), router()).await;
    for _ in 0..20 {
        let burst: Vec<_> = (0..100)
            .map(|_| {
                let handle = tunnel.handle.clone();
                tokio::spawn(async move { handle.send(request("/large")).await.is_ok() })
            })
            .collect();
        tokio::task::yield_now().await;
        burst.iter().for_each(tokio::task::JoinHandle::abort);
    }
    assert_eq!(text(&tunnel.handle, "/hello").await, "hello");
    assert!(!tunnel.handle.is_closed());
}

#[tokio::test]
async fn streams_above_the_cap_are_refused_with_the_request_handed_back() {
    let tunnel = open(Settings { streams: 2, ..Settings::default() }, router()).await;
    let first = tunnel.handle.send(request("/large")).await.unwrap();
    let _second = tunnel.handle.send(request("/large")).await.unwrap();
    let rejected = tunnel.handle.send(request("/hello")).await.unwrap_err();
    assert!(matches!(rejected.error, Error::Busy));
    assert_eq!(rejected.request.unwrap().uri().path(), "/hello");
    drop(first);
    assert_eq!(text(&tunnel.handle, "/hello").await, "hello");
}

#[tokio::test]
async fn an_agent_that_leaves_finishes_open_streams_and_takes_no_new_ones() {
    let release = Arc::new(tokio::sync::Notify::new());
    let released = Arc::clone(&release);
    let slow = get(move || async move {
        released.notified().await;
        "finished"
    });
    let tunnel = open(Settings::default(), router().route("/slow", slow)).await;
    let open = tokio::spawn({
        let handle = tunnel.handle.clone();
        async move { text(&handle, "/slow").await }
    });
    eventually("the stream is open", || tunnel.handle.n_open() == 1).await;
    assert_eq!(text(&tunnel.handle, "/hello").await, "hello");
    tunnel.agent_shutdown.cancel();
    let deadline = Instant::now() + Duration::from_secs(5);
    let rejected = loop {
        match tunnel.handle.send(request("/hello")).await {
            Ok(_before_goaway) => assert!(Instant::now() < deadline, "the gateway never heard of it"),
            Err(rejected) => break rejected,
        }
    };
    assert!(rejected.error.is_unprocessed(), "the request can go to another agent: {:?}", rejected.error);
    let rejected = tunnel.handle.send(request("/hello")).await.unwrap_err();
    assert!(rejected.request.is_some(), "{:?}", rejected.error);
    assert!(tunnel.handle.is_closed());
    release.notify_one();
    assert_eq!(open.await.unwrap(), "finished");
    tunnel.driver.await.unwrap().unwrap();
    tunnel.agent.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_gateway_that_leaves_ends_both_sides_within_the_drain_time() {
    let settings = Settings { drain: Duration::from_millis(200), ..Settings::default() };
    let tunnel = open(settings, router().route("/never", get(std::future::pending::<()>))).await;
    let open = tokio::spawn({
        let handle = tunnel.handle.clone();
        async move { handle.send(request("/never")).await.is_err() }
    });
    eventually("the stream is open", || tunnel.handle.n_open() == 1).await;
    tunnel.gateway_shutdown.cancel();
    tokio::time::timeout(Duration::from_secs(5), tunnel.driver).await.unwrap().unwrap().unwrap();
    assert!(open.await.unwrap(), "a stream outlived its connection");
    let _ended = tokio::time::timeout(Duration::from_secs(5), tunnel.agent).await.unwrap().unwrap();
}

/// Carries bytes between two ends until told to swallow them, as a network that drops everything does.
async fn carry(a: DuplexStream, b: DuplexStream, blackhole: CancellationToken) {
    let (mut a_read, mut a_write) = tokio::io::split(a);
    let (mut b_read, mut b_write) = tokio::io::split(b);
    tokio::select! {
        _ = tokio::io::copy(&mut a_read, &mut b_write) => return,
        _ = tokio::io::copy(&mut b_read, &mut a_write) => return,
        () = blackhole.cancelled() => {}
    }
    // Both ends stay open, even when the other has gone; nothing arrives any more.
    let (mut from_a, mut from_b) = (tokio::io::sink(), tokio::io::sink());
    let _swallowed =
        tokio::join!(tokio::io::copy(&mut a_read, &mut from_a), tokio::io::copy(&mut b_read, &mut from_b));
    drop((a_write, b_write));
}

#[tokio::test]
async fn a_half_open_connection_is_found_within_two_heartbeats_by_both_ends() {
    let heartbeat = Duration::from_millis(500);
    let settings = Settings { heartbeat, drain: Duration::from_millis(1), ..Settings::default() };
    let (near, near_far) = tokio::io::duplex(64 * 1024);
    let (far, far_near) = tokio::io::duplex(64 * 1024);
    let blackhole = CancellationToken::new();
    let network = tokio::spawn(carry(near_far, far_near, blackhole.clone()));
    let tunnel = open_over(near, far, settings, router()).await;
    assert_eq!(text(&tunnel.handle, "/hello").await, "hello");
    // Heartbeats keep an idle connection: it lives through five of them.
    tokio::time::sleep(5 * heartbeat).await;
    assert_eq!(text(&tunnel.handle, "/hello").await, "hello");
    blackhole.cancel();
    let begun = tokio::time::Instant::now();
    let slack = Duration::from_secs(2);
    let _gone =
        tokio::time::timeout(2 * heartbeat + slack, tunnel.driver).await.expect("the gateway noticed");
    let _gone = tokio::time::timeout(2 * heartbeat + slack, tunnel.agent).await.expect("the agent noticed");
    assert!(begun.elapsed() <= 2 * heartbeat + slack);
    assert!(tunnel.handle.is_closed());
    network.abort();
}

type Change = fn(&mut Request<()>);

#[tokio::test]
async fn handshakes_that_are_no_agents_are_refused() {
    let good = || {
        Request::get("/ws")
            .header("connection", "keep-alive, Upgrade")
            .header("upgrade", "websocket")
            .header("sec-websocket-version", "13")
            .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
            .header("sec-websocket-protocol", "h2.tunnel.openchoreo.dev")
            .body(())
            .unwrap()
    };
    assert!(Upgrade::check(&mut good()).is_ok());
    let (response, _): (Response<()>, _) = Upgrade::check(&mut good()).unwrap().accept();
    assert_eq!(response.headers()["sec-websocket-accept"], "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    let bad: &[(&str, Change)] = &[
        ("origin", |r| drop(r.headers_mut().insert("origin", "https://evil".parse().unwrap()))),
        ("method", |r| *r.method_mut() = http::Method::POST),
        ("no upgrade", |r| drop(r.headers_mut().remove("upgrade"))),
        ("no connection", |r| drop(r.headers_mut().remove("connection"))),
        ("no key", |r| drop(r.headers_mut().remove("sec-websocket-key"))),
        ("version", |r| drop(r.headers_mut().insert("sec-websocket-version", "8".parse().unwrap()))),
        ("protocol", |r| drop(r.headers_mut().remove("sec-websocket-protocol"))),
    ];
    for (name, change) in bad {
        let mut request = good();
        change(&mut request);
        assert!(Upgrade::check(&mut request).is_err(), "{name}");
    }
}
