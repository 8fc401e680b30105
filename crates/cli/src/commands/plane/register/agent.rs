//! What the agent shows of itself on the build plane: its CA, its plane id.

use std::time::Duration;

use buildplane_api::PlaneId;
use buildplane_tls::{PeerCertificates, TrustAnchors};
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use tokio::time::Instant;

use super::RegisterArgs;
use crate::exit::ExitStatus;
use crate::failure::{Explain as _, Failure, Result};
use crate::output::terminal::{FRAME, LiveLines};

/// The Secret that an agent keeps its identity in.
const AGENT_SECRET: &str = "cluster-agent-tls";
pub(super) const CA_KEY: &str = "ca.crt";
/// How often the Secret is looked for; its agent may be starting.
const POLL: Duration = Duration::from_millis(500);

/// What the agent shows of itself.
#[derive(Debug)]
pub(super) struct AgentIdentity {
    pub(super) ca: String,
    pub(super) plane_id: Option<PlaneId>,
}

impl AgentIdentity {
    /// Reads the agent's Secret; one that is not there yet is waited for, for as long as `--timeout` allows.
    pub(super) async fn read(build_plane: &Client, args: &RegisterArgs) -> Result<Self> {
        let (namespace, context) = (&args.agent_namespace, &args.from_context);
        let secrets: Api<Secret> = Api::namespaced(build_plane.clone(), namespace);
        let (began, patience) = (Instant::now(), Duration::from_secs(args.timeout));
        let mut lines = LiveLines::new();
        lines.set_status(
            format!("waiting for Secret {namespace}/{AGENT_SECRET} in context {context}"),
            began.into_std(),
        );
        let mut next = began;
        let secret = loop {
            if Instant::now() >= next {
                let found = secrets
                    .get_opt(AGENT_SECRET)
                    .await
                    .context(format!(
                        "build plane (context {context}): cannot read Secret {namespace}/{AGENT_SECRET}"
                    ))
                    .hint("who registers a plane needs the right to get that Secret there")?;
                if let Some(secret) = found {
                    break secret;
                }
                next = Instant::now() + POLL;
            }
            if args.dry_run || began.elapsed() >= patience {
                return Err(absent(args));
            }
            lines.tick()?;
            tokio::time::sleep(FRAME).await;
        };
        lines.clear_status()?;
        Self::of(&secret).map_err(|failure| {
            failure.context(format!(
                "build plane (context {context}): Secret {namespace}/{AGENT_SECRET} is damaged"
            ))
        })
    }

    fn of(secret: &Secret) -> Result<Self> {
        let pem = |key: &str| secret.data.as_ref()?.get(key).map(|value| value.0.as_slice());
        let ca = pem(CA_KEY).ok_or_else(|| {
            Failure::new(format!("it has no key {CA_KEY}"))
                .hint("delete the Secret; the agent makes a new one under the same CA")
        })?;
        TrustAnchors::parse(ca).context(format!("its key {CA_KEY} holds no CA"))?;
        let ca = String::from_utf8(ca.to_vec()).context(format!("its key {CA_KEY} is no text"))?;
        Ok(Self { ca, plane_id: pem("tls.crt").and_then(plane_id_of) })
    }
}

fn absent(args: &RegisterArgs) -> Failure {
    let (namespace, context) = (&args.agent_namespace, &args.from_context);
    Failure::new(format!("build plane (context {context}): there is no Secret {namespace}/{AGENT_SECRET}"))
        .hint(
            "the agent makes it when it starts: is it installed there, is its namespace the one of --agent-namespace, is \
             --from-context the build plane's cluster?",
        )
        .exit(ExitStatus::NotFound)
}

/// The plane id that an agent's certificate names.
fn plane_id_of(leaf: &[u8]) -> Option<PlaneId> {
    let leaf = CertificateDer::from_pem_slice(leaf).ok()?;
    let planes = PeerCertificates::new(vec![leaf])?.planes().ok()?;
    let plane = planes.into_iter().find(|plane| plane.plane_type == "buildplane")?;
    PlaneId::parse(&plane.plane_id).ok()
}
