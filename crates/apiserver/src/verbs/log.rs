//! pods/log

use axum::body::Body;
use buildplane_store::Entry;
use bytes::Bytes;
use futures::StreamExt as _;
use http::{Response, StatusCode};
use jiff::Timestamp;
use serde_json::Value;

use crate::call::Call;
use crate::error::{ApiError, ApiResult};
use crate::http::response;
use crate::object;
use crate::podlogs::{LogOptions, PodLogError, PodLogRef};

pub(crate) async fn log(call: &Call) -> ApiResult<Response<Body>> {
    let entry: Entry =
        call.api.store.get(&call.key()).ok_or_else(|| ApiError::not_found(&call.kind, &call.name))?;
    let pod = object::decode(&entry)?;
    let container = container(call, &pod)?;
    let options = options(call)?;
    let Some(logs) = call.api.config.pod_logs.clone() else {
        return Err(ApiError::bad_request("this server keeps no logs of containers"));
    };
    let room = std::sync::Arc::clone(&call.api.watches)
        .try_acquire_owned()
        .map_err(|_| ApiError::too_many_requests("too many watches and logs are open"))?;
    let reference = PodLogRef {
        namespace: object::namespace(&pod).to_owned(),
        name: call.name.clone(),
        uid: object::uid(&pod).to_owned(),
        container: container.clone(),
    };
    let opened = tokio::time::timeout(call.api.config.limits.request_timeout, logs.open(reference, options));
    let lines = opened.await.map_err(|_| ApiError::timeout())?.map_err(|error| match &error {
        PodLogError::NotStarted { reason } => ApiError::bad_request(format!(
            "container \"{container}\" in pod \"{}\" is waiting to start: {reason}",
            call.name
        )),
        PodLogError::NotKept => ApiError::new(StatusCode::NOT_FOUND, "NotFound", error.to_string()),
        PodLogError::Read(source) => {
            tracing::warn!(pod = %call.name, %source, "failed to read a log");
            ApiError::internal(&error)
        }
    })?;
    let shutdown = call.api.shutdown.clone();
    let lines = lines
        .inspect(move |_line: &std::io::Result<Bytes>| {
            // The permit lives as long as the stream.
            let _held = &room;
        })
        .take_until(async move { shutdown.cancelled().await });
    Ok(response::text(StatusCode::OK, Body::from_stream(lines)))
}

fn container(call: &Call, pod: &Value) -> ApiResult<String> {
    let names = |list: &str| -> Vec<String> {
        let list = pod["spec"][list].as_array();
        list.into_iter().flatten().filter_map(|c| c["name"].as_str()).map(str::to_owned).collect()
    };
    let mut all = names("initContainers");
    let own = names("containers");
    let default = pod["metadata"]["annotations"]["kubectl.kubernetes.io/default-container"].as_str();
    let asked = call.query.get("container").or(default);
    all.extend(own.iter().cloned());
    match (asked, own.as_slice()) {
        (Some(asked), _) if all.iter().any(|name| name == asked) => Ok(asked.to_owned()),
        (Some(asked), _) => {
            Err(ApiError::bad_request(format!("container {asked} is not valid for pod {}", call.name)))
        }
        (None, [only]) => Ok(only.clone()),
        (None, several) => Err(ApiError::bad_request(format!(
            "a container name must be specified for pod {}, choose one of: {several:?}",
            call.name
        ))),
    }
}

fn options(call: &Call) -> ApiResult<LogOptions> {
    let query = &call.query;
    let since = match (query.number("sinceSeconds")?, query.get("sinceTime")) {
        (Some(_), Some(_)) => {
            return Err(ApiError::bad_request("only one of sinceSeconds or sinceTime may be given"));
        }
        (Some(seconds), None) => {
            let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
            Some(
                Timestamp::from_second(call.now.as_second().saturating_sub(seconds))
                    .unwrap_or(Timestamp::MIN),
            )
        }
        (None, Some(text)) => Some(
            text.parse().map_err(|_| ApiError::bad_request(format!("sinceTime: invalid time {text:?}")))?,
        ),
        (None, None) => None,
    };
    Ok(LogOptions {
        follow: query.is_set("follow"),
        timestamps: query.is_set("timestamps"),
        tail_lines: query.number("tailLines")?,
        since,
        limit_bytes: query.number("limitBytes")?,
        previous: query.is_set("previous"),
    })
}
