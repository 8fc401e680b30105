//! Which repository a request is about, what it needs, and making a repository.

use std::fs;
use std::io;
use std::path::Path;
use std::process::Stdio;
use std::sync::atomic::{AtomicU64, Ordering};

use super::backend::git;
use super::sweep::UNFINISHED;

/// What a login may do, and what a request needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    Read,
    Write,
}

/// A request path of git's smart HTTP protocol; nothing else is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RequestPath {
    repository: String,
    endpoint: &'static str,
    query: &'static str,
    needs: Access,
}

impl RequestPath {
    /// Accepts `/<namespace>/<name>.git/<endpoint>` with plain names and no encoding of any kind.
    pub(super) fn parse(path: &str, query: Option<&str>) -> Option<Self> {
        let mut segments = path.strip_prefix('/')?.splitn(3, '/');
        let (namespace, repository, rest) = (segments.next()?, segments.next()?, segments.next()?);
        let name = repository.strip_suffix(".git")?;
        if !plain(namespace) || !plain(name) {
            return None;
        }
        let (endpoint, query, needs) = match (rest, query) {
            ("info/refs", Some("service=git-upload-pack")) => {
                ("info/refs", "service=git-upload-pack", Access::Read)
            }
            ("info/refs", Some("service=git-receive-pack")) => {
                ("info/refs", "service=git-receive-pack", Access::Write)
            }
            ("git-upload-pack", None) => ("git-upload-pack", "", Access::Read),
            ("git-receive-pack", None) => ("git-receive-pack", "", Access::Write),
            _ => return None,
        };
        Some(Self { repository: format!("{namespace}/{name}.git"), endpoint, query, needs })
    }

    pub(super) fn needs(&self) -> Access {
        self.needs
    }
    /// The namespace that the repository belongs to.
    pub(super) fn namespace(&self) -> &str {
        self.repository.split_once('/').map_or("", |(namespace, _)| namespace)
    }
    /// Relative to the server's root.
    pub(super) fn repository(&self) -> &str {
        &self.repository
    }
    pub(super) fn endpoint(&self) -> &'static str {
        self.endpoint
    }
    pub(super) fn query(&self) -> &'static str {
        self.query
    }
}

fn plain(name: &str) -> bool {
    let allowed =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_' | b'.');
    !name.is_empty() && name.len() <= 100 && !name.starts_with(['.', '-']) && name.bytes().all(allowed)
}

/// How many repositories this process has begun to make.
static MADE: AtomicU64 = AtomicU64::new(0);

/// Makes the repository if it is not there: whole or not at all, so that a full disk or a kill in the middle leaves
/// nothing that looks like one.
pub(super) async fn ensure(root: &Path, path: &RequestPath) -> io::Result<()> {
    let directory = root.join(path.repository());
    if directory.is_dir() {
        return Ok(());
    }
    let unfinished = root.join(format!("{UNFINISHED}{}", MADE.fetch_add(1, Ordering::Relaxed)));
    let made = make(root, &unfinished, &directory).await;
    if made.is_err() {
        // The next start removes what cannot be removed now.
        let _ = fs::remove_dir_all(&unfinished);
    }
    // Another push may have made it meanwhile.
    if directory.is_dir() { Ok(()) } else { made }
}

async fn make(root: &Path, unfinished: &Path, directory: &Path) -> io::Result<()> {
    let made = git(root)
        .args(["init", "--quiet", "--bare", "--initial-branch=main", "--template="])
        .arg(unfinished)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .output()
        .await?;
    if !made.status.success() {
        return Err(io::Error::other(String::from_utf8_lossy(&made.stderr).trim().to_owned()));
    }
    if let Some(namespace) = directory.parent() {
        fs::create_dir_all(namespace)?;
    }
    fs::rename(unfinished, directory)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_smart_protocol_on_plain_names_is_served() {
        let refs = |service| RequestPath::parse("/default/greeter.git/info/refs", Some(service));
        assert_eq!(refs("service=git-upload-pack").unwrap().needs(), Access::Read);
        assert_eq!(refs("service=git-receive-pack").unwrap().needs(), Access::Write);
        for (path, query) in [
            ("/default/greeter.git/info/refs", None),
            ("/default/greeter.git/info/refs", Some("service=git-receive-pack&service=git-upload-pack")),
            ("/default/greeter.git/HEAD", None),
            ("/default/greeter.git/objects/info/packs", None),
            ("/default/../greeter.git/git-upload-pack", None),
            ("/../etc.git/git-upload-pack", None),
            ("/default/%2e%2e.git/git-upload-pack", None),
            ("/default/..git/git-upload-pack", None),
            ("/.git/x.git/git-upload-pack", None),
            ("/default/-x.git/git-upload-pack", None),
            ("//greeter.git/git-upload-pack", None),
            ("/a/b/c.git/git-upload-pack", None),
            ("/default/greeter/git-upload-pack", None),
        ] {
            assert_eq!(RequestPath::parse(path, query), None, "{path}?{query:?}");
        }
    }
}
