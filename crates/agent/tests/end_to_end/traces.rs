//! What a collector of traces, and whoever reads the log, learn of a request.

use std::io::Write;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::routing::post;
use bytes::Bytes;
use http::Method;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;
use serde_json::Value;
use tokio::net::TcpListener;

use crate::backend::TEAM;
use crate::rig::{Rig, TEAM_PROXY, text};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const CALLER: &str = "b7ad6b7169203331";

type Spans = Arc<Mutex<Vec<Span>>>;

/// A collector; gives its base URL and what it has received.
async fn collector() -> (String, Spans) {
    let spans = Spans::default();
    let received = Arc::clone(&spans);
    let take = move |body: Bytes| async move {
        let request = ExportTraceServiceRequest::decode(body).unwrap();
        let scopes = request.resource_spans.into_iter().flat_map(|resource| resource.scope_spans);
        received.lock().unwrap().extend(scopes.flat_map(|scope| scope.spans));
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let router = Router::new().route("/v1/traces", post(take));
    tokio::spawn(async move { axum::serve(listener, router).await });
    (url, spans)
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

/// The gateway's span and the agent's of one request. Other tests of this process are exported as well.
fn of_request(spans: &Spans, request_id: &str) -> [Span; 2] {
    let spans = spans.lock().unwrap();
    let is_ours = |span: &&Span| {
        span.attributes.iter().any(|attribute| {
            attribute.key == "buildplane.request_id" && format!("{:?}", attribute.value).contains(request_id)
        })
    };
    let ours: Vec<&Span> = spans.iter().filter(is_ours).collect();
    assert_eq!(ours.len(), 2, "{ours:?}");
    ["gateway", "agent"].map(|name| (*ours.iter().find(|span| span.name == name).unwrap()).clone())
}

#[tokio::test]
async fn gateway_and_agent_continue_the_callers_trace() {
    let (url, spans) = collector().await;
    buildplane_traces::start(&url, "test").unwrap();
    let (_rig, backend, _agent, mut controller) = Rig::connected().await;
    let path = format!("{TEAM_PROXY}{TEAM}/pods?labelSelector=a-secret%3Dquery");
    let parent = format!("00-{TRACE}-{CALLER}-01");
    let other = format!("00-{}-{CALLER}-01", "1".repeat(32));
    let secret = ("authorization", "Bearer a-secret");
    let state = ("tracestate", "vendor=1");
    let mut ids = Vec::new();
    for headers in [
        &[("traceparent", &*parent), state, secret][..],
        // Nobody is named, nobody that can be read, two at once.
        &[secret],
        &[("traceparent", "00-zz-zz-01"), state],
        &[("traceparent", &parent), ("traceparent", &other)],
    ] {
        let response = controller.send(Method::GET, &path, headers, "").await;
        assert_eq!(response.status(), 200);
        ids.push(response.headers()["x-request-id"].to_str().unwrap().to_owned());
        text(response).await;
    }
    tokio::task::spawn_blocking(buildplane_traces::flush).await.unwrap();

    let arrived = backend.seen.requests();
    let arrived = &arrived[arrived.len() - ids.len()..];
    for (n_request, (id, (_, headers))) in ids.iter().zip(arrived).enumerate() {
        let [gateway, agent] = of_request(&spans, id);
        assert_eq!(gateway.trace_id, agent.trace_id);
        assert_eq!(agent.parent_span_id, gateway.span_id);
        let named = format!("00-{}-{}-01", hex(&agent.trace_id), hex(&agent.span_id));
        assert_eq!(headers["traceparent"], *named);
        if n_request == 0 {
            assert_eq!((&*hex(&gateway.trace_id), &*hex(&gateway.parent_span_id)), (TRACE, CALLER));
            assert_eq!(headers["tracestate"], "vendor=1");
        } else {
            assert_ne!(hex(&gateway.trace_id), TRACE);
            assert_eq!(gateway.parent_span_id, [0_u8; 0]);
            assert!(!headers.contains_key("tracestate"));
        }
        for (span, resource) in [(&gateway, "pods"), (&agent, "pods")] {
            let told = format!("{span:?}");
            assert!(!told.contains("a-secret"), "{told}");
            for expected in ["buildplane/team/default", "list", resource, "http.response.status_code"] {
                assert!(told.contains(expected), "{expected}: {told}");
            }
        }
    }
}

/// A log that can be read.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Lines {
    fn read(&self) -> Vec<Value> {
        let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().map_err(|_poisoned| std::io::Error::other("poisoned"))?.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn what_is_logged_of_a_request_stands_under_its_id() {
    let lines = Lines::default();
    let written = lines.clone();
    let log = tracing_subscriber::fmt().json().with_current_span(false);
    let log = log.with_env_filter("info").with_writer(move || written.clone()).finish();
    // For the whole process, and so with the lines of other tests: with a subscriber for this thread alone, a place that
    // another thread logs from first is taken to log for nobody.
    tracing::subscriber::set_global_default(log).unwrap();
    let (_rig, _backend, _agent, mut controller) = Rig::connected().await;
    let path = format!("{TEAM_PROXY}/api/v1/namespaces/somebody-elses/pods");
    let response = controller.get(&path).await;
    assert_eq!(response.status(), 403);
    let id = response.headers()["x-request-id"].to_str().unwrap().to_owned();
    text(response).await;

    let lines = lines.read();
    let said = |message: &str, has_id: &dyn Fn(&Value) -> bool| {
        let found = lines.iter().find(|line| line["fields"]["message"] == message && has_id(line));
        found.unwrap_or_else(|| panic!("{message}: {lines:#?}"))
    };
    // The agent's own line, which names nothing but its reason.
    let refused = said("request not carried out", &|line| line["spans"][0]["request_id"] == *id);
    assert_eq!(refused["spans"][0]["cr"], "buildplane/team/default");
    said("request to a plane", &|line| line["fields"]["request_id"] == *id);
}
