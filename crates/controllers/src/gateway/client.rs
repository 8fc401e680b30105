//! Requests to a gateway's internal listener.

use std::sync::Arc;
use std::time::Duration;

use buildplane_api::names::{CrRef, PlaneId};
use futures::AsyncBufRead;
use http::{Method, Request, Uri};
use kube::Client;
use kube::client::Body;

use super::feed::Feed;
use super::registry::Registration;
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
    #[error("no gateway is connected: {0}")]
    Away(String),
    #[error("the gateway refused: {0}")]
    Refused(String),
}

/// A client of one gateway address. All requests, those to planes too, share its connections.
#[derive(Clone)]
pub(crate) struct GatewayClient {
    client: Client,
    config: Arc<kube::Config>,
    patience: Duration,
    /// Knows which replica has an agent for an object.
    feed: Option<Arc<Feed>>,
}

impl GatewayClient {
    pub(crate) fn new(config: &kube::Config, patience: Duration) -> Result<Self, Error> {
        let mut config = config.clone();
        // Every caller here waits and tries again by itself; retries within retries would hide that a plane is gone.
        config.default_retry = false;
        let url = config.cluster_url.to_string();
        let client = Client::try_from(config.clone())
            .map_err(|source| Error::GatewayClient { url, source: Box::new(source) })?;
        Ok(Self { client, config: Arc::new(config), patience, feed: None })
    }

    /// The same, asking for a plane the replica that has an agent for it, where the feed knows one.
    pub(crate) fn routed_by(self, feed: Arc<Feed>) -> Self {
        Self { feed: Some(feed), ..self }
    }

    /// A client of one replica: same credentials, and its certificate is held against the same name as the shared
    /// address's. None where the address is no origin of the same scheme: nothing may lead to a connection less safe.
    pub(crate) fn at(&self, url: &str) -> Option<Self> {
        let address: Uri = url.parse().ok()?;
        let shared = &self.config.cluster_url;
        if address.scheme() != shared.scheme() || address.authority().is_none() || address.query().is_some() {
            return None;
        }
        if !matches!(address.path(), "" | "/") {
            return None;
        }
        let mut config = kube::Config::clone(&self.config);
        let shared_name = || shared.host().map(|host| host.trim_matches(['[', ']']).to_owned());
        config.tls_server_name = config.tls_server_name.or_else(shared_name);
        config.cluster_url = address;
        Self::new(&config, self.patience).ok()
    }

    /// Makes the gateway accept, for a plane object, agents that a CA vouches for. Replaces what was there.
    pub(crate) async fn register(&self, cr: &CrRef, wanted: &Registration) -> Result<(), GatewayError> {
        let body = RegistrationBody { client_ca: &wanted.pem, cluster_id: wanted.cluster_id.as_deref() };
        let body = serde_json::to_vec(&body).map_err(GatewayError::Write)?;
        let request = Request::put(plane_path(&wanted.plane_id, cr))
            .header("content-type", "application/json")
            .body(body)?;
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
        let gateway = self.clone();
        let (plane_id, cr) = (plane_id.clone(), cr.clone());
        let service = tower::service_fn(move |mut request: Request<Body>| {
            // Chosen anew for each request: the replica that serves now may be gone with the next.
            let replica = gateway.feed.as_ref().and_then(|feed| feed.replica_of(&plane_id, &cr));
            let client = replica.map_or_else(|| gateway.client.clone(), |replica| replica.client.client);
            let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
            let uri = format!("{prefix}{path}").parse::<Uri>();
            async move {
                *request.uri_mut() = uri.map_err(http::Error::from).map_err(kube::Error::HttpError)?;
                client.send(request).await
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_replica_is_asked_under_the_shared_name_and_never_less_safely() {
        let config = kube::Config::new("http://gateway.example:8444".parse().expect("an address"));
        let shared = GatewayClient::new(&config, Duration::from_secs(1)).expect("a client");
        let replica = shared.at("http://10.0.0.7:8444").expect("a replica");
        assert_eq!(replica.config.tls_server_name.as_deref(), Some("gateway.example"));
        assert_eq!(replica.config.cluster_url.host(), Some("10.0.0.7"));
        for url in ["https://10.0.0.7:8444", "10.0.0.7", "/x", "", "http://10.0.0.7/x", "http://10.0.0.7?x=y"]
        {
            assert!(shared.at(url).is_none(), "{url}");
        }
    }
}
