//! `buildplane plane register`: the trust exchange of the API reference in one command.
//!
//! ```text
//!  build plane:   the agent's Secret  ──▶ its CA, its plane id
//!  build plane:   the agent's policy  ◀── this plane added to allowedPlanes
//!  control plane: Secret with the CA, BuildPlane ◀── applied
//!  control plane: the plane's status  ──▶ Ready
//! ```

mod agent;
mod control;
mod manifests;
mod narrow;
mod steps;

use std::time::Duration;

use buildplane_api::meta::{BUILD_PLANE_NAMESPACE, CONTROL_PLANE_NAMESPACE};
use buildplane_api::plane::{BuildPlane, ClusterBuildPlane};
use buildplane_api::{CrRef, PlaneId, PlaneKind};
use kube::{Api, Client};
use serde_json::{Value, json};

use crate::connection::{Connection, ConnectionArgs};
use crate::exit::ExitStatus;
use crate::failure::{Explain as _, Result};
use crate::output::document::{DocumentFormat, render};
use crate::output::{line, note};
use agent::AgentIdentity;
use control::ControlPlane;
use steps::{BUILD_PLANE, CONTROL_PLANE, step};

/// Register a build plane: fetch its agent's CA, store it in the control plane, apply the plane, wait for the agent
///
/// The agent is narrowed to the planes that were registered so: its policy's allowedPlanes gains this one, and keeps what
/// it has. Doing it again changes nothing.
#[derive(Debug, clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of the command line")]
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
    #[arg(long, conflicts_with = "secret")]
    inline: bool,
    /// Name of the CA's Secret in the control plane [default: NAME-agent-ca]
    #[arg(long, value_name = "SECRET")]
    secret: Option<String>,
    /// Leave the agent's policy as it is: it may go on serving every plane that its CA vouches for
    #[arg(long)]
    no_narrow: bool,
    /// Print the manifests and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Format of what --dry-run prints
    #[arg(short, long, value_enum, value_name = "FORMAT", default_value = "yaml", requires = "dry_run")]
    output: DocumentFormat,
    /// How many seconds to wait for the agent's Secret, and then for the agent; 0 waits not at all
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    timeout: u64,
    #[command(flatten)]
    connection: ConnectionArgs,
}

pub(super) async fn run(args: RegisterArgs) -> Result<ExitStatus> {
    let mut options = args.connection.clone();
    options.context = args.to_context.clone().or(options.context);
    let connection = Connection::open(&options).await?;
    let build_plane = connection.other_context(&args.from_context).await?;
    let control_plane = ControlPlane { client: &connection.client, context: connection.context() };
    let agent = AgentIdentity::read(&build_plane, &args).await?;
    let plane_id = manifests::plane_id(&args, &agent)?;
    if let Some(own) = agent.plane_id.as_ref().filter(|own| **own != plane_id) {
        note(format_args!(
            "warning: the agent's certificate is for plane id {own}, not {plane_id}; the gateway will refuse it"
        ));
    }
    let (kind, namespace) = if args.cluster {
        (PlaneKind::ClusterBuildPlane, None)
    } else {
        (PlaneKind::BuildPlane, Some(connection.namespace.as_str()))
    };
    let plane = CrRef::try_new(kind, namespace, &args.name)
        .context(format!("{} cannot be the name of a plane", args.name))
        .exit(ExitStatus::Usage)?;
    let mut manifests = manifests::manifests(&args, &connection.namespace, &plane_id, &agent);
    let home = if args.cluster { &args.secret_namespace } else { &connection.namespace };
    let lacks_home = (!args.cluster || !args.inline) && control_plane.lacks(home).await?;
    if args.dry_run {
        if lacks_home {
            manifests.insert(0, control::namespace(home));
        }
        print(&manifests, args.output)?;
        if !args.no_narrow {
            let others = others(&control_plane, &build_plane, &args, &plane_id).await?;
            print_policy(&build_plane, &args, &plane, &others).await?;
        }
        return Ok(ExitStatus::Success);
    }
    step(BUILD_PLANE, &args.from_context, format_args!("read the CA of the agent for plane id {plane_id}"))?;
    if !args.no_narrow {
        let others = others(&control_plane, &build_plane, &args, &plane_id).await?;
        narrow::apply(&build_plane, &args, &plane, &others).await?;
    }
    if lacks_home {
        control_plane.create_namespace(home).await?;
    }
    for manifest in &manifests {
        control_plane.apply(manifest).await?;
    }
    if args.timeout == 0 {
        return Ok(ExitStatus::Success);
    }
    let patience = Duration::from_secs(args.timeout);
    let client = connection.client.clone();
    if args.cluster {
        control::wait::<ClusterBuildPlane>(Api::all(client), &args.name, patience).await?;
    } else {
        let planes: Api<BuildPlane> = Api::namespaced(client, &connection.namespace);
        control::wait(planes, &args.name, patience).await?;
    }
    step(
        CONTROL_PLANE,
        connection.context(),
        format_args!("{} is ready, its agent is connected", args.name),
    )?;
    Ok(ExitStatus::Success)
}

/// Who else relies on the agent, as long as it serves everybody.
async fn others(
    control_plane: &ControlPlane<'_>,
    build_plane: &Client,
    args: &RegisterArgs,
    plane_id: &PlaneId,
) -> Result<Vec<CrRef>> {
    let (_, policy) = narrow::policy(build_plane, args).await?;
    if narrow::is_narrowed(&policy)? { Ok(Vec::new()) } else { control_plane.connected(plane_id).await }
}

/// Prints what `kubectl apply -f -` takes.
fn print(manifests: &[Value], format: DocumentFormat) -> Result<()> {
    match format {
        DocumentFormat::Json => {
            let list = json!({"apiVersion": "v1", "kind": "List", "items": manifests});
            line(render(&list, format)?)?;
        }
        DocumentFormat::Yaml => {
            for (index, manifest) in manifests.iter().enumerate() {
                if index > 0 {
                    line("---")?;
                }
                line(render(manifest, format)?)?;
            }
        }
    }
    Ok(())
}

/// Prints what the build plane would get: as comments, because it is for another cluster than the manifests are.
async fn print_policy(
    build_plane: &Client,
    args: &RegisterArgs,
    plane: &CrRef,
    others: &[CrRef],
) -> Result<()> {
    let (_, before) = narrow::policy(build_plane, args).await?;
    let Some(narrowed) = narrow::narrow(&before, plane, others)? else { return Ok(()) };
    let map = serde_json::to_value(narrow::config_map(&args.agent_namespace, narrowed.text))
        .context("cannot print the ConfigMap")?;
    let mut map = map;
    map["apiVersion"] = json!("v1");
    map["kind"] = json!("ConfigMap");
    let say = |text: &str| match args.output {
        DocumentFormat::Yaml => line(format_args!("# {text}")),
        DocumentFormat::Json => {
            note(format_args!("# {text}"));
            Ok(())
        }
    };
    say(&format!("For the build plane, kubectl --context {} apply -f -:", args.from_context))?;
    for text in render(&map, DocumentFormat::Yaml)?.lines() {
        say(text)?;
    }
    Ok(())
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
        let args = args(words);
        let id = manifests::plane_id(&args, &agent).unwrap_or_else(|failure| panic!("{failure}"));
        let manifests = manifests::manifests(&args, "my-org", &id, &agent);
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
