//! Upstream's protocol: requests and answers, and what a hostile agent may do, which is to end its own connection.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use futures::{SinkExt as _, StreamExt as _};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Empty, Full};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::io::DuplexStream;
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::{WebSocketStream, client_async};
use tokio_util::sync::CancellationToken;

use buildplane_tunnel::json::{Settings, dial, serve};
use buildplane_tunnel::{BoxError, Error, Handle, Rejected, RequestBody, Upgrade};

const PATIENCE: Duration = Duration::from_secs(10);

struct Gateway {
    handle: Handle,
    shutdown: CancellationToken,
    driver: JoinHandle<Result<(), Error>>,
}

fn settings() -> Settings {
    Settings { deadline: PATIENCE, ..Settings::default() }
}

/// The gateway's end, once the agent at the other end of `io` has shaken hands.
fn gateway(io: DuplexStream, settings: Settings) -> JoinHandle<Gateway> {
    tokio::spawn(async move {
        let (found, mut accepted) = tokio::sync::mpsc::channel(1);
        let service = hyper::service::service_fn(move |mut request| {
            let (response, accepted) = Upgrade::check_any(&mut request).unwrap().accept::<Empty<Bytes>>();
            found.try_send(accepted).unwrap();
            async { Ok::<_, Infallible>(response) }
        });
        let http = hyper::server::conn::http1::Builder::new();
        http.serve_connection(TokioIo::new(io), service).with_upgrades().await.unwrap();
        let end = accepted.recv().await.unwrap().json(settings).await.unwrap();
        let shutdown = CancellationToken::new();
        let driver = tokio::spawn(end.driver.run(shutdown.clone()));
        Gateway { handle: end.handle, shutdown, driver }
    })
}

/// A gateway whose agent is the test itself, message by message.
async fn by_hand(settings: Settings) -> (Gateway, WebSocketStream<DuplexStream>) {
    let (near, far) = tokio::io::duplex(1024 * 1024);
    let gateway = gateway(far, settings);
    let (agent, response) = client_async("ws://gateway/ws", near).await.unwrap();
    assert!(!response.headers().contains_key("sec-websocket-protocol"));
    (gateway.await.unwrap(), agent)
}

fn request(path: &str) -> Request<RequestBody> {
    let body = Empty::new().map_err(|never: Infallible| match never {}).boxed_unsync();
    Request::get(format!("http://agent{path}")).header("x-openchoreo-target", "k8s").body(body).unwrap()
}

/// Sends a request in the background; the agent's side of it.
async fn asked(
    gateway: &Gateway,
    agent: &mut WebSocketStream<DuplexStream>,
) -> (Value, JoinHandle<Result<Bytes, Error>>) {
    let handle = gateway.handle.clone();
    let waiting = tokio::spawn(async move {
        match handle.send(request("/api?x=y")).await {
            Ok(response) => Ok(response.into_body().collect().await?.to_bytes()),
            Err(Rejected { error, .. }) => Err(error),
        }
    });
    let message = tokio::time::timeout(PATIENCE, agent.next()).await.unwrap().unwrap().unwrap();
    (serde_json::from_str(message.to_text().unwrap()).unwrap(), waiting)
}

async fn say(agent: &mut WebSocketStream<DuplexStream>, answer: &Value) {
    agent.send(Message::text(answer.to_string())).await.unwrap();
}

async fn ended(gateway: Gateway) -> Result<(), Error> {
    tokio::time::timeout(PATIENCE, gateway.driver).await.unwrap().unwrap()
}

/// How the gateway hung up.
async fn close_code(agent: &mut WebSocketStream<DuplexStream>) -> Option<CloseCode> {
    loop {
        match tokio::time::timeout(PATIENCE, agent.next()).await.unwrap()? {
            Ok(Message::Close(frame)) => return frame.map(|frame| frame.code),
            Ok(_other) => {}
            Err(_cut) => return None,
        }
    }
}

#[tokio::test]
async fn requests_and_bodies_go_there_and_back() {
    let (near, far) = tokio::io::duplex(1024 * 1024);
    let gateway = gateway(far, settings());
    tokio::spawn(async move {
        let request = Request::get("ws://gateway/ws").body(()).unwrap();
        let connection = dial(near, request, &settings()).await.unwrap();
        let service = tower::service_fn(|request: Request<Full<Bytes>>| async move {
            let (head, body) = request.into_parts();
            if head.uri.path() == "/broken" {
                return Err::<Response<Full<Bytes>>, BoxError>("the target is gone".into());
            }
            assert_eq!(head.headers["x-openchoreo-target"], "k8s");
            let seen = format!("{} {} ", head.method, head.uri);
            let body = body.collect().await?.to_bytes();
            let answer = Response::builder().status(201).header("x-seen", "yes");
            Ok(answer.body(Full::new([seen.as_bytes(), &body].concat().into()))?)
        });
        serve(connection, service, &settings()).await
    });
    let gateway = gateway.await.unwrap();
    assert!(!gateway.handle.streams());
    let mut several = tokio::task::JoinSet::new();
    for n_bytes in [0, 1, 70_000, 3_000_000] {
        let handle = gateway.handle.clone();
        several.spawn(async move {
            let sent = Bytes::from(vec![b'x'; n_bytes]);
            let body = Full::new(sent.clone()).map_err(|never: Infallible| match never {}).boxed_unsync();
            let mut request = request("/api/v1/x?a=b").map(|_empty| body);
            *request.method_mut() = http::Method::POST;
            let response = handle.send(request).await.unwrap();
            assert_eq!(
                (response.status(), response.headers()["x-seen"].as_bytes()),
                (StatusCode::CREATED, &b"yes"[..])
            );
            let body = response.into_body().collect().await.unwrap().to_bytes();
            assert_eq!(body, [b"POST /api/v1/x?a=b ", &sent[..]].concat());
        });
    }
    several.join_all().await;
    let broken = gateway.handle.send(request("/broken")).await.unwrap();
    assert_eq!(broken.status(), StatusCode::BAD_GATEWAY);
    let text = broken.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(text, "the target is gone");
    assert_eq!(gateway.handle.n_open(), 0);
}

#[tokio::test]
async fn a_request_has_the_form_of_upstream() {
    let (gateway, mut agent) = by_hand(settings()).await;
    let (asked, waiting) = asked(&gateway, &mut agent).await;
    let id = asked["requestID"].as_str().unwrap();
    assert_eq!(uuid::Uuid::parse_str(id).unwrap().get_version_num(), 4);
    let expected =
        json!({ "requestID": id, "target": "k8s", "method": "GET", "path": "/api", "query": "x=y" });
    assert_eq!(asked, expected, "the gateway's own headers stay here");
    say(&mut agent, &json!({ "requestID": id, "statusCode": 200, "body": "aGk=" })).await;
    assert_eq!(waiting.await.unwrap().unwrap(), "hi");
}

#[tokio::test]
async fn late_and_second_answers_are_dropped() {
    let (gateway, mut agent) = by_hand(settings()).await;
    let (first, waiting) = asked(&gateway, &mut agent).await;
    // The caller goes away.
    waiting.abort();
    assert!(waiting.await.unwrap_err().is_cancelled());
    let (second, waiting) = asked(&gateway, &mut agent).await;
    assert_ne!(first["requestID"], second["requestID"]);
    say(&mut agent, &json!({ "requestID": first["requestID"], "statusCode": 200, "body": "bGF0ZQ==" })).await;
    say(&mut agent, &json!({ "requestID": second["requestID"], "statusCode": 200, "body": "aGk=" })).await;
    say(&mut agent, &json!({ "requestID": second["requestID"], "statusCode": 200, "body": "dHdpY2U=" }))
        .await;
    assert_eq!(waiting.await.unwrap().unwrap(), "hi");
    let (third, waiting) = asked(&gateway, &mut agent).await;
    say(&mut agent, &json!({ "requestID": third["requestID"], "statusCode": 200 })).await;
    assert_eq!(waiting.await.unwrap().unwrap(), "", "the connection goes on");
}

#[tokio::test]
async fn an_answer_counts_only_from_the_connection_that_was_asked() {
    let (one, mut agent_of_one) = by_hand(settings()).await;
    let (other, mut agent_of_other) = by_hand(settings()).await;
    let (asked_of_one, waiting) = asked(&one, &mut agent_of_one).await;
    // The other connection has been asked as often, so that only the id's owner tells them apart.
    let (_asked_of_other, also_waiting) = asked(&other, &mut agent_of_other).await;
    let answer = json!({ "requestID": asked_of_one["requestID"], "statusCode": 200, "body": "aGk=" });
    say(&mut agent_of_other, &answer).await;
    assert_eq!(close_code(&mut agent_of_other).await, Some(CloseCode::Policy));
    assert!(matches!(ended(other).await, Err(Error::Answer(_))));
    assert!(also_waiting.await.unwrap().is_err());
    assert!(!waiting.is_finished());
    say(&mut agent_of_one, &answer).await;
    assert_eq!(waiting.await.unwrap().unwrap(), "hi");
}

/// An answer to the request with this id.
type Answer = Box<dyn Fn(&str) -> Message>;

#[tokio::test]
async fn what_breaks_the_protocol_ends_the_connection() {
    let unasked = |number: u64| {
        move |id: &str| {
            let (connection, _) = uuid::Uuid::parse_str(id).unwrap().as_u64_pair();
            let id = uuid::Uuid::from_u64_pair(connection, (1 << 63) | number);
            json!({ "requestID": id.to_string(), "statusCode": 200 }).to_string()
        }
    };
    let cases: Vec<(&str, CloseCode, Answer)> = vec![
        ("an id that was never given out", CloseCode::Policy, Box::new(move |id| unasked(1000)(id).into())),
        ("the id that comes next", CloseCode::Policy, Box::new(move |id| unasked(1)(id).into())),
        (
            "another's id",
            CloseCode::Policy,
            Box::new(|_| {
                json!({ "requestID": uuid::Uuid::new_v4().to_string(), "statusCode": 200 }).to_string().into()
            }),
        ),
        (
            "an empty id",
            CloseCode::Policy,
            Box::new(|_| json!({ "requestID": "", "statusCode": 200 }).to_string().into()),
        ),
        ("no id", CloseCode::Policy, Box::new(|_| json!({ "statusCode": 200 }).to_string().into())),
        (
            "a number as text",
            CloseCode::Policy,
            Box::new(|id| json!({ "requestID": id, "statusCode": "200" }).to_string().into()),
        ),
        (
            "a field twice",
            CloseCode::Policy,
            Box::new(|id| format!(r#"{{"requestID":"{id}","statusCode":200,"statusCode":200}}"#).into()),
        ),
        (
            "nesting",
            CloseCode::Policy,
            Box::new(|id| {
                format!(
                    r#"{{"requestID":"{id}","statusCode":200,"x":{}{}}}"#,
                    "[".repeat(50_000),
                    "]".repeat(50_000)
                )
                .into()
            }),
        ),
        ("no JSON", CloseCode::Policy, Box::new(|_| "hello".into())),
        ("bytes", CloseCode::Policy, Box::new(|_| Message::binary(b"{}".to_vec()))),
        ("a message above the limit", CloseCode::Size, Box::new(|_| "x".repeat(140_000).into())),
    ];
    for (name, code, message) in cases {
        let (gateway, mut agent) = by_hand(Settings { message_bytes: 128 * 1024, ..settings() }).await;
        let (asked, waiting) = asked(&gateway, &mut agent).await;
        // The gateway may hang up before it has read everything.
        let _cut = agent.send(message(asked["requestID"].as_str().unwrap())).await;
        assert_eq!(close_code(&mut agent).await, Some(code), "{name}");
        assert!(ended(gateway).await.is_err(), "{name}");
        let failed = tokio::time::timeout(PATIENCE, waiting).await.unwrap().unwrap();
        assert!(matches!(failed, Err(Error::Closed)), "{name}: {failed:?}");
    }
}

#[tokio::test]
async fn an_answer_whose_body_is_no_base64_fails_its_request_alone() {
    let (gateway, mut agent) = by_hand(settings()).await;
    let (bad, waiting) = asked(&gateway, &mut agent).await;
    say(&mut agent, &json!({ "requestID": bad["requestID"], "statusCode": 200, "body": "***" })).await;
    assert!(matches!(waiting.await.unwrap(), Err(Error::Answer(_))));
    let (good, waiting) = asked(&gateway, &mut agent).await;
    say(&mut agent, &json!({ "requestID": good["requestID"], "statusCode": 200 })).await;
    assert!(waiting.await.unwrap().is_ok());
}

#[tokio::test]
async fn waiting_requests_are_bounded_in_number_and_time() {
    let short = Settings { requests: 2, deadline: Duration::from_millis(300), ..settings() };
    let (gateway, mut agent) = by_hand(short).await;
    let (late, first) = asked(&gateway, &mut agent).await;
    let (_, second) = asked(&gateway, &mut agent).await;
    assert_eq!(gateway.handle.n_open(), 2);
    let rejected = gateway.handle.send(request("/api")).await.unwrap_err();
    assert!(matches!(rejected.error, Error::Busy) && rejected.request.is_some());
    for waiting in [first, second] {
        assert!(matches!(waiting.await.unwrap(), Err(Error::Deadline)));
    }
    assert_eq!(gateway.handle.n_open(), 0);
    say(&mut agent, &json!({ "requestID": late["requestID"], "statusCode": 200 })).await;
    let (next, waiting) = asked(&gateway, &mut agent).await;
    say(&mut agent, &json!({ "requestID": next["requestID"], "statusCode": 200 })).await;
    assert!(waiting.await.unwrap().is_ok());
}

#[tokio::test]
async fn a_body_above_the_limit_is_refused_and_the_connection_goes_on() {
    let (gateway, mut agent) = by_hand(Settings { message_bytes: 64 * 1024, ..settings() }).await;
    let body = Full::new(Bytes::from(vec![0; 64 * 1024]));
    let body = body.map_err(|never: Infallible| match never {}).boxed_unsync();
    let rejected = gateway.handle.send(request("/api").map(|_empty| body)).await.unwrap_err();
    assert!(matches!(rejected.error, Error::RequestBody(_)));
    let (next, waiting) = asked(&gateway, &mut agent).await;
    say(&mut agent, &json!({ "requestID": next["requestID"], "statusCode": 200 })).await;
    assert!(waiting.await.unwrap().is_ok());
}

#[tokio::test]
async fn an_agent_that_falls_silent_is_given_up() {
    let hasty = Settings { heartbeat: Duration::from_millis(50), ..settings() };
    // Nobody reads the pings.
    let (gateway, agent) = by_hand(hasty.clone()).await;
    assert!(matches!(ended(gateway).await, Err(Error::Silent)));
    drop(agent);
    let (gateway, mut agent) = by_hand(hasty).await;
    for _ in 0..5 {
        // To read is to answer.
        let message = tokio::time::timeout(PATIENCE, agent.next()).await.unwrap().unwrap().unwrap();
        assert!(message.is_ping());
    }
    assert!(!gateway.driver.is_finished());
}

#[tokio::test]
async fn at_shutdown_what_waits_is_still_answered() {
    let (gateway, mut agent) = by_hand(settings()).await;
    let (asked, waiting) = asked(&gateway, &mut agent).await;
    gateway.shutdown.cancel();
    while !gateway.handle.is_closed() {
        tokio::task::yield_now().await;
    }
    let refused = gateway.handle.send(request("/api")).await.unwrap_err();
    assert!(matches!(refused.error, Error::Closed) && refused.request.is_some());
    say(&mut agent, &json!({ "requestID": asked["requestID"], "statusCode": 200, "body": "aGk=" })).await;
    assert_eq!(waiting.await.unwrap().unwrap(), "hi");
    assert_eq!(close_code(&mut agent).await, Some(CloseCode::Away));
    assert!(ended(gateway).await.is_ok());
}
