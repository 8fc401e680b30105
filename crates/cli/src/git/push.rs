//! Pushing a snapshot to the platform's git server.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use super::{Git, Snapshot, complaint};
use crate::exit::ExitStatus;
use crate::failure::{Explain as _, Failure, Result};
use crate::rest::percent_encode;

/// A repository that may be pushed to, and how.
pub(crate) struct Remote {
    /// Without any credential.
    pub(crate) url: String,
    pub(crate) username: String,
    pub(crate) password: String,
    /// The CA of the server's certificate, PEM.
    pub(crate) ca: String,
}

impl Snapshot {
    /// Pushes the commit as a branch. Pushing it twice is harmless: a commit of equal files is the same commit.
    ///
    /// The credential reaches git through a file that only this user can read and that is gone afterwards; it stands
    /// in no argument, no environment and no configuration.
    pub(crate) async fn push(&self, remote: &Remote, branch: &str) -> Result<()> {
        let credentials = self.scratch().join("credentials");
        let ca = self.scratch().join("ca.crt");
        write_private(&credentials, credential_line(remote)?.as_bytes())?;
        write_private(&ca, remote.ca.as_bytes())?;
        let git = Git::private(&self.repository())
            .setting("credential.helper", "")
            .setting("credential.helper", &format!("store --file={}", shell_quoted(&credentials)))
            // Loopback is never reached through a proxy.
            .setting("http.proxy", "")
            .environment("GIT_SSL_CAINFO", &ca);
        let refspec = format!("{}:refs/heads/{branch}", self.commit);
        let answer = git.answer(&["push", "--quiet", "--porcelain", &remote.url, &refspec], b"").await;
        let removed = fs::remove_file(&credentials);
        let answer = answer?;
        removed.context("cannot remove the temporary credential file")?;
        if answer.success {
            return Ok(());
        }
        Err(complaint(&answer.stderr)
            .context(format!("cannot push the snapshot to {}", remote.url))
            .hint("`buildplane status` shows whether the platform's git server answers")
            .exit(ExitStatus::Unreachable))
    }
}

/// The line of git's credential store for a remote.
fn credential_line(remote: &Remote) -> Result<String> {
    let (scheme, rest) =
        remote.url.split_once("://").ok_or_else(|| Failure::new(format!("invalid URL {}", remote.url)))?;
    let host = rest.split('/').next().unwrap_or(rest);
    Ok(format!(
        "{scheme}://{}:{}@{host}\n",
        percent_encode(&remote.username),
        percent_encode(&remote.password)
    ))
}

fn write_private(path: &Path, contents: &[u8]) -> Result<()> {
    let write = || {
        let mut file =
            fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
        file.write_all(contents)
    };
    write().context("cannot write a temporary file")
}

/// A path for a helper's command line, which git hands to a shell.
fn shell_quoted(path: &Path) -> String {
    format!("'{}'", path.display().to_string().replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_encoded_for_the_store() {
        let remote = Remote {
            url: "https://127.0.0.1:5051/default/app.git".to_owned(),
            username: "developer".to_owned(),
            password: "a/b@c:d%\n".to_owned(),
            ca: String::new(),
        };
        assert_eq!(
            credential_line(&remote).expect("a URL"),
            "https://developer:a%2Fb%40c%3Ad%25%0A@127.0.0.1:5051\n"
        );
        assert_eq!(shell_quoted(Path::new("/tmp/it's")), r"'/tmp/it'\''s'");
    }
}
