//! Writing to the Kubernetes API, patiently.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use kube::{Api, Client};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::plan::COLLECTED_FILES;

/// Which Pod a write is for. A Pod of the same name that was made later has another uid.
#[derive(Clone, Debug)]
pub(crate) struct PodRef {
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) uid: String,
}

impl PodRef {
    pub(crate) fn of(pod: &Pod) -> Option<Self> {
        let metadata = pod.metadata.clone();
        Some(Self { namespace: metadata.namespace?, name: metadata.name?, uid: metadata.uid? })
    }

    fn api(&self, client: &Client) -> Api<Pod> {
        Api::namespaced(client.clone(), &self.namespace)
    }

    /// The Pod as it is now; none when it has gone or been made anew.
    pub(crate) async fn read(&self, client: &Client) -> Result<Option<Pod>, kube::Error> {
        let found = self.api(client).get_opt(&self.name).await?;
        Ok(found.filter(|pod| pod.metadata.uid.as_deref() == Some(self.uid.as_str())))
    }

    /// Writes the status only if the Pod is still as it was read. `false` when it is not.
    pub(crate) async fn claim(
        &self,
        client: &Client,
        resource_version: Option<&str>,
        status: &Value,
    ) -> Result<bool, kube::Error> {
        let metadata = json!({ "uid": self.uid, "resourceVersion": resource_version });
        let patch = json!({ "metadata": metadata, "status": status });
        let written = self.api(client).patch_status(&self.name, &params(), &Patch::Merge(&patch)).await;
        match written {
            Ok(_) => Ok(true),
            Err(error) if is_gone(&error) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Writes the status, trying again until it is written, the Pod has gone, or `give_up`.
    pub(crate) async fn write_status(&self, client: &Client, status: &Value, give_up: &CancellationToken) {
        let patch = json!({ "metadata": { "uid": self.uid }, "status": status });
        let write = || async {
            self.api(client).patch_status(&self.name, &params(), &Patch::Merge(&patch)).await.map(drop)
        };
        self.insist("write the status", write, give_up).await;
    }

    /// Writes down the files a step handed back.
    pub(crate) async fn write_files(
        &self,
        client: &Client,
        files: &BTreeMap<String, Vec<u8>>,
        give_up: &CancellationToken,
    ) {
        let text: BTreeMap<_, _> =
            files.iter().map(|(name, bytes)| (name, String::from_utf8_lossy(bytes).into_owned())).collect();
        let text = json!(text).to_string();
        let patch = json!({ "metadata": { "uid": self.uid, "annotations": { COLLECTED_FILES: text } } });
        let write =
            || async { self.api(client).patch(&self.name, &params(), &Patch::Merge(&patch)).await.map(drop) };
        self.insist("write the collected files", write, give_up).await;
    }

    /// Lets a Pod go whose deletion waited for its step.
    pub(crate) async fn finish_deletion(&self, client: &Client) {
        let now = DeleteParams::default()
            .grace_period(0)
            .preconditions(Preconditions { uid: Some(self.uid.clone()), resource_version: None });
        if let Err(error) = self.api(client).delete(&self.name, &now).await {
            debug!(namespace = self.namespace, name = self.name, %error, "a pod was not let go");
        }
    }

    async fn insist<F, W>(&self, action: &str, write: W, give_up: &CancellationToken)
    where
        W: Fn() -> F,
        F: Future<Output = Result<(), kube::Error>>,
    {
        let mut pause = Duration::from_millis(100);
        loop {
            match write().await {
                Ok(()) => return,
                Err(error) if is_gone(&error) => {
                    debug!(namespace = self.namespace, name = self.name, %error, "a pod has gone");
                    return;
                }
                Err(error) => {
                    warn!(namespace = self.namespace, name = self.name, %error, "failed to {action}");
                }
            }
            tokio::select! {
                () = tokio::time::sleep(pause) => pause = (pause * 2).min(Duration::from_secs(5)),
                () = give_up.cancelled() => return,
            }
        }
    }
}

fn params() -> PatchParams {
    PatchParams { field_manager: Some("buildplane-node".to_owned()), ..PatchParams::default() }
}

/// The Pod is not there, is another one, has changed, or will not take this: trying again does not help.
fn is_gone(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if matches!(status.code, 404 | 409 | 422))
}
