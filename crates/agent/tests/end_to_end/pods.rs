//! Pods as far as exec and attach go: a WebSocket in Kubernetes' channel protocols, before a real process.

use std::process::Stdio;
use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use bytes::Bytes;
use futures::stream::SplitSink;
use futures::{SinkExt as _, StreamExt as _};
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::Command;
use tokio::sync::Mutex;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role};
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

use buildplane_tunnel::websocket_accept;

use crate::backend::Seen;

const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const ERROR: u8 = 3;
const CLOSE: u8 = 255;

type Writer = Arc<Mutex<SplitSink<WebSocketStream<TokioIo<Upgraded>>, Message>>>;

pub(crate) async fn pod(Path(name): Path<String>) -> Json<Value> {
    Json(json!({
        "kind": "Pod", "apiVersion": "v1",
        "metadata": { "name": name, "namespace": "openchoreo-ci-team", "resourceVersion": "1" },
        "spec": { "containers": [{ "name": "main", "stdin": true }] },
        "status": { "phase": "Running" },
    }))
}

/// Discovery, as far as kubectl asks for it.
pub(crate) fn discovery(path: &str) -> Option<Value> {
    Some(match path {
        "/api" => json!({ "kind": "APIVersions", "versions": ["v1"] }),
        "/apis" => json!({ "kind": "APIGroupList", "apiVersion": "v1", "groups": [] }),
        "/api/v1" => json!({ "kind": "APIResourceList", "groupVersion": "v1", "resources": [
            { "name": "pods", "singularName": "pod", "namespaced": true, "kind": "Pod", "verbs": ["get", "list"] },
        ]}),
        _ => return None,
    })
}

/// Runs what the query's `command` parameters say; `attach` has none and means `cat`.
pub(crate) async fn stream(State(seen): State<Arc<Seen>>, request: Request) -> Response<Body> {
    let uri = request.uri().clone();
    let pairs: Vec<(String, String)> = uri
        .query()
        .unwrap_or_default()
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .map(decoded)
        .collect();
    let mut command: Vec<String> =
        pairs.iter().filter(|(key, _)| key == "command").map(|(_, value)| value.clone()).collect();
    if command.is_empty() {
        command.push("cat".to_owned());
    }
    match command.first().map(String::as_str) {
        Some("redirect") => return answer(302, &[("location", "http://169.254.169.254/")]),
        Some("missing") => return answer(404, &[("x-internal", "1")]),
        Some("not-an-upgrade") => return answer(200, &[]),
        Some("other-protocol") => return switched(request, Some("v1.evil"), true).0,
        Some("wrong-accept") => return switched(request, None, false).0,
        _ => {}
    }
    let offered: Vec<&str> =
        request.headers()[header::SEC_WEBSOCKET_PROTOCOL].to_str().unwrap().split(", ").collect();
    let chosen = offered[0].to_owned();
    let (response, upgraded) = switched(request, Some(&chosen), true);
    tokio::spawn(async move {
        let _open = seen.begin_stream();
        let upgraded = TokioIo::new(upgraded.await.unwrap());
        if chosen.contains("portforward") || command[0] == "raw" {
            // Frames of another protocol: bytes come back as they are.
            let (mut reads, mut writes) = tokio::io::split(upgraded);
            let _ended = tokio::io::copy(&mut reads, &mut writes).await;
            let _gone = writes.shutdown().await;
            return;
        }
        if command[0] == "never-reads" {
            let _kept = upgraded;
            return std::future::pending().await;
        }
        let websocket = WebSocketStream::from_raw_socket(upgraded, Role::Server, None).await;
        run(websocket, &command).await;
    });
    response
}

fn decoded((key, value): (&str, &str)) -> (String, String) {
    let query = buildplane_wire::CanonicalQuery::parse(Some(&format!("{key}={value}"))).unwrap();
    (key.to_owned(), query.values(key).next().unwrap().to_owned())
}

fn answer(code: u16, headers: &[(&str, &str)]) -> Response<Body> {
    let mut response = Response::builder().status(code);
    for (name, value) in headers {
        response = response.header(*name, *value);
    }
    response
        .body(Body::from(r#"{"kind":"Status","status":"Failure","message":"no such container"}"#))
        .unwrap()
}

fn switched(
    mut request: Request,
    protocol: Option<&str>,
    sound: bool,
) -> (Response<Body>, hyper::upgrade::OnUpgrade) {
    let key = request.headers()[header::SEC_WEBSOCKET_KEY].clone();
    let key = if sound { key } else { HeaderValue::from_static("another") };
    let mut headers = HeaderMap::new();
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::SEC_WEBSOCKET_ACCEPT, websocket_accept(&key).unwrap());
    if let Some(protocol) = protocol {
        headers.insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_str(protocol).unwrap());
    }
    let upgraded = hyper::upgrade::on(&mut request);
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    *response.headers_mut() = headers;
    (response, upgraded)
}

/// One process: stdin, stdout and stderr are channels, and its end is a Status on a fourth.
async fn run(websocket: WebSocketStream<TokioIo<Upgraded>>, command: &[String]) {
    let (writer, mut reader) = websocket.split();
    let writer: Writer = Arc::new(Mutex::new(writer));
    let mut child = Command::new(&command[0])
        .args(&command[1..])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take();
    let said = tokio::spawn(pump(child.stdout.take().unwrap(), STDOUT, Arc::clone(&writer)));
    let complained = tokio::spawn(pump(child.stderr.take().unwrap(), STDERR, Arc::clone(&writer)));
    let exit = loop {
        tokio::select! {
            message = reader.next() => match message {
                Some(Ok(Message::Binary(data))) => match (data.first(), stdin.as_mut()) {
                    (Some(&STDIN), Some(pipe)) => {
                        let written = pipe.write_all(&data[1..]).await;
                        if written.is_err() {
                            stdin = None;
                        }
                    }
                    (Some(&CLOSE), _) if data.get(1) == Some(&STDIN) => stdin = None,
                    _ => {}
                },
                Some(Ok(Message::Close(_)) | Err(_)) | None => return,
                Some(Ok(_)) => {}
            },
            exit = child.wait() => break exit.unwrap(),
        }
    };
    said.await.unwrap();
    complained.await.unwrap();
    let status = if exit.success() {
        json!({ "metadata": {}, "status": "Success" })
    } else {
        let code = exit.code().unwrap().to_string();
        json!({
            "metadata": {}, "status": "Failure", "reason": "NonZeroExitCode",
            "message": format!("command terminated with non-zero exit code: {code}"),
            "details": { "causes": [{ "reason": "ExitCode", "message": code }] },
        })
    };
    send(&writer, ERROR, status.to_string().as_bytes()).await;
    let close = CloseFrame { code: CloseCode::Normal, reason: Utf8Bytes::default() };
    let _gone = writer.lock().await.send(Message::Close(Some(close))).await;
    while let Some(Ok(_)) = reader.next().await {}
}

async fn pump(mut from: impl AsyncRead + Unpin, channel: u8, to: Writer) {
    let mut chunk = vec![0; 32 * 1024];
    while let Ok(n_bytes) = from.read(&mut chunk).await
        && n_bytes > 0
    {
        send(&to, channel, &chunk[..n_bytes]).await;
    }
}

async fn send(to: &Writer, channel: u8, data: &[u8]) {
    let mut framed = vec![channel];
    framed.extend_from_slice(data);
    let _gone = to.lock().await.send(Message::Binary(Bytes::from(framed))).await;
}
