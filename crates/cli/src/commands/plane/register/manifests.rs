//! What a registration writes into the control plane: the CA's Secret, and the plane that refers to it.

use buildplane_api::PlaneId;
use buildplane_api::meta::API_VERSION;
use serde_json::{Value, json};

use super::RegisterArgs;
use super::agent::{AgentIdentity, CA_KEY};
use crate::failure::{Explain as _, Result};

/// The plane id to register: what was asked for, else what the agent's certificate says, else the plane's own name.
pub(super) fn plane_id(args: &RegisterArgs, agent: &AgentIdentity) -> Result<PlaneId> {
    if let Some(id) = args.plane_id.clone().or_else(|| agent.plane_id.clone()) {
        return Ok(id);
    }
    PlaneId::parse(&args.name)
        .context(format!("{} cannot be a plane id", args.name))
        .hint("name the agent's plane id with --plane-id")
}

/// The manifests, in the order in which they are to be applied.
pub(super) fn manifests(
    args: &RegisterArgs,
    namespace: &str,
    plane_id: &PlaneId,
    agent: &AgentIdentity,
) -> Vec<Value> {
    let secret_namespace = if args.cluster { args.secret_namespace.as_str() } else { namespace };
    let mut manifests = Vec::new();
    let client_ca = if args.inline {
        json!({"value": agent.ca})
    } else {
        let name = args.secret.clone().unwrap_or_else(|| format!("{}-agent-ca", args.name));
        manifests.push(json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": name, "namespace": secret_namespace},
            "type": "Opaque",
            "stringData": {CA_KEY: agent.ca},
        }));
        json!({"secretRef": {"name": name, "namespace": secret_namespace, "key": CA_KEY}})
    };
    let mut plane = json!({
        "apiVersion": API_VERSION,
        "kind": if args.cluster { "ClusterBuildPlane" } else { "BuildPlane" },
        "metadata": {"name": args.name},
        "spec": {"planeID": plane_id.as_str(), "clusterAgent": {"clientCA": client_ca}},
    });
    if !args.cluster {
        plane["metadata"]["namespace"] = json!(namespace);
    }
    if let Some(store) = &args.secret_store {
        plane["spec"]["secretStoreRef"] = json!({"name": store});
    }
    manifests.push(plane);
    manifests
}
