//! What a start waits for at its end: the agent's certificate, and the platform's own plane.

use std::time::Duration;

use buildplane_api::ClusterBuildPlane;
use futures::TryStreamExt as _;
use k8s_openapi::api::core::v1::Secret;
use kube::api::Api as KubeApi;
use kube::runtime::{WatchStreamExt as _, watcher};

use crate::Error;
use crate::seed::Target;

/// How long each of the waits of a start may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// The CA that the agent makes for itself on its first start.
pub(crate) async fn agent_ca(target: &Target) -> Result<String, Error> {
    const NAMESPACE: &str = "openchoreo-build-plane";
    let secrets: KubeApi<Secret> = KubeApi::namespaced(target.client.clone(), NAMESPACE);
    awaited(secrets, "cluster-agent-tls", "the agent's certificate", |secret| {
        let ca = secret.data.as_ref().and_then(|data| data.get("ca.crt"));
        let ca = ca.ok_or("the Secret cluster-agent-tls has no ca.crt")?;
        String::from_utf8(ca.0.clone())
            .map_err(|_| "ca.crt of the Secret cluster-agent-tls is no text".to_owned())
    })
    .await
}

/// The platform's own plane, registered and connected.
pub(crate) async fn plane(target: &Target) -> Result<(), Error> {
    let planes: KubeApi<ClusterBuildPlane> = KubeApi::all(target.client.clone());
    awaited(planes, "default", "the platform's own build plane", |plane| {
        let conditions = plane.status.as_ref().map_or(&[][..], |status| &status.conditions);
        match conditions.iter().find(|condition| condition.type_ == "Ready") {
            Some(ready) if ready.status == "True" => Ok(()),
            Some(ready) => Err(ready.message.clone()),
            None => Err("its status has no condition Ready".to_owned()),
        }
    })
    .await
}

/// Watches one object until it shows what is wanted. Of an object that does not, only what `wanted` says is told: it may
/// be a Secret.
async fn awaited<K, T>(
    api: KubeApi<K>,
    name: &str,
    part: &'static str,
    wanted: impl Fn(&K) -> Result<T, String>,
) -> Result<T, Error>
where
    K: kube::Resource + Clone + std::fmt::Debug + serde::de::DeserializeOwned + Send + 'static,
{
    let only = watcher::Config::default().fields(&format!("metadata.name={name}"));
    let mut last = "it does not exist".to_owned();
    let found = async {
        let mut seen = std::pin::pin!(watcher(api, only).default_backoff().applied_objects());
        loop {
            match seen.try_next().await {
                Ok(Some(object)) => match wanted(&object) {
                    Ok(found) => break found,
                    Err(missing) => last = missing,
                },
                Ok(None) => std::future::pending().await,
                Err(error) => last = error.to_string(),
            }
        }
    };
    match tokio::time::timeout(PATIENCE, found).await {
        Ok(found) => Ok(found),
        Err(_) => Err(Error::NotReady { part, seconds: PATIENCE.as_secs(), last }),
    }
}
