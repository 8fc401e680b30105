//! Requests to a build plane for objects whose kinds are known only by path.

use std::time::Duration;

use http::Request;
use kube::Client;
use serde_json::{Value, json};

use super::build::collection;
use buildplane_admission::SERVICE_ACCOUNT;
use buildplane_admission::resource::plural_of;
use buildplane_api::meta::annotation;
use buildplane_api::run::ResourceReference;

/// A build plane's API, with a limit on every request.
#[derive(Clone)]
pub(super) struct Remote {
    client: Client,
    patience: Duration,
}

impl Remote {
    pub(super) fn new(client: Client, patience: Duration) -> Self {
        Self { client, patience }
    }

    async fn request(&self, request: Result<Request<Vec<u8>>, http::Error>) -> kube::Result<Value> {
        let request = request.map_err(kube::Error::HttpError)?;
        match tokio::time::timeout(self.patience, self.client.request::<Value>(request)).await {
            Ok(answer) => answer,
            Err(elapsed) => Err(kube::Error::Service(elapsed.into())),
        }
    }

    /// Creates an object. An answer of 409 says that it is there already.
    pub(super) async fn create(&self, path: &str, object: &Value) -> kube::Result<Value> {
        let body = serde_json::to_vec(object).map_err(kube::Error::SerdeError)?;
        self.request(Request::post(path).header("content-type", "application/json").body(body)).await
    }

    /// Reads an object; none if the plane's API says that there is none of that name.
    pub(super) async fn read(&self, collection: &str, name: &str) -> kube::Result<Option<Value>> {
        match self.request(Request::get(format!("{collection}/{name}")).body(Vec::new())).await {
            Ok(object) => Ok(Some(object)),
            Err(error) if is_absent(&error, name) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// As [`read`](Self::read); where the plane does not know the kind at all, there is none of it either.
    pub(super) async fn find(&self, collection: &str, name: &str) -> kube::Result<Option<Value>> {
        match self.read(collection, name).await {
            Err(error) if is_not_found(&error) && self.speaks(collection).await => Ok(None),
            found => found,
        }
    }

    /// Whether it is the plane's own API that answers, and not somebody on the way there.
    async fn speaks(&self, collection: &str) -> bool {
        let mut parts = collection.split('/').skip_while(|part| *part != "namespaces");
        let Some(namespace) = parts.nth(1) else { return false };
        self.read(&super::build::collection("v1", namespace, "serviceaccounts"), SERVICE_ACCOUNT)
            .await
            .is_ok()
    }

    /// Changes an object.
    pub(super) async fn merge(&self, collection: &str, name: &str, patch: &Value) -> kube::Result<Value> {
        let body = serde_json::to_vec(patch).map_err(kube::Error::SerdeError)?;
        let uri = format!("{collection}/{name}");
        self.request(Request::patch(uri).header("content-type", "application/merge-patch+json").body(body))
            .await
    }

    /// Deletes an object if it is the run's; true if there is nothing of the run left under that name.
    pub(super) async fn delete_owned(
        &self,
        reference: &ResourceReference,
        run_uid: &str,
    ) -> kube::Result<bool> {
        let Some(collection) = collection_of(reference) else { return Ok(true) };
        let Some(object) = self.find(&collection, &reference.name).await? else { return Ok(true) };
        if owner_uid(&object) != Some(run_uid) {
            return Ok(true);
        }
        let body = json!({
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "propagationPolicy": "Background",
            "preconditions": {"uid": object.pointer("/metadata/uid")},
        });
        let body = serde_json::to_vec(&body).map_err(kube::Error::SerdeError)?;
        let path = format!("{collection}/{}", reference.name);
        match self.request(Request::delete(path).header("content-type", "application/json").body(body)).await
        {
            Ok(_) => Ok(true),
            Err(error) if is_absent(&error, &reference.name) => Ok(true),
            // Another object came in its place.
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(false),
            Err(error) => Err(error),
        }
    }
}

fn is_not_found(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 404)
}

/// Whether an answer says that there is no object of that name. A gateway that does not know the plane says 404, too,
/// but not about the object.
fn is_absent(error: &kube::Error, name: &str) -> bool {
    match error {
        kube::Error::Api(status) => {
            status.code == 404 && status.details.as_ref().is_some_and(|details| details.name == name)
        }
        _ => false,
    }
}

/// Whether an answer says that an object of that name exists.
pub(super) fn already_exists(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 409 && status.reason == "AlreadyExists")
}

/// The path under which an object that a run noted is found.
pub(super) fn collection_of(reference: &ResourceReference) -> Option<String> {
    let plural = match (reference.api_version.as_str(), reference.kind.as_str()) {
        ("argoproj.io/v1alpha1", "Workflow") => "workflows",
        (api_version, kind) => plural_of(api_version, kind)?,
    };
    Some(collection(&reference.api_version, reference.namespace.as_deref()?, plural))
}

/// The uid of the run that an object belongs to.
pub(super) fn owner_uid(object: &Value) -> Option<&str> {
    object.get("metadata")?.get("annotations")?.get(annotation::WORKFLOW_RUN_UID)?.as_str()
}
