use std::collections::BTreeMap;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::Command;

use super::*;

/// A user's git repository in a temporary directory.
struct Sandbox {
    dir: TempDir,
}

impl Sandbox {
    fn new() -> Self {
        Self { dir: TempDir::new().expect("a temporary directory") }
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    fn write(&self, path: &str, text: &str) -> &Self {
        let path = self.path().join(path);
        fs::create_dir_all(path.parent().expect("a parent")).expect("directories");
        fs::write(path, text).expect("a file");
        self
    }

    fn git(&self, arguments: &[&str]) -> String {
        git_in(self.path(), arguments)
    }

    fn repository(&self) -> &Self {
        self.git(&["init", "-q", "-b", "main"]);
        self
    }

    fn commit(&self) -> &Self {
        self.git(&["add", "-A"]);
        self.git(&["commit", "-q", "-m", "x"]);
        self
    }
}

fn git_in(directory: &Path, arguments: &[&str]) -> String {
    let output = Command::new("git")
        .args(["-c", "user.name=t", "-c", "user.email=t@t", "-c", "protocol.file.allow=always"])
        .args(arguments)
        .current_dir(directory)
        .output()
        .expect("git runs");
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

/// Path → mode and content of every file in the snapshot's commit.
fn contents(snapshot: &Snapshot) -> BTreeMap<String, (String, String)> {
    let repository = snapshot.repository();
    let listing = git_in(&repository, &["ls-tree", "-r", "-z", &snapshot.commit]);
    listing
        .split('\0')
        .filter(|entry| !entry.is_empty())
        .map(|entry| {
            let (what, path) = entry.split_once('\t').expect("a tab");
            let mut words = what.split(' ');
            let mode = words.next().expect("a mode").to_owned();
            let hash = words.nth(1).expect("a hash");
            (path.to_owned(), (mode, git_in(&repository, &["cat-file", "blob", hash])))
        })
        .collect()
}

fn names(snapshot: &Snapshot) -> Vec<String> {
    contents(snapshot).into_keys().collect()
}

async fn take(path: &Path) -> Snapshot {
    Snapshot::take(path).await.unwrap_or_else(|failure| panic!("{failure}"))
}

#[tokio::test]
async fn the_working_tree_is_taken_as_it_is() {
    let user = Sandbox::new();
    user.repository().write("Dockerfile", "FROM scratch").write("gone", "1").write("kept", "old").commit();
    user.write("kept", "new").write("fresh", "2").write(".gitignore", "*.log\n/out/\n");
    user.write("x.log", "secret").write("out/deep/file", "secret").write("sub/y.log", "secret");
    fs::remove_file(user.path().join("gone")).expect("removed");
    fs::set_permissions(user.path().join("fresh"), PermissionsExt::from_mode(0o755)).expect("executable");
    symlink("../outside", user.path().join("link")).expect("a link");
    let snapshot = take(user.path()).await;
    let expected = [
        (".gitignore", "100644", "*.log\n/out/\n"),
        ("Dockerfile", "100644", "FROM scratch"),
        ("fresh", "100755", "2"),
        ("kept", "100644", "new"),
        ("link", "120000", "../outside"),
    ];
    let expected = expected.map(|(path, mode, text)| (path.to_owned(), (mode.to_owned(), text.to_owned())));
    assert_eq!(contents(&snapshot), expected.into());
    assert!(snapshot.contains(Path::new("./Dockerfile")) && !snapshot.contains(Path::new("x.log")));
    assert_eq!(
        snapshot
            .difference
            .as_ref()
            .map(ToString::to_string)
            .map(|text| text.split(": ").nth(1).map(str::to_owned)),
        Some(Some("2 changed and 3 untracked files".to_owned()))
    );
}

#[tokio::test]
async fn the_users_repository_is_left_alone() {
    let user = Sandbox::new();
    user.repository().write("a", "1").commit().write("a", "2").write("b", "staged");
    user.git(&["add", "b"]);
    for hook in ["pre-commit", "post-commit", "post-index-change", "reference-transaction"] {
        let path = user.path().join(".git/hooks").join(hook);
        fs::create_dir_all(path.parent().expect("a parent")).expect("the hooks' directory");
        fs::write(&path, format!("#!/bin/sh\ntouch {}/hook-ran\n", user.path().display())).expect("a hook");
        fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).expect("executable");
    }
    user.git(&["config", "core.fsmonitor", &format!("touch {}/monitor-ran; false", user.path().display())]);
    user.git(&["config", "filter.evil.clean", &format!("touch {}/filter-ran; cat", user.path().display())]);
    let state = || {
        let index = fs::read(user.path().join(".git/index")).expect("the index");
        let objects = walk(&user.path().join(".git"));
        (index, objects)
    };
    let before = state();
    let snapshot = take(user.path()).await;
    assert_eq!(state(), before);
    assert_eq!(names(&snapshot), ["a", "b"]);
}

fn walk(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).expect("readable") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(walk(&path));
        } else {
            found.push(path);
        }
    }
    found.sort();
    found
}

#[tokio::test]
async fn equal_trees_are_equal_commits() {
    let (one, two) = (Sandbox::new(), Sandbox::new());
    one.repository().write("Dockerfile", "FROM scratch").commit();
    two.write("Dockerfile", "FROM scratch");
    let (one, two) = (take(one.path()).await, take(two.path()).await);
    assert_eq!(one.commit, two.commit);
    assert!(matches!(one.difference, Some(Difference::Clean { .. })));
    assert_eq!(two.difference, None);
}

#[tokio::test]
async fn a_directory_of_a_repository_is_a_tree_of_its_own() {
    let user = Sandbox::new();
    user.repository()
        .write(".gitignore", "*.tmp\nbuild/\n")
        .write("other/file", "1")
        .write("app/Dockerfile", "2")
        .commit();
    user.write("app/x.tmp", "ignored above").write("build/app/Dockerfile", "3").write("other/dirty", "4");
    let app = take(&user.path().join("app")).await;
    assert_eq!(names(&app), ["Dockerfile"]);
    // Changes elsewhere in the repository do not matter.
    assert!(matches!(app.difference, Some(Difference::Clean { .. })));
    // A directory that the repository ignores stands for itself.
    let built = take(&user.path().join("build/app")).await;
    assert_eq!((names(&built), built.difference), (vec!["Dockerfile".to_owned()], None));
}

#[tokio::test]
async fn repositories_inside_are_directories() {
    let (library, user) = (Sandbox::new(), Sandbox::new());
    library.repository().write("lib.c", "1").write("lib.o", "2").write(".gitignore", "*.o").commit();
    user.repository().write("Dockerfile", "3").commit();
    user.git(&["submodule", "--quiet", "add", &library.path().display().to_string(), "lib"]);
    user.write("lib/lib.o", "ignored there").write("plain/file", "4");
    git_in(&user.path().join("plain"), &["init", "-q"]);
    let snapshot = take(user.path()).await;
    assert_eq!(names(&snapshot), [".gitmodules", "Dockerfile", "lib/.gitignore", "lib/lib.c", "plain/file"]);
}

#[tokio::test]
async fn attributes_and_odd_names_change_nothing() {
    let user = Sandbox::new();
    user.repository();
    user.git(&["config", "filter.shout.clean", "tr a-z A-Z"]);
    user.write(".gitattributes", "* text=auto filter=shout\n").write("crlf", "a\r\nb\r\n").commit();
    user.write("new\nline", "1").write("\"quoted\"", "2").write("back\\slash", "3").write(" -x ", "4");
    let snapshot = take(user.path()).await;
    let found = contents(&snapshot);
    for (path, text) in
        [("crlf", "a\r\nb\r\n"), ("new\nline", "1"), ("\"quoted\"", "2"), ("back\\slash", "3"), (" -x ", "4")]
    {
        assert_eq!(found.get(path).map(|(_, text)| text.as_str()), Some(text), "{path:?}");
    }
}

#[tokio::test]
async fn what_cannot_be_taken_is_explained() {
    let empty = Sandbox::new();
    let failure =
        |path: PathBuf| async move { Snapshot::take(&path).await.err().map(|failure| failure.to_string()) };
    let text = failure(empty.path().to_owned()).await.expect("a failure");
    assert!(text.contains("there is nothing to build in"), "{text}");
    let text = failure(empty.path().join("missing")).await.expect("a failure");
    assert!(text.contains("cannot read") && text.contains("No such file"), "{text}");
}

#[tokio::test]
async fn a_repository_without_commits_is_said_to_be_one() {
    let user = Sandbox::new();
    user.repository().write("Dockerfile", "FROM scratch");
    assert_eq!(take(user.path()).await.difference, Some(Difference::NoCommit));
}
