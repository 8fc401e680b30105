//! Certificates of one run, in a directory that its processes share.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use buildplane_tls::{
    Alpn, AnchorStore, Authority, CertifiedKey, ClientAuth, ClientConfig, ClientIdentity, LeafRequest,
    PlaneSan, ServerConfig, ServerIdentity, TrustAnchors,
};

const DAY: Duration = Duration::from_hours(24);
/// The name that every server of a run answers under.
pub(crate) const SERVER: &str = "localhost";

/// Everything is issued by one authority: what is measured is the work, not who trusts whom.
pub(crate) struct Pki {
    dir: PathBuf,
    authority: Authority,
}

impl Pki {
    /// Makes the authority and the certificates that programs read from files.
    pub(crate) fn make(dir: &Path) -> anyhow::Result<Self> {
        let authority = Authority::generate("bench", DAY)?;
        let pki = Self { dir: dir.to_owned(), authority };
        pki.write("ca", pki.authority.cert_pem(), pki.authority.key_pem())?;
        let loopback = "127.0.0.1".parse()?;
        for (name, request) in [
            ("server", LeafRequest::server(&[SERVER], &[loopback], DAY)),
            (
                "controller",
                LeafRequest {
                    organizations: vec!["buildplane:controllers".to_owned()],
                    ..LeafRequest::client("bench", DAY)
                },
            ),
            ("agent", LeafRequest::plane(&plane("default"), DAY)),
        ] {
            let leaf = pki.authority.issue(request)?;
            pki.write(name, leaf.cert_pem(), leaf.key_pem())?;
        }
        Ok(pki)
    }

    /// Reads what another process made.
    pub(crate) fn read(dir: &Path) -> anyhow::Result<Self> {
        let text = |file: PathBuf| {
            fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))
        };
        let authority = Authority::from_pem(&text(dir.join("ca.crt"))?, &text(dir.join("ca.key"))?)?;
        Ok(Self { dir: dir.to_owned(), authority })
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    pub(crate) fn ca_pem(&self) -> &str {
        self.authority.cert_pem()
    }

    pub(crate) fn certificate(&self, name: &str) -> PathBuf {
        self.dir.join(format!("{name}.crt"))
    }

    pub(crate) fn key(&self, name: &str) -> PathBuf {
        self.dir.join(format!("{name}.key"))
    }

    fn write(&self, name: &str, certificate: &str, key: &str) -> anyhow::Result<()> {
        fs::write(self.certificate(name), certificate).context("cannot write a certificate")?;
        fs::write(self.key(name), key).context("cannot write a key")
    }

    fn certified(&self, name: &str) -> anyhow::Result<CertifiedKey> {
        let certificate = fs::read_to_string(self.certificate(name))?;
        Ok(CertifiedKey::from_pem(&certificate, &fs::read_to_string(self.key(name))?)?)
    }

    /// A listener that demands certificates of this run.
    pub(crate) fn server_config(&self, alpn: &[Alpn]) -> anyhow::Result<Arc<ServerConfig>> {
        let anchors = AnchorStore::new(self.anchors()?);
        let identity = ServerIdentity::new(&self.certified("server")?);
        Ok(identity.server_config(ClientAuth::Anchored(anchors), alpn)?)
    }

    pub(crate) fn client_config(&self, name: &str, alpn: &[Alpn]) -> anyhow::Result<Arc<ClientConfig>> {
        Ok(ClientIdentity::new(&self.certified(name)?).client_config(&self.anchors()?, alpn)?)
    }

    /// What an agent of a plane of its own presents.
    pub(crate) fn agent_config(&self, plane_id: &str) -> anyhow::Result<Arc<ClientConfig>> {
        let leaf = self.authority.issue(LeafRequest::plane(&plane(plane_id), DAY))?;
        Ok(ClientIdentity::new(&leaf).client_config(&self.anchors()?, &[Alpn::Http1])?)
    }

    fn anchors(&self) -> anyhow::Result<TrustAnchors> {
        Ok(self.authority.anchors()?)
    }
}

fn plane(id: &str) -> PlaneSan {
    PlaneSan { plane_type: "buildplane".to_owned(), plane_id: id.to_owned() }
}
