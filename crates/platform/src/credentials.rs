//! The passwords of the platform's own services, made once per data directory.

use std::fs;
use std::io;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rand::TryRngCore as _;
use rand::rngs::OsRng;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::layout::write_private;
use crate::{Endpoints, Error, Layout};

/// A user of one of the services.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Login {
    pub(crate) username: String,
    pub(crate) password: String,
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Login").field("username", &self.username).finish_non_exhaustive()
    }
}

/// Every login of a platform.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Credentials {
    /// Pushes and pulls all images; and what the logins of builds are made of, one for each namespace.
    pub(crate) registry: Login,
    /// What the logins of builds are made of, one for each namespace: each may clone that namespace's repositories.
    pub(crate) git_reader: Login,
    /// Pushes as well: what `buildplane build` uses for a working tree.
    pub(crate) git_writer: Login,
}

/// What a client needs to push to the platform's git server; the file `git-credentials.json`.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GitCredentials {
    /// `https://127.0.0.1:<port>`; repositories are `<url>/<namespace>/<name>.git`, made by the first push.
    pub url: String,
    /// User name for HTTP basic authentication.
    pub username: String,
    /// Its password.
    pub password: String,
    /// The CA of the server's certificate, PEM.
    pub ca: String,
    /// The name that the same server's read-only login has among the build plane's stored secrets.
    pub build_secret: String,
}

impl std::fmt::Debug for GitCredentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GitCredentials").field("url", &self.url).finish_non_exhaustive()
    }
}

impl GitCredentials {
    /// Reads what a running platform wrote.
    pub fn read(layout: &Layout) -> Result<Self, Error> {
        let path = layout.git_credentials();
        let text = fs::read(&path).map_err(|source| Error::path("read", &path, source))?;
        serde_json::from_slice(&text).map_err(|source| Error::path("understand", &path, source.into()))
    }

    pub(crate) fn write(
        layout: &Layout,
        endpoints: &Endpoints,
        login: &Login,
        ca: &str,
    ) -> Result<(), Error> {
        let credentials = Self {
            url: format!("https://{}", endpoints.git),
            username: login.username.clone(),
            password: login.password.clone(),
            ca: ca.to_owned(),
            build_secret: crate::seed::GIT_SECRET.to_owned(),
        };
        write_private(&layout.git_credentials(), &serde_json::to_vec_pretty(&credentials).unwrap_or_default())
    }
}

impl Credentials {
    /// Reads the data directory's logins, or makes them.
    pub(crate) fn ensure(layout: &Layout) -> Result<Self, Error> {
        let path = layout.pki().join("logins.json");
        match fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text)
                .map_err(|source| Error::Damaged { path, source: Box::new(source) }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let made = Self {
                    registry: Login::generate("builds")?,
                    git_reader: Login::generate("builds")?,
                    git_writer: Login::generate("developer")?,
                };
                write_private(&path, &serde_json::to_vec_pretty(&made).unwrap_or_default())?;
                Ok(made)
            }
            Err(source) => Err(Error::path("read", &path, source)),
        }
    }
}

/// Compares without telling by its time where the first difference is.
pub(crate) fn same(left: &[u8], right: &[u8]) -> bool {
    left.len() == right.len() && left.iter().zip(right).fold(0, |different, (a, b)| different | (a ^ b)) == 0
}

impl Login {
    pub(crate) fn generate(username: &str) -> Result<Self, Error> {
        let mut bytes = [0_u8; 32];
        OsRng
            .try_fill_bytes(&mut bytes)
            .map_err(|source| Error::Pki { what: "the services' logins", source: Box::new(source) })?;
        Ok(Self { username: username.to_owned(), password: URL_SAFE_NO_PAD.encode(bytes) })
    }

    /// The login of one namespace that this one stands for. Who has it cannot make out another's.
    pub(crate) fn for_namespace(&self, namespace: &str) -> Self {
        let key = self.password.as_bytes();
        // Hashed twice, each time with the key, so that no longer name can be derived from a known result.
        let inner = Sha256::new().chain_update(key).chain_update(namespace).finalize();
        let outer = Sha256::new().chain_update(key).chain_update(inner).finalize();
        Self { username: namespace.to_owned(), password: URL_SAFE_NO_PAD.encode(outer) }
    }

    /// The login as container tools keep it.
    pub(crate) fn docker(&self) -> serde_json::Value {
        let auth = self.basic();
        serde_json::json!({
            "username": self.username, "password": self.password, "auth": auth.trim_start_matches("Basic "),
        })
    }

    /// `Basic …`, as it stands in an Authorization header.
    pub(crate) fn basic(&self) -> String {
        let pair = format!("{}:{}", self.username, self.password);
        format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair))
    }
}
