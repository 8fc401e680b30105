use std::time::Duration;

use bytes::Bytes;
use http::uri::{InvalidUri, Scheme};
use http::{Request, Response, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_otlp::{ExporterBuildError, SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tokio::runtime::{Handle, TryCurrentError};

/// How long a collector may take over a batch. Spans that wait are bounded by the SDK; those beyond are dropped.
const DEADLINE: Duration = Duration::from_secs(10);
/// A collector's answer that is larger than this is not read.
const ANSWER_BYTES: usize = 64 * 1024;

/// Why no spans are exported.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The URL is none.
    #[error("the collector's address {endpoint:?} is no URL")]
    Url {
        /// What was given.
        endpoint: String,
        /// What is wrong with it.
        source: InvalidUri,
    },
    /// The URL asks for another protocol.
    #[error(
        "spans are exported by plain HTTP only, not to {endpoint:?}: name a collector beside this process, which \
         sends them on"
    )]
    Scheme {
        /// What was given.
        endpoint: String,
    },
    /// There is nobody to carry out the requests.
    #[error("spans are exported from inside a runtime only")]
    Runtime(#[from] TryCurrentError),
    /// The exporter refuses its configuration, parts of which it reads from the environment.
    #[error("the exporter refuses its configuration")]
    Exporter(#[from] ExporterBuildError),
}

pub(crate) fn provider(endpoint: &str, service: &str) -> Result<SdkTracerProvider, StartError> {
    let endpoint = endpoint.trim_end_matches('/');
    let uri: Uri =
        endpoint.parse().map_err(|source| StartError::Url { endpoint: endpoint.to_owned(), source })?;
    if uri.scheme() != Some(&Scheme::HTTP) {
        return Err(StartError::Scheme { endpoint: endpoint.to_owned() });
    }
    let collector = Collector {
        client: Client::builder(TokioExecutor::new()).build_http(),
        runtime: Handle::try_current()?,
    };
    let exporter = SpanExporter::builder()
        .with_http()
        .with_http_client(collector)
        .with_endpoint(format!("{endpoint}/v1/traces"))
        .build()?;
    let resource = Resource::builder().with_service_name(service.to_owned()).build();
    Ok(SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource).build())
}

/// The SDK exports on a thread of its own, which has no runtime; what it sends is therefore sent by ours.
#[derive(Debug)]
struct Collector {
    client: Client<HttpConnector, Full<Bytes>>,
    runtime: Handle,
}

#[async_trait::async_trait]
impl HttpClient for Collector {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let answer = self.client.request(request.map(Full::new));
        let exchange = async {
            let (head, body) = answer.await?.into_parts();
            let body = Limited::new(body, ANSWER_BYTES).collect().await?.to_bytes();
            Ok::<_, HttpError>(Response::from_parts(head, body))
        };
        // A timer is made inside of a runtime only.
        self.runtime.spawn(async { tokio::time::timeout(DEADLINE, exchange).await }).await??
    }
}
