//! Fetches what a plane object points at on the control plane.

use buildplane_api::meta::DEFAULT_PLANE;
use buildplane_api::names::PlaneKind;
use buildplane_api::plane::{ObservabilityPlaneRefKind, ObservabilityTarget, SecretKeyReference};
use buildplane_api::{ClusterObservabilityPlane, ObservabilityPlane};
use k8s_openapi::api::core::v1::Secret;
use kube::core::PartialObjectMeta;
use kube::{Api, Client};

use super::access::PlaneApi;
use super::kind::Context;
use crate::lookup::find;

/// What a plane object points at.
#[derive(Debug)]
pub(super) struct Dereferenced {
    pub(super) client_ca: ClientCa,
    pub(super) observability: Observability,
}

/// Where the text of the CA came from, or why there is none.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ClientCa {
    Inline { text: String, secret_ignored: bool },
    FromSecret { text: Vec<u8> },
    Absent,
    NamespaceMissing,
    NamespaceDenied { namespace: String },
    SecretNotFound { namespace: String, name: String },
    KeyNotFound { namespace: String, name: String, key: String },
}

/// The observability plane that an object refers to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Observability {
    /// The kind does not refer to one.
    NotApplicable,
    /// None is named, and there is no default.
    NotConfigured,
    Found {
        kind: &'static str,
        name: String,
    },
    Missing {
        kind: &'static str,
        namespace: Option<String>,
        name: String,
    },
}

/// A lookup on the control plane failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DereferenceError {
    #[error("failed to read Secret {namespace}/{name}")]
    ReadSecret {
        namespace: String,
        name: String,
        #[source]
        source: Box<kube::Error>,
    },
    #[error("failed to look up observability plane {name}")]
    ReadObservability {
        name: String,
        #[source]
        source: Box<kube::Error>,
    },
}

pub(super) async fn dereference<P: PlaneApi>(
    object: &P,
    context: &Context,
) -> Result<Dereferenced, DereferenceError> {
    let namespace = object.meta().namespace.as_deref();
    let client_ca = object.client_ca();
    let inline = client_ca.value.as_deref().filter(|value| !value.is_empty());
    let client_ca = match (inline, &client_ca.secret_ref) {
        (Some(text), secret) => ClientCa::Inline { text: text.to_owned(), secret_ignored: secret.is_some() },
        (None, Some(secret)) => from_secret(secret, namespace, context).await?,
        (None, None) => ClientCa::Absent,
    };
    let observability = observability(object, &context.client).await?;
    Ok(Dereferenced { client_ca, observability })
}

async fn from_secret(
    secret: &SecretKeyReference,
    own_namespace: Option<&str>,
    context: &Context,
) -> Result<ClientCa, DereferenceError> {
    let Some(namespace) =
        secret.namespace.as_deref().filter(|namespace| !namespace.is_empty()).or(own_namespace)
    else {
        return Ok(ClientCa::NamespaceMissing);
    };
    let (namespace, name, key) = (namespace.to_owned(), secret.name.clone(), secret.key.clone());
    if !context.may_read_secrets_of(&namespace) {
        return Ok(ClientCa::NamespaceDenied { namespace });
    }
    match find(&Api::<Secret>::namespaced(context.client.clone(), &namespace), &name).await {
        Ok(None) => Ok(ClientCa::SecretNotFound { namespace, name }),
        Ok(Some(found)) => match found.data.and_then(|mut data| data.remove(&key)) {
            Some(text) => Ok(ClientCa::FromSecret { text: text.0 }),
            None => Ok(ClientCa::KeyNotFound { namespace, name, key }),
        },
        Err(kube::Error::Api(status)) if status.code == 403 => Ok(ClientCa::NamespaceDenied { namespace }),
        Err(source) => Err(DereferenceError::ReadSecret { namespace, name, source: Box::new(source) }),
    }
}

async fn observability<P: PlaneApi>(object: &P, client: &Client) -> Result<Observability, DereferenceError> {
    if !P::refers_to_observability() {
        return Ok(Observability::NotApplicable);
    }
    let namespace = object.meta().namespace.as_deref();
    let named = object.observability_plane();
    let target = named.unwrap_or(ObservabilityTarget {
        kind: if P::KIND.is_cluster_scoped() {
            ObservabilityPlaneRefKind::ClusterObservabilityPlane
        } else {
            ObservabilityPlaneRefKind::ObservabilityPlane
        },
        name: DEFAULT_PLANE,
    });
    let name = target.name.to_owned();
    let (kind, namespace, found) = match target.kind {
        ObservabilityPlaneRefKind::ObservabilityPlane => {
            let api = ObservabilityPlane::api(client.clone(), namespace);
            (PlaneKind::ObservabilityPlane, namespace, exists(api.get_metadata_opt(&name).await))
        }
        ObservabilityPlaneRefKind::ClusterObservabilityPlane => {
            let api = ClusterObservabilityPlane::api(client.clone(), None);
            (PlaneKind::ClusterObservabilityPlane, None, exists(api.get_metadata_opt(&name).await))
        }
    };
    let kind = kind.kind();
    match found {
        Ok(true) => Ok(Observability::Found { kind, name }),
        Ok(false) if named.is_none() => Ok(Observability::NotConfigured),
        Ok(false) => Ok(Observability::Missing { kind, namespace: namespace.map(ToOwned::to_owned), name }),
        Err(source) => Err(DereferenceError::ReadObservability { name, source: Box::new(source) }),
    }
}

/// Whether a lookup found an object that is there to stay.
fn exists<K>(found: kube::Result<Option<PartialObjectMeta<K>>>) -> kube::Result<bool> {
    Ok(found?.is_some_and(|object| object.metadata.deletion_timestamp.is_none()))
}
