//! `buildplane agent`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use buildplane_agent::{Agent, Config, GatewayUrl, Policy, PolicySource, Proxied, ServerCa};
use buildplane_api::meta::BUILD_PLANE_NAMESPACE;
use buildplane_api::{PlaneId, PlaneType};
use buildplane_tls::TrustAnchors;
use buildplane_wire::PlanePattern;
use tokio_util::sync::CancellationToken;

use super::{ApiArgs, bind, until_told};
use crate::environment;
use crate::exit::ExitStatus;
use crate::failure::{Explain as _, Result};
use crate::output::line;

/// Run the cluster agent: it dials the gateway and carries out what its own policy allows
#[derive(Debug, clap::Args)]
pub(crate) struct AgentArgs {
    /// Gateway for agents: wss://host:port/ws
    #[arg(long, value_name = "URL", required_unless_present = "print_policy")]
    gateway: Option<GatewayUrl>,
    /// CA of the gateway's certificate, PEM
    #[arg(long, value_name = "FILE", required_unless_present = "print_policy")]
    server_ca: Option<PathBuf>,
    /// Name in the gateway's certificate, where it is not the host of its address
    #[arg(long, value_name = "NAME")]
    server_name: Option<String>,
    /// CA of the proxy that HTTPS_PROXY names, PEM; only for https:// proxies, never for the gateway
    #[arg(long, value_name = "FILE")]
    extra_ca: Option<PathBuf>,
    /// Type of the plane
    #[arg(long, value_name = "TYPE", default_value = "buildplane")]
    plane_type: PlaneType,
    /// Id of the plane
    #[arg(long, value_name = "ID", default_value = "default", value_parser = PlaneId::parse)]
    plane_id: PlaneId,
    /// What requests may do on this cluster, YAML; looked at again while the agent runs [default: the shipped policy]
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// Print the shipped policy, and do nothing else
    #[arg(long, exclusive = true)]
    print_policy: bool,
    /// Serve this custom resource only, KIND/NAMESPACE/NAME (_cluster as the namespace of cluster-scoped ones) with * for any text; may be repeated
    #[arg(long = "allow-plane", value_name = "PATTERN")]
    allow_planes: Vec<PlanePattern>,
    /// Namespace of the agent's own Secrets
    #[arg(long, value_name = "NAMESPACE", default_value = BUILD_PLANE_NAMESPACE)]
    namespace: String,
    /// Health and metrics, without TLS
    #[arg(long, value_name = "ADDRESS")]
    health_listen: Option<SocketAddr>,
    #[command(flatten)]
    api: ApiArgs,
}

pub(super) async fn run(args: AgentArgs) -> Result<ExitStatus> {
    let (Some(gateway), Some(server_ca), false) = (args.gateway, args.server_ca, args.print_policy) else {
        line(Policy::shipped_yaml().trim_end())?;
        return Ok(ExitStatus::Success);
    };
    let mut config = Config::new(
        gateway,
        ServerCa::File(server_ca),
        (args.plane_type, args.plane_id),
        args.api.config().await?,
    );
    config.server_name = args.server_name;
    config.namespace = args.namespace;
    let anchors = args.extra_ca.map(|path| {
        let text = std::fs::read(&path).context(format!("cannot read {}", path.display()))?;
        TrustAnchors::parse(text).context(format!("{} holds no CA", path.display()))
    });
    let proxied = Proxied::from_variables(environment::proxy, anchors.transpose()?);
    if let Some(proxied) = proxied.context("cannot use the proxy of the environment")? {
        config.connect = Arc::new(proxied);
    }
    if let Some(path) = args.policy {
        config.policy = PolicySource::File(path);
    }
    config.allowed_planes = args.allow_planes;
    if let Some(address) = args.health_listen {
        config.health = Some(bind(address, "health and metrics").await?);
    }
    let agent = Agent::new(config).context("cannot prepare the agent")?;
    let stop = CancellationToken::new();
    until_told(stop.clone(), agent.run(stop)).await
}
