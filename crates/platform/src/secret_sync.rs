//! ExternalSecrets on the local platform, where no External Secrets Operator runs.
//!
//! Workflows fetch credentials through `ExternalSecret` objects, on a cluster and here alike. Here the
//! store is a namespace of the build plane's own API (`openchoreo-secrets`), and this controller does
//! the part of the operator that workflows use: `data` with `remoteRef`, a target's type and labels,
//! and removal with the owner. What else an ExternalSecret asks for is refused in its status, by name.
//!
//! Whoever may write a Workflow chooses what its ExternalSecrets ask for, and all namespaces share the
//! store. So a stored secret can say who may read it ([`access`]), and a Secret that is there belongs to
//! whoever made it.

pub(crate) mod access;
mod build;
mod kinds;

use std::sync::Arc;
use std::time::Duration;

use buildplane_api::names::{CiNamespace, is_subdomain};
use futures::StreamExt as _;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Api, ListParams, Patch, PatchParams, PostParams};
use kube::runtime::controller::{Action, Controller};
use kube::runtime::reflector::ObjectRef;
use kube::runtime::watcher;
use kube::{Client, ResourceExt as _};
use serde_json::json;
use tokio_util::sync::CancellationToken;

pub(crate) use kinds::crds;
use kinds::{ClusterSecretStore, ExternalSecret};

const MANAGER: &str = "buildplane-secret-sync";
/// How soon one that could not be satisfied is looked at without a reason: a name may have become free.
const RECHECK: Duration = Duration::from_secs(5);

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
    let next = match &outcome {
        build::Outcome::Ready(_) => Action::await_change(),
        build::Outcome::Failed(_) => Action::requeue(RECHECK),
    };
    let condition = build::condition(outcome, object.status.as_ref());
    if object.status.as_ref().is_some_and(|status| status.conditions.first() == Some(&condition)) {
        return Ok(next);
    }
    let status = json!({ "status": { "conditions": [condition] } });
    Api::<ExternalSecret>::namespaced(context.client.clone(), &namespace)
        .patch_status(&object.name_any(), &PatchParams::default(), &Patch::Merge(status))
        .await
        .map_err(|source| Error::Status {
            what: format!("ExternalSecret {namespace}/{}", object.name_any()),
            source,
        })?;
    Ok(next)
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
    let reader = CiNamespace::parse(namespace);
    let reader = reader.as_ref().map(CiNamespace::control_plane_namespace);
    let stored: Api<Secret> = Api::namespaced(client.clone(), remote);
    let mut data = std::collections::BTreeMap::new();
    for entry in &object.spec.data {
        let key = &entry.remote_ref.key;
        if !is_subdomain(key) {
            return Ok(Err(format!("remoteRef.key {key:?} is not the name of a stored secret; correct it")));
        }
        let secret = stored
            .get_opt(key)
            .await
            .map_err(|source| Error::Read { what: format!("the stored secret {key}"), source })?;
        match build::entry(entry, secret.as_ref(), reader) {
            Ok(value) => data.insert(entry.secret_key.clone(), value),
            Err(reason) => return Ok(Err(reason)),
        };
    }
    write(build::secret(object, data), namespace, client).await
}

/// Writes a Secret, unless one of that name is somebody else's.
async fn write(secret: Secret, namespace: &str, client: &Client) -> Result<Result<(), String>, Error> {
    let name = secret.name_any();
    if !is_subdomain(&name) {
        return Ok(Err(format!("target.name {name:?} is not a name that a Secret can have; correct it")));
    }
    let failed = |source| Error::Apply { namespace: namespace.to_owned(), name: name.clone(), source };
    let secrets: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let params = PostParams { field_manager: Some(MANAGER.to_owned()), ..PostParams::default() };
    match secrets.get_opt(&name).await.map_err(failed)? {
        None => secrets.create(&params, &secret).await.map_err(failed)?,
        Some(existing) if existing.metadata.owner_references == secret.metadata.owner_references => {
            let mut secret = secret;
            // Whoever came between is looked at first.
            secret.metadata.resource_version = existing.metadata.resource_version;
            secrets.replace(&name, &params, &secret).await.map_err(failed)?
        }
        Some(_) => {
            return Ok(Err(format!(
                "the Secret {name:?} exists and is another's; choose another target.name"
            )));
        }
    };
    Ok(Ok(()))
}
