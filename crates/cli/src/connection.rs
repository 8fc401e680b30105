//! Which API server a command talks to, and as whom: kubectl's rules, plus the local platform's kubeconfig.

use std::path::{Path, PathBuf};
use std::time::Duration;

use buildplane_api::{CrRef, PlaneId};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};

use crate::environment;
use crate::exit::ExitStatus;
use crate::failure::{Explain as _, Failure, Result, chain_of};

/// The contexts of a local platform's kubeconfig.
pub(crate) mod contexts {
    /// The control plane's API.
    pub(crate) const CONTROL_PLANE: &str = "control-plane";
    /// The build plane's API, directly.
    pub(crate) const BUILD_PLANE: &str = "build-plane";
    /// The build plane's API through gateway and agent.
    pub(crate) const VIA_GATEWAY: &str = "via-gateway";
}

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Where the local platform keeps its state.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct DataDirArgs {
    /// Data directory of the local platform [default: $XDG_DATA_HOME/buildplane]
    #[arg(long, value_name = "DIR", env = environment::names::DATA_DIR, hide_env_values = true)]
    pub(crate) data_dir: Option<PathBuf>,
}

impl DataDirArgs {
    /// The directory as an absolute path; it need not exist.
    pub(crate) fn resolve(&self) -> Result<PathBuf> {
        let path = match &self.data_dir {
            Some(path) => path.clone(),
            None => environment::default_data_dir().ok_or_else(|| {
                Failure::new("no data directory: neither XDG_DATA_HOME nor HOME is set")
                    .hint("name one with --data-dir DIR")
            })?,
        };
        std::path::absolute(&path).context(format!("cannot resolve data directory {}", path.display()))
    }
}

/// The options that choose an API server, spelled as kubectl spells them.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Connection")]
pub(crate) struct ConnectionArgs {
    /// Kubeconfig file [default: $KUBECONFIG, else the local platform's, else ~/.kube/config]
    #[arg(long, value_name = "FILE")]
    pub(crate) kubeconfig: Option<PathBuf>,
    /// Context of the kubeconfig
    #[arg(long, value_name = "NAME")]
    pub(crate) context: Option<String>,
    /// Namespace [default: the context's]
    #[arg(short, long, value_name = "NAMESPACE")]
    pub(crate) namespace: Option<String>,
    #[command(flatten)]
    pub(crate) data_dir: DataDirArgs,
}

/// A chosen API server.
pub(crate) struct Connection {
    kubeconfig: Kubeconfig,
    config: Config,
    context: String,
    local: Option<PathBuf>,
    /// Client for the chosen context.
    pub(crate) client: Client,
    /// The namespace that `-n` or the context names.
    pub(crate) namespace: String,
}

impl Connection {
    /// Reads the kubeconfig and prepares a client; nothing is sent yet.
    pub(crate) async fn open(args: &ConnectionArgs) -> Result<Self> {
        let local_dir = args.data_dir.resolve().ok();
        let (kubeconfig, context) = load(args, local_dir.as_deref())?;
        let config = config_for(&kubeconfig, context.as_deref()).await?;
        let client = client_for(config.clone())?;
        let namespace = args.namespace.clone().unwrap_or_else(|| config.default_namespace.clone());
        let local = local_dir.filter(|dir| is_server_of(dir, &config));
        let context = context.or_else(|| kubeconfig.current_context.clone()).unwrap_or_default();
        Ok(Self { kubeconfig, config, context, local, client, namespace })
    }

    /// The chosen context.
    pub(crate) fn context(&self) -> &str {
        &self.context
    }

    /// The data directory of the local platform, if that is what the chosen context talks to.
    pub(crate) fn local_data_dir(&self) -> Option<&Path> {
        self.local.as_deref()
    }

    /// A client for another context of the same kubeconfig.
    pub(crate) async fn other_context(&self, context: &str) -> Result<Client> {
        client_for(config_for(&self.kubeconfig, Some(context)).await?)
    }

    /// The address of the API server.
    pub(crate) fn server(&self) -> String {
        self.config.cluster_url.to_string()
    }

    /// A client for a plane's API, through the gateway, as the user of the context `via-gateway`.
    pub(crate) async fn plane(&self, plane: Option<(&PlaneId, &CrRef)>) -> Result<Client> {
        let has_context =
            self.kubeconfig.contexts.iter().any(|context| context.name == contexts::VIA_GATEWAY);
        if !has_context {
            return Err(Failure::new(format!("the kubeconfig has no context {}", contexts::VIA_GATEWAY))
                .hint("logs come through the cluster gateway: add a context with that name for its internal API"));
        }
        let mut config = config_for(&self.kubeconfig, Some(contexts::VIA_GATEWAY)).await?;
        if let Some((id, plane)) = plane {
            config.cluster_url = plane_url(&config.cluster_url, id, plane)?;
        }
        client_for(config)
    }
}

fn plane_url(gateway: &http::Uri, id: &PlaneId, plane: &CrRef) -> Result<http::Uri> {
    let path = format!("/api/proxy/buildplane/{id}/{}/{}/k8s", plane.namespace_segment(), plane.name());
    let mut parts = gateway.clone().into_parts();
    parts.path_and_query = Some(path.parse().context(format!("invalid plane reference {plane}"))?);
    http::Uri::from_parts(parts).context(format!("invalid plane reference {plane}"))
}

fn load(args: &ConnectionArgs, local_dir: Option<&Path>) -> Result<(Kubeconfig, Option<String>)> {
    if let Some(path) = &args.kubeconfig {
        return Ok((read(path)?, args.context.clone()));
    }
    let listed = environment::kubeconfig_files();
    if !listed.is_empty() {
        let mut merged = Kubeconfig::default();
        for path in listed.iter().filter(|path| path.exists()) {
            merged = merged.merge(read(path)?).context("cannot merge the files of KUBECONFIG")?;
        }
        return Ok((merged, args.context.clone()));
    }
    if let Some(path) = local_dir.map(|dir| dir.join("kubeconfig")).filter(|path| path.is_file()) {
        let kubeconfig = read(&path)?;
        let context = args.context.clone().unwrap_or_else(|| contexts::CONTROL_PLANE.to_owned());
        if kubeconfig.contexts.iter().any(|candidate| candidate.name == context) {
            return Ok((kubeconfig, Some(context)));
        }
    }
    match environment::home_kubeconfig() {
        Some(path) => Ok((read(&path)?, args.context.clone())),
        None => Err(Failure::new("no kubeconfig found")
            .hint("start a local platform with `buildplane up`, or name one with --kubeconfig FILE")
            .exit(ExitStatus::Unreachable)),
    }
}

fn read(path: &Path) -> Result<Kubeconfig> {
    Kubeconfig::read_from(path).context(format!("cannot use kubeconfig {}", path.display()))
}

async fn config_for(kubeconfig: &Kubeconfig, context: Option<&str>) -> Result<Config> {
    let options = KubeConfigOptions { context: context.map(str::to_owned), ..KubeConfigOptions::default() };
    let mut config = Config::from_custom_kubeconfig(kubeconfig.clone(), &options)
        .await
        .context(match context {
            Some(context) => format!("cannot use context {context}"),
            None => "cannot use the kubeconfig's current context".to_owned(),
        })
        .hint("`kubectl config get-contexts` lists the contexts there are")?;
    config.connect_timeout = Some(CONNECT_TIMEOUT);
    // kube would repeat a 503 for minutes; a person at a terminal is told at once.
    config.default_retry = false;
    Ok(config)
}

fn client_for(config: Config) -> Result<Client> {
    Client::try_from(config).context("cannot prepare the API client")
}

/// Whether `config` talks to the platform of this data directory.
fn is_server_of(data_dir: &Path, config: &Config) -> bool {
    let Ok(kubeconfig) = Kubeconfig::read_from(data_dir.join("kubeconfig")) else {
        return false;
    };
    kubeconfig.clusters.iter().filter(|named| named.name == contexts::CONTROL_PLANE).any(|named| {
        let server = named.cluster.as_ref().and_then(|cluster| cluster.server.as_deref());
        server.and_then(|server| server.parse::<http::Uri>().ok()) == Some(config.cluster_url.clone())
    })
}

/// What an API error means to the user.
pub(crate) fn explain(error: &kube::Error) -> Failure {
    match error {
        kube::Error::Api(status) => {
            let message =
                if status.message.is_empty() { status.reason.clone() } else { status.message.clone() };
            let failure = Failure::new(message);
            match status.code {
                404 => failure.exit(ExitStatus::NotFound),
                401 => failure
                    .hint("the kubeconfig's credential is not accepted; is it from an earlier platform?")
                    .exit(ExitStatus::Refused),
                400 | 403 | 409 | 422 => failure.exit(ExitStatus::Refused),
                408 | 429 | 502..=504 => failure.exit(ExitStatus::Unreachable),
                _ => failure,
            }
        }
        kube::Error::HyperError(_) | kube::Error::Service(_) => {
            let causes = chain_of(error);
            // The innermost message is the one that names the cause: "Connection refused (os error 111)".
            let cause = causes.last().map_or("no answer", String::as_str).to_owned();
            Failure::new(cause)
                .context("the API server does not answer")
                .hint("`buildplane status` shows whether the local platform runs")
                .exit(ExitStatus::Unreachable)
        }
        other => {
            let mut chain = chain_of(other).into_iter().rev();
            let innermost = Failure::new(chain.next().unwrap_or_default());
            chain.fold(innermost, Failure::context)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_planes_url_keeps_the_gateway_and_names_the_cr() {
        let gateway: http::Uri = "https://127.0.0.1:8444/api/proxy/buildplane/default/_cluster/default/k8s"
            .parse()
            .expect("a literal URL");
        let id: PlaneId = "shared-builder".parse().expect("a literal id");
        let url = |plane: &str| {
            let plane: CrRef = plane.parse().expect("a literal reference");
            plane_url(&gateway, &id, &plane).expect("a valid URL").to_string()
        };
        assert_eq!(
            url("buildplane/org1/org1-buildplane"),
            "https://127.0.0.1:8444/api/proxy/buildplane/shared-builder/org1/org1-buildplane/k8s"
        );
        assert_eq!(
            url("clusterbuildplane/_cluster/default"),
            "https://127.0.0.1:8444/api/proxy/buildplane/shared-builder/_cluster/default/k8s"
        );
    }
}
