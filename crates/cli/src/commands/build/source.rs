//! What is to be built, and how a build plane gets at it.

use std::path::{Component, Path, PathBuf};

use buildplane_api::SecretReference;
use buildplane_platform::{GitCredentials, Layout};
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::json;

use super::BuildArgs;
use crate::connection::Connection;
use crate::exit::ExitStatus;
use crate::failure::{Explain as _, Failure, Result};
use crate::git::{Difference, GitUrl, Remote, Snapshot};
use crate::output::line;
use crate::runs::{self, FIELD_MANAGER};

/// The SecretReference through which builds read the platform's git server.
const SECRET_REFERENCE: &str = "buildplane-git";

/// What the user named.
#[derive(Debug)]
pub(crate) enum Source {
    Url(GitUrl),
    Directory(PathBuf),
}

/// Where the build's checkout finds the source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fetched {
    pub(super) url: String,
    pub(super) branch: Option<String>,
    pub(super) commit: Option<String>,
    pub(super) secret_reference: Option<String>,
    /// The component's name where the user gives none.
    pub(super) component: String,
    /// The Dockerfile, relative to the source's root.
    pub(super) dockerfile: String,
}

impl Source {
    pub(crate) fn parse(args: &BuildArgs) -> Result<Self> {
        if GitUrl::looks_like_one(&args.source) {
            return GitUrl::parse(&args.source).map(Self::Url);
        }
        let usage =
            |message: String, hint: &str| Err(Failure::new(message).hint(hint).exit(ExitStatus::Usage));
        let path = PathBuf::from(&args.source);
        if !path.exists() {
            return Err(Failure::new(format!("{} is neither a directory nor a git URL", args.source))
                .hint("git URLs look like https://host/path.git or user@host:path.git")
                .exit(ExitStatus::NotFound));
        }
        if !path.is_dir() {
            return usage(
                format!("{} is not a directory", args.source),
                "name the directory, and the Dockerfile with -f",
            );
        }
        if args.branch.is_some() || args.commit.is_some() || args.secret_ref.is_some() {
            return usage(
                "--branch, --commit and --secret-ref go with a git URL; a directory is built as it is"
                    .to_owned(),
                "to build a commit, name the repository by its URL",
            );
        }
        Ok(Self::Directory(path))
    }

    pub(super) async fn prepare(&self, connection: &Connection, args: &BuildArgs) -> Result<Fetched> {
        match self {
            Self::Url(url) => Ok(Fetched {
                url: url.to_string(),
                branch: args.branch.clone(),
                commit: args.commit.clone(),
                secret_reference: args.secret_ref.clone(),
                component: runs::dns_label(url.repository()),
                dockerfile: relative(&args.file)?,
            }),
            Self::Directory(path) => push(path, connection, args).await,
        }
    }
}

/// A path below the source's root, as the workflow wants it.
fn relative(file: &Path) -> Result<String> {
    let plain = file.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
    let text = file.to_str().filter(|text| plain && !text.is_empty());
    text.map(str::to_owned).ok_or_else(|| {
        Failure::new(format!("the Dockerfile {} is outside of what is built", file.display()))
            .hint("-f takes a path relative to the directory or repository")
            .exit(ExitStatus::Usage)
    })
}

/// Pushes a directory as it is to the platform's git server.
async fn push(path: &Path, connection: &Connection, args: &BuildArgs) -> Result<Fetched> {
    let data_dir = connection.local_data_dir().ok_or_else(|| {
        Failure::new(format!(
            "a directory can be built on a local platform only, and {} is none of this user",
            connection.server()
        ))
        .hint(
            "push the directory to a git server and build its URL, or start a platform with `buildplane up`",
        )
        .exit(ExitStatus::Refused)
    })?;
    let credentials =
        GitCredentials::read(&Layout::new(data_dir)).context("cannot use the platform's git server")?;
    let dockerfile = relative(&args.file)?;
    let snapshot = Snapshot::take(path).await?;
    if !snapshot.contains(&args.file) {
        let hint = if path.join(&args.file).exists() {
            "the file exists but .gitignore excludes it".to_owned()
        } else {
            "name the Dockerfile with -f FILE, relative to the directory".to_owned()
        };
        return Err(Failure::new(format!("there is no {dockerfile} in {}", path.display()))
            .hint(hint)
            .exit(ExitStatus::NotFound));
    }
    let component = args.name.clone().unwrap_or_else(|| component_of(path));
    let url = format!("{}/{}/{component}.git", credentials.url, connection.namespace);
    let branch = format!("snapshot-{}", short(&snapshot.commit));
    let remote = Remote {
        url: url.clone(),
        username: credentials.username,
        password: credentials.password,
        ca: credentials.ca,
    };
    snapshot.push(&remote, &branch).await?;
    announce(path, &snapshot)?;
    secret_reference(connection, &credentials.build_secret).await?;
    Ok(Fetched {
        url,
        branch: Some(branch),
        commit: Some(snapshot.commit.clone()),
        secret_reference: Some(SECRET_REFERENCE.to_owned()),
        component,
        dockerfile,
    })
}

fn announce(path: &Path, snapshot: &Snapshot) -> Result<()> {
    let files = if snapshot.n_files() == 1 { "file" } else { "files" };
    let difference = match &snapshot.difference {
        None => String::new(),
        Some(difference @ (Difference::NoCommit | Difference::Clean { .. } | Difference::Changed { .. })) => {
            format!("; {difference}")
        }
    };
    let (commit, n_files) = (short(&snapshot.commit), snapshot.n_files());
    Ok(line(format_args!("snapshot {commit} of {}: {n_files} {files}{difference}", path.display()))?)
}

fn short(commit: &str) -> &str {
    commit.get(..8).unwrap_or(commit)
}

/// A directory's own name as the name of a component.
fn component_of(path: &Path) -> String {
    let absolute = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    runs::dns_label(&absolute.file_name().unwrap_or_default().to_string_lossy())
}

/// Makes sure that builds of the namespace can read the platform's git server.
async fn secret_reference(connection: &Connection, stored: &str) -> Result<()> {
    let remote =
        |property: &str| json!({"secretKey": property, "remoteRef": {"key": stored, "property": property}});
    let manifest = json!({
        "apiVersion": buildplane_api::meta::API_VERSION,
        "kind": "SecretReference",
        "metadata": {
            "name": SECRET_REFERENCE,
            "annotations": {
                buildplane_api::meta::annotation::DESCRIPTION: "How builds read the local platform's git server",
            },
        },
        "spec": {
            "template": {"type": "kubernetes.io/basic-auth"},
            "data": [remote("username"), remote("password")],
        },
    });
    let api: Api<SecretReference> = Api::namespaced(connection.client.clone(), &connection.namespace);
    api.patch(SECRET_REFERENCE, &PatchParams::apply(FIELD_MANAGER).force(), &Patch::Apply(&manifest))
        .await
        .context("cannot write the SecretReference for the platform's git server")?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dockerfiles_stay_inside_of_what_is_built() {
        assert_eq!(relative(Path::new("./docker/Dockerfile")).ok().as_deref(), Some("./docker/Dockerfile"));
        for outside in ["../Dockerfile", "/etc/passwd", "a/../../b", ""] {
            assert!(relative(Path::new(outside)).is_err(), "{outside}");
        }
    }
}
