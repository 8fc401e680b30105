//! The agent's end: for benchmarks and tests. Our own agent speaks HTTP/2.

use std::sync::Arc;

use bytes::Bytes;
use futures::{SinkExt as _, StreamExt as _};
use http::{HeaderName, HeaderValue, Request, Response, StatusCode};
use http_body::Body;
use http_body_util::{BodyExt as _, Full, Limited};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};
use tower::{Service, ServiceExt as _};

use super::frame::{self, FrameError};
use super::settings::Settings;
use crate::BoxError;
use crate::error::Error;

const TARGET: HeaderName = HeaderName::from_static("x-openchoreo-target");

/// An agent's open connection.
#[derive(Debug)]
pub struct Connection<T>(WebSocketStream<T>);

/// Opens the WebSocket on a connection that stands already, without a subprotocol, as upstream's agents do.
pub async fn dial<T>(io: T, request: Request<()>, settings: &Settings) -> Result<Connection<T>, Error>
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    let mut handshake =
        request.uri().clone().into_client_request().map_err(|error| Error::Handshake(Box::new(error)))?;
    handshake.headers_mut().extend(request.headers().clone());
    crate::dial::handshake(handshake, io, settings.websocket()).await.map(|(io, _response)| Connection(io))
}

/// Answers requests until the connection ends.
pub async fn serve<T, S, B>(connection: Connection<T>, service: S, settings: &Settings) -> Result<(), Error>
where
    T: AsyncRead + AsyncWrite + Unpin,
    S: Service<Request<Full<Bytes>>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let (mut sink, mut stream) = connection.0.split();
    // An answer that is not written yet holds its slot, so that there are never more than slots.
    let slots = Arc::new(Semaphore::new(settings.requests.min(Semaphore::MAX_PERMITS)));
    let (outgoing, mut unwritten) = mpsc::channel::<Utf8Bytes>(16);
    let mut requests = JoinSet::new();
    let read = async {
        while let Some(message) = stream.next().await {
            let Message::Text(text) = message.map_err(|error| Error::WebSocket(Box::new(error)))? else {
                continue;
            };
            while requests.try_join_next().is_some() {}
            let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { return Ok(()) };
            let (service, outgoing, settings) = (service.clone(), outgoing.clone(), settings.clone());
            requests.spawn(async move {
                if let Ok(answer) = answer(&text, service, &settings).await {
                    // Nobody hears it where the connection has ended.
                    let _ended = outgoing.send(answer).await;
                }
                drop(slot);
            });
        }
        Ok(())
    };
    let write = async {
        while let Some(text) = unwritten.recv().await {
            sink.send(Message::Text(text)).await.map_err(|error| Error::WebSocket(Box::new(error)))?;
        }
        Ok(())
    };
    tokio::select! {
        ended = read => ended,
        ended = write => ended,
    }
}

async fn answer<S, B>(text: &Utf8Bytes, service: S, settings: &Settings) -> Result<Utf8Bytes, FrameError>
where
    S: Service<Request<Full<Bytes>>, Response = Response<B>>,
    S::Error: Into<BoxError>,
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    let (asked, body) = frame::read_request(text)?;
    let id = asked.id.clone();
    let failure = |message: String| frame::Response {
        id: id.clone(),
        status: StatusCode::BAD_GATEWAY,
        headers: http::HeaderMap::new(),
        failure: Some(frame::Failure { code: Some(StatusCode::BAD_GATEWAY), message }),
    };
    let uri = match &asked.query {
        Some(query) => format!("{}?{query}", asked.path),
        None => asked.path.to_string(),
    };
    let uri = uri.parse().map_err(|_invalid| FrameError::Field("path is no path"))?;
    let mut request = Request::new(Full::new(body.decode()?));
    *request.method_mut() = asked.method;
    *request.uri_mut() = uri;
    *request.headers_mut() = asked.headers;
    if let Ok(target) = HeaderValue::from_str(&asked.target) {
        request.headers_mut().insert(TARGET, target);
    }
    let response = match service.oneshot(request).await {
        Ok(response) => response,
        Err(error) => return Ok(failure(error.into().to_string()).write(&[])),
    };
    let (head, body) = response.into_parts();
    match Limited::new(body, settings.body_bytes(64 * 1024)).collect().await {
        Ok(body) => {
            let answer =
                frame::Response { id: id.clone(), status: head.status, headers: head.headers, failure: None };
            Ok(answer.write(&body.to_bytes()))
        }
        Err(error) => Ok(failure(error.to_string()).write(&[])),
    }
}
