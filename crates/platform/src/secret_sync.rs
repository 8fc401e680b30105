//! ExternalSecrets on the local platform, where no External Secrets Operator runs.
//!
//! Workflows fetch credentials through `ExternalSecret` objects, on a cluster and here alike. Here the
//! store is a namespace of the build plane's own API (`openchoreo-secrets`), and this controller does
//! the part of the operator that workflows use: `data` with `remoteRef`, a target's type and labels,
//! and removal with the owner. What else an ExternalSecret asks for is refused in its status, by name.

mod build;
mod kinds;

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Api, ListParams, Patch, PatchParams};
use kube::runtime::controller::{Action, Controller};
use kube::runtime::reflector::ObjectRef;
use kube::runtime::watcher;
use kube::{Client, ResourceExt as _};
use serde_json::json;
use tokio_util::sync::CancellationToken;

pub(crate) use kinds::crds;
use kinds::{ClusterSecretStore, ExternalSecret};

const MANAGER: &str = "buildplane-secret-sync";

#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("failed to read {what}")]
    Read { what: String, source: kube::Error },
    #[error("failed to write the Secret {namespace}/{name}")]
    Apply { namespace: String, name: String, source: kube::Error },
    #[error("failed to write the status of {what}")]
    Status { what: String, source: kube::Error },
}

struct Context {
    client: Client,
}

/// Keeps every ExternalSecret's Secret until told to stop.
pub(crate) async fn run(client: Client, shutdown: CancellationToken) -> Result<(), Error> {
    mark_stores_ready(&client).await?;
    let secrets: Api<Secret> = Api::all(client.clone());
    let controller = Controller::new(Api::<ExternalSecret>::all(client.clone()), watcher::Config::default());
    let known = controller.store();
    controller
        // A stored secret that appears or changes wakes everyone that waits for one.
        .watches(secrets, watcher::Config::default(), move |secret| {
            let from_store = secret.namespace().as_deref() == Some(kinds::LOCAL_NAMESPACE);
            let waiting: Vec<_> = if from_store {
                known.state().iter().map(|object| ObjectRef::from_obj(&**object)).collect()
            } else {
                Vec::new()
            };
            waiting
        })
        .graceful_shutdown_on(shutdown.cancelled_owned())
        .run(reconcile, |_, _, _| Action::requeue(Duration::from_secs(5)), Arc::new(Context { client }))
        .for_each(|result| async move {
            if let Err(error) = result {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "an ExternalSecret could not be kept"
                );
            }
        })
        .await;
    Ok(())
}

/// The stores need nothing but the namespace; saying so lets planes that name one become ready.
async fn mark_stores_ready(client: &Client) -> Result<(), Error> {
    let stores: Api<ClusterSecretStore> = Api::all(client.clone());
    let listed = stores
        .list(&ListParams::default())
        .await
        .map_err(|source| Error::Read { what: "the ClusterSecretStores".to_owned(), source })?;
    for store in listed {
        let name = store.name_any();
        let condition = build::condition(build::Outcome::Ready("store validated"), store.status.as_ref());
        let status = json!({ "status": { "conditions": [condition] } });
        stores
            .patch_status(&name, &PatchParams::default(), &Patch::Merge(status))
            .await
            .map_err(|source| Error::Status { what: format!("ClusterSecretStore {name}"), source })?;
    }
    Ok(())
}

async fn reconcile(object: Arc<ExternalSecret>, context: Arc<Context>) -> Result<Action, Error> {
    if object.metadata.deletion_timestamp.is_some() {
        return Ok(Action::await_change());
    }
    let namespace = object.namespace().unwrap_or_default();
    let outcome = match sync(&object, &namespace, &context.client).await? {
        Ok(()) => build::Outcome::Ready("Secret was synced"),
        Err(reason) => build::Outcome::Failed(reason),
    };
    let condition = build::condition(outcome, object.status.as_ref());
    if object.status.as_ref().is_some_and(|status| status.conditions.first() == Some(&condition)) {
        return Ok(Action::await_change());
    }
    let status = json!({ "status": { "conditions": [condition] } });
    Api::<ExternalSecret>::namespaced(context.client.clone(), &namespace)
        .patch_status(&object.name_any(), &PatchParams::default(), &Patch::Merge(status))
        .await
        .map_err(|source| Error::Status {
            what: format!("ExternalSecret {namespace}/{}", object.name_any()),
            source,
        })?;
    Ok(Action::await_change())
}

/// Writes the Secret, or says why the ExternalSecret cannot be satisfied.
async fn sync(
    object: &ExternalSecret,
    namespace: &str,
    client: &Client,
) -> Result<Result<(), String>, Error> {
    let store = &object.spec.secret_store_ref;
    if store.kind != "ClusterSecretStore" {
        return Ok(Err(format!(
            "secretStoreRef.kind {:?} is not served here; use ClusterSecretStore",
            store.kind
        )));
    }
    let found = Api::<ClusterSecretStore>::all(client.clone())
        .get_opt(&store.name)
        .await
        .map_err(|source| Error::Read { what: format!("ClusterSecretStore {}", store.name), source })?;
    let Some(found) = found else {
        return Ok(Err(format!("ClusterSecretStore {:?} does not exist", store.name)));
    };
    let Some(remote) = found.local_namespace() else {
        return Ok(Err(format!(
            "ClusterSecretStore {:?} must name provider.kubernetes.remoteNamespace {:?}; no other is served here",
            store.name,
            kinds::LOCAL_NAMESPACE
        )));
    };
    let stored: Api<Secret> = Api::namespaced(client.clone(), remote);
    let mut data = std::collections::BTreeMap::new();
    for entry in &object.spec.data {
        let key = &entry.remote_ref.key;
        let secret = stored
            .get_opt(key)
            .await
            .map_err(|source| Error::Read { what: format!("the stored secret {key}"), source })?;
        match build::entry(entry, secret.as_ref()) {
            Ok(value) => data.insert(entry.secret_key.clone(), value),
            Err(reason) => return Ok(Err(reason)),
        };
    }
    let secret = build::secret(object, data);
    let name = secret.name_any();
    Api::<Secret>::namespaced(client.clone(), namespace)
        .patch(&name, &PatchParams::apply(MANAGER).force(), &Patch::Apply(&secret))
        .await
        .map_err(|source| Error::Apply { namespace: namespace.to_owned(), name, source })?;
    Ok(Ok(()))
}
