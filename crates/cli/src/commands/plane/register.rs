//! `buildplane plane register`: the trust exchange of the API reference in one command.
//!
//! The agent's CA comes out of the build plane's Secret `cluster-agent-tls`, goes into a Secret of the control plane,
//! and a BuildPlane refers to that.

use std::time::Duration;

use buildplane_api::PlaneId;
use buildplane_api::conditions::plane as condition;
use buildplane_api::meta::{API_VERSION, BUILD_PLANE_NAMESPACE, CONTROL_PLANE_NAMESPACE};
use buildplane_api::plane::{BuildPlane, ClusterBuildPlane, Plane};
use buildplane_tls::{PeerCertificates, TrustAnchors};
use futures::StreamExt as _;
use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::api::{Patch, PatchParams, PostParams};
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::watch_object;
use kube::{Api, Client};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::connection::{Connection, ConnectionArgs};
use crate::exit::ExitStatus;
use crate::failure::{Explain as _, Failure, Result};
use crate::output::document::{DocumentFormat, render};
use crate::output::line;
use crate::runs::FIELD_MANAGER;

/// The Secret that an agent keeps its identity in.
const AGENT_SECRET: &str = "cluster-agent-tls";
const CA_KEY: &str = "ca.crt";

/// Register a build plane: fetch its agent's CA, store it in the control plane, apply the plane, wait for the agent
#[derive(Debug, clap::Args)]
pub(crate) struct RegisterArgs {
    /// Name of the BuildPlane
    #[arg(value_name = "NAME")]
    name: String,
    /// Context of the build plane's cluster
    #[arg(long, value_name = "CONTEXT")]
    from_context: String,
    /// Context of the control plane's cluster [default: --context]
    #[arg(long, value_name = "CONTEXT")]
    to_context: Option<String>,
    /// Register a ClusterBuildPlane, for all namespaces
    #[arg(long)]
    cluster: bool,
    /// Plane id [default: what the agent's certificate says, else NAME]
    #[arg(long, value_name = "ID", value_parser = PlaneId::parse)]
    plane_id: Option<PlaneId>,
    /// ClusterSecretStore on the build plane
    #[arg(long, value_name = "NAME")]
    secret_store: Option<String>,
    /// Namespace of the agent on the build plane
    #[arg(long, value_name = "NAMESPACE", default_value = BUILD_PLANE_NAMESPACE)]
    agent_namespace: String,
    /// Namespace of the CA's Secret for a ClusterBuildPlane
    #[arg(long, value_name = "NAMESPACE", default_value = CONTROL_PLANE_NAMESPACE)]
    secret_namespace: String,
    /// Put the CA into the plane itself instead of a Secret
    #[arg(long)]
    inline: bool,
    /// Print the manifests and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Format of what --dry-run prints
    #[arg(short, long, value_enum, value_name = "FORMAT", default_value = "yaml", requires = "dry_run")]
    output: DocumentFormat,
    /// How many seconds to wait for the agent; 0 waits not at all
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    timeout: u64,
    #[command(flatten)]
    connection: ConnectionArgs,
}

/// What the agent shows of itself.
struct AgentIdentity {
    ca: String,
    plane_id: Option<PlaneId>,
}

pub(super) async fn run(args: RegisterArgs) -> Result<ExitStatus> {
    let mut options = args.connection.clone();
    options.context = args.to_context.clone().or(options.context);
    let control_plane = Connection::open(&options).await?;
    let build_plane = control_plane.other_context(&args.from_context).await?;
    let agent = agent_identity(build_plane, &args).await?;
    let manifests = manifests(&args, &control_plane.namespace, &agent)?;
    if args.dry_run {
        for (index, manifest) in manifests.iter().enumerate() {
            if index > 0 && args.output == DocumentFormat::Yaml {
                line("---")?;
            }
            line(render(manifest, args.output)?)?;
        }
        return Ok(ExitStatus::Success);
    }
    let namespace = if args.cluster { &args.secret_namespace } else { &control_plane.namespace };
    ensure_namespace(&control_plane.client, namespace).await?;
    for manifest in &manifests {
        apply(&control_plane.client, manifest).await?;
    }
    if args.timeout == 0 {
        return Ok(ExitStatus::Success);
    }
    let patience = Duration::from_secs(args.timeout);
    let client = control_plane.client.clone();
    if args.cluster {
        wait::<ClusterBuildPlane>(Api::all(client), &args.name, patience).await
    } else {
        wait::<BuildPlane>(Api::namespaced(client, &control_plane.namespace), &args.name, patience).await
    }
}

async fn agent_identity(build_plane: Client, args: &RegisterArgs) -> Result<AgentIdentity> {
    let (namespace, context) = (&args.agent_namespace, &args.from_context);
    let secrets: Api<Secret> = Api::namespaced(build_plane, namespace);
    let secret = secrets
        .get_opt(AGENT_SECRET)
        .await
        .context(format!("cannot read Secret {AGENT_SECRET} of the build plane (context {context})"))?
        .ok_or_else(|| {
            Failure::new(format!("context {context} has no Secret {namespace}/{AGENT_SECRET}"))
                .hint("the agent makes it when it starts; --from-context has to be the build plane's cluster")
                .exit(ExitStatus::NotFound)
        })?;
    let data = secret.data.unwrap_or_default();
    let pem = |key: &str| data.get(key).map(|value| value.0.as_slice());
    let ca = pem(CA_KEY).ok_or_else(|| Failure::new(format!("Secret {AGENT_SECRET} has no key {CA_KEY}")))?;
    TrustAnchors::parse(ca).context(format!("key {CA_KEY} of Secret {AGENT_SECRET} holds no CA"))?;
    let ca = String::from_utf8_lossy(ca).into_owned();
    Ok(AgentIdentity { ca, plane_id: pem("tls.crt").and_then(plane_id_of) })
}

/// The plane id that an agent's certificate names.
fn plane_id_of(leaf: &[u8]) -> Option<PlaneId> {
    let leaf = CertificateDer::from_pem_slice(leaf).ok()?;
    let planes = PeerCertificates::new(vec![leaf])?.planes().ok()?;
    let plane = planes.into_iter().find(|plane| plane.plane_type == "buildplane")?;
    PlaneId::parse(&plane.plane_id).ok()
}

fn manifests(args: &RegisterArgs, namespace: &str, agent: &AgentIdentity) -> Result<Vec<Value>> {
    let plane_id = match args.plane_id.clone().or_else(|| agent.plane_id.clone()) {
        Some(id) => id,
        None => PlaneId::parse(&args.name)
            .context(format!("{} cannot be a plane id", args.name))
            .hint("name the agent's plane id with --plane-id")?,
    };
    let secret_namespace = if args.cluster { args.secret_namespace.as_str() } else { namespace };
    let secret_name = format!("{}-agent-ca", args.name);
    let mut manifests = Vec::new();
    let client_ca = if args.inline {
        json!({"value": agent.ca})
    } else {
        manifests.push(json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": secret_name, "namespace": secret_namespace},
            "type": "Opaque",
            "stringData": {CA_KEY: agent.ca},
        }));
        json!({"secretRef": {"name": secret_name, "namespace": secret_namespace, "key": CA_KEY}})
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
    Ok(manifests)
}

async fn ensure_namespace(client: &Client, name: &str) -> Result<()> {
    let namespaces: Api<Namespace> = Api::all(client.clone());
    if namespaces.get_opt(name).await?.is_some() {
        return Ok(());
    }
    let mut namespace = Namespace::default();
    namespace.metadata.name = Some(name.to_owned());
    match namespaces.create(&PostParams::default(), &namespace).await {
        Ok(_) => Ok(line(format_args!("namespace/{name} created"))?),
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
        Err(error) => Err(Failure::from(error).context(format!("cannot create namespace {name}"))),
    }
}

async fn apply(client: &Client, manifest: &Value) -> Result<()> {
    let text =
        |pointer: &str| manifest.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    let (kind, name) = (text("/kind"), text("/metadata/name"));
    let parameters = PatchParams::apply(FIELD_MANAGER).force();
    let patch = Patch::Apply(manifest);
    let namespace = text("/metadata/namespace");
    let failed = |error: kube::Error| Failure::from(error).context(format!("cannot apply {kind} {name}"));
    match kind.as_str() {
        "Secret" => {
            Api::<Secret>::namespaced(client.clone(), &namespace)
                .patch(&name, &parameters, &patch)
                .await
                .map_err(failed)?;
        }
        "BuildPlane" => {
            let api: Api<BuildPlane> = Api::namespaced(client.clone(), &namespace);
            api.patch(&name, &parameters, &patch).await.map_err(failed)?;
        }
        _ => {
            Api::<ClusterBuildPlane>::all(client.clone())
                .patch(&name, &parameters, &patch)
                .await
                .map_err(failed)?;
        }
    }
    Ok(line(format_args!("{}/{name} applied", kind.to_lowercase()))?)
}

/// Waits until the plane is ready, and says what is missing when it is not in time.
async fn wait<K>(planes: Api<K>, name: &str, patience: Duration) -> Result<ExitStatus>
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
        line(format_args!("{name} is ready, its agent is connected"))?;
        return Ok(ExitStatus::Success);
    }
    let reason = last.unwrap_or_else(|| "no controller has looked at it".to_owned());
    Err(Failure::new(reason)
        .context(format!("{name} is registered but was not ready within {} s", patience.as_secs()))
        .hint("the agent's plane id and gateway address have to fit; its log says why it is not connected")
        .exit(ExitStatus::TimedOut))
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::super::PlaneCommand;
    use super::*;
    use crate::args::{Arguments, Command};

    fn args(words: &str) -> RegisterArgs {
        let words = format!("buildplane plane register {words}");
        match Arguments::parse_from(words.split(' ')).command {
            Command::Plane(super::super::PlaneArgs { command: PlaneCommand::Register(args) }) => args,
            other => panic!("{other:?}"),
        }
    }

    fn printed(words: &str, plane_id: Option<&str>) -> String {
        let agent = AgentIdentity {
            ca: "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n".to_owned(),
            plane_id: plane_id.and_then(|id| PlaneId::parse(id).ok()),
        };
        let manifests =
            manifests(&args(words), "my-org", &agent).unwrap_or_else(|failure| panic!("{failure}"));
        let documents: Vec<_> =
            manifests.iter().map(|manifest| render(manifest, DocumentFormat::Yaml).expect("YAML")).collect();
        documents.join("\n---\n")
    }

    #[test]
    fn manifests_are_those_of_the_reference() {
        insta::assert_snapshot!(
            "namespaced",
            printed("my-buildplane --from-context bp", Some("prod-builder"))
        );
        insta::assert_snapshot!(
            "cluster",
            printed("shared --from-context bp --cluster --plane-id x --secret-store vault", None)
        );
        insta::assert_snapshot!("inline", printed("my-buildplane --from-context bp --inline", None));
    }
}
