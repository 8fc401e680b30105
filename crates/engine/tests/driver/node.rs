//! A node whose pods do what their arguments say: `ok`, `fail` or `hold`, then files as `name=value`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use buildplane_argo::labels;
use futures::StreamExt;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Patch, PatchParams};
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{Config, Event, watcher};
use kube::{Api, Client, ResourceExt};
use serde_json::json;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

#[derive(Default)]
pub(crate) struct Node {
    known: Mutex<BTreeSet<String>>,
    starts: Mutex<BTreeMap<String, usize>>,
}

impl Node {
    /// How often a pod of each name was started.
    pub(crate) fn starts(&self) -> BTreeMap<String, usize> {
        self.starts.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) async fn run(&self, client: Client, shutdown: CancellationToken) {
        let mut tasks = JoinSet::new();
        let mut pods = watcher(Api::<Pod>::all(client.clone()), Config::default()).default_backoff().boxed();
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                Some(ended) = tasks.join_next() => ended.expect("a pod's task does not panic"),
                event = pods.next() => {
                    let Some(Ok(Event::Apply(pod) | Event::InitApply(pod))) = event else { continue };
                    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
                    let uid = pod.uid().expect("pods have uids");
                    let is_new = self.known.lock().unwrap_or_else(PoisonError::into_inner).insert(uid);
                    if is_new && matches!(phase, None | Some("Pending")) {
                        let mut starts = self.starts.lock().unwrap_or_else(PoisonError::into_inner);
                        *starts.entry(pod.name_any()).or_default() += 1;
                        tasks.spawn(execute(client.clone(), pod));
                    }
                }
            }
        }
    }
}

async fn execute(client: Client, pod: Pod) {
    let api: Api<Pod> = Api::namespaced(client, &pod.namespace().expect("pods have namespaces"));
    let name = pod.name_any();
    let spec = pod.spec.expect("pods have specs");
    let arguments = spec.containers.into_iter().next().and_then(|main| main.args).unwrap_or_default();
    let running = json!({"status": {"phase": "Running", "startTime": now()}});
    let parameters = PatchParams::default();
    // The pod may be gone by now, which is all the same to a node.
    if api.patch_status(&name, &parameters, &Patch::Merge(&running)).await.is_err() {
        return;
    }
    let (what, files) =
        arguments.split_first().map_or(("ok", &[][..]), |(what, files)| (what.as_str(), files));
    let code = match what {
        "hold" => return,
        "fail" => 3,
        _ => 0,
    };
    let files: BTreeMap<&str, &str> = files.iter().filter_map(|file| file.split_once('=')).collect();
    if !files.is_empty() {
        let collected =
            json!({"metadata": {"annotations": {labels::COLLECTED_FILES: json!(files).to_string()}}});
        let _ = api.patch(&name, &parameters, &Patch::Merge(&collected)).await;
    }
    let ended = json!({"status": {
        "phase": if code == 0 { "Succeeded" } else { "Failed" },
        "containerStatuses": [{
            "name": "main", "image": "i", "imageID": "", "ready": false, "restartCount": 0,
            "state": {"terminated": {
                "exitCode": code, "reason": if code == 0 { "Completed" } else { "Error" }, "finishedAt": now(),
            }},
        }],
    }});
    let _ = api.patch_status(&name, &parameters, &Patch::Merge(&ended)).await;
}

fn now() -> String {
    Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}
