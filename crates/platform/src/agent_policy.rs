//! The policy of the platform's own agent: a ConfigMap of the build plane, as on a cluster, where it is mounted.
//!
//! Here nobody mounts it, so this writes it to the file that the agent looks at. What cannot be used is never written: the
//! agent goes on with what was there before, and one that has nothing serves nobody.

use std::path::{Path, PathBuf};

use buildplane_agent::Policy;
use futures::StreamExt as _;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::watch_object;
use kube::{Api, Client};
use tokio_util::sync::CancellationToken;

use crate::layout::write_private;
use crate::{Error, Layout};

const NAMESPACE: &str = "openchoreo-build-plane";
/// Its owner makes it, or `buildplane plane register` does; without it the shipped policy holds.
const CONFIG_MAP: &str = "cluster-agent-policy";
const KEY: &str = "policy.yaml";

/// Everything as shipped, for everybody: where the ConfigMap does not exist.
const SHIPPED: &str = Policy::shipped_yaml();
/// What a policy that cannot be used leaves.
const NOBODY: &str =
    "# ConfigMap openchoreo-build-plane/cluster-agent-policy cannot be used.\nallowedPlanes: []\n";

/// The file, kept as the ConfigMap is.
pub(crate) struct AgentPolicy {
    config_maps: Api<ConfigMap>,
    path: PathBuf,
}

impl AgentPolicy {
    /// Reads the ConfigMap for the first time and writes the file.
    pub(crate) async fn start(client: Client, layout: &Layout) -> Result<Self, Error> {
        let kept = Self { config_maps: Api::namespaced(client, NAMESPACE), path: layout.agent_policy() };
        let found = kept
            .config_maps
            .get_opt(CONFIG_MAP)
            .await
            .map_err(|source| Error::Part { part: "the agent's policy", source: Box::new(source) })?;
        kept.write(found.as_ref())?;
        Ok(kept)
    }

    /// The file.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Follows the ConfigMap until told to stop.
    pub(crate) async fn keep(self, shutdown: CancellationToken) -> Result<(), Error> {
        let watched = watch_object(self.config_maps.clone(), CONFIG_MAP).default_backoff();
        let mut changes = std::pin::pin!(watched.take_until(shutdown.cancelled_owned()));
        while let Some(change) = changes.next().await {
            match change {
                Ok(found) => {
                    if let Err(error) = self.write(found.as_ref()) {
                        tracing::warn!(
                            error = &error as &dyn std::error::Error,
                            "the agent's policy stays as it was"
                        );
                    }
                }
                Err(error) => {
                    tracing::debug!(
                        error = &error as &dyn std::error::Error,
                        "cannot watch the agent's policy"
                    );
                }
            }
        }
        Ok(())
    }

    fn write(&self, found: Option<&ConfigMap>) -> Result<(), Error> {
        let text = found.and_then(|map| map.data.as_ref()?.get(KEY)).map(String::as_str);
        let text = text.filter(|text| !text.trim().is_empty()).unwrap_or(SHIPPED);
        let before = std::fs::read_to_string(&self.path).ok();
        let text = match Policy::from_yaml(text) {
            Ok(_) => text,
            Err(error) => {
                tracing::warn!(%error, "ConfigMap {NAMESPACE}/{CONFIG_MAP} is no policy; what was there before stays in force");
                before.as_deref().filter(|before| Policy::from_yaml(before).is_ok()).unwrap_or(NOBODY)
            }
        };
        if before.as_deref() == Some(text) {
            return Ok(());
        }
        write_private(&self.path, text.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[tokio::test]
    async fn what_is_no_policy_changes_nothing_and_opens_nothing() {
        buildplane_tls::install_crypto();
        let home = tempfile::tempdir().unwrap();
        // Nothing is asked of it.
        let client = Client::try_from(kube::Config::new("http://127.0.0.1:1".parse().unwrap())).unwrap();
        let kept = AgentPolicy {
            config_maps: Api::namespaced(client, NAMESPACE),
            path: home.path().join("agent-policy.yaml"),
        };
        let map = |text: &str| serde_json::from_value(json!({ "data": { (KEY): text } })).unwrap();
        let narrowed = || {
            let policy = Policy::from_yaml(&std::fs::read_to_string(kept.path()).unwrap()).unwrap();
            policy.allowed_planes.patterns().map(<[_]>::len)
        };
        kept.write(Some(&map("rules: ["))).unwrap();
        assert_eq!(narrowed(), Some(0), "nobody is served by a policy that cannot be read");
        kept.write(Some(&map("allowedPlanes: [buildplane/a/b]"))).unwrap();
        assert_eq!(narrowed(), Some(1));
        kept.write(Some(&map("allowedPlanes: {}"))).unwrap();
        assert_eq!(narrowed(), Some(1), "what was good stays");
        for shipped in [None, Some(map("")), Some(ConfigMap::default())] {
            kept.write(shipped.as_ref()).unwrap();
            assert_eq!(narrowed(), None);
        }
    }
}
