//! The kubeconfig that `up` writes: three contexts for the person who runs the platform.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::layout::write_private;
use crate::{Endpoints, Error, Layout};

/// A client identity and the CA of the server it talks to, all PEM.
pub(crate) struct User<'a> {
    pub(crate) certificate: &'a str,
    pub(crate) key: &'a str,
}

/// What the file is made of.
pub(crate) struct Contents<'a> {
    pub(crate) endpoints: &'a Endpoints,
    pub(crate) control_plane_ca: &'a str,
    pub(crate) build_plane_ca: &'a str,
    pub(crate) control_plane_user: User<'a>,
    pub(crate) build_plane_user: User<'a>,
}

/// Writes the file, mode 0600.
pub(crate) fn write(layout: &Layout, contents: &Contents<'_>) -> Result<(), Error> {
    let text = serde_saphyr::to_string(&document(contents)).map_err(|source| {
        Error::path("write", layout.kubeconfig(), std::io::Error::other(source.to_string()))
    })?;
    write_private(&layout.kubeconfig(), text.as_bytes())
}

fn document(contents: &Contents<'_>) -> Value {
    let endpoints = contents.endpoints;
    let cluster = |name: &str, server: String, ca: &str| json!({ "name": name, "cluster": { "server": server, "certificate-authority-data": STANDARD.encode(ca) } });
    let user = |name: &str, user: &User<'_>| {
        json!({ "name": name, "user": {
            "client-certificate-data": STANDARD.encode(user.certificate),
            "client-key-data": STANDARD.encode(user.key),
        } })
    };
    let context = |name: &str, cluster: &str, user: &str| json!({ "name": name, "context": { "cluster": cluster, "user": user, "namespace": "default" } });
    let through_gateway =
        format!("https://{}/api/proxy/buildplane/default/_cluster/default/k8s", endpoints.gateway);
    json!({
        "apiVersion": "v1",
        "kind": "Config",
        "preferences": {},
        "clusters": [
            cluster("control-plane", format!("https://{}", endpoints.control_plane), contents.control_plane_ca),
            cluster("build-plane", format!("https://{}", endpoints.build_plane), contents.build_plane_ca),
            cluster("via-gateway", through_gateway, contents.control_plane_ca),
        ],
        "users": [
            user("control-plane-admin", &contents.control_plane_user),
            user("build-plane-admin", &contents.build_plane_user),
        ],
        "contexts": [
            context("control-plane", "control-plane", "control-plane-admin"),
            context("build-plane", "build-plane", "build-plane-admin"),
            context("via-gateway", "via-gateway", "control-plane-admin"),
        ],
        "current-context": "control-plane",
    })
}
