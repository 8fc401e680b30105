//! Step three: a base image, because a machine without a container registry cannot pull one.
//!
//! It is Debian's static busybox and a link for each of its programs, so that FROM, RUN and COPY are real.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::json;
use tokio::process::Command;

use super::Demo;
use super::registry::{Registry, digest};
use crate::failure::{Explain as _, Failure, Result};

/// The local registry's name in Dockerfiles, whatever its port is.
const REGISTRY_NAME: &str = "registry.buildplane.local";
/// The image's name below that.
const REPOSITORY: &str = "library/busybox";
const TAG: &str = "latest";

/// An image that was pushed.
pub(crate) struct Published {
    /// Its name in a Dockerfile.
    pub(crate) name: String,
    pub(crate) bytes: usize,
}

pub(super) async fn step(demo: &mut Demo) -> Result<()> {
    demo.narrator.part("Make a base image out of the machine's busybox and push it")?;
    let registry = Registry::connect(&demo.connection).await?;
    let published = publish(&registry, &demo.scratch).await?;
    demo.narrator.achieved(&format!("{}, {} KiB", published.name, published.bytes / 1024))?;
    Ok(())
}

/// Makes the image in a temporary directory and pushes it.
pub(crate) async fn publish(registry: &Registry, scratch: &Path) -> Result<Published> {
    let busybox = find_busybox()?;
    let root = scratch.join("base");
    lay_out(&busybox, &root).await?;
    let layer = archive(&root).await?;
    fs::remove_dir_all(&root).context("cannot remove temporary files")?;
    let diff_id = digest(&layer);
    let bytes = layer.len();
    let layer_digest = registry.push_blob(REPOSITORY, layer).await?;
    let config = serde_json::to_vec(&json!({
        "architecture": architecture(),
        "os": "linux",
        "config": {"Env": ["PATH=/bin"], "Cmd": ["/bin/sh"]},
        "rootfs": {"type": "layers", "diff_ids": [diff_id]},
        // An image that is built on one whose layers its history does not list cannot be built on in turn.
        "history": [{"created_by": "buildplane base-image"}],
    }))?;
    let config_size = config.len();
    let config_digest = registry.push_blob(REPOSITORY, config).await?;
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {
            "mediaType": "application/vnd.oci.image.config.v1+json", "digest": config_digest, "size": config_size,
        },
        "layers": [{
            "mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": layer_digest, "size": bytes,
        }],
    });
    registry.push_manifest(REPOSITORY, TAG, &manifest).await?;
    Ok(Published { name: format!("{REGISTRY_NAME}/{REPOSITORY}:{TAG}"), bytes })
}

fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn find_busybox() -> Result<PathBuf> {
    let candidates = ["/bin/busybox", "/usr/bin/busybox", "/sbin/busybox", "/usr/local/bin/busybox"];
    let found = candidates.into_iter().map(Path::new).find(|path| path.is_file());
    let hint = "install Debian's busybox-static";
    let path = found.ok_or_else(|| Failure::new("this machine has no busybox").hint(hint))?;
    let binary = fs::read(path).context(format!("cannot read {}", path.display()))?;
    if is_dynamic(&binary) {
        return Err(Failure::new(format!(
            "{} needs shared libraries, which an image of it alone lacks",
            path.display()
        ))
        .hint(hint));
    }
    Ok(path.to_owned())
}

/// Whether a 64-bit little-endian ELF binary names an interpreter, the loader of shared libraries.
fn is_dynamic(binary: &[u8]) -> bool {
    const INTERPRETER: u32 = 3;
    let number = |at: usize, length: usize| -> Option<usize> {
        let bytes = binary.get(at..at.checked_add(length)?)?;
        Some(bytes.iter().rev().fold(0, |number, &byte| number << 8 | usize::from(byte)))
    };
    let interpreter = || -> Option<bool> {
        let (table, entry, count) = (number(32, 8)?, number(54, 2)?, number(56, 2)?);
        let types = (0..count).map(|index| number(table.checked_add(entry.checked_mul(index)?)?, 4));
        Some(types.flatten().any(|type_| u32::try_from(type_) == Ok(INTERPRETER)))
    };
    interpreter().unwrap_or(false)
}

async fn lay_out(busybox: &Path, root: &Path) -> Result<()> {
    let cannot = "cannot lay out the base image";
    for directory in ["bin", "etc", "tmp", "root"] {
        fs::create_dir_all(root.join(directory)).context(cannot)?;
    }
    fs::set_permissions(root.join("tmp"), PermissionsExt::from_mode(0o1777)).context(cannot)?;
    fs::write(root.join("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\n").context(cannot)?;
    fs::write(root.join("etc/group"), "root:x:0:\n").context(cannot)?;
    let binary = root.join("bin/busybox");
    fs::copy(busybox, &binary).context(cannot)?;
    fs::set_permissions(&binary, PermissionsExt::from_mode(0o755)).context(cannot)?;
    let listed = Command::new(busybox)
        .arg("--list")
        .kill_on_drop(true)
        .output()
        .await
        .context("cannot run busybox")?;
    for program in String::from_utf8_lossy(&listed.stdout).lines().map(str::trim) {
        let plain = !program.is_empty() && !program.contains('/') && program != "busybox";
        if plain {
            symlink("busybox", root.join("bin").join(program)).context(cannot)?;
        }
    }
    Ok(())
}

/// The directory as a tar archive that depends on nothing but its content.
async fn archive(root: &Path) -> Result<Vec<u8>> {
    let output = Command::new("tar")
        .args([
            "--create",
            "--file=-",
            "--sort=name",
            "--owner=0",
            "--group=0",
            "--numeric-owner",
            "--mtime=@0",
        ])
        .arg("--directory")
        .arg(root)
        .arg(".")
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .context("cannot run tar")?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    Err(Failure::new(String::from_utf8_lossy(&output.stderr).trim().to_owned()).context("tar failed"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dynamic_binary_is_told_from_text() {
        let own = fs::read(std::env::current_exe().expect("a binary")).expect("readable");
        assert!(is_dynamic(&own));
        assert!(!is_dynamic(b"#!/bin/sh\n"));
        assert!(!is_dynamic(&[0xff; 80]));
    }
}
