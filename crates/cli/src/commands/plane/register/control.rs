//! The control plane's side of a registration.

use std::time::Duration;

use buildplane_api::conditions::plane as condition;
use buildplane_api::plane::{BuildPlane, ClusterBuildPlane, Plane};
use buildplane_api::{CrRef, PlaneId};
use futures::StreamExt as _;
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{ApiResource, DynamicObject, GroupVersionKind, ListParams, Patch, PatchParams, PostParams};
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::watch_object;
use kube::{Api, Client, ResourceExt as _};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::steps::{CONTROL_PLANE, step};
use crate::exit::ExitStatus;
use crate::failure::{Explain as _, Failure, Result};
use crate::runs::FIELD_MANAGER;

/// A control plane and the context that it is.
pub(super) struct ControlPlane<'a> {
    pub(super) client: &'a Client,
    pub(super) context: &'a str,
}

impl ControlPlane<'_> {
    fn failed(&self, what: &str) -> String {
        format!("control plane ({}): {what}", self.context)
    }

    /// Whether a namespace has to be made first.
    pub(super) async fn lacks(&self, namespace: &str) -> Result<bool> {
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        let found = namespaces.get_opt(namespace).await;
        Ok(found.context(self.failed(&format!("cannot read namespace {namespace}")))?.is_none())
    }

    /// Makes a namespace; one that has come meanwhile is as good.
    pub(super) async fn create_namespace(&self, name: &str) -> Result<()> {
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        let mut namespace = Namespace::default();
        namespace.metadata.name = Some(name.to_owned());
        match namespaces.create(&PostParams::default(), &namespace).await {
            Ok(_) => step(CONTROL_PLANE, self.context, format_args!("namespace/{name} created")),
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
            Err(error) => {
                Err(Failure::from(error).context(self.failed(&format!("cannot create namespace {name}"))))
            }
        }
    }

    /// Applies a manifest and says whether that changed anything.
    pub(super) async fn apply(&self, manifest: &Value) -> Result<()> {
        let text =
            |pointer: &str| manifest.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        let (kind, name, namespace) = (text("/kind"), text("/metadata/name"), text("/metadata/namespace"));
        let version = text("/apiVersion");
        let (group, version) = version.split_once('/').unwrap_or(("", &version));
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, &kind));
        let api: Api<DynamicObject> = if namespace.is_empty() {
            Api::all_with(self.client.clone(), &resource)
        } else {
            Api::namespaced_with(self.client.clone(), &namespace, &resource)
        };
        let cannot = || self.failed(&format!("cannot apply {kind} {name}"));
        let before = api.get_opt(&name).await.context(cannot())?;
        let parameters = PatchParams::apply(FIELD_MANAGER).force();
        let after = api.patch(&name, &parameters, &Patch::Apply(manifest)).await.context(cannot())?;
        let what = match before {
            None => "created",
            Some(before) if before.resource_version() == after.resource_version() => "unchanged",
            Some(_) => "configured",
        };
        step(CONTROL_PLANE, self.context, format_args!("{}/{name} {what}", kind.to_lowercase()))
    }

    /// The planes of this id that an agent is connected for now.
    pub(super) async fn connected(&self, plane_id: &PlaneId) -> Result<Vec<CrRef>> {
        let cannot = || self.failed("cannot see which other planes use the agent");
        let hint = "--no-narrow leaves the agent's policy as it is";
        let list = ListParams::default();
        let namespaced: Api<BuildPlane> = Api::all(self.client.clone());
        let cluster: Api<ClusterBuildPlane> = Api::all(self.client.clone());
        let mut connected = Vec::new();
        for plane in cluster.list(&list).await.context(cannot()).hint(hint)? {
            connected.extend(reference(&plane, plane_id));
        }
        for plane in namespaced.list(&list).await.context(cannot()).hint(hint)? {
            connected.extend(reference(&plane, plane_id));
        }
        Ok(connected)
    }
}

/// The plane as a reference, if an agent of this id is connected for it.
fn reference(plane: &impl Plane, wanted: &PlaneId) -> Option<CrRef> {
    let connected = plane.status()?.agent_connection.as_ref()?.connected;
    let same = plane.plane_id().ok().as_ref() == Some(wanted);
    plane.cr_ref().ok().filter(|_| connected && same)
}

/// The manifest of a namespace.
pub(super) fn namespace(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
}

/// Waits until the plane is ready, and says what is missing when it is not in time.
pub(super) async fn wait<K>(planes: Api<K>, name: &str, patience: Duration) -> Result<ExitStatus>
where
    K: Plane + Clone + std::fmt::Debug + Send + DeserializeOwned + 'static,
{
    let mut last = None;
    let ready = async {
        let mut changes = std::pin::pin!(watch_object(planes, name).default_backoff());
        while let Some(change) = changes.next().await {
            let Ok(Some(plane)) = change else { continue };
            let conditions = plane.status().map(|status| status.conditions.clone()).unwrap_or_default();
            let current = plane.status().map(|status| status.observed_generation) == plane.meta().generation;
            let holds =
                |type_: &str| conditions.iter().any(|found| found.type_ == type_ && found.status == "True");
            if current && holds(condition::READY) {
                return true;
            }
            let not_yet = conditions
                .into_iter()
                .find(|found| found.type_ != condition::READY && found.status != "True");
            last = not_yet.map(|found| format!("{}: {}", found.type_, found.message));
        }
        false
    };
    if tokio::time::timeout(patience, ready).await.unwrap_or(false) {
        return Ok(ExitStatus::Success);
    }
    let reason = last.unwrap_or_else(|| "no controller has looked at it".to_owned());
    Err(Failure::new(reason)
        .context(format!("{name} is registered but was not ready within {} s", patience.as_secs()))
        .hint("the agent's plane id and gateway address have to fit; its log says why it is not connected")
        .exit(ExitStatus::TimedOut))
}
