//! Step five: the image is pulled back from the registry and run.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use buildplane_api::WorkflowRun;
use tokio::process::Command;
use tokio::time::timeout;

use super::Demo;
use super::registry::Registry;
use crate::exit::ExitStatus;
use crate::failure::{Explain as _, Failure, Result};
use crate::output::sanitize::sanitize;
use crate::runs;

const PATIENCE: Duration = Duration::from_mins(1);
/// What the demo's own container tool keeps, inside of the demo's temporary directory.
const STORAGE: &str = "containers";

pub(super) async fn pull_and_run(demo: &mut Demo, run: &WorkflowRun) -> Result<()> {
    demo.narrator.part("Pull the image back and run it")?;
    let image =
        runs::output(run, "image").ok_or_else(|| Failure::new("the run says nothing about its image"))?;
    demo.narrator.achieved(&sanitize(image.as_bytes()))?;
    let registry = Registry::connect(&demo.connection).await?;
    let reference = by_digest(image, &registry.address)?;
    let files = demo.scratch.join(STORAGE);
    let certificates = files.join("certificates");
    fs::create_dir_all(&certificates).context("cannot make a temporary directory")?;
    fs::write(certificates.join("ca.crt"), &registry.ca).context("cannot write a temporary file")?;
    let auth_file = files.join("auth.json");
    fs::write(&auth_file, &registry.auth_file).context("cannot write a temporary file")?;
    fs::set_permissions(&auth_file, PermissionsExt::from_mode(0o600))
        .context("cannot close a temporary file")?;
    demo.narrator.same_as(&format!("buildah run $(buildah from {reference})"))?;
    let mut from = buildah(&files, "from");
    from.arg("--quiet")
        .arg("--pull-always")
        .arg("--cert-dir")
        .arg(&certificates)
        .arg("--authfile")
        .arg(&auth_file);
    from.arg(format!("docker://{reference}"));
    let container = output(from).await.context("cannot pull the image")?;
    let mut greet = buildah(&files, "run");
    greet.args([
        "--isolation",
        "chroot",
        container.trim(),
        "--",
        "/bin/busybox",
        "sh",
        "/app/greet.sh",
        "BuildPlane",
    ]);
    let said = output(greet).await.context("cannot run the image")?;
    for text in said.lines() {
        demo.narrator.say(&format!("> {}", sanitize(text.as_bytes())))?;
    }
    Ok(())
}

/// `repository@sha256:…` at the registry's present address: container tools do not take tag and digest together.
fn by_digest(image: &str, address: &str) -> Result<String> {
    let (name, digest) = image
        .split_once('@')
        .filter(|(_, digest)| digest.starts_with("sha256:"))
        .ok_or_else(|| Failure::new(format!("{image:?} names no digest")))?;
    let (_, path) =
        name.split_once('/').ok_or_else(|| Failure::new(format!("{image:?} names no registry")))?;
    let slash = path.rfind('/').unwrap_or(0);
    let path = match path[slash..].find(':') {
        Some(colon) => &path[..slash + colon],
        None => path,
    };
    Ok(format!("{address}/{path}@{digest}"))
}

fn buildah(files: &Path, subcommand: &str) -> Command {
    let mut command = Command::new("buildah");
    command.arg("--storage-driver").arg("vfs");
    command.arg("--root").arg(files.join("storage")).arg("--runroot").arg(files.join("run"));
    command.arg(subcommand);
    // Whatever it would keep in the user's home lands here instead.
    command.env("HOME", files).env("XDG_RUNTIME_DIR", files.join("run")).env("TMPDIR", files);
    command.env("XDG_CONFIG_HOME", files.join("config")).env("XDG_DATA_HOME", files.join("data"));
    command.current_dir(files).stdin(Stdio::null()).kill_on_drop(true);
    command
}

async fn output(mut command: Command) -> Result<String> {
    let output = timeout(PATIENCE, command.output())
        .await
        .map_err(|_| {
            Failure::new(format!("no end within {} s", PATIENCE.as_secs())).exit(ExitStatus::TimedOut)
        })?
        .context("cannot start buildah")
        .hint("install buildah with the machine's package manager")?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let text = String::from_utf8_lossy(&output.stderr);
    let last = text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("it gave no reason");
    Err(Failure::new(sanitize(last.as_bytes())).context("buildah failed"))
}

/// Removes what buildah kept. For an ordinary user its files belong to subordinate ids, which only a user namespace
/// may remove.
pub(super) async fn remove_storage(scratch: &Path) {
    let files = scratch.join("demo").join(STORAGE);
    if !files.exists() {
        return;
    }
    if !rustix::process::geteuid().is_root() {
        let mut command = buildah(&files, "unshare");
        command.args(["rm", "-rf"]).arg(files.join("storage")).arg(files.join("data"));
        // What stays behind is reported when the directory itself is removed.
        let _ = output(command).await;
    }
    let _ = fs::remove_dir_all(&files);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_pulled_by_digest() {
        let digest = "sha256:00ff";
        for (image, reference) in [
            ("registry.buildplane.local/a/b:v1-1234@sha256:00ff", "127.0.0.1:5050/a/b@sha256:00ff"),
            ("127.0.0.1:1/b:v1@sha256:00ff", "127.0.0.1:5050/b@sha256:00ff"),
            ("registry/b@sha256:00ff", "127.0.0.1:5050/b@sha256:00ff"),
        ] {
            assert_eq!(
                by_digest(image, "127.0.0.1:5050").ok().as_deref(),
                Some(reference),
                "{image} {digest}"
            );
        }
        for wrong in ["registry/b:v1", "b@sha256:00ff", "registry/b@md5:00"] {
            assert!(by_digest(wrong, "127.0.0.1:5050").is_err(), "{wrong}");
        }
    }
}
