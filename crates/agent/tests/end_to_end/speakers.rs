//! The far end of a tunnel alone, with any certificate and any claim, answering with one text.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use serde_json::Value;
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::{CancellationToken, DropGuard};

use buildplane_tls::{Authority, ClientIdentity, LeafRequest, PlaneSan};
use buildplane_tunnel::{Settings, serve};
use buildplane_wire::{AgentHello, AllowedPlanes};

use crate::rig::{HOUR, Rig};

pub(crate) const CLAIM: &str = "planeType=buildplane&planeID=shared";

pub(crate) fn san(plane_type: &str, plane_id: &str) -> PlaneSan {
    PlaneSan { plane_type: plane_type.to_owned(), plane_id: plane_id.to_owned() }
}

pub(crate) fn leaf(ca: &Authority, request: LeafRequest) -> ClientIdentity {
    ClientIdentity::new(&ca.issue(request).unwrap())
}

pub(crate) fn agent_leaf(ca: &Authority) -> ClientIdentity {
    leaf(ca, LeafRequest::plane(&san("buildplane", "shared"), HOUR))
}

/// An agent of plane `shared` that is what it says.
#[derive(Clone)]
pub(crate) struct Speaker {
    identity: ClientIdentity,
    hello: AgentHello,
    /// Lets a request for `/slow` be answered.
    pub(crate) hurry: Arc<Notify>,
}

/// An open connection of a speaker; closed when dropped.
pub(crate) struct Spoken {
    _stop: DropGuard,
    served: tokio::task::JoinHandle<()>,
}

impl Speaker {
    pub(crate) fn new(ca: &Authority, instance: &str) -> Self {
        let hello = AgentHello { instance: Some(instance.to_owned()), ..AgentHello::default() };
        Self { identity: agent_leaf(ca), hello, hurry: Arc::default() }
    }

    pub(crate) fn of_cluster(mut self, cluster: &str) -> Self {
        self.hello.cluster = Some(cluster.to_owned());
        self
    }

    pub(crate) fn serving(mut self, patterns: &[&str]) -> Self {
        let patterns = patterns.iter().map(|pattern| pattern.parse().unwrap()).collect();
        self.hello.allowed = AllowedPlanes::only(patterns);
        self
    }

    /// Connects, and answers every request with its instance.
    pub(crate) async fn connect(&self, rig: &Rig) -> Result<Spoken, (StatusCode, String)> {
        let (told, _nobody_listens) = mpsc::channel(1);
        self.connect_telling(rig, told).await
    }

    /// Connects, and passes on what the gateway says to the agent itself.
    pub(crate) async fn connect_telling(
        &self,
        rig: &Rig,
        told: mpsc::Sender<Value>,
    ) -> Result<Spoken, (StatusCode, String)> {
        let headers = self.hello.headers();
        let headers: Vec<(&str, &str)> =
            headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
        let stream = rig.dial(&self.identity, CLAIM, &headers).await?;
        let instance = self.hello.instance.clone().unwrap();
        let hurry = Arc::clone(&self.hurry);
        let answers = tower::service_fn(move |request: Request<Incoming>| {
            let (instance, told, hurry) = (instance.clone(), told.clone(), Arc::clone(&hurry));
            let request_path = request.uri().path().to_owned();
            async move {
                if request.headers()["x-openchoreo-target"] == "agent" {
                    assert_eq!((request.method().as_str(), request.uri().path()), ("PUT", "/replicas"));
                    assert!(!request.headers().contains_key("x-openchoreo-cr"));
                    let body = request.into_body().collect().await.unwrap().to_bytes();
                    let _nobody_listens = told.send(serde_json::from_slice(&body).unwrap()).await;
                }
                if request_path == "/slow" {
                    hurry.notified().await;
                }
                Ok::<_, Infallible>(Response::new(instance))
            }
        });
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let served = tokio::spawn(async move {
            let _ended = serve(stream, answers, &Settings::default(), stopped).await;
        });
        Ok(Spoken { _stop: stop.drop_guard(), served })
    }
}

impl Spoken {
    /// Waits for the gateway to close the connection.
    pub(crate) async fn until_closed(self) {
        tokio::time::timeout(Duration::from_secs(5), self.served).await.expect("it is closed").unwrap();
    }

    pub(crate) fn is_open(&self) -> bool {
        !self.served.is_finished()
    }
}
