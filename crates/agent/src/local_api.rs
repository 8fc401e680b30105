//! The cluster's own API, reached with the agent's credentials; bodies stream both ways.

use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Request, Response, Uri};
use http_body_util::BodyExt as _;
use http_body_util::combinators::UnsyncBoxBody;
use hyper_rustls::{FixedServerNameResolver, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::{Connect, HttpConnector};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use kube::client::ConfigExt as _;
use tower::util::BoxCloneSyncService;
use tower::{Service, ServiceBuilder, ServiceExt as _};

use buildplane_tunnel::BoxError;

use crate::error::Error;

mod connections;

pub(crate) use connections::ApiBody;
use connections::Connections;

/// A request's body on its way to the local API.
pub(crate) type RequestBody = UnsyncBoxBody<Bytes, BoxError>;

/// An answer that is awaited. Boxed, because the compiler cannot prove the service's own future to be `Send`.
pub(crate) type Answer = Pin<Box<dyn Future<Output = Result<Response<ApiBody>, BoxError>> + Send>>;

/// Connections are left to rest shorter than API servers leave them open.
const IDLE: Duration = Duration::from_mins(1);
const CONNECT: Duration = Duration::from_secs(10);

/// A client of the local API.
#[derive(Clone)]
pub(crate) struct LocalApi {
    service: BoxCloneSyncService<Request<RequestBody>, Response<ApiBody>, BoxError>,
    scheme: Scheme,
    authority: Authority,
    /// What the cluster's URL has before the API's own paths, without a slash at its end.
    prefix: String,
}

impl LocalApi {
    /// HTTP/2 where the server speaks it, and HTTP/1.1 with a connection for each request in flight where it does not.
    /// Either way a stream that is not read holds up no other, and a request that is canceled ends at the server.
    pub(crate) fn new(config: &kube::Config) -> Result<Self, Error> {
        if config.accept_invalid_certs {
            return Err(Error::UnverifiedLocalApi);
        }
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(CONNECT));
        let http1 = config.rustls_https_connector_with_connector(tcp.clone()).map_err(Error::LocalApi)?;
        let http1 = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .build::<_, RequestBody>(http1);
        let tls = config.rustls_client_config().map_err(Error::LocalApi)?;
        let mut connector = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http();
        if let Some(name) = &config.tls_server_name {
            let name =
                name.clone().try_into().map_err(|_invalid| Error::ServerName { name: name.clone() })?;
            connector = connector.with_server_name_resolver(FixedServerNameResolver::new(name));
        }
        let connector = connector.enable_all_versions().wrap_connector(tcp);
        Self::with(Connections::new(connector, http1), config)
    }

    /// As [`new`](Self::new), over connections of any kind, with HTTP/1.1 alone.
    pub(crate) fn over<C>(connect: C, config: &kube::Config) -> Result<Self, Error>
    where
        C: Connect + Clone + Send + Sync + 'static,
    {
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .build::<_, RequestBody>(connect);
        let client = client.map_response(|response| response.map(ApiBody::from)).map_err(BoxError::from);
        Self::with(client, config)
    }

    fn with<S>(client: S, config: &kube::Config) -> Result<Self, Error>
    where
        S: Service<Request<RequestBody>, Response = Response<ApiBody>, Error = BoxError>
            + Clone
            + Send
            + Sync
            + 'static,
        S::Future: Send + 'static,
    {
        let service = ServiceBuilder::new()
            .option_layer(config.auth_layer().map_err(Error::LocalApi)?)
            .layer(config.extra_headers_layer().map_err(Error::LocalApi)?)
            .map_err(BoxError::from)
            .service(client);
        let url = config.cluster_url.clone().into_parts();
        Ok(Self {
            service: BoxCloneSyncService::new(service),
            scheme: url.scheme.unwrap_or(Scheme::HTTPS),
            authority: url.authority.unwrap_or_else(|| Authority::from_static("localhost")),
            prefix: url
                .path_and_query
                .map(|path| path.path().trim_end_matches('/').to_owned())
                .unwrap_or_default(),
        })
    }

    /// The URL of a path of the API.
    pub(crate) fn url(&self, path: &str, query: Option<&str>) -> Result<Uri, http::Error> {
        let query = query.map(|query| format!("?{query}")).unwrap_or_default();
        let path: PathAndQuery = format!("{}{path}{query}", self.prefix).try_into()?;
        Uri::builder()
            .scheme(self.scheme.clone())
            .authority(self.authority.clone())
            .path_and_query(path)
            .build()
    }

    /// A client of the same API over the same connections.
    pub(crate) fn client(&self, config: &kube::Config) -> kube::Client {
        let send = self.service.clone().map_request(|request: Request<kube::client::Body>| {
            request.map(|body| body.map_err(BoxError::from).boxed_unsync())
        });
        let service = ServiceBuilder::new().layer(config.base_uri_layer()).service(send);
        kube::Client::new(service, config.default_namespace.clone())
    }

    /// Sends a request whose URL is one of [`url`](Self::url).
    pub(crate) fn send(&self, request: Request<RequestBody>) -> Answer {
        Box::pin(self.service.clone().oneshot(request))
    }
}
