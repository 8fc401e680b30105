use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, header};
use http_body_util::{BodyExt as _, Full};
use tokio::sync::watch;

use buildplane_tunnel::Handle;
use buildplane_wire::{REPLICAS_PATH, ReplicaSet, TARGET, TARGET_AGENT};

/// How long an agent may take to hear of the replicas.
const TELL: Duration = Duration::from_secs(5);
/// Attempts to tell it pause at most this long.
const MAX_PAUSE: Duration = Duration::from_secs(10);

/// Tells an agent which replicas there are, now and whenever that changes, for as long as it listens.
pub(super) async fn tell_replicas(handle: &Handle, mut replicas: watch::Receiver<ReplicaSet>) {
    loop {
        let set = replicas.borrow_and_update().clone();
        let mut pause = Duration::from_millis(100);
        // Boxed, because it is over soon, and the connection lasts. An agent that answers anything has been told; one that knows nothing of replicas has nothing to do with it.
        while !Box::pin(told(handle, &set)).await && !handle.is_closed() && pause < MAX_PAUSE {
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
        if replicas.changed().await.is_err() {
            return;
        }
    }
}

async fn told(handle: &Handle, set: &ReplicaSet) -> bool {
    // Strings always serialize.
    let body = serde_json::to_vec(set).unwrap_or_default();
    let body = Full::new(Bytes::from(body)).map_err(|never: Infallible| match never {}).boxed_unsync();
    let request = Request::builder()
        .method(Method::PUT)
        .uri(format!("http://agent{REPLICAS_PATH}"))
        .header(TARGET, TARGET_AGENT)
        .header(header::CONTENT_TYPE, "application/json")
        .body(body);
    let Ok(request) = request else { return true };
    match tokio::time::timeout(TELL, handle.send(request)).await {
        Ok(Ok(response)) => {
            tracing::debug!(status = response.status().as_u16(), "agent was told of the replicas");
            true
        }
        Ok(Err(_)) | Err(_) => false,
    }
}
