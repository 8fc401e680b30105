//! The real git against the real listener.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Output;

use buildplane_tls::{Alpn, ClientAuth};
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::credentials::{Credentials, Login};
use crate::layout::Layout;
use crate::pki::Pki;

struct Fixture {
    home: tempfile::TempDir,
    address: SocketAddr,
    credentials: Credentials,
    _stop: DropGuard,
}

async fn server() -> Fixture {
    buildplane_tls::install_crypto();
    let home = tempfile::tempdir().unwrap();
    let layout = Layout::new(home.path().join("data"));
    layout.create().unwrap();
    let pki = Pki::ensure(&layout).unwrap();
    std::fs::write(home.path().join("ca.crt"), pki.services.ca()).unwrap();
    let credentials = Credentials::ensure(&layout).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let tls = pki.services.server_config(&[], ClientAuth::None, &[Alpn::H2, Alpn::Http1]).unwrap();
    let shutdown = CancellationToken::new();
    let router = super::router(layout.git(), &credentials);
    tokio::spawn(buildplane_serve::serve(
        listener,
        tls,
        router,
        buildplane_serve::Limits::default(),
        shutdown.clone(),
    ));
    Fixture { home, address, credentials, _stop: shutdown.drop_guard() }
}

impl Fixture {
    /// The login that builds of a namespace get.
    fn reader(&self, namespace: &str) -> Login {
        self.credentials.git_reader.for_namespace(namespace)
    }

    fn url(&self, login: Option<&Login>, repository: &str) -> String {
        let user = login.map_or(String::new(), |l| format!("{}:{}@", l.username, l.password));
        format!("https://{user}{}/{repository}", self.address)
    }

    async fn git(&self, directory: &Path, args: &[&str]) -> Output {
        Command::new("git")
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("HOME", self.home.path())
            .env("GIT_TERMINAL_PROMPT", "0")
            .args(["-c", "user.name=t", "-c", "user.email=t@example.org"])
            .arg("-c")
            .arg(format!("http.sslCAInfo={}", self.home.path().join("ca.crt").display()))
            .args(args)
            .current_dir(directory)
            .output()
            .await
            .unwrap()
    }

    /// A working tree with one commit of a file of that size.
    async fn tree(&self, bytes: usize) -> std::path::PathBuf {
        let tree = self.home.path().join("tree");
        std::fs::create_dir(&tree).unwrap();
        // Not compressible, so that the pack is as large as the file.
        let noise: Vec<u8> = (0..bytes)
            .scan(1_u32, |state, _| {
                *state ^= *state << 13;
                *state ^= *state >> 17;
                *state ^= *state << 5;
                Some(state.to_le_bytes()[0])
            })
            .collect();
        std::fs::write(tree.join("file"), noise).unwrap();
        for args in [&["init", "-q", "-b", "main"][..], &["add", "."], &["commit", "-q", "-m", "one"]] {
            succeeds(&self.git(&tree, args).await);
        }
        tree
    }
}

fn succeeds(output: &Output) {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn fails(output: &Output, with: &str) {
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && text.contains(with), "{text}");
}

#[tokio::test]
async fn a_push_makes_the_repository_and_a_build_clones_any_of_its_commits() {
    let git = server().await;
    let tree = git.tree(5_000_000).await;
    let remote = git.url(Some(&git.credentials.git_writer), "default/greeter.git");
    succeeds(&git.git(&tree, &["push", "-q", &remote, "HEAD:refs/heads/main"]).await);
    let commit = git.git(&tree, &["rev-parse", "HEAD"]).await.stdout;
    let commit = String::from_utf8(commit).unwrap().trim().to_owned();
    std::fs::write(tree.join("file"), "two").unwrap();
    succeeds(&git.git(&tree, &["commit", "-q", "-a", "-m", "two"]).await);
    succeeds(&git.git(&tree, &["push", "-q", &remote, "HEAD:refs/heads/main"]).await);

    let clone = git.home.path().join("clone");
    std::fs::create_dir(&clone).unwrap();
    let remote = git.url(Some(&git.reader("default")), "default/greeter.git");
    succeeds(&git.git(&clone, &["init", "-q"]).await);
    succeeds(&git.git(&clone, &["fetch", "-q", "--depth=1", &remote, &commit]).await);
    succeeds(&git.git(&clone, &["checkout", "-q", "FETCH_HEAD"]).await);
    assert_eq!(std::fs::metadata(clone.join("file")).unwrap().len(), 5_000_000);
}

#[tokio::test]
async fn a_reader_may_not_push_and_a_stranger_may_do_nothing() {
    let git = server().await;
    let tree = git.tree(10).await;
    let reader = git.url(Some(&git.reader("default")), "default/x.git");
    fails(&git.git(&tree, &["push", "-q", &reader, "HEAD:refs/heads/main"]).await, "403");
    fails(&git.git(&tree, &["ls-remote", &reader]).await, "not found");
    fails(&git.git(&tree, &["ls-remote", &git.url(None, "default/x.git")]).await, "could not read Username");
    let stranger = Login { username: "builds".to_owned(), password: "guess".to_owned() };
    fails(
        &git.git(&tree, &["ls-remote", &git.url(Some(&stranger), "default/x.git")]).await,
        "Authentication failed",
    );
}

#[tokio::test]
async fn builds_of_one_namespace_cannot_read_the_repositories_of_another() {
    let git = server().await;
    let tree = git.tree(10).await;
    let remote = git.url(Some(&git.credentials.git_writer), "alice/secret.git");
    succeeds(&git.git(&tree, &["push", "-q", &remote, "HEAD:refs/heads/main"]).await);
    let url = |login: &Login| git.url(Some(login), "alice/secret.git");
    succeeds(&git.git(&tree, &["ls-remote", &url(&git.reader("alice"))]).await);
    let mallory = git.reader("mallory");
    let renamed = Login { username: "alice".to_owned(), password: mallory.password.clone() };
    for login in [&mallory, &renamed, &git.credentials.git_reader] {
        fails(&git.git(&tree, &["ls-remote", &url(login)]).await, "Authentication failed");
    }
}

#[tokio::test]
async fn what_killed_gits_left_is_removed_and_pushes_go_on() {
    let git = server().await;
    let tree = git.tree(10).await;
    let remote = git.url(Some(&git.credentials.git_writer), "default/x.git");
    succeeds(&git.git(&tree, &["push", "-q", &remote, "HEAD:refs/heads/main"]).await);
    let root = git.home.path().join("data/git");
    let repository = root.join("default/x.git");
    let left = [repository.join("refs/heads/main.lock"), repository.join("packed-refs.lock")];
    for lock in &left {
        std::fs::write(lock, "").unwrap();
    }
    let half = repository.join("objects/tmp_objdir-incoming-abc123");
    std::fs::create_dir_all(half.join("pack")).unwrap();
    std::fs::create_dir_all(root.join(".new-7/refs")).unwrap();
    std::fs::write(tree.join("file"), "two").unwrap();
    succeeds(&git.git(&tree, &["commit", "-q", "-a", "-m", "two"]).await);
    fails(&git.git(&tree, &["push", "-q", &remote, "HEAD:refs/heads/main"]).await, "failed to push");

    super::sweep(&root).unwrap();
    assert!(left.iter().chain([&half, &root.join(".new-7")]).all(|path| !path.exists()));
    succeeds(&git.git(&tree, &["push", "-q", &remote, "HEAD:refs/heads/main"]).await);
}

#[tokio::test]
async fn a_repository_that_could_not_be_made_can_be_made_later() {
    let git = server().await;
    let tree = git.tree(10).await;
    let remote = git.url(Some(&git.credentials.git_writer), "default/x.git");
    // A file where the namespace's directory belongs: making fails after git has done its part.
    let blocked = git.home.path().join("data/git/default");
    std::fs::write(&blocked, "").unwrap();
    fails(&git.git(&tree, &["push", "-q", &remote, "HEAD:refs/heads/main"]).await, "507");
    std::fs::remove_file(&blocked).unwrap();
    succeeds(&git.git(&tree, &["push", "-q", &remote, "HEAD:refs/heads/main"]).await);
    assert_eq!(std::fs::read_dir(git.home.path().join("data/git")).unwrap().count(), 1);
}
