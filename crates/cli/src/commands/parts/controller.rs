//! `buildplane controller`.

use std::path::PathBuf;

use buildplane_api::meta::CONTROL_PLANE_NAMESPACE;
use buildplane_controllers::{Config, LeaderElection};
use kube::Client;
use kube::config::AuthInfo;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use tokio_util::sync::CancellationToken;

use super::{ApiArgs, until_told};
use crate::exit::ExitStatus;
use crate::failure::{Explain as _, Result};

/// Run the controllers: planes, workflows and runs
#[derive(Debug, clap::Args)]
pub(crate) struct ControllerArgs {
    /// Gateway's internal API
    #[arg(
        long,
        value_name = "URL",
        default_value = "https://cluster-gateway.openchoreo-control-plane.svc.cluster.local:8444"
    )]
    gateway: http::Uri,
    /// CA of the gateway's certificate, PEM
    #[arg(long, value_name = "FILE")]
    gateway_ca: PathBuf,
    /// Certificate that the gateway knows the controllers by, PEM
    #[arg(long, value_name = "FILE")]
    gateway_cert: PathBuf,
    /// Its key, PEM
    #[arg(long, value_name = "FILE")]
    gateway_key: PathBuf,
    /// Namespace whose Secrets a plane's clientCA may name; all when none is given
    #[arg(long = "secret-namespace", value_name = "NAMESPACE")]
    secret_namespaces: Vec<String>,
    /// Stand by while another controller process works; needed where there are several
    #[arg(long)]
    leader_elect: bool,
    /// Namespace of the Lease that says which one works
    #[arg(long, value_name = "NAMESPACE", default_value = CONTROL_PLANE_NAMESPACE, requires = "leader_elect")]
    leader_election_namespace: String,
    #[command(flatten)]
    api: ApiArgs,
}

pub(super) async fn run(args: ControllerArgs) -> Result<ExitStatus> {
    let control_plane =
        Client::try_from(args.api.config().await?).context("cannot prepare the API client")?;
    let mut gateway = kube::Config::new(args.gateway);
    let anchors: std::result::Result<Vec<_>, _> = CertificateDer::pem_file_iter(&args.gateway_ca)
        .context(format!("cannot read {}", args.gateway_ca.display()))?
        .collect();
    let anchors = anchors.context(format!("{} holds no CA", args.gateway_ca.display()))?;
    gateway.root_cert = Some(anchors.iter().map(|anchor| anchor.to_vec()).collect());
    gateway.auth_info = AuthInfo {
        client_certificate: Some(args.gateway_cert.display().to_string()),
        client_key: Some(args.gateway_key.display().to_string()),
        ..AuthInfo::default()
    };
    let mut config = Config::new(control_plane, gateway);
    config.secret_namespaces = Some(args.secret_namespaces).filter(|namespaces| !namespaces.is_empty());
    config.leader_election = args.leader_elect.then(|| {
        // In a pod this is the pod's name.
        let host = std::env::var("HOSTNAME").unwrap_or_else(|_unset| "controller".to_owned());
        LeaderElection::on_host(args.leader_election_namespace, &host)
    });
    let stop = CancellationToken::new();
    Box::pin(until_told(stop.clone(), buildplane_controllers::run(config, stop))).await
}
