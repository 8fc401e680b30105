//! Certificates from files, read again while a part runs.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use buildplane_tls::{AnchorStore, CertifiedKey, ClientIdentity, ServerIdentity, TrustAnchors};
use tokio_util::sync::CancellationToken;

use crate::failure::{Explain as _, Result};

/// How often the files are looked at. Kubernetes swaps mounted Secrets through a link, which a watch on the file misses.
const INTERVAL: Duration = Duration::from_secs(20);

/// A certificate chain and its key, PEM.
#[derive(Debug, Clone)]
pub(super) struct KeyPair {
    pub(super) certificate: PathBuf,
    pub(super) key: PathBuf,
}

impl KeyPair {
    pub(super) fn read(&self) -> Result<CertifiedKey> {
        let certificate = text(&self.certificate)?;
        let key = text(&self.key)?;
        CertifiedKey::from_pem(&certificate, &key).context(format!(
            "cannot use {} with {}",
            self.certificate.display(),
            self.key.display()
        ))
    }
}

fn text(path: &Path) -> Result<String> {
    fs::read_to_string(path).context(format!("cannot read {}", path.display()))
}

/// A server's identity that follows its files.
pub(super) fn identity(
    files: &KeyPair,
    stop: &CancellationToken,
    watching: &mut Watching,
) -> Result<ServerIdentity> {
    let identity = ServerIdentity::new(&files.read()?);
    let followed = identity.clone();
    follow(files, stop, watching, move |certified| followed.replace(certified));
    Ok(identity)
}

/// A client's identity that follows its files.
pub(super) fn client_identity(
    files: &KeyPair,
    stop: &CancellationToken,
    watching: &mut Watching,
) -> Result<ClientIdentity> {
    let identity = ClientIdentity::new(&files.read()?);
    let followed = identity.clone();
    follow(files, stop, watching, move |certified| followed.replace(certified));
    Ok(identity)
}

fn follow(
    files: &KeyPair,
    stop: &CancellationToken,
    watching: &mut Watching,
    replace: impl Fn(&CertifiedKey) + Send + 'static,
) {
    let files = files.clone();
    let mut last = fingerprint(&[&files.certificate, &files.key]);
    watching.every(stop, move || {
        let now = fingerprint(&[&files.certificate, &files.key]);
        if now == last {
            return;
        }
        // Between the two writes of a renewal the files do not fit together: the next look decides.
        match files.read() {
            Ok(certified) => {
                replace(&certified);
                last = now;
                tracing::info!(file = %files.certificate.display(), "certificate renewed");
            }
            Err(failure) => tracing::warn!(%failure, "certificate not renewed"),
        }
    });
}

/// Trust anchors that follow their file.
pub(super) fn anchors(
    path: &Path,
    stop: &CancellationToken,
    watching: &mut Watching,
) -> Result<Arc<AnchorStore>> {
    let read = |path: &Path| {
        let text = fs::read(path).context(format!("cannot read {}", path.display()))?;
        TrustAnchors::parse(text).context(format!("{} holds no CA", path.display()))
    };
    let store = AnchorStore::new(read(path)?);
    let (followed, path) = (Arc::clone(&store), path.to_owned());
    let mut last = fingerprint(&[&path]);
    watching.every(stop, move || {
        let now = fingerprint(&[&path]);
        if now == last {
            return;
        }
        match read(&path) {
            Ok(anchors) => {
                followed.replace(anchors);
                last = now;
                tracing::info!(file = %path.display(), "CA renewed");
            }
            Err(failure) => tracing::warn!(%failure, "CA not renewed"),
        }
    });
    Ok(store)
}

fn fingerprint(files: &[&PathBuf]) -> Vec<Option<Vec<u8>>> {
    files.iter().map(|file| fs::read(file).ok()).collect()
}

/// The tasks that look at files; dropping it ends them.
#[derive(Debug, Default)]
pub(super) struct Watching(tokio::task::JoinSet<()>);

impl Watching {
    fn every(&mut self, stop: &CancellationToken, mut look: impl FnMut() + Send + 'static) {
        let stop = stop.clone();
        self.0.spawn(async move {
            while tokio::time::timeout(INTERVAL, stop.cancelled()).await.is_err() {
                look();
            }
        });
    }
}
