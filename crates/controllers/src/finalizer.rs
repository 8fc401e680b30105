//! Adding and removing finalizers.

use std::fmt::Debug;

use kube::Api;
use kube::api::{Patch, PatchParams};
use serde::de::DeserializeOwned;
use serde_json::json;

/// A change of an object's finalizers failed.
#[derive(Debug, thiserror::Error)]
#[error("failed to {verb} finalizer {name}")]
pub(crate) struct FinalizerError {
    verb: &'static str,
    name: &'static str,
    #[source]
    source: Box<kube::Error>,
}

/// Whether an object has a finalizer.
pub(crate) fn has<K: kube::Resource>(object: &K, name: &str) -> bool {
    object.meta().finalizers.iter().flatten().any(|finalizer| finalizer == name)
}

/// Adds a finalizer and returns the object as it then is.
pub(crate) async fn add<K>(api: &Api<K>, object: &K, name: &'static str) -> Result<K, FinalizerError>
where
    K: kube::Resource + Clone + Debug + DeserializeOwned,
{
    let finalizers = object.meta().finalizers.iter().flatten().map(String::as_str).chain([name]).collect();
    write(api, object, finalizers).await.map_err(|source| FinalizerError {
        verb: "add",
        name,
        source: Box::new(source),
    })
}

/// Removes a finalizer. That the object is gone by then is no error.
pub(crate) async fn remove<K>(api: &Api<K>, object: &K, name: &'static str) -> Result<(), FinalizerError>
where
    K: kube::Resource + Clone + Debug + DeserializeOwned,
{
    let finalizers =
        object.meta().finalizers.iter().flatten().map(String::as_str).filter(|f| *f != name).collect();
    match write(api, object, finalizers).await {
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        Err(source) => Err(FinalizerError { verb: "remove", name, source: Box::new(source) }),
        Ok(_) => Ok(()),
    }
}

/// Writes the list as a whole; the resourceVersion makes sure that nobody changed it meanwhile.
async fn write<K>(api: &Api<K>, object: &K, finalizers: Vec<&str>) -> kube::Result<K>
where
    K: kube::Resource + Clone + Debug + DeserializeOwned,
{
    let meta = object.meta();
    let patch = json!({"metadata": {"resourceVersion": meta.resource_version, "finalizers": finalizers}});
    api.patch(meta.name.as_deref().unwrap_or_default(), &PatchParams::default(), &Patch::Merge(patch)).await
}
