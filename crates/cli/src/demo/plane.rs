//! Step two: a build plane is registered exactly as the API reference does it.

use std::time::Duration;

use buildplane_api::meta::{API_VERSION, BUILD_PLANE_NAMESPACE};
use buildplane_api::{BuildPlane, Workflow};
use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::Api;
use kube::api::{ObjectMeta, Patch, PatchParams, PostParams};
use kube::runtime::wait::await_condition;
use serde_json::json;

use super::{Demo, NAMESPACE};
use crate::exit::ExitStatus;
use crate::failure::{Explain as _, Failure, Result};
use crate::runs::FIELD_MANAGER;

/// The plane that the demo registers.
pub(super) const PLANE: &str = "demo-buildplane";
const SECRET: &str = "buildplane-agent-ca";
const CONNECT: Duration = Duration::from_secs(30);

const COMMANDS: &str = "\
kubectl --context build-plane get secret cluster-agent-tls -n openchoreo-build-plane -o jsonpath='{.data.ca\\.crt}' | base64 -d > ca.crt
kubectl --context control-plane create namespace demo
kubectl --context control-plane create secret generic buildplane-agent-ca --from-file=ca.crt=ca.crt -n demo
kubectl --context control-plane apply -f buildplane.yaml   # planeID default, clientCA from that Secret
kubectl --context control-plane wait --for=condition=AgentConnected buildplane/demo-buildplane -n demo";

pub(super) async fn register(demo: &mut Demo) -> Result<()> {
    demo.narrator.part("Register a build plane, as the API reference does")?;
    demo.narrator.same_as(COMMANDS)?;
    let ca = agent_ca(demo).await?;
    let client = &demo.connection.client;
    let mut namespace = Namespace::default();
    namespace.metadata.name = Some(NAMESPACE.to_owned());
    Api::<Namespace>::all(client.clone())
        .create(&PostParams::default(), &namespace)
        .await
        .context(format!("cannot create namespace {NAMESPACE}"))?;
    let secret = Secret {
        metadata: ObjectMeta { name: Some(SECRET.to_owned()), ..ObjectMeta::default() },
        data: Some([("ca.crt".to_owned(), ca)].into()),
        ..Secret::default()
    };
    Api::<Secret>::namespaced(client.clone(), NAMESPACE)
        .create(&PostParams::default(), &secret)
        .await
        .context(format!("cannot create Secret {SECRET}"))?;
    let planes: Api<BuildPlane> = Api::namespaced(client.clone(), NAMESPACE);
    let manifest = json!({
        "apiVersion": API_VERSION,
        "kind": "BuildPlane",
        "metadata": {"name": PLANE, "namespace": NAMESPACE},
        "spec": {
            "planeID": "default",
            "clusterAgent": {"clientCA": {"secretRef": {"name": SECRET, "namespace": NAMESPACE, "key": "ca.crt"}}},
            "secretStoreRef": {"name": "default"},
        },
    });
    planes
        .patch(PLANE, &PatchParams::apply(FIELD_MANAGER), &Patch::Apply(&manifest))
        .await
        .context(format!("cannot apply BuildPlane {PLANE}"))?;
    let connected = |plane: Option<&BuildPlane>| {
        let status = plane.and_then(|plane| plane.status.as_ref());
        status.and_then(|status| status.agent_connection.as_ref()).is_some_and(|agents| agents.connected)
    };
    match tokio::time::timeout(CONNECT, await_condition(planes, PLANE, connected)).await {
        Ok(Ok(_)) => demo.narrator.achieved(&format!("BuildPlane {PLANE}: its agent is connected"))?,
        Ok(Err(error)) => return Err(Failure::from(error).context("cannot watch the plane")),
        Err(_) => {
            return Err(Failure::new(format!(
                "no agent was connected for {PLANE} within {} s",
                CONNECT.as_secs()
            ))
            .exit(ExitStatus::TimedOut));
        }
    }
    workflow(demo).await
}

async fn agent_ca(demo: &Demo) -> Result<k8s_openapi::ByteString> {
    let secrets: Api<Secret> = Api::namespaced(demo.build_plane.clone(), BUILD_PLANE_NAMESPACE);
    let secret = secrets.get("cluster-agent-tls").await.context("cannot read the agent's Secret")?;
    let ca = secret.data.and_then(|mut data| data.remove("ca.crt"));
    ca.ok_or_else(|| Failure::new("the agent's Secret has no key ca.crt"))
}

/// The shipped workflow, for runs of this namespace on the plane that was just registered.
async fn workflow(demo: &Demo) -> Result<()> {
    let shipped: Api<Workflow> = Api::namespaced(demo.connection.client.clone(), "default");
    let mut workflow = shipped.get("docker").await.context("cannot read the shipped workflow")?;
    workflow.metadata = ObjectMeta {
        name: workflow.metadata.name,
        annotations: workflow.metadata.annotations,
        ..ObjectMeta::default()
    };
    workflow.status = None;
    let mut workflow = serde_json::to_value(&workflow).context("cannot copy the shipped workflow")?;
    workflow["spec"]["buildPlaneRef"] = json!({"kind": "BuildPlane", "name": PLANE});
    Api::<Workflow>::namespaced(demo.connection.client.clone(), NAMESPACE)
        .patch("docker", &PatchParams::apply(FIELD_MANAGER), &Patch::Apply(&workflow))
        .await
        .context("cannot copy the shipped workflow")?;
    demo.narrator.say(&format!("workflow docker of namespace {NAMESPACE} runs on it"))?;
    Ok(())
}
