//! The objects that each API starts with.
//!
//! Written by server-side apply at every start under one field manager, so that an upgrade brings its
//! own versions and a person's additions stay.

use std::time::Duration;

use buildplane_api::ClusterBuildPlane;
use buildplane_api::meta::DEFAULT_PLANE;
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams};
use kube::{Client, ResourceExt};
use serde_json::{Value, json};

use crate::credentials::Login;
use crate::secret_sync::access::PER_NAMESPACE;
use crate::{Endpoints, Error};

/// Where the registry's login lies among the stored secrets.
const REGISTRY_SECRET: &str = "registry-push-secret";
/// Where what the builds' logins at the git server are made of lies among them.
pub(crate) const GIT_SECRET: &str = "platform-git";
const SECRETS_NAMESPACE: &str = "openchoreo-secrets";
const MANAGER: &str = "buildplane-up";
/// Objects applied at once.
const PARALLEL: usize = 16;
const ESTABLISH: Duration = Duration::from_secs(10);

const CONTROL_PLANE: &str = include_str!("../manifests/control-plane.yaml");
const BUILD_PLANE: &str = include_str!("../manifests/build-plane.yaml");

/// The API that objects are written to, and its name in errors.
#[derive(Clone)]
pub(crate) struct Target {
    pub(crate) api: &'static str,
    pub(crate) client: Client,
}

/// The control plane's kinds and objects.
pub(crate) async fn control_plane(target: &Target, gateway_ca: &str) -> Result<(), Error> {
    target.define(buildplane_api::crds()).await?;
    target.apply(documents(CONTROL_PLANE)?).await?;
    let mut objects = documents(include_str!("../../../charts/workflows/docker.yaml"))?;
    for object in &mut objects {
        object["metadata"]["namespace"] = json!("default");
    }
    objects.push(config_map("openchoreo-control-plane", gateway_ca));
    target.apply(objects).await?;
    forget_readiness(target).await
}

/// Takes back what a former life of the platform said about its own plane: no agent is connected yet, and who waits for
/// the plane must not believe that one is.
async fn forget_readiness(target: &Target) -> Result<(), Error> {
    let planes: Api<ClusterBuildPlane> = Api::all(target.client.clone());
    let none = json!({ "status": { "conditions": null } });
    match planes.patch_status(DEFAULT_PLANE, &PatchParams::default(), &Patch::Merge(none)).await {
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        patched => patched.map(drop).map_err(|source| Error::Seed {
            object: format!("the status of ClusterBuildPlane {DEFAULT_PLANE}"),
            api: target.api,
            source: Box::new(source),
        }),
    }
}

/// The build plane's kinds and objects.
pub(crate) async fn build_plane(target: &Target, gateway_ca: &str) -> Result<(), Error> {
    let mut kinds = buildplane_argo::crds();
    kinds.extend(crate::secret_sync::crds());
    target.define(kinds).await?;
    target.apply(documents(BUILD_PLANE)?).await?;
    let mut objects = Vec::new();
    for text in [
        include_str!("../../../charts/workflows/checkout-source.yaml"),
        include_str!("../../../charts/workflows/build-docker.yaml"),
        include_str!("../../../charts/workflows/publish-image.yaml"),
        include_str!("../../../charts/workflows/generate-workload.yaml"),
    ] {
        objects.extend(documents(text)?);
    }
    objects.push(config_map("openchoreo-build-plane", gateway_ca));
    target.apply(objects).await
}

/// The logins that builds fetch through ExternalSecrets.
pub(crate) async fn stored_secrets(
    target: &Target,
    endpoints: &Endpoints,
    registry: &Login,
    git: &Login,
) -> Result<(), Error> {
    let docker = json!({ "auths": { endpoints.registry.to_string(): registry.docker() } });
    let secret = |name: &str, kind: &str, data: Value| {
        json!({
            "apiVersion": "v1", "kind": "Secret", "type": kind,
            "metadata": { "name": name, "namespace": SECRETS_NAMESPACE },
            "stringData": data,
        })
    };
    let mut git_login = secret(
        GIT_SECRET,
        "kubernetes.io/basic-auth",
        json!({ "username": git.username, "password": git.password }),
    );
    let mut registry_login = secret(
        REGISTRY_SECRET,
        "kubernetes.io/dockerconfigjson",
        json!({ ".dockerconfigjson": docker.to_string() }),
    );
    for login in [&mut git_login, &mut registry_login] {
        login["metadata"]["annotations"] = json!({ PER_NAMESPACE: "true" });
    }
    target.apply(vec![registry_login, git_login]).await
}

/// The plane of this machine, for every namespace.
pub(crate) async fn default_plane(target: &Target, agent_ca: &str) -> Result<(), Error> {
    target
        .apply(vec![json!({
            "apiVersion": "openchoreo.dev/v1alpha1",
            "kind": "ClusterBuildPlane",
            "metadata": {
                "name": DEFAULT_PLANE,
                "annotations": {
                    "openchoreo.dev/display-name": "This machine",
                    "openchoreo.dev/description": "The build plane that `buildplane up` runs beside the control plane",
                },
            },
            "spec": {
                "planeID": "default",
                "clusterAgent": { "clientCA": { "value": agent_ca } },
                "secretStoreRef": { "name": "default" },
            },
        })])
        .await
}

fn config_map(namespace: &str, ca: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": { "name": "cluster-gateway-ca", "namespace": namespace },
        "data": { "ca.crt": ca },
    })
}

fn documents(text: &str) -> Result<Vec<Value>, Error> {
    let documents: Vec<Value> = serde_saphyr::from_multiple(text).map_err(|source| Error::Seed {
        object: "a manifest of the platform".to_owned(),
        api: "embedded",
        source: source.to_string().into(),
    })?;
    Ok(documents.into_iter().filter(Value::is_object).collect())
}

impl Target {
    /// Applies definitions and waits until their kinds are served.
    async fn define(&self, definitions: Vec<CustomResourceDefinition>) -> Result<(), Error> {
        let names: Vec<String> = definitions.iter().map(ResourceExt::name_any).collect();
        let objects = definitions.iter().filter_map(|crd| serde_json::to_value(crd).ok()).collect();
        self.apply(objects).await?;
        let crds: Api<CustomResourceDefinition> = Api::all(self.client.clone());
        for name in names {
            let established = kube::runtime::conditions::is_crd_established();
            let served = kube::runtime::wait::await_condition(crds.clone(), &name, established);
            let failed = |source: Box<dyn std::error::Error + Send + Sync>| Error::Seed {
                object: format!("CustomResourceDefinition {name}"),
                api: self.api,
                source,
            };
            tokio::time::timeout(ESTABLISH, served)
                .await
                .map_err(|_| failed("it was not established in time".into()))?
                .map_err(|source| failed(Box::new(source)))?;
        }
        Ok(())
    }

    /// Applies objects: namespaces first, the rest side by side.
    async fn apply(&self, objects: Vec<Value>) -> Result<(), Error> {
        let (namespaces, rest): (Vec<_>, Vec<_>) =
            objects.into_iter().partition(|object| object["kind"] == "Namespace");
        for batch in [namespaces, rest] {
            stream::iter(batch)
                .map(|object| self.apply_one(object))
                .buffer_unordered(PARALLEL)
                .try_collect::<Vec<()>>()
                .await?;
        }
        Ok(())
    }

    async fn apply_one(&self, object: Value) -> Result<(), Error> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let (kind, version) = (text(&object["kind"]), text(&object["apiVersion"]));
        let name = text(&object["metadata"]["name"]);
        let (group, version) = version.split_once('/').unwrap_or(("", version.as_str()));
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, &kind));
        let api: Api<DynamicObject> = match object["metadata"]["namespace"].as_str() {
            Some(namespace) => Api::namespaced_with(self.client.clone(), namespace, &resource),
            None => Api::all_with(self.client.clone(), &resource),
        };
        api.patch(&name, &PatchParams::apply(MANAGER).force(), &Patch::Apply(&object)).await.map_err(
            |source| Error::Seed {
                object: format!("{kind} {name}"),
                api: self.api,
                source: Box::new(source),
            },
        )?;
        Ok(())
    }
}
