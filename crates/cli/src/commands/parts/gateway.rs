//! `buildplane gateway`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use buildplane_gateway::{
    AUDIENCE, AgentListener, Config, ControlPlane, Discovery, GATEWAYS, Gateway, InternalListener, Limits,
    Metrics, Peers, Roles,
};
use buildplane_tls::{AnchorStore, verify_client};
use kube::Client;
use tokio_util::sync::CancellationToken;

use super::files::{KeyPair, Watching, anchors, client_identity, identity};
use super::{ApiArgs, bind, until_told};
use crate::exit::ExitStatus;
use crate::failure::{Explain as _, Failure, Result};

/// How long work is still taken after readiness has gone.
const NOTICE: Duration = Duration::from_secs(5);

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
    #[command(flatten)]
    replicas: ReplicaArgs,
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

/// How several replicas find and know each other; this one may be among those that are named
#[derive(Debug, clap::Args)]
struct ReplicaArgs {
    /// Internal APIs of the replicas: https://HOST:PORT,…, or dns:NAME:PORT for every address of a name
    #[arg(long, value_name = "WHERE")]
    replicas: Option<Discovery>,
    /// Where agents reach this replica alone, wss://HOST:PORT/ws [default: only the address that all share]
    #[arg(long, value_name = "URL")]
    advertise: Option<String>,
    /// Client certificate for the other replicas, PEM, in the group openchoreo:gateways [default: --tls-cert]
    #[arg(long, value_name = "FILE", requires = "peer_key")]
    peer_cert: Option<PathBuf>,
    /// Its key, PEM [default: --tls-key]
    #[arg(long, value_name = "FILE", requires = "peer_cert")]
    peer_key: Option<PathBuf>,
    /// CA of the other replicas' internal APIs, PEM [default: --client-ca]
    #[arg(long, value_name = "FILE")]
    peer_ca: Option<PathBuf>,
    /// Name in the other replicas' certificates [default: the host that --replicas names]
    #[arg(long, value_name = "NAME")]
    peer_name: Option<String>,
}

impl ReplicaArgs {
    /// Where the other replicas are. What they would refuse is refused here, at the start.
    fn peers(
        self,
        own: &KeyPair,
        callers: &Arc<AnchorStore>,
        stop: &CancellationToken,
        watching: &mut Watching,
    ) -> Result<Option<Peers>> {
        let Some(discovery) = self.replicas else { return Ok(None) };
        let files = match (self.peer_cert, self.peer_key) {
            (Some(certificate), Some(key)) => KeyPair { certificate, key },
            _ => own.clone(),
        };
        let file = files.certificate.display().to_string();
        let hint = format!(
            "issue a client certificate with the organization {GATEWAYS} from the CA of --client-ca, and name it with \
             --peer-cert and --peer-key"
        );
        let peer = files.read()?.presented();
        let peer = peer.ok_or_else(|| Failure::new(format!("{file} holds no certificate")))?;
        verify_client(&callers.current(), &peer, SystemTime::now())
            .context(format!("the other replicas would not accept {file}"))
            .hint(hint.clone())?;
        if !peer.organizations().iter().any(|group| group == GATEWAYS) {
            let message = format!("the certificate in {file} is not in the group {GATEWAYS}");
            return Err(Failure::new(message).hint(hint));
        }
        let roots = match &self.peer_ca {
            Some(path) => anchors(path, stop, watching)?,
            None => Arc::clone(callers),
        };
        let identity = client_identity(&files, stop, watching)?;
        Ok(Some(Peers { discovery, identity, roots, server_name: self.peer_name }))
    }
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
    let callers = anchors(&args.client_ca, &stop, &mut watching)?;
    let advertise = args.replicas.advertise.clone();
    let peers = args.replicas.peers(&files, &callers, &stop, &mut watching)?;
    let config = Config {
        agents: AgentListener {
            listener: bind(args.agents_listen, "agents").await?,
            identity: identity.clone(),
        },
        internal: InternalListener {
            listener: bind(args.internal_listen, "internal API").await?,
            identity,
            callers,
            authorizer: Arc::new(Roles {
                controllers: args.controllers.into_iter().collect(),
                users: args.users.into_iter().collect(),
            }),
            control_plane,
        },
        health: Some(bind(args.health_listen, "health and metrics").await?),
        hosts: args.hosts,
        peers,
        advertise,
        tunnel: buildplane_tunnel::Settings::default(),
        upstream_agents: args.upstream_agents.then(buildplane_tunnel::json::Settings::default),
        // Endpoints of a Service follow readiness within a few seconds.
        limits: Limits { notice: NOTICE, ..Limits::default() },
        metrics: Metrics::default(),
    };
    let gateway = Gateway::new(config).context("cannot prepare the gateway")?;
    until_told(stop.clone(), gateway.run(stop)).await
}
