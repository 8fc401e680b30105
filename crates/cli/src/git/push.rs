//! Pushing a snapshot to the platform's git server.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::Duration;

use super::{Answer, Git, Snapshot, complaint};
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

/// How often a push is tried. Many builds of one tree push one branch; git lets one of them and refuses the others.
const ATTEMPTS: u32 = 6;
/// The pause after the first refusal; it grows with each.
const PAUSE: Duration = Duration::from_millis(50);

impl Snapshot {
    /// Pushes the commit as a branch. Pushing it twice is harmless: a commit of equal files is the same commit, and who
    /// finds the branch at it already has nothing left to do.
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
        let pushed = self.push_until_there(&git, remote, &format!("refs/heads/{branch}")).await;
        let removed = fs::remove_file(&credentials);
        pushed?;
        removed.context("cannot remove the temporary credential file")
    }

    async fn push_until_there(&self, git: &Git, remote: &Remote, reference: &str) -> Result<()> {
        let refspec = format!("{}:{reference}", self.commit);
        let mut attempt = 1;
        loop {
            let answer = git.answer(&["push", "--quiet", "--porcelain", &remote.url, &refspec], b"").await?;
            if answer.success {
                return Ok(());
            }
            let listed = git.answer(&["ls-remote", &remote.url, reference], b"").await?;
            if listed.success && names_commit(&listed.stdout, &self.commit, reference) {
                return Ok(());
            }
            // A server that does not answer this either has refused nothing.
            if !listed.success || attempt == ATTEMPTS {
                let exit = if listed.success { ExitStatus::Refused } else { ExitStatus::Unreachable };
                return Err(refusal(&answer)
                    .context(format!("cannot push the snapshot to {}", remote.url))
                    .hint("`buildplane status` shows whether the platform's git server answers")
                    .exit(exit));
            }
            tokio::time::sleep(PAUSE * attempt + PAUSE.mul_f64(rand::random::<f64>())).await;
            attempt += 1;
        }
    }
}

/// Whether a line of `git ls-remote` says that the reference is at the commit.
fn names_commit(listed: &[u8], commit: &str, reference: &str) -> bool {
    let listed = String::from_utf8_lossy(listed);
    listed.lines().any(|line| line.split_once('\t') == Some((commit, reference)))
}

/// Why git did not push: what the server said of the reference, where it said something.
///
/// `--porcelain` puts that on standard output, as `!<TAB>from:to<TAB>[remote rejected] (reason)`.
fn refusal(answer: &Answer) -> Failure {
    let stdout = String::from_utf8_lossy(&answer.stdout);
    let reason = stdout.lines().find_map(|line| line.strip_prefix("!\t")?.split_once('\t')).map(|it| it.1);
    match reason {
        Some(reason) => Failure::new(crate::output::sanitize::sanitize(reason.as_bytes())),
        None => complaint(&answer.stderr),
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

    /// A snapshot of a small tree, and a bare repository with a hook.
    async fn fixture(hook: &str) -> (tempfile::TempDir, Snapshot, Remote) {
        let home = tempfile::tempdir().expect("a temporary directory");
        let (tree, bare) = (home.path().join("tree"), home.path().join("bare.git"));
        for directory in [&tree, &bare] {
            fs::create_dir(directory).expect("a directory");
        }
        fs::write(tree.join("Dockerfile"), "FROM scratch\n").expect("a file");
        Git::private(&bare).run(&["init", "--quiet", "--bare"], b"").await.unwrap_or_else(|e| panic!("{e}"));
        if !hook.is_empty() {
            let path = bare.join("hooks/update");
            fs::create_dir_all(bare.join("hooks")).expect("a directory");
            fs::write(&path, format!("#!/bin/sh\n{hook}\n")).expect("a hook");
            fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("a mode");
        }
        let remote = Remote {
            url: format!("file://{}", bare.display()),
            username: String::new(),
            password: String::new(),
            ca: String::new(),
        };
        let snapshot = Snapshot::take(&tree).await.unwrap_or_else(|failure| panic!("{failure}"));
        (home, snapshot, remote)
    }

    #[tokio::test]
    async fn many_push_the_same_tree_at_once() {
        let (home, first, remote) = fixture("sleep 0.05").await;
        let mut snapshots = vec![first];
        for _ in 0..12 {
            snapshots.push(Snapshot::take(&home.path().join("tree")).await.unwrap_or_else(|e| panic!("{e}")));
        }
        let pushes = snapshots.iter().map(|snapshot| snapshot.push(&remote, "snapshot"));
        for pushed in futures::future::join_all(pushes).await {
            pushed.unwrap_or_else(|failure| panic!("{failure}"));
        }
    }

    #[tokio::test]
    async fn a_refusal_is_tried_again_and_told_with_its_reason() {
        let (_home, snapshot, remote) =
            fixture("test -e ../refused && exit 0; touch ../refused; exit 1").await;
        snapshot.push(&remote, "snapshot").await.unwrap_or_else(|failure| panic!("{failure}"));
        let (_home, snapshot, remote) = fixture("exit 1").await;
        let refused = snapshot.push(&remote, "snapshot").await.expect_err("the hook refuses");
        assert!(refused.to_string().contains("[remote rejected] (hook declined)"), "{refused}");
        assert_eq!(refused.exit_status(), ExitStatus::Refused);
    }

    #[tokio::test]
    async fn a_server_that_is_not_there_is_not_tried_again() {
        let (home, snapshot, remote) = fixture("").await;
        fs::remove_dir_all(home.path().join("bare.git")).expect("removed");
        let failed = snapshot.push(&remote, "snapshot").await.expect_err("nothing is there");
        assert_eq!(failed.exit_status(), ExitStatus::Unreachable, "{failed}");
        assert!(!failed.to_string().contains("failed to push some refs"), "{failed}");
    }
}
