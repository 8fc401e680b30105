//! Requests to the gateway's internal listener.

use std::time::Duration;

use buildplane_api::names::{CrRef, PlaneId};
use futures::AsyncBufRead;
use http::{Method, Request, Uri};
use kube::Client;
use kube::client::Body;

use super::wire::RegistrationBody;
use crate::error::Error;

/// Why the gateway did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum GatewayError {
    #[error("failed to write the request")]
    Write(#[source] serde_json::Error),
    #[error("failed to build the request")]
    Build(#[from] http::Error),
    #[error("the gateway does not answer")]
    Unreachable(#[source] Box<kube::Error>),
    #[error("the gateway did not answer within {0:?}")]
    TimedOut(Duration),
    #[error("the gateway refused: {0}")]
    Refused(String),
}

/// A client of the gateway. All requests, those to planes too, share its connections.
#[derive(Clone)]
pub(crate) struct GatewayClient {
    client: Client,
    patience: Duration,
}

impl GatewayClient {
    pub(crate) fn new(config: &kube::Config, patience: Duration) -> Result<Self, Error> {
        let mut config = config.clone();
        // Every caller here waits and tries again by itself; retries within retries would hide that a plane is gone.
        config.default_retry = false;
        let url = config.cluster_url.to_string();
        let client = Client::try_from(config)
            .map_err(|source| Error::GatewayClient { url, source: Box::new(source) })?;
        Ok(Self { client, patience })
    }

    /// Makes the gateway accept, for a plane object, agents that a CA vouches for. Replaces what was there.
    pub(crate) async fn register(
        &self,
        plane_id: &PlaneId,
        cr: &CrRef,
        pem: &str,
    ) -> Result<(), GatewayError> {
        let body = serde_json::to_vec(&RegistrationBody { client_ca: pem }).map_err(GatewayError::Write)?;
        let request =
            Request::put(plane_path(plane_id, cr)).header("content-type", "application/json").body(body)?;
        self.request(request).await
    }

    /// Makes the gateway forget a plane object. That it never knew it is no error.
    pub(crate) async fn remove(&self, plane_id: &PlaneId, cr: &CrRef) -> Result<(), GatewayError> {
        let request =
            Request::builder().method(Method::DELETE).uri(plane_path(plane_id, cr)).body(Vec::new())?;
        match self.request(request).await {
            Err(GatewayError::Unreachable(source)) if is_not_found(&source) => Ok(()),
            other => other,
        }
    }

    /// The stream of who is connected.
    pub(crate) async fn watch(&self) -> Result<impl AsyncBufRead + use<>, GatewayError> {
        let request = Request::get("/api/v1/planes/watch").body(Vec::new())?;
        tokio::time::timeout(self.patience, self.client.request_stream(request))
            .await
            .map_err(|_elapsed| GatewayError::TimedOut(self.patience))?
            .map_err(classify)
    }

    async fn request(&self, request: Request<Vec<u8>>) -> Result<(), GatewayError> {
        tokio::time::timeout(self.patience, self.client.request_text(request))
            .await
            .map_err(|_elapsed| GatewayError::TimedOut(self.patience))?
            .map(drop)
            .map_err(classify)
    }

    /// A client of the plane's own API, through the gateway and for one plane object.
    pub(crate) fn plane(&self, plane_id: &PlaneId, cr: &CrRef) -> Client {
        let prefix =
            format!("/api/proxy/{}/{plane_id}/{}/{}/k8s", cr.plane_type(), cr.namespace_segment(), cr.name());
        let gateway = self.client.clone();
        let service = tower::service_fn(move |mut request: Request<Body>| {
            let gateway = gateway.clone();
            let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
            let uri = format!("{prefix}{path}").parse::<Uri>();
            async move {
                *request.uri_mut() = uri.map_err(http::Error::from).map_err(kube::Error::HttpError)?;
                gateway.send(request).await
            }
        });
        Client::new(service, "default")
    }
}

fn plane_path(plane_id: &PlaneId, cr: &CrRef) -> String {
    format!("/api/v1/planes/{}/{plane_id}/{}/{}", cr.plane_type(), cr.namespace_segment(), cr.name())
}

fn is_not_found(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 404)
}

fn classify(error: kube::Error) -> GatewayError {
    match error {
        kube::Error::Api(status) if (400..500).contains(&status.code) && status.code != 404 => {
            GatewayError::Refused(status.message.clone())
        }
        other => GatewayError::Unreachable(Box::new(other)),
    }
}
