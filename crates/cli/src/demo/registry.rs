//! A client for the platform's registry: just what pushing an image takes.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use buildplane_platform::{GitCredentials, Layout, state};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, LOCATION};
use http::{Method, Request, Response, StatusCode};
use k8s_openapi::api::core::v1::Secret;
use kube::client::Body;
use kube::config::AuthInfo;
use kube::{Api, Client, Config};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::connection::{Connection, contexts};
use crate::exit::ExitStatus;
use crate::failure::{Explain as _, Failure, Result};

/// Where the platform's secret store keeps the registry's login.
const SECRETS_NAMESPACE: &str = "openchoreo-secrets";
const SECRET: &str = "registry-push-secret";

pub(crate) struct Registry {
    client: Client,
    /// `127.0.0.1:<port>`.
    pub(super) address: String,
    /// The registry's logins, as container tools read them.
    pub(super) auth_file: Vec<u8>,
    /// The CA of its certificate, PEM.
    pub(super) ca: String,
}

impl Registry {
    /// Finds the registry and its login where the platform keeps them.
    pub(crate) async fn connect(connection: &Connection) -> Result<Self> {
        let no_platform = || {
            Failure::new(format!("{} is not the local platform of this user", connection.server()))
                .hint("`buildplane up` starts one")
                .exit(ExitStatus::Unreachable)
        };
        let layout = Layout::new(connection.local_data_dir().ok_or_else(no_platform)?);
        let running = state::read(&layout).ok_or_else(no_platform)?;
        let address = running.endpoints.registry.to_string();
        let ca = GitCredentials::read(&layout).context("cannot read the services' CA")?.ca;
        let secrets: Api<Secret> =
            Api::namespaced(connection.other_context(contexts::BUILD_PLANE).await?, SECRETS_NAMESPACE);
        let secret = secrets.get(SECRET).await.context("cannot read the registry's login")?;
        let auth_file = secret.data.and_then(|mut data| data.remove(".dockerconfigjson"));
        let auth_file = auth_file.ok_or_else(|| Failure::new("the registry's login is empty"))?.0;
        let client = client(&address, &ca, &auth_file)?;
        Ok(Self { client, address, auth_file, ca })
    }

    /// Uploads a blob and returns its digest.
    pub(super) async fn push_blob(&self, repository: &str, blob: Vec<u8>) -> Result<String> {
        let digest = digest(&blob);
        let begin = Request::post(format!("/v2/{repository}/blobs/uploads/")).header(CONTENT_LENGTH, 0);
        let accepted = self.send(begin.body(Body::empty())?, StatusCode::ACCEPTED).await?;
        let location = accepted.headers().get(LOCATION).and_then(|location| location.to_str().ok());
        let location: http::Uri =
            location.ok_or_else(|| Failure::new("the registry names no place for the upload"))?.parse()?;
        let path = location.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
        let separator = if path.contains('?') { '&' } else { '?' };
        let put = Request::put(format!("{path}{separator}digest={digest}"))
            .header(CONTENT_TYPE, "application/octet-stream")
            .header(CONTENT_LENGTH, blob.len());
        self.send(put.body(Body::from(blob))?, StatusCode::CREATED).await?;
        Ok(digest)
    }

    pub(super) async fn push_manifest(&self, repository: &str, tag: &str, manifest: &Value) -> Result<()> {
        let text = serde_json::to_vec(manifest)?;
        let put = Request::builder()
            .method(Method::PUT)
            .uri(format!("/v2/{repository}/manifests/{tag}"))
            .header(CONTENT_TYPE, "application/vnd.oci.image.manifest.v1+json");
        self.send(put.body(Body::from(text))?, StatusCode::CREATED).await?;
        Ok(())
    }

    async fn send(&self, request: Request<Body>, expected: StatusCode) -> Result<Response<Body>> {
        let what = format!("{} {}", request.method(), request.uri().path());
        let response = self.client.send(request).await.context("the registry does not answer")?;
        if response.status() != expected {
            return Err(Failure::new(format!("the registry answered {} to {what}", response.status())));
        }
        Ok(response)
    }
}

/// kube's client speaks HTTPS with a private CA and a password, which is all that is needed here.
fn client(address: &str, ca: &str, auth_file: &[u8]) -> Result<Client> {
    let mut config = Config::new(format!("https://{address}").parse()?);
    let anchors: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(ca.as_bytes()).collect();
    let anchors = anchors.context("cannot read the services' CA")?;
    config.root_cert = Some(anchors.iter().map(|anchor| anchor.to_vec()).collect());
    config.default_retry = false;
    let logins: Value = serde_json::from_slice(auth_file).context("cannot read the registry's login")?;
    let login =
        logins.pointer("/auths").and_then(|auths| auths.get(address)).and_then(|login| login.get("auth"));
    let login = login.and_then(Value::as_str).and_then(|login| STANDARD.decode(login).ok());
    let login = login.and_then(|login| String::from_utf8(login).ok());
    let (username, password) = login
        .as_deref()
        .and_then(|login| login.split_once(':'))
        .ok_or_else(|| Failure::new(format!("there is no login for {address}")))?;
    let auth: AuthInfo =
        serde_json::from_value(serde_json::json!({"username": username, "password": password}))?;
    config.auth_info = auth;
    Client::try_from(config).context("cannot prepare a client for the registry")
}

/// `sha256:…` of a blob.
pub(super) fn digest(blob: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut text = String::from("sha256:");
    for byte in Sha256::digest(blob) {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_hexadecimal() {
        assert_eq!(digest(b""), "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    }
}
