//! The API that a test runs against: servers in this process, or, for `make conformance`, the cluster of `KUBECONFIG`.
//!
//! Tests call their namespace `org` and that of its builds `openchoreo-ci-org`. On a cluster that is somebody's, both get
//! a random suffix; [`resolved`] and [`named`] put the real names in, and [`Cleanup`] takes everything away again.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::response::IntoResponse as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use buildplane_apiserver::Server;
use buildplane_store::Store;
use buildplane_tls::{AnchorStore, Authority, LeafRequest, ServerIdentity};
use http::StatusCode;
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, DeleteParams, DynamicObject, ListParams, ObjectMeta, Patch, PatchParams, PostParams};
use kube::config::AuthInfo;
use kube::core::ApiResource;
use kube::{Client, ResourceExt as _};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::world::eventually;

/// What tests call their namespace.
const ALIAS: &str = "org";
/// How long a cluster may take to remove a namespace.
const REMOVAL: Duration = Duration::from_mins(2);
const HOUR: Duration = Duration::from_hours(1);

static NAME: Mutex<Option<String>> = Mutex::new(None);

/// Whether the tests run against the cluster that `KUBECONFIG` names. The second variable keeps `make test` off the
/// cluster of whoever has the first one set all day.
pub(crate) fn is_somebodys() -> bool {
    let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    set("BUILDPLANE_CONFORMANCE") && set("KUBECONFIG")
}

/// The namespace of this test.
pub(crate) fn org() -> String {
    let name = NAME.lock().unwrap_or_else(PoisonError::into_inner);
    name.clone().unwrap_or_else(|| ALIAS.to_owned())
}

/// Where the builds of this test run.
pub(crate) fn ci() -> String {
    format!("openchoreo-ci-{}", org())
}

/// A `<planeType>/<planeID>/<namespace>/<name>` with the real namespace.
pub(crate) fn named(key: &str) -> String {
    key.replace(&format!("/{ALIAS}/"), &format!("/{}/", org()))
}

/// A manifest with the real namespace wherever a field `namespace` says `org`.
pub(crate) fn resolved(mut manifest: Value) -> Value {
    fn walk(value: &mut Value, org: &str) {
        match value {
            Value::Object(map) => {
                for (key, value) in map {
                    if key == "namespace" && value == ALIAS {
                        *value = org.into();
                    } else {
                        walk(value, org);
                    }
                }
            }
            Value::Array(list) => list.iter_mut().for_each(|value| walk(value, org)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    walk(&mut manifest, &org());
    manifest
}

/// One Kubernetes API.
pub(crate) struct Cluster {
    pub(crate) client: Client,
    /// The same, for requests that come by way of a gateway.
    pub(crate) router: Router,
    /// How an agent reaches it.
    pub(crate) config: kube::Config,
    _directory: Option<TempDir>,
}

impl Cluster {
    /// The cluster of `KUBECONFIG`, which must not be in use; a new name for this test's namespace.
    pub(crate) async fn somebodys() -> Self {
        let config = kube::Config::infer().await.expect("KUBECONFIG names a cluster");
        let client = Client::try_from(config.clone()).expect("a client");
        let suffix: String = uuid::Uuid::new_v4().simple().to_string().chars().take(6).collect();
        *NAME.lock().unwrap_or_else(PoisonError::into_inner) = Some(format!("conformance-{suffix}"));
        Self { router: through(client.clone()), client, config, _directory: None }
    }

    /// A server in this process, reached through a socket as any other.
    pub(crate) async fn own(shutdown: &CancellationToken) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let store = Store::open(directory.path(), buildplane_store::Config::default()).expect("a store");
        let authority = Authority::generate("conformance", HOUR).expect("an authority");
        let anchors = AnchorStore::new(authority.anchors().expect("anchors"));
        let config = buildplane_apiserver::Config { client_anchors: Some(anchors), ..Default::default() };
        let server = Server::new(store, config).await.expect("a server");
        let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let listener = TcpListener::bind((loopback, 0)).await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let certified = authority.issue(LeafRequest::server(&["localhost"], &[loopback], HOUR));
        let identity = ServerIdentity::new(&certified.expect("a certificate"));
        let stop = shutdown.clone();
        tokio::spawn(async move { server.run(listener, &identity, stop).await });
        let config = client_config(&format!("https://{address}"), &authority, &authority, "system:masters");
        let client = Client::try_from(config.clone()).expect("a client");
        Self { router: through(client.clone()), client, config, _directory: Some(directory) }
    }

    /// Installs kinds, and waits until they are served.
    pub(crate) async fn install(&self, crds: Vec<CustomResourceDefinition>) {
        let api = Api::<CustomResourceDefinition>::all(self.client.clone());
        let parameters = PatchParams::apply("buildplane-conformance").force();
        for crd in crds {
            let name = crd.name_any();
            api.patch(&name, &parameters, &Patch::Apply(&crd))
                .await
                .unwrap_or_else(|error| panic!("CRD {name}: {error}"));
            eventually(&format!("CRD {name} is established"), async || {
                let crd = api.get(&name).await.expect("the CRD");
                let conditions = crd.status.and_then(|status| status.conditions).unwrap_or_default();
                conditions.iter().any(|c| c.type_ == "Established" && c.status == "True").then_some(())
            })
            .await;
        }
    }

    /// Refuses a cluster where planes are in use: the controllers of the tests would take them for theirs.
    pub(crate) async fn refuse_one_in_use(&self) {
        for kind in resources(&buildplane_api::crds()) {
            let found = Api::<DynamicObject>::all_with(self.client.clone(), &kind)
                .list(&ListParams::default())
                .await
                .unwrap_or_else(|error| panic!("list {}: {error}", kind.plural));
            let names: Vec<String> = found
                .iter()
                .map(|object| format!("{:?}/{}", object.namespace(), object.name_any()))
                .collect();
            assert!(
                names.is_empty(),
                "this cluster is in use: it has the {} {names:?}, which the controllers of these tests would take for theirs; \
                 give a cluster without any",
                kind.plural
            );
        }
    }

    pub(crate) async fn create_namespace(&self, name: &str) {
        let metadata = ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() };
        let namespace = Namespace { metadata, ..Namespace::default() };
        let api = Api::<Namespace>::all(self.client.clone());
        api.create(&PostParams::default(), &namespace)
            .await
            .unwrap_or_else(|e| panic!("namespace {name}: {e}"));
    }
}

/// How somebody of a group reaches a server.
pub(crate) fn client_config(url: &str, server: &Authority, clients: &Authority, group: &str) -> kube::Config {
    let request = LeafRequest { organizations: vec![group.to_owned()], ..LeafRequest::client("test", HOUR) };
    let certified = clients.issue(request).expect("a certificate");
    let body: String = server.cert_pem().lines().filter(|line| !line.starts_with("-----")).collect();
    let mut config = kube::Config::new(url.parse().expect("an address"));
    config.root_cert = Some(vec![STANDARD.decode(body).expect("PEM")]);
    config.auth_info = AuthInfo {
        client_certificate_data: Some(STANDARD.encode(certified.cert_pem())),
        client_key_data: Some(STANDARD.encode(certified.key_pem()).into()),
        ..AuthInfo::default()
    };
    config
}

/// A service that asks the cluster, as an agent would.
fn through(client: Client) -> Router {
    Router::new().fallback(move |request: Request| {
        let client = client.clone();
        async move {
            let (mut parts, body) = request.into_parts();
            parts.headers.remove(http::header::HOST);
            let Ok(body) = axum::body::to_bytes(body, 8 << 20).await else {
                return StatusCode::PAYLOAD_TOO_LARGE.into_response();
            };
            let request = http::Request::from_parts(parts, kube::client::Body::from(body.to_vec()));
            match client.send(request).await {
                Ok(response) => response.map(axum::body::Body::new),
                Err(error) => (StatusCode::BAD_GATEWAY, error.to_string()).into_response(),
            }
        }
    })
}

fn resources(crds: &[CustomResourceDefinition]) -> Vec<ApiResource> {
    let resource = |crd: &CustomResourceDefinition| {
        let version = crd.spec.versions.first().map(|version| version.name.clone()).unwrap_or_default();
        ApiResource {
            api_version: format!("{}/{version}", crd.spec.group),
            group: crd.spec.group.clone(),
            version,
            kind: crd.spec.names.kind.clone(),
            plural: crd.spec.names.plural.clone(),
        }
    };
    crds.iter().map(resource).collect()
}

/// Takes away what a test left on somebody's cluster.
pub(crate) struct Cleanup {
    client: Client,
    namespaces: Vec<String>,
    cluster_scoped: Arc<Mutex<Vec<(ApiResource, String)>>>,
}

impl Cleanup {
    pub(crate) fn new(client: Client, namespaces: Vec<String>) -> Self {
        Self { client, namespaces, cluster_scoped: Arc::default() }
    }

    /// A cluster-scoped object that the test made.
    pub(crate) fn remember(&self, kind: ApiResource, name: &str) {
        self.cluster_scoped.lock().unwrap_or_else(PoisonError::into_inner).push((kind, name.to_owned()));
    }

    async fn run(&self) {
        let kinds: Vec<ApiResource> =
            [resources(&buildplane_api::crds()), resources(&buildplane_argo::crds())].concat();
        let namespaces = Api::<Namespace>::all(self.client.clone());
        loop {
            let remembered = self.cluster_scoped.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let mut left = 0;
            for (kind, name) in remembered {
                left += usize::from(free(&Api::all_with(self.client.clone(), &kind), &name).await);
            }
            for name in &self.namespaces {
                if namespaces.get_opt(name).await.ok().flatten().is_none() {
                    continue;
                }
                left += 1;
                drop(namespaces.delete(name, &DeleteParams::default()).await);
                // The controllers are gone, and with them who would have taken the finalizers off.
                for kind in &kinds {
                    let api = Api::<DynamicObject>::namespaced_with(self.client.clone(), name, kind);
                    for object in api.list(&ListParams::default()).await.into_iter().flatten() {
                        free(&api, &object.name_any()).await;
                    }
                }
            }
            if left == 0 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

/// Deletes an object whatever finalizers it has; whether it is still there.
async fn free(api: &Api<DynamicObject>, name: &str) -> bool {
    let none = Patch::Merge(json!({"metadata": {"finalizers": null}}));
    drop(api.delete(name, &DeleteParams::default()).await);
    api.patch(name, &PatchParams::default(), &none).await.is_ok()
}

impl Drop for Cleanup {
    fn drop(&mut self) {
        let cleaning = tokio::time::timeout(REMOVAL, self.run());
        let cleaned = tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(cleaning));
        let cleaned = cleaned.is_ok() || std::thread::panicking();
        assert!(cleaned, "the namespaces {:?} are still there after {REMOVAL:?}", self.namespaces);
    }
}
