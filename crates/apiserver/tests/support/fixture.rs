//! A server in this process, and requests to it.

#![allow(dead_code, reason = "each test binary uses its own part")]
#![allow(clippy::allow_attributes, reason = "dead_code is not expected in every binary")]

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use buildplane_apiserver::{Config, Identity, Server};
use buildplane_store::Store;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};
use tower::ServiceExt as _;

pub(crate) struct Cluster {
    pub(crate) server: Server,
    pub(crate) admin: Client,
    _directory: TempDir,
    _stop: DropGuard,
    _background: JoinHandle<()>,
}

#[derive(Clone)]
pub(crate) struct Client {
    router: Router,
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) code: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
    pub(crate) text: String,
}

pub(crate) async fn cluster() -> Cluster {
    with(Config::default()).await
}

pub(crate) async fn with(config: Config) -> Cluster {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path(), buildplane_store::Config::default()).unwrap();
    let server = Server::new(store, config).await.unwrap();
    let stop = CancellationToken::new();
    let background = tokio::spawn({
        let (server, stop) = (server.clone(), stop.clone());
        async move { server.background(stop).await }
    });
    let admin = Client { router: server.client(Identity::master("admin")) };
    Cluster { server, admin, _directory: directory, _stop: stop.drop_guard(), _background: background }
}

impl Cluster {
    pub(crate) fn user(&self, name: &str, groups: &[&str]) -> Client {
        let identity = Identity::new(name, groups.iter().map(|group| (*group).to_owned()));
        Client { router: self.server.client(identity) }
    }

    pub(crate) fn kube(&self) -> kube::Client {
        kube::Client::new(self.server.client(Identity::master("admin")), "default")
    }
}

impl Client {
    pub(crate) async fn raw(&self, request: Request<Body>) -> http::Response<Body> {
        self.router.clone().oneshot(request).await.unwrap()
    }

    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        content_type: &str,
        body: impl Into<Body>,
    ) -> Answer {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("content-type", content_type)
            .header("user-agent", "tests/1.0")
            .body(body.into())
            .unwrap();
        let response = self.raw(request).await;
        let (parts, body) = response.into_parts();
        let text = String::from_utf8_lossy(&body.collect().await.unwrap().to_bytes()).into_owned();
        let body = serde_json::from_str(&text).unwrap_or(Value::Null);
        Answer { code: parts.status, headers: parts.headers, body, text }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, "", Body::empty()).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        self.send(Method::POST, path, "application/json", body.to_string()).await
    }

    pub(crate) async fn put(&self, path: &str, body: &Value) -> Answer {
        self.send(Method::PUT, path, "application/json", body.to_string()).await
    }

    pub(crate) async fn delete(&self, path: &str, options: &Value) -> Answer {
        let body = if options.is_null() { Body::empty() } else { options.to_string().into() };
        self.send(Method::DELETE, path, "application/json", body).await
    }

    pub(crate) async fn merge(&self, path: &str, body: &Value) -> Answer {
        self.send(Method::PATCH, path, "application/merge-patch+json", body.to_string()).await
    }

    pub(crate) async fn apply(&self, path: &str, body: &Value) -> Answer {
        self.send(Method::PATCH, path, "application/apply-patch+yaml", body.to_string()).await
    }

    /// Waits until the path is not found.
    pub(crate) async fn gone(&self, path: &str) {
        eventually(path, async || self.get(path).await.code == StatusCode::NOT_FOUND).await;
    }
}

impl Answer {
    #[track_caller]
    pub(crate) fn ok(self) -> Value {
        assert!(self.code.is_success(), "{self:?}");
        self.body
    }

    #[track_caller]
    pub(crate) fn fails(&self, code: u16, reason: &str, message: &str) {
        assert_eq!(self.code.as_u16(), code, "{self:?}");
        assert_eq!(self.body["reason"], reason, "{self:?}");
        assert_eq!(self.body["message"], message, "{self:?}");
        assert_eq!(self.body["kind"], "Status");
        assert_eq!(self.body["code"], code);
    }

    #[track_caller]
    pub(crate) fn fails_with(&self, code: u16, part: &str) {
        assert_eq!(self.code.as_u16(), code, "{self:?}");
        assert!(self.body["message"].as_str().unwrap_or_default().contains(part), "{self:?}");
    }
}

pub(crate) async fn eventually<F: AsyncFn() -> bool>(what: &str, check: F) {
    let waiting = async {
        while !check().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(
        tokio::time::timeout(Duration::from_secs(20), waiting).await.is_ok(),
        "timed out waiting: {what}"
    );
}

pub(crate) fn config_map(name: &str, data: &Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data})
}

pub(crate) const MAPS: &str = "/api/v1/namespaces/default/configmaps";
pub(crate) const CRDS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
pub(crate) const WIDGETS: &str = "/apis/example.dev/v1/namespaces/default/widgets";

pub(crate) fn widget_definition() -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.example.dev"},
        "spec": {
            "group": "example.dev", "scope": "Namespaced",
            "names": {"plural": "widgets", "kind": "Widget", "shortNames": ["wd"]},
            "versions": [{
                "name": "v1", "served": true, "storage": true, "subresources": {"status": {}},
                "additionalPrinterColumns": [{"name": "Size", "type": "integer", "jsonPath": ".spec.size"}],
                "schema": {"openAPIV3Schema": {
                    "type": "object",
                    "properties": {
                        "spec": {
                            "type": "object",
                            "required": ["size"],
                            "properties": {
                                "size": {"type": "integer", "maximum": 10},
                                "color": {"type": "string", "default": "red"},
                                "parts": {
                                    "type": "array",
                                    "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
                                    "items": {
                                        "type": "object", "required": ["name"],
                                        "properties": {"name": {"type": "string"}, "count": {"type": "integer"}},
                                    },
                                },
                            },
                        },
                        "status": {"type": "object", "properties": {"seen": {"type": "integer"}}},
                    },
                }},
            }],
        },
    })
}

pub(crate) fn widget(name: &str, spec: &Value) -> Value {
    json!({"apiVersion": "example.dev/v1", "kind": "Widget", "metadata": {"name": name}, "spec": spec})
}
