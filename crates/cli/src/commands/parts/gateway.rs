//! `buildplane gateway`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use buildplane_gateway::{
    AUDIENCE, AgentListener, Config, ControlPlane, Gateway, InternalListener, Limits, Metrics, Roles,
};
use kube::Client;
use tokio_util::sync::CancellationToken;

use super::files::{KeyPair, Watching, anchors, identity};
use super::{ApiArgs, bind, until_told};
use crate::exit::ExitStatus;
use crate::failure::{Explain as _, Result};

/// Run the cluster gateway: agents connect to it, the control plane reaches planes through it
#[derive(Debug, clap::Args)]
pub(crate) struct GatewayArgs {
    /// Where agents connect
    #[arg(long, value_name = "ADDRESS", default_value = "[::]:8443")]
    agents_listen: SocketAddr,
    /// Where the control plane's own parts connect
    #[arg(long, value_name = "ADDRESS", default_value = "[::]:8444")]
    internal_listen: SocketAddr,
    /// Health and metrics, without TLS
    #[arg(long, value_name = "ADDRESS", default_value = "[::]:8080")]
    health_listen: SocketAddr,
    /// Certificate of both listeners, PEM
    #[arg(long, value_name = "FILE")]
    tls_cert: PathBuf,
    /// Its key, PEM
    #[arg(long, value_name = "FILE")]
    tls_key: PathBuf,
    /// CA of the internal API's callers, PEM
    #[arg(long, value_name = "FILE")]
    client_ca: PathBuf,
    /// User or group that may register planes
    #[arg(long = "controller", value_name = "NAME", default_value = "buildplane:controllers")]
    controllers: Vec<String>,
    /// User or group that may send requests to planes
    #[arg(long = "user", value_name = "NAME")]
    users: Vec<String>,
    /// Host name under which the gateway answers, beside IP addresses
    #[arg(long = "host", value_name = "NAME", default_values = ["cluster-gateway", "cluster-gateway.openchoreo-control-plane.svc.cluster.local"])]
    hosts: Vec<String>,
    /// Let agents of OpenChoreo v0.16 and v0.17 connect, during a migration; they carry no watches and follow no logs
    #[arg(long)]
    upstream_agents: bool,
    /// Ask the control plane's API about bearer tokens (TokenReview) and rights (SubjectAccessReview on
    /// buildplanes/proxy and clusterbuildplanes/proxy); implied by --kubeconfig
    #[arg(long)]
    rbac: bool,
    /// Audience of the bearer tokens that are believed
    #[arg(long, value_name = "NAME", default_value = AUDIENCE)]
    token_audience: String,
    #[command(flatten)]
    api: ApiArgs,
}

pub(super) async fn run(args: GatewayArgs) -> Result<ExitStatus> {
    let stop = CancellationToken::new();
    let mut watching = Watching::default();
    let files = KeyPair { certificate: args.tls_cert, key: args.tls_key };
    let identity = identity(&files, &stop, &mut watching)?;
    let control_plane = if args.rbac || args.api.kubeconfig.is_some() {
        let client =
            Client::try_from(args.api.config().await?).context("cannot reach the control plane's API")?;
        Some(Arc::new(ControlPlane::new(client, args.token_audience)))
    } else {
        None
    };
    let config = Config {
        agents: AgentListener {
            listener: bind(args.agents_listen, "agents").await?,
            identity: identity.clone(),
        },
        internal: InternalListener {
            listener: bind(args.internal_listen, "internal API").await?,
            identity,
            callers: anchors(&args.client_ca, &stop, &mut watching)?,
            authorizer: Arc::new(Roles {
                controllers: args.controllers.into_iter().collect(),
                users: args.users.into_iter().collect(),
            }),
            control_plane,
        },
        health: Some(bind(args.health_listen, "health and metrics").await?),
        hosts: args.hosts,
        tunnel: buildplane_tunnel::Settings::default(),
        upstream_agents: args.upstream_agents.then(buildplane_tunnel::json::Settings::default),
        limits: Limits::default(),
        metrics: Metrics::default(),
    };
    let gateway = Gateway::new(config).context("cannot prepare the gateway")?;
    until_told(stop.clone(), gateway.run(stop)).await
}
